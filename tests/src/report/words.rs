//! The summary for a person.

use std::fmt;

use super::{HomeReport, PlayerReport, Summary};

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { programme, seed, .. } = self;
        writeln!(f, "\nWhat happened")?;
        writeln!(
            f,
            "  A broadcast of {:.0} s ({:.1} Mb/s) was sent to five homes, each of which received it in its own way.",
            programme.seconds,
            mega(programme.bytes) * 8.0 / programme.seconds.max(1e-3)
        )?;
        writeln!(
            f,
            "  Every home cut it into chunks by itself; {} chunks are in it, and {:.1} % of those received whole are the\n  \
             same to the last bit as the source's. The seed confirmed {} and had each uploaded once, by whom it chose:\n",
            programme.chunks,
            self.identical_share * 100.0,
            seed.confirmed
        )?;
        self.table(f)?;
        writeln!(
            f,
            "\n  The seed stores {} chunks, {:.1} MB; {:.1} MB were uploaded for them ({:.3} times).",
            seed.stored,
            mega(seed.unique_bytes),
            mega(seed.pulled_bytes),
            self.upload_amplification
        )?;
        writeln!(f, "\nWho played")?;
        self.players.iter().try_for_each(|player| describe(f, player))?;
        writeln!(f, "\nWhat must hold")?;
        for promise in &self.promises {
            let mark = if promise.holds { "yes" } else { "NO " };
            writeln!(f, "  {mark}  {}: {}", promise.what, promise.figures)?;
        }
        Ok(())
    }
}

impl Summary {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<8} {:>6} {:>9} {:>9} {:>9} {:>10} {:>7}  ",
            "", "whole", "withheld", "repaired", "uplink", "uploaded", "share"
        )?;
        for home in &self.homes {
            let withheld: u64 = home.withheld.values().sum();
            let (of_uploads, of_uplinks) = self.parts(home);
            let share =
                of_uplinks.map_or("-".to_owned(), |part| format!("{:.0}/{:.0} %", of_uploads * 100.0, part * 100.0));
            writeln!(
                f,
                "  {:<8} {:>6} {:>9} {:>9} {:>4.1} Mb/s {:>7.1} MB {:>7}  {}",
                home.home,
                home.recorded,
                withheld,
                home.repaired,
                mega(home.uplink_bps),
                mega(home.uploaded_bytes),
                share,
                home.words
            )?;
        }
        writeln!(f, "  (share: of all uploads / of all uplinks that take part)")?;
        let sum = |of: fn(&HomeReport) -> u64| self.homes.iter().map(of).sum::<u64>();
        let (repaired, fetched) = (sum(|home| home.repaired), sum(|home| home.repair_bytes));
        let chunk = super::ratio(self.seed.unique_bytes, self.seed.stored);
        if repaired == 0 {
            return Ok(());
        }
        writeln!(
            f,
            "  {repaired} chunks that came with damage were made whole in the background, for {:.1} % of their bytes.",
            fetched as f64 / (repaired as f64 * chunk).max(1.0) * 100.0
        )
    }

    /// A home's part of all uploads, and of all declared uplinks that take part.
    fn parts(&self, home: &HomeReport) -> (f64, Option<f64>) {
        let takes_part = |one: &&HomeReport| one.receives && !one.metered;
        let sum = |of: fn(&HomeReport) -> u64| self.homes.iter().filter(takes_part).map(of).sum::<u64>();
        let of_uploads = super::ratio(home.uploaded_bytes, sum(|one| one.uploaded_bytes));
        let of_uplinks = takes_part(&home).then(|| super::ratio(home.uplink_bps, sum(|one| one.uplink_bps)));
        (of_uploads, of_uplinks)
    }
}

fn describe(f: &mut fmt::Formatter<'_>, player: &PlayerReport) -> fmt::Result {
    writeln!(
        f,
        "  {} played {} segments in {:.0} s: {:.1} MB from peers, {:.1} MB from the seed, {:.1} MB of its own, {:.1} MB head;\n  \
         first byte after {} ms, {} chunks late, {} pictures and {} pieces of sound compared with the source.",
        player.home,
        player.segments,
        player.took_seconds,
        mega(player.bytes_peer),
        mega(player.bytes_seed),
        mega(player.bytes_local),
        mega(player.bytes_head),
        player.startup_ms.map_or("?".to_owned(), |ms| ms.to_string()),
        player.late,
        player.pictures.expected,
        player.sound.expected
    )?;
    match &player.complaints[..] {
        [] => writeln!(f, "  FFmpeg had nothing to complain about."),
        [first, rest @ ..] => writeln!(f, "  FFmpeg complained: {first} (and {} lines more)", rest.len()),
    }
}
