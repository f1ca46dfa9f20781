use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

const MILLIS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// A span that a budget holds for, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// From midnight.
    Day,
    /// From the first of the month, as providers count.
    Month,
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Month => "month",
        })
    }
}

/// How many bytes may leave the home; none: as many as the rate allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// Bytes in a day.
    pub day: Option<u64>,
    /// Bytes in a calendar month.
    pub month: Option<u64>,
}

/// How many bytes have left the home. Kept on disk, so that a restart does not renew a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Usage {
    /// Days since 1970-01-01.
    #[n(0)]
    day: u64,
    /// Bytes in that day.
    #[n(1)]
    day_bytes: u64,
    /// Months since March of year 0.
    #[n(2)]
    month: u64,
    /// Bytes in that month.
    #[n(3)]
    month_bytes: u64,
}

impl Usage {
    /// Bytes of the current day.
    #[must_use]
    pub fn day_bytes(&self) -> u64 {
        self.day_bytes
    }

    /// Bytes of the current month.
    #[must_use]
    pub fn month_bytes(&self) -> u64 {
        self.month_bytes
    }

    /// Begins a new day or month. A clock that is set back renews nothing.
    pub fn roll(&mut self, wall: UnixMillis) {
        let day = wall.0 / MILLIS_PER_DAY;
        if day > self.day {
            (self.day, self.day_bytes) = (day, 0);
        }
        let month = month_of_day(day);
        if month > self.month {
            (self.month, self.month_bytes) = (month, 0);
        }
    }

    /// Counts bytes that leave the home.
    pub fn add(&mut self, bytes: u64) {
        self.day_bytes = self.day_bytes.saturating_add(bytes);
        self.month_bytes = self.month_bytes.saturating_add(bytes);
    }

    /// The first budget that is used up.
    #[must_use]
    pub fn exhausted(&self, budgets: &Budgets) -> Option<Period> {
        if budgets.day.is_some_and(|limit| self.day_bytes >= limit) {
            return Some(Period::Day);
        }
        budgets.month.is_some_and(|limit| self.month_bytes >= limit).then_some(Period::Month)
    }
}

/// Number of the calendar month that a day lies in, counted from March of year 0 of the Gregorian calendar: years
/// that begin in March end with the leap day, so months follow from days by division alone.
fn month_of_day(days_since_1970: u64) -> u64 {
    const DAYS_FROM_MARCH_0: u64 = 719_468;
    const DAYS_PER_400_YEARS: u64 = 146_097;
    let days = days_since_1970 + DAYS_FROM_MARCH_0;
    let (era, day) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    (era * 400 + year) * 12 + (5 * day_of_year + 2) / 153
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> UnixMillis {
        UnixMillis(days * MILLIS_PER_DAY)
    }

    #[test]
    fn months_begin_on_the_first() {
        // The plain calendar, walked day by day through leap and common years.
        let mut day = 0;
        let mut months = month_of_day(0);
        for year in 1970..2110u64 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for len in [31, 28 + u64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                assert_eq!(month_of_day(day), months, "first day, {year}");
                assert_eq!(month_of_day(day + len - 1), months, "last day, {year}");
                day += len;
                months += 1;
            }
        }
    }

    #[test]
    fn a_new_day_renews_the_day_and_keeps_the_month() {
        let budgets = Budgets { day: Some(10), month: Some(25) };
        let mut usage = Usage::default();
        usage.roll(at(20_000));
        usage.add(10);
        assert_eq!(usage.exhausted(&budgets), Some(Period::Day));
        usage.roll(at(20_001));
        assert_eq!(usage.exhausted(&budgets), None);
        usage.add(15);
        usage.roll(at(20_002));
        assert_eq!(usage.exhausted(&budgets), Some(Period::Month));
        usage.roll(at(20_040));
        assert_eq!(usage.exhausted(&budgets), None);
    }

    #[test]
    fn a_clock_set_back_renews_nothing() {
        let mut usage = Usage::default();
        usage.roll(at(20_000));
        usage.add(7);
        usage.roll(at(3));
        assert_eq!((usage.day_bytes(), usage.month_bytes()), (7, 7));
        usage.roll(UnixMillis(u64::MAX));
        assert_eq!(usage.day_bytes(), 0);
    }
}
