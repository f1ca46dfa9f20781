//! Erlang's loss formula: requests that come by chance (Poisson) find some number of servers; who finds all of them busy
//! goes elsewhere. Here: a rare title has few holders with an upload each; what overflows comes from the seed.
//!
//! A. K. Erlang: Solution of some problems in the theory of probabilities of significance in automatic telephone
//! exchanges, Elektroteknikeren 13, 1917. It holds for any distribution of holding times with this mean.

use super::positive;

/// The share of requests that find all `servers` busy, Erlang B. `offered` is the offered load in erlangs: requests per
/// second times mean holding time in seconds.
///
/// By the recursion over the servers, `1/B(n) = 1 + n/a / B(n-1)`, which has no factorials and only adds positive terms
/// (V. B. Iversen: Teletraffic Engineering and Network Planning, Technical University of Denmark, 2015).
#[must_use]
pub fn loss(offered: f64, servers: u64) -> f64 {
    1.0 / inverse_loss(positive(offered), servers)
}

/// The load that overflows, erlangs.
#[must_use]
pub fn overflow(offered: f64, servers: u64) -> f64 {
    positive(offered) * loss(offered, servers)
}

/// The fewest servers that lose at most this share of the requests; `None` where it is not above 0 and some are lost
/// with however many, or the load is infinite.
#[must_use]
pub fn servers_for(offered: f64, lost_share: f64) -> Option<u64> {
    let offered = positive(offered);
    if lost_share >= 1.0 || offered == 0.0 {
        return Some(0);
    }
    if !(lost_share > 0.0 && offered.is_finite()) {
        return None;
    }
    let (mut inverse, mut servers) = (1.0, 0);
    while 1.0 / inverse > lost_share {
        servers += 1;
        inverse = 1.0 + servers as f64 / offered * inverse;
    }
    Some(servers)
}

/// The greatest load, erlangs, of which so many servers lose at most this share; `None` where any is not too much.
#[must_use]
pub fn load_for(servers: u64, lost_share: f64) -> Option<f64> {
    if lost_share >= 1.0 {
        return None;
    }
    // Each server carries at most one erlang, so more than this loses more.
    let (mut low, mut high) = (0.0, servers as f64 / (1.0 - lost_share));
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if loss(middle, servers) <= lost_share {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(low)
}

/// `1/B`, which may be infinite where `B` is 0.
fn inverse_loss(offered: f64, servers: u64) -> f64 {
    if servers > 0 && offered == 0.0 {
        return f64::INFINITY;
    }
    (1..=servers).fold(1.0, |inverse, n| 1.0 + n as f64 / offered * inverse)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn printed_tables_are_met() {
        // Usual tables of Erlang B: load at which 1 % is lost.
        for (servers, load) in [(1, 0.0101), (5, 1.361), (10, 4.461), (20, 12.03), (50, 37.90), (100, 84.06)] {
            assert!((load_for(servers, 0.01).unwrap() / load - 1.0).abs() < 1e-3, "{servers}");
        }
        assert!((loss(1.0, 1) - 0.5).abs() < 1e-12 && (loss(2.0, 2) - 0.4).abs() < 1e-12);
    }

    #[test]
    fn the_ends_of_the_range_are_answered() {
        assert_eq!((loss(0.0, 5), loss(-1.0, 0), loss(f64::INFINITY, 3)), (0.0, 1.0, 1.0));
        assert_eq!((servers_for(0.0, 0.0), servers_for(3.0, 0.0), servers_for(3.0, 1.0)), (Some(0), None, Some(0)));
        assert_eq!((load_for(3, 1.0), load_for(3, 0.0)), (None, Some(0.0)));
        // Where factorials would not fit a float.
        assert!((loss(10_000.0, 10_000) - 0.007_93).abs() < 1e-4);
    }

    proptest! {
        #[test]
        fn the_recursion_is_the_formula(offered in 0.01..60.0f64, servers in 0u64..60) {
            let mut term = 1.0;
            let terms: Vec<f64> = (0..=servers).map(|n| {
                if n > 0 {
                    term *= offered / n as f64;
                }
                term
            }).collect();
            let formula = term / terms.iter().sum::<f64>();
            prop_assert!((loss(offered, servers) / formula - 1.0).abs() < 1e-9);
        }

        #[test]
        fn the_inverses_are_inverse(offered in 0.01..500.0f64, lost in 0.0001..0.9f64) {
            let servers = servers_for(offered, lost).unwrap();
            prop_assert!(loss(offered, servers) <= lost);
            prop_assert!(servers == 0 || loss(offered, servers - 1) > lost);
            let load = load_for(servers + 1, lost).unwrap();
            prop_assert!((loss(load, servers + 1) - lost).abs() < 1e-9);
        }
    }
}
