//! How often at least one copy is there.
//!
//! R. Bhagwan, K. Tati, Y. Cheng, S. Savage, G. Voelker: Total Recall: system support for automated availability
//! management, NSDI 2004: with copies on hosts that are there with probability `a`, independently,
//! availability is `1 - (1 - a)^copies`.

use super::probability;
use super::probes::{asked_for, none_answers};

/// The probability that at least one of so many copies is there, each on a host that is with probability `host`.
#[must_use]
pub fn of_copies(host: f64, copies: u64) -> f64 {
    1.0 - none_answers(host, copies)
}

/// The same where an outage takes all hosts at once for this share of the time (a region's power, one operator's
/// network): no number of copies within it gives more than `1 - outage`.
#[must_use]
pub fn of_copies_with_outage(host: f64, copies: u64, outage: f64) -> f64 {
    (1.0 - probability(outage)) * of_copies(host, copies)
}

/// The same for copies on different hosts each with a probability of its own.
#[must_use]
pub fn of_hosts(hosts: impl IntoIterator<Item = f64>) -> f64 {
    1.0 - hosts.into_iter().map(|host| 1.0 - probability(host)).product::<f64>()
}

/// The fewest copies that are there with probability `target` at least; `None` where no number suffices.
#[must_use]
pub fn copies_for(host: f64, target: f64) -> Option<u64> {
    asked_for(host, 1.0 - probability(target))
}

/// Copies to be made per copy and second so that their number stays: a host is lost for good once in `lifetime_s`
/// seconds on the average. Times bytes per copy this is the repair traffic.
#[must_use]
pub fn repairs_per_second(copies: f64, lifetime_s: f64) -> f64 {
    if lifetime_s > 0.0 { copies.max(0.0) / lifetime_s } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_on_poor_hosts_add_up() {
        assert!((of_copies(0.5, 3) - 0.875).abs() < 1e-12);
        assert!((of_copies_with_outage(0.5, 3, 0.2) - 0.7).abs() < 1e-12);
        assert!((of_hosts([0.5, 0.5, 0.5]) - of_copies(0.5, 3)).abs() < 1e-12 && of_hosts([]) == 0.0);
        // Hosts that are there half of the time: 0.999 needs ten, as 2^-10 is the first below a thousandth.
        assert_eq!((copies_for(0.5, 0.999), copies_for(0.0, 0.5), copies_for(0.5, 0.0)), (Some(10), None, Some(0)));
        assert_eq!((copies_for(0.5, 1.0), copies_for(1.0, 1.0)), (None, Some(1)));
        assert_eq!((repairs_per_second(4.0, 8.0), repairs_per_second(1.0, 0.0)), (0.5, f64::INFINITY));
    }
}
