//! The two clocks that this program reads; decisions get their values as arguments.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aftercast_protocol::time::{Mono, UnixMillis};

/// Wall time. A clock before 1970 reads as 1970.
#[must_use]
pub fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Monotonic time since the program's start.
#[derive(Debug, Clone, Copy)]
pub struct MonoClock(Instant);

impl MonoClock {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Mono {
        Mono(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}
