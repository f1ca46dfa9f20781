//! Weighted rendezvous hashing: the same choice among the same candidates on every machine, in which each candidate
//! is taken in proportion to its weight, and one that comes or goes moves nobody else's place.
//!
//! Not for: fairness over time, which is an account of what was given ([`crate::duty`]).

/// Rank of a candidate; the **lowest** is taken.
///
/// `-log2(u) / weight` for a `u` in (0, 1) drawn by hashing `parts`, in fixed point, so that ranks agree between
/// machines whose floating point does not. Weight 0 never wins against any other weight.
#[must_use]
pub fn rank(parts: &[&[u8]], weight: u64) -> u128 {
    if weight == 0 {
        return u128::MAX;
    }
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        // Lengths keep the parts apart.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut word = [0; 8];
    word.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    (u128::from(neg_log2(u64::from_le_bytes(word))) << 64) / u128::from(weight)
}

/// `-log2((x + 1) / 2^64)` with 32 fractional bits; at most 64.
fn neg_log2(x: u64) -> u64 {
    // As m * 2^e with m in [1, 2) held in 63 fractional bits.
    let x = x.max(1);
    let exponent = 63 - x.leading_zeros();
    let mut mantissa = u128::from(x) << (63 - exponent);
    let mut fraction = 0u64;
    for bit in (0..32).rev() {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >= 1 << 64 {
            mantissa >>= 1;
            fraction |= 1 << bit;
        }
    }
    (64u64 << 32) - ((u64::from(exponent) << 32) | fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_right_to_nine_digits() {
        for x in [1u64, 2, 3, 1000, 1 << 32, u64::MAX / 3, u64::MAX / 2, u64::MAX] {
            let exact = 64.0 - (x as f64).log2();
            let fixed = neg_log2(x) as f64 / (1u64 << 32) as f64;
            assert!((exact - fixed).abs() < 1e-8, "{x}: {exact} {fixed}");
        }
    }

    #[test]
    fn candidates_are_taken_in_proportion_to_their_weights() {
        let weights = [1u64, 2, 5];
        let mut taken = [0u32; 3];
        for n in 0..8000u32 {
            let best = (0..3).min_by_key(|&c| rank(&[&n.to_le_bytes(), &[c as u8]], weights[c])).unwrap();
            taken[best] += 1;
        }
        for (count, weight) in taken.iter().zip(weights) {
            let expected = 1000.0 * weight as f64;
            assert!((f64::from(*count) - expected).abs() < 0.1 * expected, "{taken:?}");
        }
    }

    #[test]
    fn without_weight_nobody_is_taken_before_another() {
        assert!(rank(&[b"a"], 0) > rank(&[b"b"], 1));
    }
}
