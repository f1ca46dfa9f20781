//! Storage, home upload and money. All of it is accounting: what comes in at a rate and stays for a time is a stock of rate
//! x time (J. Little: A proof for the queuing formula L = lambda W, Operations Research 9(3), 1961). A month has 30 days,
//! a GB 10^9 bytes.

use super::{positive, probability};

/// Days of a month.
pub const MONTH_DAYS: f64 = 30.0;
/// Bytes of a GB.
pub const GB: f64 = 1e9;

/// Bytes stored where `per_day` bytes come in and are kept for so many days, in so many copies.
#[must_use]
pub fn stored(per_day: f64, days: f64, copies: f64) -> f64 {
    positive(per_day) * positive(days) * positive(copies)
}

/// Bytes that so many channels make in a day, of which this share of the time is recorded by anybody: a chunk is stored
/// once, however many recorded it.
#[must_use]
pub fn recorded_per_day(channels: f64, bytes_per_second: f64, recorded_share: f64) -> f64 {
    positive(channels) * positive(bytes_per_second) * 86_400.0 * probability(recorded_share)
}

/// What one home does in a day, in bytes, as the mean over all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HomeDay {
    /// What is viewed in it.
    pub viewed: f64,
    /// The share of that which it has itself.
    pub local_share: f64,
    /// The share of that which other homes send.
    pub peer_share: f64,
    /// Its part of the uploads to the seed: bytes newly recorded by all, per home, times the copies uploaded.
    pub duties: f64,
}

impl HomeDay {
    /// Bytes a home uploads per month: what homes fetch from homes, homes have sent, and its duties.
    #[must_use]
    pub fn upload_per_month(&self) -> f64 {
        MONTH_DAYS * (positive(self.viewed) * probability(self.peer_share) + positive(self.duties))
    }

    /// Bytes the seed sends per home and month: what is neither local nor from peers.
    #[must_use]
    pub fn seed_egress_per_month(&self) -> f64 {
        MONTH_DAYS * positive(self.viewed) * probability(1.0 - self.local_share - self.peer_share)
    }

    /// The same home without the exchange, as with a cloud recorder: everything viewed comes from the seed, nothing is
    /// uploaded.
    #[must_use]
    pub fn without_peers(&self) -> Self {
        Self { local_share: 0.0, peer_share: 0.0, duties: 0.0, ..*self }
    }
}

/// What things cost, in any currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Per GB that the seed sends.
    pub egress_per_gb: f64,
    /// Per GB that the seed stores for a month.
    pub storage_per_gb_month: f64,
    /// For the seed itself, per month.
    pub seed_per_month: f64,
    /// Paid to homes per GB that they upload.
    pub home_credit_per_gb: f64,
}

/// What a month costs per subscriber.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// For what the seed sends.
    pub egress: f64,
    /// For what it stores.
    pub storage: f64,
    /// For the seed itself.
    pub seed: f64,
    /// For what homes upload.
    pub credit: f64,
}

impl Cost {
    /// The cost of a month in which the seed sends `egress` bytes and stores `storage` bytes (on the average) and homes
    /// upload `upload` bytes, all of them together, per subscriber; 0 without subscribers.
    #[must_use]
    pub fn of(prices: &Prices, egress: f64, storage: f64, upload: f64, subscribers: f64) -> Self {
        let each = |amount: f64| if subscribers > 0.0 { positive(amount) / subscribers } else { 0.0 };
        Self {
            egress: each(egress / GB * prices.egress_per_gb),
            storage: each(storage / GB * prices.storage_per_gb_month),
            seed: each(prices.seed_per_month),
            credit: each(upload / GB * prices.home_credit_per_gb),
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.egress + self.storage + self.seed + self.credit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_of_a_thousand_homes_adds_up() {
        // Twenty channels at 1 MB/s, half of the time recorded, kept for a week in one copy.
        let per_day = recorded_per_day(20.0, 1e6, 0.5);
        assert_eq!((per_day, stored(per_day, 7.0, 1.0)), (864e9, 6048e9));
        let day = HomeDay { viewed: 4e9, local_share: 0.5, peer_share: 0.4, duties: per_day / 1000.0 };
        assert!((day.upload_per_month() - (48e9 + 25.92e9)).abs() < 1.0);
        assert!((day.seed_egress_per_month() - 12e9).abs() < 1.0);
        let prices = Prices {
            egress_per_gb: 0.01,
            storage_per_gb_month: 0.02,
            seed_per_month: 100.0,
            home_credit_per_gb: 0.001,
        };
        let cost = |day: HomeDay| {
            let (egress, upload) = (day.seed_egress_per_month() * 1000.0, day.upload_per_month() * 1000.0);
            Cost::of(&prices, egress, 6048e9, upload, 1000.0)
        };
        let (with, without) = (cost(day), cost(day.without_peers()));
        assert!((with.egress - 0.12).abs() < 1e-9 && (with.storage - 0.12096).abs() < 1e-9 && with.seed == 0.1);
        assert!((with.credit - 0.07392).abs() < 1e-9 && (with.total() - 0.41488).abs() < 1e-9, "{with:?}");
        assert!((without.egress - 1.2).abs() < 1e-9 && without.credit == 0.0);
    }

    #[test]
    fn nobody_pays_where_nobody_subscribes() {
        let prices =
            Prices { egress_per_gb: 1.0, storage_per_gb_month: 1.0, seed_per_month: 1.0, home_credit_per_gb: 1.0 };
        assert_eq!(Cost::of(&prices, 1e9, 1e9, 1e9, 0.0).total(), 0.0);
    }
}
