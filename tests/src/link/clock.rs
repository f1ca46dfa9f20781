//! The model's time, from the machine's.

use std::time::{Duration, Instant};

use aftercast_protocol::time::Mono;

/// Later than this nothing is waited for; a wait that ends early looks again.
const FAR: Duration = Duration::from_secs(86_400);

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: Instant,
    speed: f64,
}

impl Clock {
    pub(super) fn new(speed: f64) -> Self {
        Self { origin: Instant::now(), speed }
    }

    pub(super) fn now(&self) -> Mono {
        Mono((self.origin.elapsed().as_secs_f64() * 1e6 * self.speed) as u64)
    }

    /// When the model's clock shows this.
    pub(super) fn instant(&self, at: Mono) -> Instant {
        let after = Duration::try_from_secs_f64(at.0 as f64 / 1e6 / self.speed).unwrap_or(FAR);
        self.origin + after.min(self.origin.elapsed() + FAR)
    }
}
