//! Studies: a scenario run several times with different luck, and what that says.
//!
//! Replication `n` of every scenario with the same `random_seed` has the same luck, so that differences between
//! scenarios are differences between scenarios. Replications run side by side on as many threads as are asked for; the
//! result does not depend on how many.

mod calculated;
mod told;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use crate::outcome::Outcome;
use crate::plan::{Level, Plan};
use crate::rng::Rng;
use crate::world::{Model, Run, World};

pub use told::{EGRESS_BILLED, HOME_UPLOAD, SEED_SHARE, STALLS, START_P95};

/// How far a study is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Which of the runs, of all scenarios together.
    pub run: usize,
    /// How much of it is done, 0 to 1.
    pub done: f64,
}

/// Runs scenarios, all replications of all of them, `threads` at once; `told` hears how far they are.
///
/// # Panics
/// A run panics, which is a defect.
pub fn study(plans: &[Plan], threads: usize, mut told: impl FnMut(Progress)) -> Vec<Outcome> {
    let jobs: Vec<(usize, u64)> = plans
        .iter()
        .enumerate()
        .filter(|(_, plan)| plan.run.level == Level::L1)
        .flat_map(|(place, plan)| (0..plan.run.replications).map(move |number| (place, number)))
        .collect();
    let mut runs: Vec<Vec<Run>> = plans.iter().map(|_| Vec::new()).collect();
    for (job, run) in all_runs(plans, &jobs, threads, &mut told).into_iter().enumerate() {
        runs[jobs[job].0].push(run);
    }
    plans
        .iter()
        .zip(runs)
        .map(|(plan, runs)| match plan.run.level {
            Level::L1 => told::outcome(plan, &runs),
            Level::L0 => calculated::outcome(plan),
        })
        .collect()
}

enum News {
    Progress(Progress),
    Done(usize, Box<Run>),
}

fn all_runs(plans: &[Plan], jobs: &[(usize, u64)], threads: usize, told: &mut impl FnMut(Progress)) -> Vec<Run> {
    let next = AtomicUsize::new(0);
    let mut runs: Vec<Option<Run>> = jobs.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        let (news, heard) = channel();
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            let (news, next) = (news.clone(), &next);
            scope.spawn(move || work(plans, jobs, next, &news));
        }
        drop(news);
        for news in heard {
            match news {
                News::Progress(progress) => told(progress),
                News::Done(job, run) => runs[job] = Some(*run),
            }
        }
    });
    runs.into_iter().map(|run| run.expect("each job was done")).collect()
}

fn work(plans: &[Plan], jobs: &[(usize, u64)], next: &AtomicUsize, news: &Sender<News>) {
    loop {
        let job = next.fetch_add(1, Ordering::Relaxed);
        let Some((place, number)) = jobs.get(job).copied() else { return };
        let plan = &plans[place];
        let model = Model::of(plan, luck(plan.random_seed, number));
        // Who does not listen any more has no use for the rest.
        let run = World::new(&model).run(|done| {
            let _ = news.send(News::Progress(Progress { run: job, done }));
        });
        let _ = news.send(News::Done(job, Box::new(run)));
    }
}

/// Seed of a replication.
fn luck(seed: u64, number: u64) -> u64 {
    Rng::new(seed).bits(crate::rng::Purpose::Replication, number, 0)
}
