//! What a person at the terminal sees while the demo runs.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Distance of lines where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Steps as lines, and a bar for the long one. On standard error.
pub struct Teller {
    began: Instant,
    bar: Option<ProgressBar>,
    plain: Instant,
    quiet: bool,
}

impl Teller {
    /// Tells, or not (in tests).
    pub fn new(quiet: bool) -> Self {
        Self { began: Instant::now(), bar: None, plain: Instant::now(), quiet }
    }

    /// Something begins.
    pub fn step(&mut self, what: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if !self.quiet {
            eprintln!("[{:>4} s] {what}", self.began.elapsed().as_secs());
        }
    }

    /// So much of the long step is done.
    pub fn progress(&mut self, fraction: f64, what: &str) {
        if self.quiet {
            return;
        }
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("         {wide_bar} {percent:>3} %  {msg}");
                ProgressBar::new(1000).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            });
            bar.set_position((fraction * 1000.0) as u64);
            bar.set_message(what.to_owned());
        } else if self.plain.elapsed() >= PLAIN_EVERY {
            self.plain = Instant::now();
            eprintln!("[{:>4} s]   {:>3.0} %  {what}", self.began.elapsed().as_secs(), fraction * 100.0);
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
