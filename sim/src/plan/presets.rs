//! Named plans to begin with: changes to the defaults, each with its reason.

use super::{Assumption, Plan, write};

/// One changed field.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The field.
    pub path: &'static str,
    /// Its value, as in a scenario.
    pub value: &'static str,
    /// Why.
    pub why: &'static str,
}

/// A named plan.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name, as [`Plan::preset`] takes it.
    pub name: &'static str,
    /// What is asked.
    pub question: &'static str,
    /// What differs from the defaults.
    pub changes: &'static [Change],
}

impl Preset {
    /// Its plan, with what is likely where it does not say.
    pub fn plan(&self) -> Plan {
        self.under(Assumption::Mid)
    }

    /// Its plan under an assumption.
    pub fn under(&self, assumption: Assumption) -> Plan {
        let mut plan = Plan::assumed(assumption);
        for change in self.changes {
            plan.set(change.path, change.value).expect("a preset changes fields that there are, within their ranges");
        }
        plan
    }

    /// Its scenario file: every field, those that differ from the default with the reason.
    pub fn to_toml(&self) -> String {
        write::scenario(&self.plan(), Some(self))
    }
}

const fn change(path: &'static str, value: &'static str, why: &'static str) -> Change {
    Change { path, value, why }
}

/// All presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "regional",
        question: "What does a regional broadcaster with 20,000 homes and few channels need?",
        changes: &[
            change("title", "A regional broadcaster", "reports are told apart by it"),
            change("audience.homes", "20000", "what the broadcaster reaches in its first year"),
            change("audience.regions", "10", "a few towns"),
            change("broadcast.channels", "4", "two channels of its own and two of partners"),
            change("cost.seed_per_month", "600", "two small rented servers"),
        ],
    },
    Preset {
        name: "national",
        question: "What does a national broadcaster with a million homes need?",
        changes: &[
            change("title", "A national broadcaster", "reports are told apart by it"),
            change("run.replications", "3", "at a million homes one run differs little from the next"),
            change("audience.homes", "1000000", "what a national broadcaster reaches"),
            change("audience.regions", "500", "two thousand homes on one exchange or head end"),
            change("broadcast.channels", "60", "all channels of a country that many receive"),
            change("cost.seed_per_month", "20000", "machines at two sites and somebody awake at night"),
            change("cost.egress_per_gb", "0.01", "at this volume prices are negotiated"),
        ],
    },
    Preset {
        name: "flash",
        question: "What happens when most of the audience watches one event within minutes?",
        changes: &[
            change("title", "An event that everybody watches", "reports are told apart by it"),
            change("audience.homes", "100000", "enough homes for the event to be what matters"),
            change("audience.regions", "100", "a thousand homes in each"),
            change("broadcast.event_share", "0.7", "a final: seven viewings of ten are of the event"),
            change("broadcast.programme_min", "110", "a match with its break"),
            change("viewing.session_min", "90", "most stay to the end"),
            change("viewing.hours_per_home_day", "1.5", "more is watched on such a day"),
            change("viewing.peak_hour", "20.75", "half an hour after the event begins, when start-over is used most"),
            change("viewing.peak_to_mean", "8", "almost all begin within the same hour"),
            change("viewing.age_half_life_h", "1", "the next morning everybody knows the result"),
        ],
    },
    Preset {
        name: "hostile",
        question: "Does it hold when one home in three means harm or does not help, and many leave at once?",
        changes: &[
            change("title", "A hostile fleet", "reports are told apart by it"),
            change("adversaries.polluters", "0.05", "a broken or subverted make of device"),
            change("adversaries.report_liars", "0.1", "the share of witnesses that truth is designed to bear"),
            change("adversaries.free_riders", "0.2", "twice what was seen in BitTorrent"),
            change("adversaries.departure_share", "0.3", "an update that stops nearly every third device"),
            change("adversaries.departure_hour", "22", "at 20 hours counted time, when most watch"),
            change("outages.per_region_month", "10", "a bad month"),
            change("outages.churn", "0.1", "devices that restart again and again"),
        ],
    },
    Preset {
        name: "small",
        question: "A first look: how do the results read?",
        changes: &[
            change("title", "Five hundred homes to try out", "reports are told apart by it"),
            change("run.replications", "3", "an answer within seconds"),
            change("audience.homes", "500", "an answer within seconds"),
            change("audience.regions", "5", "a hundred homes in each"),
            change("broadcast.channels", "3", "so that homes still have recordings in common"),
        ],
    },
];
