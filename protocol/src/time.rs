//! Three kinds of time that are never mixed: media time of a broadcast, wall time that people read, and the
//! monotonic time that deadlines are measured in. Nothing in this crate reads a clock; `now` is always an argument.

use std::fmt;
use std::ops::{Add, Sub};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Ticks of media time in a second (ISO/IEC 13818-1, 2.4.3.7: PTS and DTS count 90 kHz).
pub const TICKS_PER_SECOND: i64 = 90_000;
/// Where a received PTS or DTS wraps: 2^33 ticks, about 26.5 hours.
pub const PTS_WRAP: u64 = 1 << 33;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
        )]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] pub $int);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

newtype!(
    /// A span of media time, in 90 kHz ticks.
    Ticks, i64
);
newtype!(
    /// A point of media time, in 90 kHz ticks, unwrapped within its timeline.
    MediaTime, i64
);
/// A received time stamp: 33 bits of 90 kHz ticks, wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Pts33(#[n(0)] pub u64);

impl fmt::Display for Pts33 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From elsewhere, only what 33 bits can hold: arithmetic of media time relies on it.
impl<'b, C> Decode<'b, C> for Pts33 {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        match d.u64()? {
            ticks if ticks < PTS_WRAP => Ok(Self(ticks)),
            _ => Err(minicbor::decode::Error::message("a time stamp of more than 33 bits")),
        }
    }
}

newtype!(
    /// Wall time: milliseconds since 1970-01-01 UTC.
    UnixMillis, u64
);
newtype!(
    /// Monotonic time: microseconds since the program (or the simulation) began.
    Mono, u64
);
newtype!(
    /// A span of monotonic time, in microseconds.
    Micros, u64
);

impl Ticks {
    /// The span in seconds, for people and logs only; decisions use integers.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / TICKS_PER_SECOND as f64
    }
    /// The span in whole milliseconds, rounded down.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0.div_euclid(TICKS_PER_SECOND / 1000)
    }
}

impl Pts33 {
    /// Span from this time to another, the short way over the wrap; negative where the other lies before it.
    #[must_use]
    pub fn to(self, other: Self) -> Ticks {
        let ahead = other.0.wrapping_sub(self.0) % PTS_WRAP;
        Ticks(if ahead > PTS_WRAP / 2 { ahead as i64 - PTS_WRAP as i64 } else { ahead as i64 })
    }
}

impl Add<Ticks> for MediaTime {
    type Output = Self;
    fn add(self, span: Ticks) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}
impl Sub for MediaTime {
    type Output = Ticks;
    fn sub(self, other: Self) -> Ticks {
        Ticks(self.0.saturating_sub(other.0))
    }
}
impl Add<Micros> for Mono {
    type Output = Self;
    fn add(self, span: Micros) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}
impl Sub for Mono {
    type Output = Micros;
    /// Time passed since `other`; zero where `other` is later.
    fn sub(self, other: Self) -> Micros {
        Micros(self.0.saturating_sub(other.0))
    }
}
impl Add for Micros {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}
impl UnixMillis {
    /// This time plus a number of milliseconds.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}
impl Micros {
    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }
    /// The span in seconds, for people and logs only.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Pts33 {
    /// The low 33 bits of an unwrapped time.
    #[must_use]
    pub fn of(time: MediaTime) -> Self {
        Self(time.0.rem_euclid(PTS_WRAP as i64) as u64)
    }

    /// The unwrapped time nearest to `near` that has these low 33 bits.
    #[must_use]
    pub fn unwrap_near(self, near: MediaTime) -> MediaTime {
        let wrap = PTS_WRAP as i64;
        let ahead = (self.0 as i64 - near.0).rem_euclid(wrap);
        let step = if ahead > wrap / 2 { ahead - wrap } else { ahead };
        MediaTime(near.0.saturating_add(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_stamp_from_elsewhere_has_33_bits() {
        let last = Pts33(PTS_WRAP - 1);
        assert_eq!(minicbor::decode::<Pts33>(&minicbor::to_vec(last).unwrap()).unwrap(), last);
        assert!(minicbor::decode::<Pts33>(&minicbor::to_vec(PTS_WRAP).unwrap()).is_err());
    }

    #[test]
    fn unwrapping_crosses_the_wrap_both_ways() {
        let last = MediaTime(PTS_WRAP as i64 - 10);
        assert_eq!(Pts33(5).unwrap_near(last), MediaTime(PTS_WRAP as i64 + 5));
        assert_eq!(Pts33(PTS_WRAP - 10).unwrap_near(MediaTime(PTS_WRAP as i64 + 5)), last);
        assert_eq!(Pts33(5).unwrap_near(MediaTime(0)), MediaTime(5));
    }
}
