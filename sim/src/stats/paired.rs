//! What a change does, seen over the same replications.

use super::Estimate;

/// The mean of changed minus base, and its 95 % interval, over replications that share their random numbers: number n of
/// one belongs to number n of the other, so luck that both had cancels out (A. Law: Simulation Modeling and Analysis,
/// 5th ed. 2015, section 10.2.1). `None` where they are not as many.
#[must_use]
pub fn difference(base: &[f64], changed: &[f64]) -> Option<Estimate> {
    let differences = base.iter().zip(changed).map(|(base, changed)| changed - base);
    (base.len() == changed.len()).then(|| Estimate::new(differences.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_change_shows_under_luck_that_both_share() {
        let luck = [10.0, 30.0, 20.0, 50.0, 40.0];
        let changed: Vec<f64> = luck.iter().zip([1.1, 0.9, 1.0, 1.1, 0.9]).map(|(luck, more)| luck + more).collect();
        let difference = difference(&luck, &changed).unwrap();
        assert!((difference.mean - 1.0).abs() < 1e-9 && difference.half_width() < 0.15, "{difference:?}");
        assert!(!difference.contains(0.0) && Estimate::new(luck.to_vec()).contains(Estimate::new(changed).mean));
    }

    #[test]
    fn replications_without_their_partners_are_not_compared() {
        assert_eq!(difference(&[1.0, 2.0], &[1.0]), None);
    }
}
