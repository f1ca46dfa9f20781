//! Where log lines go: standard error, for people on a terminal, as JSON otherwise. Standard output belongs to results.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Sets logging up. `RUST_LOG` overrides the level, in the syntax of `tracing-subscriber`.
pub fn init(default_level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_level));
    let to_stderr = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (tests run several daemons in one process) leaves the first one's setting.
    let _ = if std::io::stderr().is_terminal() {
        to_stderr.with_target(false).try_init()
    } else {
        to_stderr.json().flatten_event(true).try_init()
    };
}
