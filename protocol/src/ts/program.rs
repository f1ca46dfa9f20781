//! The programme of a transport stream: PAT and PMT followed, one programme chosen.

use std::collections::BTreeMap;

use super::ReceptionCounters;
use super::continuity::{Continuity, ContinuityCheck};
use super::names::{PSIP_PID, SDT_PID, is_same, names};
use super::packet::{PAT_PID, Packet};
use super::psi::{ProgramMap, SectionAssembler, crc32, parse_pat, parse_pmt};

/// So many PATs may pass while an earlier programme's PMT stays away; PATs come every 100 ms (EN 300 468, 5.1.4).
const PATS_TO_WAIT: u32 = 20;

#[derive(Debug, Default)]
struct TablePid {
    check: ContinuityCheck,
    sections: SectionAssembler,
}

impl TablePid {
    fn push(&mut self, packet: &Packet<'_>, counters: &mut ReceptionCounters, mut sink: impl FnMut(&[u8])) {
        let Some(payload) = packet.payload.filter(|_| !packet.scrambled) else { return };
        match self.check.next(packet.counter, payload) {
            Continuity::Duplicate => return,
            Continuity::Lost(_) => self.sections.hole(),
            Continuity::First | Continuity::Follows => {}
        }
        self.sections.push(packet.unit_start, payload, |section| {
            // A short-form section has no CRC; those that are read here always have one.
            if crc32(section) == 0 {
                sink(section);
            } else if section.get(1).is_some_and(|flags| flags & 0x80 != 0) {
                counters.crc_errors += 1;
            }
        });
    }
}

/// Which programme is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The first in the PAT that is best, or if none is, that is good.
    First,
    /// The one of this number.
    Number(u16),
    /// The one of this name.
    Name(String),
}

/// Follows the tables and tells the chosen programme's map.
#[derive(Debug)]
pub struct ProgramFinder {
    wanted: Wanted,
    /// The programme that was chosen.
    chosen: Option<u16>,
    /// Tables with names, by PID; none where no name is wanted.
    names: BTreeMap<u16, TablePid>,
    pat: TablePid,
    pats: u32,
    /// Number and PMT PID in the order of the PAT.
    programs: Vec<(u16, u16)>,
    pmts: BTreeMap<u16, TablePid>,
    /// By programme number.
    maps: BTreeMap<u16, ProgramMap>,
    reported: Option<ProgramMap>,
}

impl ProgramFinder {
    /// Follows this programme.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        let by_name: &[u16] = if matches!(wanted, Wanted::Name(_)) { &[SDT_PID, PSIP_PID] } else { &[] };
        Self {
            chosen: if let Wanted::Number(number) = wanted { Some(number) } else { None },
            wanted,
            names: by_name.iter().map(|pid| (*pid, TablePid::default())).collect(),
            pat: TablePid::default(),
            pats: 0,
            programs: Vec::new(),
            pmts: BTreeMap::new(),
            maps: BTreeMap::new(),
            reported: None,
        }
    }

    /// PIDs whose packets belong here, the PAT's first.
    pub fn pids(&self) -> impl Iterator<Item = u16> {
        std::iter::once(PAT_PID).chain(self.names.keys().copied()).chain(self.pmts.keys().copied())
    }

    /// Takes a packet of a wanted PID; returns the chosen programme's map when it is new or changed.
    pub fn push(
        &mut self,
        packet: &Packet<'_>,
        counters: &mut ReceptionCounters,
        best: impl Fn(&ProgramMap) -> bool,
        good: impl Fn(&ProgramMap) -> bool,
    ) -> Option<&ProgramMap> {
        if packet.pid == PAT_PID {
            let mut programs = None;
            self.pat.push(packet, counters, |section| programs = parse_pat(section).or(programs.take()));
            self.take_pat(programs?);
        } else if let (Some(table), Wanted::Name(wanted)) = (self.names.get_mut(&packet.pid), &self.wanted) {
            let mut found = None;
            table.push(packet, counters, |section| {
                let named = names(section).into_iter().find(|(_, name)| is_same(name, wanted));
                found = named.map(|(number, _)| number).or(found);
            });
            self.chosen = Some(found?);
        } else {
            let (maps, programs) = (&mut self.maps, &self.programs);
            let changed = &mut false;
            self.pmts.get_mut(&packet.pid)?.push(packet, counters, |section| {
                let Some(map) = parse_pmt(section) else { return };
                if programs.contains(&(map.number, packet.pid)) && maps.get(&map.number) != Some(&map) {
                    *changed = true;
                    maps.insert(map.number, map);
                }
            });
            if !*changed {
                return None;
            }
        }
        let map = self.choose(best, good)?.clone();
        if self.reported.as_ref() == Some(&map) {
            return None;
        }
        self.reported = Some(map);
        self.reported.as_ref()
    }

    fn take_pat(&mut self, programs: Vec<(u16, u16)>) {
        self.pats = self.pats.saturating_add(1);
        if self.programs == programs {
            return;
        }
        self.maps.retain(|number, _| programs.iter().any(|(listed, _)| listed == number));
        self.pmts.retain(|pid, _| programs.iter().any(|(_, listed)| listed == pid));
        for &(number, pid) in &programs {
            if self.chosen.is_none_or(|chosen| chosen == number) {
                self.pmts.entry(pid).or_default();
            }
        }
        self.programs = programs;
    }

    fn choose(
        &mut self,
        best: impl Fn(&ProgramMap) -> bool,
        good: impl Fn(&ProgramMap) -> bool,
    ) -> Option<&ProgramMap> {
        if self.chosen.is_none() && self.wanted == Wanted::First {
            for (number, _) in &self.programs {
                match self.maps.get(number) {
                    Some(map) if best(map) => {
                        self.chosen = Some(*number);
                        break;
                    }
                    None if self.pats < PATS_TO_WAIT => return None,
                    _ => {}
                }
            }
        }
        if self.chosen.is_none() && self.wanted == Wanted::First {
            let is_good = |number: &u16| self.maps.get(number).is_some_and(&good);
            self.chosen = self.programs.iter().map(|(number, _)| *number).find(is_good);
        }
        self.maps.get(&self.chosen?)
    }
}
