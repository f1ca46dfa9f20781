//! How often a viewer who asks some holders finds none that answers, and must ask the seed.

use super::probability;

/// The probability that none of `asked` holders answers, where each does with probability `answers`, independently:
/// `(1 - p)^d`.
#[must_use]
pub fn none_answers(answers: f64, asked: u64) -> f64 {
    (1.0 - probability(answers)).powf(asked as f64)
}

/// How many holders must be asked so that none answers at most with this probability; `None` where no number suffices.
#[must_use]
pub fn asked_for(answers: f64, none: f64) -> Option<u64> {
    let (answers, none) = (probability(answers), probability(none));
    if none >= 1.0 {
        return Some(0);
    }
    if answers >= 1.0 {
        return Some(1);
    }
    if answers <= 0.0 || none <= 0.0 {
        return None;
    }
    Some((none.ln() / (-answers).ln_1p() - 1e-9).ceil() as u64)
}

/// The same as [`none_answers`] where exactly `able` of `holders` would answer and `asked` different ones of them are
/// drawn: sampling without replacement (hypergeometric). It is never more than with each drawn anew,
/// `(1 - able/holders)^asked`; W. Feller: An Introduction to Probability Theory and Its Applications I, 3rd ed. 1968,
/// II.6.
#[must_use]
pub fn none_drawn(holders: u64, able: u64, asked: u64) -> f64 {
    let (able, asked) = (able.min(holders), asked.min(holders));
    // One after the other: of those left, those who would not answer.
    (0..asked).map(|n| (holders - able).saturating_sub(n) as f64 / (holders - n) as f64).product()
}

/// Mean number of holders that answer of those drawn as in [`none_drawn`].
#[must_use]
pub fn mean_drawn(holders: u64, able: u64, asked: u64) -> f64 {
    if holders == 0 {
        return 0.0;
    }
    asked.min(holders) as f64 * able.min(holders) as f64 / holders as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn small_cases_are_counted() {
        // Of 5, 2 able, 2 asked: 3 of the 10 pairs have neither.
        assert!((none_drawn(5, 2, 2) - 0.3).abs() < 1e-12 && (mean_drawn(5, 2, 2) - 0.8).abs() < 1e-12);
        assert_eq!(
            (none_drawn(5, 0, 9), none_drawn(5, 1, 9), none_drawn(0, 3, 3), mean_drawn(0, 3, 3)),
            (1.0, 0.0, 1.0, 0.0)
        );
        assert_eq!((none_answers(0.5, 3), none_answers(0.0, 8), none_answers(2.0, 0)), (0.125, 1.0, 1.0));
        assert_eq!((asked_for(0.5, 0.125), asked_for(0.0, 0.1), asked_for(0.3, 1.0)), (Some(3), None, Some(0)));
    }

    proptest! {
        #[test]
        fn asking_different_ones_is_better_and_hardly_where_there_are_many(holders in 1u64..500, able in 0u64..500, asked in 0u64..30) {
            let (drawn, anew) = (none_drawn(holders, able, asked), none_answers(able as f64 / holders as f64, asked));
            prop_assert!(drawn <= anew + 1e-12);
            let many = none_drawn(holders * 1_000_000, able * 1_000_000, asked);
            prop_assert!((many - anew).abs() < 1e-3);
        }

        #[test]
        fn the_number_to_ask_is_the_first_that_suffices(answers in 0.01..0.99f64, none in 0.0001..0.99f64) {
            let asked = asked_for(answers, none).unwrap();
            prop_assert!(none_answers(answers, asked) <= none * (1.0 + 1e-6));
            prop_assert!(asked == 0 || none_answers(answers, asked - 1) > none * (1.0 - 1e-6));
        }
    }
}
