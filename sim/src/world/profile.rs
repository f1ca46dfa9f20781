//! When viewings begin, over a day.

use super::clock::{DAY, MINUTE, Time};

const MINUTES: usize = 1440;
/// Width of the evening: the share of viewers is down to 60 % of its excess this many hours before and after its peak.
const WIDTH_HOURS: f64 = 2.2;

/// Expected beginnings of a minute, as a share of a day's.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    minutes: Vec<f64>,
}

impl Profile {
    /// An even level with an evening on it: at `peak_hour` there is `ratio` times the mean.
    pub fn new(peak_hour: f64, ratio: f64) -> Self {
        let bell: Vec<f64> = (0..MINUTES)
            .map(|minute| {
                let away = (minute as f64 / 60.0 - peak_hour).rem_euclid(24.0);
                let away = away.min(24.0 - away) / WIDTH_HOURS;
                (-away * away / 2.0).exp()
            })
            .collect();
        let mean = bell.iter().sum::<f64>() / MINUTES as f64;
        // level + height = ratio, level + height x mean = 1.
        let height = ((ratio - 1.0) / (1.0 - mean)).max(0.0);
        let level = (ratio - height).max(0.0);
        let shape: Vec<f64> = bell.iter().map(|bell| level + height * bell).collect();
        let total: f64 = shape.iter().sum();
        Self { minutes: shape.into_iter().map(|minute| minute / total).collect() }
    }

    /// All minutes of a day, from midnight.
    pub fn minutes(&self) -> &[f64] {
        &self.minutes
    }

    /// Share of a day's beginnings that fall into the minute of this time.
    pub fn share(&self, at: Time) -> f64 {
        self.minutes[(at % DAY / MINUTE) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_where_and_as_high_as_asked_and_a_day_is_a_day() {
        for (hour, ratio) in [(20.5, 2.6), (0.25, 2.0), (12.0, 1.0), (23.9, 3.2)] {
            let profile = Profile::new(hour, ratio);
            let total: f64 = profile.minutes.iter().sum();
            assert!((total - 1.0).abs() < 1e-9);
            let peak = profile.share((hour * 60.0) as Time * MINUTE) * MINUTES as f64;
            assert!((peak / ratio - 1.0).abs() < 0.01, "{peak} at {hour}, wanted {ratio}");
            assert!(profile.minutes.iter().all(|minute| *minute >= 0.0 && *minute * MINUTES as f64 <= peak * 1.001));
        }
    }
}
