//! Prints the table impairment by codec; see `--help`.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aftercast_tests::broadcast::variety::Combination;
use aftercast_tests::table::{Outcome, ROWS, Source, markdown, run_row};
use clap::Parser;

/// Runs every recipe over every combination of codecs and prints what became of the chunks, as Markdown: in each cell
/// identical / withheld / different. Ends with an error where a law of the canonical form is broken.
#[derive(Parser)]
#[command(name = "aftercast-table", version)]
struct Arguments {
    /// Only combinations whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Where programmes are kept between runs
    #[arg(long, default_value_os_t = std::env::temp_dir().join("aftercast-table"))]
    folder: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted: Vec<_> =
        Combination::all().into_iter().filter(|one| one.to_string().contains(&arguments.only)).collect();
    let columns = wanted.iter().map(|_| Mutex::new(Vec::new())).collect::<Vec<_>>();
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<()> {
        while let Some(combination) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let place = wanted.iter().position(|one| one == combination).unwrap_or_default();
            let source = Source::make(combination, &arguments.folder)?;
            let cells = ROWS.iter().map(|row| row.fits(combination).then(|| run_row(&source, row))).collect();
            if let Ok(mut column) = columns[place].lock() {
                *column = cells;
            }
        }
        Ok(())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let columns: Vec<Vec<Option<Outcome>>> =
        columns.into_iter().filter_map(|column| column.into_inner().ok()).collect();
    println!("{}", markdown(&wanted.iter().map(Combination::to_string).collect::<Vec<_>>(), &columns));
    let mut all = Outcome::default();
    columns.iter().flatten().flatten().for_each(|cell| all.add(cell));
    println!(
        "{} identical, {} withheld with an excuse, {} different and deceived, {} residue of 44.1 kHz, {} of another broadcast",
        all.identical, all.withheld, all.different, all.residue, all.other
    );
    all.broken.iter().for_each(|line| println!("BROKEN: {line}"));
    anyhow::ensure!(all.broken.is_empty(), "{} laws broken", all.broken.len());
    Ok(())
}
