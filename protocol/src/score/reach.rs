use std::collections::BTreeMap;

use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode};

use super::bans::bounded_map;
use crate::ids::DeviceId;
use crate::limits::MAX_UNREACHABLE;
use crate::time::UnixMillis;

/// A device that was not reached is not dialled again for this long, in milliseconds; twice as long after each further
/// failure: a connection takes seconds to fail, and a plan names more holders than are dialled.
const PAUSE_FIRST: u64 = 5_000;
/// Longest pause: homes come back, routers are restarted.
const PAUSE_MAX: u64 = 3_600_000;
/// After so long without an attempt nothing is known any more.
const FORGOTTEN: u64 = 24 * 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Attempts {
    /// Failures since it was last reached, at least 1.
    #[n(0)]
    failures: u32,
    /// The latest of them.
    #[n(1)]
    last: UnixMillis,
}

/// Devices that this one could not connect to of late, at most [`MAX_UNREACHABLE`]. About a third of the pairs of homes
/// never reach each other (their routers map ports by destination), and to try again and again costs both of them, and
/// the viewer the time in which another holder could have been asked. Proves nothing against the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode)]
#[cbor(transparent)]
pub struct Unreachable(#[n(0)] BTreeMap<DeviceId, Attempts>);

impl Unreachable {
    /// An attempt failed. When full, the device tried longest ago is forgotten.
    pub fn note_failed(&mut self, device: DeviceId, now: UnixMillis) {
        if self.0.len() >= MAX_UNREACHABLE
            && !self.0.contains_key(&device)
            && let Some(oldest) = self.0.iter().min_by_key(|(id, tried)| (tried.last, **id)).map(|(id, _)| *id)
        {
            self.0.remove(&oldest);
        }
        let tried = self.0.entry(device).or_insert(Attempts { failures: 0, last: now });
        let failures = if now.0.saturating_sub(tried.last.0) >= FORGOTTEN { 0 } else { tried.failures };
        *tried = Attempts { failures: failures.saturating_add(1), last: now };
    }

    /// It is connected.
    pub fn note_reached(&mut self, device: DeviceId) {
        self.0.remove(&device);
    }

    /// Whether it is to be left alone now. A clock that was set back lifts the pause.
    #[must_use]
    pub fn is_paused(&self, device: DeviceId, now: UnixMillis) -> bool {
        self.0.get(&device).is_some_and(|tried| {
            let pause = (PAUSE_FIRST << tried.failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
            (tried.last.0..tried.last.0.saturating_add(pause)).contains(&now.0)
        })
    }

    /// Number of devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether everybody was reached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'b, C> Decode<'b, C> for Unreachable {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, DecodeError> {
        bounded_map(d, ctx, MAX_UNREACHABLE).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u32) -> DeviceId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        DeviceId(id)
    }

    /// Fails `failures` times at 1000 s; how long it is then paused, in milliseconds.
    fn pause_after(failures: u32) -> u64 {
        let mut book = Unreachable::default();
        let now = UnixMillis(1_000_000);
        (0..failures).for_each(|_| book.note_failed(device(1), now));
        (0..).step_by(1000).find(|after| !book.is_paused(device(1), UnixMillis(now.0 + after))).unwrap()
    }

    #[test]
    fn pauses_double_up_to_an_hour() {
        assert_eq!(pause_after(0), 0);
        assert_eq!(pause_after(1), 5_000);
        assert_eq!(pause_after(3), 20_000);
        assert_eq!(pause_after(40), PAUSE_MAX);
    }

    #[test]
    fn reaching_it_ends_the_pause_and_a_day_without_attempts_makes_it_new() {
        let mut book = Unreachable::default();
        (0..5).for_each(|_| book.note_failed(device(1), UnixMillis(0)));
        book.note_failed(device(1), UnixMillis(FORGOTTEN));
        assert!(!book.is_paused(device(1), UnixMillis(FORGOTTEN + PAUSE_FIRST)));
        assert!(book.is_paused(device(1), UnixMillis(FORGOTTEN + PAUSE_FIRST - 1)));
        book.note_reached(device(1));
        assert!(!book.is_paused(device(1), UnixMillis(FORGOTTEN)) && book.is_empty());
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_pause_anybody_for_long() {
        let mut book = Unreachable::default();
        book.note_failed(device(1), UnixMillis(u64::MAX));
        assert!(!book.is_paused(device(1), UnixMillis(5)));
    }

    #[test]
    fn it_is_bounded_and_survives_the_disk() {
        let mut book = Unreachable::default();
        for number in 0..=MAX_UNREACHABLE as u32 {
            book.note_failed(device(number), UnixMillis(u64::from(number)));
        }
        assert_eq!(book.len(), MAX_UNREACHABLE);
        assert!(!book.is_paused(device(0), UnixMillis(0)), "tried longest ago");
        let bytes = minicbor::to_vec(&book).unwrap();
        assert_eq!(minicbor::decode::<Unreachable>(&bytes).unwrap(), book);
        assert!(minicbor::decode::<Unreachable>(&[0xba, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
