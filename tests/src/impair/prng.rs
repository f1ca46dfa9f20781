//! Randomness as an input: a counter-based generator whose stream depends on the seed and on the recipe alone.

/// SplitMix64 (Steele, Lea, Flood 2014): a counter through a 64-bit mixer. Not for secrets.
#[derive(Debug, Clone)]
pub struct Prng(u64);

impl Prng {
    /// A generator for one purpose. The same `seed` and `purpose` give the same numbers on every machine; adding a
    /// recipe to a list does not change what the others draw.
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a over the purpose keeps the streams of two recipes apart.
        let hash = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let mut prng = Prng(seed ^ hash);
        prng.next();
        prng
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)] // endless, so an Option would only be noise
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // Multiply-shift: its bias is below 2^-40 for any bound that fits a file.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A number in `-reach..=reach`.
    pub fn around(&mut self, reach: i64) -> i64 {
        let reach = reach.clamp(0, 1 << 40);
        self.below(2 * reach as usize + 1) as i64 - reach
    }

    /// True with a probability of `ppm` in a million.
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < ppm as usize
    }

    /// A geometric number with the given mean (at least 1).
    pub fn geometric(&mut self, mean: u32) -> usize {
        let mut length = 1;
        while self.below(mean.max(1) as usize) != 0 {
            length += 1;
        }
        length
    }
}
