//! Time in a stream: how much media a file has given so far, and when a chunk's first picture was received.

use aftercast_protocol::ids::TimelineId;
use aftercast_protocol::time::{PTS_WRAP, Pts33, Ticks, UnixMillis};
use aftercast_protocol::ts::framer::PACKET_BYTES;
use aftercast_protocol::ts::packet::clock_reference;

const SYNC: u8 = 0x47;
/// A step of the clock by more than this is a jump, not a gap: pacing goes on from there. Clock references must come
/// every 100 ms (ISO/IEC 13818-1, 2.7.2).
const JUMP_TICKS: i64 = 90_000;

/// Counts the media time of a stream by the clock references of the first PID that carries any.
#[derive(Debug, Default)]
pub struct PcrPace {
    /// Bytes of a packet that is not whole yet.
    rest: Vec<u8>,
    pid: Option<u16>,
    last: Option<Pts33>,
    ticks: i64,
}

impl PcrPace {
    /// Takes the next bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        // A packet counts where the next one begins as it should; other framings keep 188 bytes of it apart, too.
        while let Some(packet) = self.rest.get(at..).and_then(|rest| rest.first_chunk::<PACKET_BYTES>()) {
            if packet[0] != SYNC {
                at += 1;
                continue;
            }
            if let Some((pid, base)) = clock_reference(packet) {
                self.reference(pid, base);
            }
            at += PACKET_BYTES;
        }
        self.rest.drain(..at);
    }

    fn reference(&mut self, pid: u16, base: Pts33) {
        if *self.pid.get_or_insert(pid) != pid {
            return;
        }
        if let Some(last) = self.last {
            let step = last.to(base).0;
            if (0..=JUMP_TICKS).contains(&step) {
                self.ticks += step;
            }
        }
        self.last = Some(base);
    }

    /// Media time since the first clock reference, in microseconds.
    #[must_use]
    pub fn media_micros(&self) -> u64 {
        self.ticks.unsigned_abs().saturating_mul(100) / 9
    }
}

/// Wall time of media times, as one receiver sees it.
///
/// A chunk shows up when its end is certain, some time after its first picture was received; so wall time is tied to
/// media time once per timeline, and tied anew only where the two drift apart. For a file that is read faster than it
/// plays that is every chunk: what counts is when it was received, and nothing is received in the future.
#[derive(Debug, Default)]
pub struct UtcMap {
    tied: Option<(TimelineId, Pts33, UnixMillis)>,
}

/// Beyond this the tie is renewed: clocks of senders may be off by 30 ppm, so this is half a day.
const DRIFT_MILLIS: u64 = 1500;

impl UtcMap {
    /// Wall time of the opening unit of a chunk that came out at `now`.
    pub fn opening(&mut self, timeline: TimelineId, pts: Pts33, duration: Ticks, now: UnixMillis) -> UnixMillis {
        let guess = UnixMillis(now.0.saturating_sub(millis(duration.0.max(0) as u64)));
        let mapped = match self.tied {
            Some((known, from, at)) if known == timeline => at.plus_millis(millis(forward(from, pts))),
            _ => guess,
        };
        let utc = if mapped.0.abs_diff(guess.0) > DRIFT_MILLIS { guess } else { mapped };
        self.tied = Some((timeline, pts, utc));
        utc
    }
}

fn forward(from: Pts33, to: Pts33) -> u64 {
    to.0.wrapping_sub(from.0) % PTS_WRAP
}

fn millis(ticks: u64) -> u64 {
    ticks / 90
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pid: u16, base: u64) -> [u8; PACKET_BYTES] {
        let mut packet = [0xFF; PACKET_BYTES];
        packet[0] = SYNC;
        packet[1..3].copy_from_slice(&pid.to_be_bytes());
        packet[3..6].copy_from_slice(&[0x20, 183, 0x10]);
        packet[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
        packet[10] = (base as u8 & 1) << 7;
        packet
    }

    #[test]
    fn media_time_runs_over_the_wrap_and_not_over_jumps() {
        let mut pace = PcrPace::default();
        for base in [PTS_WRAP - 9_000, 9_000, 27_000, 9_000_000, 9_009_000] {
            pace.push(&packet(256, base));
            pace.push(&packet(257, 5)); // another programme's clock
        }
        assert_eq!(pace.media_micros(), 500_000);
    }

    #[test]
    fn reads_of_any_size_give_the_same_time() {
        let bytes: Vec<u8> = (0..20).flat_map(|n| packet(256, n * 3_600)).collect();
        for size in [1, 7, 188, 1000] {
            let mut pace = PcrPace::default();
            bytes.chunks(size).for_each(|part| pace.push(part));
            assert_eq!(pace.media_micros(), 19 * 40_000, "{size}");
        }
    }

    #[test]
    fn a_file_read_fast_is_received_now() {
        let mut map = UtcMap::default();
        let at = |map: &mut UtcMap, n: u64| {
            map.opening(TimelineId(0), Pts33(n * 360_000), Ticks(360_000), UnixMillis(1_000_000 + n))
        };
        assert_eq!(at(&mut map, 0), UnixMillis(996_000));
        assert_eq!(at(&mut map, 5), UnixMillis(996_005), "20 s of media in 5 ms");
    }

    #[test]
    fn wall_time_is_tied_anew_where_it_drifts() {
        let mut map = UtcMap::default();
        let four = Ticks(360_000);
        assert_eq!(map.opening(TimelineId(0), Pts33(0), four, UnixMillis(10_000)), UnixMillis(6_000));
        assert_eq!(map.opening(TimelineId(0), Pts33(360_000), four, UnixMillis(14_300)), UnixMillis(10_000));
        assert_eq!(map.opening(TimelineId(0), Pts33(720_000), four, UnixMillis(28_000)), UnixMillis(24_000));
        assert_eq!(map.opening(TimelineId(1), Pts33(0), four, UnixMillis(32_000)), UnixMillis(28_000));
    }
}
