//! The clock of a run. Times are microseconds since midnight of a first day that lies so far back that everything which
//! is still stored was broadcast after it; a run itself begins early in a morning, when next to nobody watches.

/// Microseconds.
pub type Time = u64;

/// One second.
pub const SECOND: Time = 1_000_000;
/// One minute.
pub const MINUTE: Time = 60 * SECOND;
/// One hour.
pub const HOUR: Time = 3600 * SECOND;
/// One day.
pub const DAY: Time = 24 * HOUR;
/// Time of day at which runs begin: the night is over for nobody who stayed up.
pub const MORNING: Time = 4 * HOUR;

/// Number of the day that a time lies in.
pub fn day(at: Time) -> u64 {
    at / DAY
}

/// Seconds as time; what is no positive number counts as none.
pub fn from_seconds(seconds: f64) -> Time {
    (seconds * SECOND as f64) as Time
}

/// A time as seconds.
pub fn in_seconds(time: Time) -> f64 {
    time as f64 / SECOND as f64
}
