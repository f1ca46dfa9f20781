//! Progress of long work: a bar on a terminal, now and then a plain line otherwise. Always on standard error, so that
//! standard output stays for results.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Distance of plain lines: often enough to see that it lives, rarely enough for a log.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Progress through so many bytes.
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    total: Option<u64>,
    plain: Option<Instant>,
}

impl Progress {
    /// Progress of `what`; the total is unknown where input is a pipe.
    pub fn new(what: &'static str, total: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), what, total, plain: Some(Instant::now()) };
        }
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = match total {
            Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
            None => "{msg} {spinner} {bytes}  {bytes_per_sec}  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar, what, total, plain: None }
    }

    /// So many more bytes are done.
    pub fn advance(&mut self, bytes: u64) {
        self.bar.inc(bytes);
        if self.plain.is_some_and(|last| last.elapsed() >= PLAIN_EVERY) {
            let done = HumanBytes(self.bar.position());
            match self.total {
                Some(total) => eprintln!("{}: {done} of {}", self.what, HumanBytes(total)),
                None => eprintln!("{}: {done}", self.what),
            }
            self.plain = Some(Instant::now());
        }
    }

    /// Prints a line of results without disturbing the bar.
    ///
    /// # Errors
    /// Standard output cannot be written; where its reader is gone, a broken pipe.
    pub fn print(&self, line: &str) -> std::io::Result<()> {
        self.bar.suspend(|| writeln!(std::io::stdout().lock(), "{line}"))
    }

    /// Prints a line for people, on standard error.
    pub fn note(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
