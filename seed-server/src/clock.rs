//! The one place where the seed reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aftercast_protocol::time::{Mono, UnixMillis};

/// Monotonic time since the program began, and wall time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { began: Instant::now() }
    }
}

impl Clock {
    /// Time since the program began.
    #[must_use]
    pub fn mono(&self) -> Mono {
        Mono(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Wall time; the epoch where the system's clock is before it.
    #[must_use]
    pub fn utc(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
