//! How far a study is, for whoever waits.

use std::io::IsTerminal as _;
use std::time::Duration;

use aftercast_sim::study::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Parts that a run is counted in.
const PARTS: u64 = 1000;

/// A bar on a terminal, and nothing elsewhere: a study of a minute is not worth lines in a log, and one of an hour is
/// watched.
pub struct Bar {
    bar: ProgressBar,
    done: Vec<u64>,
}

impl Bar {
    /// For so many runs.
    pub fn new(runs: u64, quiet: bool) -> Self {
        let bar = ProgressBar::new(runs * PARTS);
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {elapsed} gone, {eta} left  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, done: vec![0; usize::try_from(runs).unwrap_or(0)] }
    }

    /// How far a run is.
    pub fn told(&mut self, progress: Progress) {
        let Some(done) = self.done.get_mut(progress.run) else { return };
        *done = (progress.done * PARTS as f64) as u64;
        self.bar.set_position(self.done.iter().sum());
        let begun = self.done.iter().filter(|done| **done > 0).count();
        self.bar.set_message(format!("run {begun} of {}", self.done.len()));
    }

    /// All is done.
    pub fn done(self) {
        self.bar.finish_and_clear();
    }
}
