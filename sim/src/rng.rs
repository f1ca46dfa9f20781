//! Random numbers without a state: a number is a function of the scenario's seed and of what it is drawn for. So a
//! home added to a scenario changes no other home's luck, and any single draw can be looked up again.

/// What a number is drawn for. The discriminants are part of every result: they are never reused.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// Size of a chunk.
    Size = 1,
    /// Whether a home has a chunk whole.
    Reception = 2,
    /// How late a home's reception is.
    Delay = 3,
    /// How long a home stays on.
    On = 4,
    /// How long a home stays off.
    Off = 5,
    /// How much longer than others a packet is on its way.
    Jitter = 6,
    /// Whether a packet is lost.
    Loss = 7,
    /// Whether a source sends what is false.
    Lie = 8,
    /// Whether a source is busy.
    Busy = 9,
    /// Whether a source has a chunk after all.
    Absence = 10,
    /// What a policy leaves to chance.
    Choice = 11,
    /// What a viewer does.
    Viewer = 12,
    /// Kind of a home's device.
    Device = 13,
    /// Kind of its line.
    Line = 14,
    /// Kind of its reachability.
    Reach = 15,
    /// Where it is.
    Region = 16,
    /// Whether it pays by volume.
    Metered = 17,
    /// Whether it sends what is false.
    Polluter = 18,
    /// Whether it reports what is false.
    ReportLiar = 19,
    /// Whether it takes and does not give.
    FreeRider = 20,
    /// Whether it leaves with many others.
    Departure = 21,
    /// Whether two homes come together.
    Meeting = 22,
    /// Whether a device fails for a while.
    Failure = 23,
    /// Whether a region is cut off, and when in a stretch.
    Outage = 24,
    /// When in a stretch.
    OutageAt = 25,
    /// What a home records.
    Recording = 26,
    /// How many viewings begin, and when.
    Arrival = 27,
    /// Who watches.
    Watcher = 28,
    /// What is watched.
    Programme = 29,
    /// For how long.
    Length = 30,
    /// Where a viewer jumps to, and when.
    Seek = 31,
    /// Who is asked first.
    Probe = 32,
    /// Who of a recording group is known to the seed.
    Sample = 33,
    /// Seeds of replications.
    Replication = 34,
    /// When a run is looked at closely.
    Snapshot = 35,
    /// What an answer takes beside the lines.
    Answer = 36,
}

/// Source of all chance in a run.
#[derive(Debug, Clone, Copy)]
pub struct Rng {
    /// What all draws begin from.
    state: u64,
}

impl Rng {
    /// The draws of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: mix(seed) }
    }

    /// What is drawn for this purpose and subject, for those who draw on many occasions.
    #[inline]
    pub fn draws(self, purpose: Purpose, subject: u64) -> Draws {
        Draws { state: [purpose as u64, subject].into_iter().fold(self.state, joined) }
    }

    /// 64 evenly distributed bits for this purpose, subject and occasion.
    #[inline]
    pub fn bits(self, purpose: Purpose, subject: u64, occasion: u64) -> u64 {
        self.draws(purpose, subject).bits(occasion)
    }

    /// A whole number in `0..below`; 0 where there is none.
    #[inline]
    pub fn below(self, below: u64, purpose: Purpose, subject: u64, occasion: u64) -> u64 {
        self.draws(purpose, subject).below(below, occasion)
    }

    /// An evenly distributed number between 0 and 1, neither of which it is.
    pub fn unit(self, purpose: Purpose, subject: u64, occasion: u64) -> f64 {
        ((self.bits(purpose, subject, occasion) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// `mean` give or take `percent` of it, evenly.
    pub fn around(self, mean: u64, percent: u64, purpose: Purpose, subject: u64, occasion: u64) -> u64 {
        let spread = (u128::from(mean) * u128::from(percent.min(100)) / 100) as u64;
        mean - spread + self.below(2 * spread + 1, purpose, subject, occasion)
    }
}

/// The draws of one purpose and subject.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    state: u64,
}

impl Draws {
    /// As [`Rng::bits`].
    #[inline]
    pub fn bits(self, occasion: u64) -> u64 {
        joined(self.state, occasion)
    }

    /// As [`Rng::below`].
    #[inline]
    pub fn below(self, below: u64, occasion: u64) -> u64 {
        ((u128::from(self.bits(occasion)) * u128::from(below)) >> 64) as u64
    }
}

fn joined(state: u64, part: u64) -> u64 {
    mix(state ^ mix(part))
}

/// SplitMix64's step (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): a bijection whose
/// every output bit depends on every input bit.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_depend_on_all_they_are_drawn_for() {
        let rng = Rng::new(1);
        let mut counts = [0u32; 10];
        for n in 0..10_000 {
            counts[rng.below(10, Purpose::Size, n / 100, n % 100) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        assert_ne!(rng.bits(Purpose::Size, 1, 2), rng.bits(Purpose::Size, 2, 1));
        assert_ne!(rng.bits(Purpose::Size, 1, 2), rng.bits(Purpose::Delay, 1, 2));
        assert_ne!(rng.bits(Purpose::Size, 1, 2), Rng::new(2).bits(Purpose::Size, 1, 2));
    }

    #[test]
    fn around_stays_within_its_spread() {
        let rng = Rng::new(1);
        for n in 0..1000 {
            assert!((90..=110).contains(&rng.around(100, 10, Purpose::Size, 0, n)));
        }
        assert_eq!(rng.around(100, 0, Purpose::Size, 0, 0), 100);
    }
}
