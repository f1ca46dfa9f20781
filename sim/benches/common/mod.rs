//! What the measurements share.

use std::sync::OnceLock;
use std::time::Instant;

/// What this thread has had of a processor, so that others at work do not count; where the system does not say it, time.
pub fn cpu_seconds() -> f64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let elapsed = BEGIN.get_or_init(Instant::now).elapsed().as_secs_f64();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or(elapsed, |nanoseconds| nanoseconds / 1e9)
}
