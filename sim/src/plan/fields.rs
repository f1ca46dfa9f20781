//! The one table of fields. A row is `name: (type and range), unit, [default] or [low, mid, high], help, source;`,
//! where low, mid and high are the defaults under the three assumptions: little, likely and much use of homes to each
//! other. A field of `classes!` has a row of defaults for each class. A new row is all that a new field needs.
//!
//! Sources: a publication with its year where there is one; "our choice" where the field is a setting of the system
//! or the experiment; "assumption" where nothing better was found. What a source says is told apart from what is
//! taken from it.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::Serialize;

use crate::exchange::PolicyKind;

use super::value::{Choice, Slot};
use super::{Assumption, Field, Kind, Level, Plan, Value};

/// A section of the scenario.
#[derive(Debug)]
pub struct Section {
    /// Its name, such as "audience" or "devices.box"; empty for the fields before the first one.
    pub path: &'static str,
    /// One line on what it is about.
    pub help: &'static str,
}

/// All sections in the order of the file.
pub const SECTIONS: &[Section] = &[
    Section { path: "", help: "The scenario itself" },
    Section { path: "run", help: "How the experiment is run" },
    Section { path: "audience", help: "Who takes part" },
    Section { path: "broadcast", help: "What is broadcast" },
    Section { path: "recording", help: "What homes record" },
    Section { path: "viewing", help: "What homes watch of it, and when" },
    Section { path: "devices.box", help: "Set-top boxes. One device records in each home; the shares add up to 1" },
    Section { path: "devices.tv", help: "Television sets that record by themselves" },
    Section { path: "devices.pc", help: "Computers" },
    Section { path: "access.dsl", help: "Telephone lines. The shares of the access lines add up to 1" },
    Section { path: "access.cable", help: "Television cable" },
    Section { path: "access.fibre", help: "Fibre to the home" },
    Section { path: "access.mobile", help: "Mobile networks as a home's only line" },
    Section { path: "reach", help: "Which homes reach each other. open, cone and symmetric add up to 1" },
    Section { path: "outages", help: "What fails" },
    Section { path: "exchange", help: "How chunks are fetched" },
    Section { path: "seed", help: "The seed: the broadcaster's own servers" },
    Section { path: "adversaries", help: "Who means harm, or does not help" },
    Section { path: "cost", help: "What it costs" },
    Section { path: "targets", help: "What solve is to meet; 0 asks nothing" },
];

/// All fields in the order of the file.
pub static FIELDS: LazyLock<Vec<&'static Field>> = LazyLock::new(|| {
    let of = |section: &'static Section| TABLE.iter().copied().flatten().filter(|row| row.section() == section.path);
    SECTIONS.iter().flat_map(of).collect()
});

/// The field of this path.
pub(super) fn find(path: &str) -> Option<&'static Field> {
    FIELDS.iter().copied().find(|field| field.path == path)
}

/// Every row, as the macros below leave them.
pub(super) const TABLE: &[&[Field]] = &[
    HEAD,
    Run::ROWS,
    Audience::ROWS,
    Broadcast::ROWS,
    Recording::ROWS,
    Viewing::ROWS,
    Devices::ROWS,
    Access::ROWS,
    Reach::ROWS,
    Outages::ROWS,
    Exchange::ROWS,
    Seed::ROWS,
    Adversaries::ROWS,
    Cost::ROWS,
    Targets::ROWS,
];

impl Plan {
    /// A plan of nothing, to put the defaults into.
    pub(super) fn blank() -> Self {
        Self {
            title: String::new(),
            random_seed: 0,
            assumptions: Assumption::Mid,
            run: Run::blank(),
            audience: Audience::blank(),
            broadcast: Broadcast::blank(),
            recording: Recording::blank(),
            viewing: Viewing::blank(),
            devices: Devices::blank(),
            access: Access::blank(),
            reach: Reach::blank(),
            outages: Outages::blank(),
            exchange: Exchange::blank(),
            seed: Seed::blank(),
            adversaries: Adversaries::blank(),
            cost: Cost::blank(),
            targets: Targets::blank(),
        }
    }
}

const HEAD: &[Field] = &[
    row!(
        "title", (text 120), "text", [""],
        "What the scenario is called in reports",
        "our choice: none until you give one", title
    ),
    row!(
        "random_seed", (u64 0..=9_007_199_254_740_991), "number", [1],
        "All chance follows from it: the same number gives the same results",
        "our choice: any will do", random_seed
    ),
    row!(
        "assumptions", (choice Assumption), "name", ["low", "mid", "high"],
        "Defaults of all fields not given here: homes are of little (low), likely (mid) or much (high) use to each other",
        "our choice: answer a question with all three to see what hangs on assumptions", assumptions
    ),
];

section! {
    /// How the experiment is run.
    run: Run {
        replications: (u64 1..=1000), "runs", [10],
            "Independent runs with other luck; the spread between them gives the intervals",
            "our choice: with ten, a 95 % interval is 2.26 standard errors to each side (Student's t)";
        hours: (f64 0.5..=168.0), "hours", [24.0],
            "Time that is counted, after the warm-up",
            "our choice: a day has every hour once";
        warm_up_hours: (f64 0.0..=48.0), "hours", [2.0],
            "Time before it, to fill what begins empty; not counted",
            "our choice: three times the mean viewing";
        snapshots: (u64 0..=1000), "snapshots", [0],
            "Minutes of each run that are held beside the least that any scheduler would need of the seed; takes time",
            "our choice: none unless asked for";
        level: (choice Level), "name", ["l1"],
            "l1 follows every chunk through virtual time; l0 uses formulas and answers at once",
            "our choice: formulas know no queues and no deadlines";
    }
}

section! {
    /// Who takes part.
    audience: Audience {
        homes: (u64 1..=5_000_000), "homes", [20_000],
            "Homes that take part",
            "our choice: a regional broadcaster's first year; put in your own";
        regions: (u64 1..=10_000), "regions", [20],
            "Parts of the network that fail together",
            "assumption: a thousand homes hang on one exchange or head end";
    }
}

section! {
    /// What is broadcast.
    broadcast: Broadcast {
        channels: (u64 1..=1000), "channels", [20],
            "Channels that can be recorded",
            "our choice: a regional offer; put in your own";
        bitrate_mbps: (f64 0.05..=100.0), "Mb/s", [8.0],
            "Mean rate of one channel as it is broadcast",
            "assumption: HD in AVC over the air; EBU TR 036 (2016) packs 4 to 11 HD programmes in HEVC into a multiplex";
        chunk_s: (f64 0.5..=60.0), "seconds", [6.0],
            "Length of a chunk",
            "our choice: shorter starts sooner, longer needs fewer messages";
        programme_min: (f64 1.0..=600.0), "minutes", [45.0],
            "Mean length of a programme",
            "assumption: series and magazines of 30 to 60 minutes make up most of a schedule";
        popularity_exponent: (f64 0.0..=3.0), "exponent", [0.5, 0.8, 1.1],
            "How uneven the channels are (Zipf): 0 all equal, 1 the second has half of the first",
            "assumption: near Zipf's law; Cha et al. 2008 and Qiu et al. 2009 found IPTV channels very uneven";
        event_share: (f64 0.0..=1.0), "share", [0.0],
            "Part of all recordings and viewings that goes to one event",
            "our choice: an ordinary day; the preset flash has an event";
        event_hour: (f64 0.0..=24.0), "o'clock", [20.25],
            "When the event begins",
            "our choice: a quarter past eight, when evening programmes begin in much of Europe";
    }
}

section! {
    /// What homes record.
    recording: Recording {
        per_home_day: (f64 0.0..=50.0), "recordings a day", [1.0, 2.0, 3.0],
            "Programmes that a home records",
            "Leichtman Research 2006: 11.3 a week on a home's own recorder; YouView/YouGov 2013: 10 a week. More with no limit of tuners (assumption)";
        retention_days: (f64 0.0..=365.0), "days", [7.0],
            "How long a recording is kept",
            "Gonçalves et al. 2016: cable catch-up reaches back up to seven days";
        damaged_share: (f64 0.0..=1.0), "share", [0.01, 0.002, 0.0002],
            "Chunks that one home's reception damages",
            "assumption: a fault every 10, 50 or 500 minutes of chunks of six seconds";
        repaired_share: (f64 0.0..=1.0), "share", [0.8, 0.9, 0.98],
            "Damaged chunks that are made whole from other homes' receptions",
            "assumption: damage is mostly local; where all receive badly, nobody can help";
    }
}

section! {
    /// What homes watch of it, and when.
    viewing: Viewing {
        hours_per_home_day: (f64 0.0..=24.0), "hours a day", [1.5, 1.0, 0.7],
            "Time that a home watches what was recorded",
            "Ofcom Media Nations 2024: 25 min of recordings and 20 min of broadcasters' own on-demand a person a day; 2.4 persons a home, often together (assumption)";
        session_min: (f64 1.0..=600.0), "minutes", [40.0],
            "Mean length of one viewing",
            "assumption: most of a programme of 45 minutes";
        peak_hour: (f64 0.0..=24.0), "o'clock", [20.5],
            "When most homes watch",
            "Ofcom's reports on public service broadcasting: peak time is 18:00 to 22:30; Nielsen 2008: playback peaks from 21 to 22 h";
        peak_to_mean: (f64 1.0..=24.0), "times the mean", [3.2, 2.6, 2.2],
            "How many more homes watch at the peak than on average over the day",
            "assumption: half of a day's viewing falls into Ofcom's peak time of 4.5 hours, which is 2.7 times the mean";
        own_share: (f64 0.0..=1.0), "share", [0.7, 0.85, 0.95],
            "Viewings of programmes that this very home recorded",
            "assumption: one watches what one recorded; the rest is found in the guide afterwards";
        age_half_life_h: (f64 0.1..=1000.0), "hours", [30.0, 18.0, 12.0],
            "Time after which half of the viewings of a programme are over",
            "Nielsen 2006: 78 % of a week's playback within two days, which is 22 hours; Nielsen (early 2010s): almost half on the same day";
        seeks_per_hour: (f64 0.0..=1000.0), "seeks an hour", [4.0, 2.0, 1.0],
            "Jumps within a programme per hour of viewing",
            "assumption: skipping breaks and the credits";
        player_ms: (f64 0.0..=10_000.0), "ms", [30.0],
            "What the player adds to every start: from the key to the request, and from the first bytes to the picture",
            "assumption: a frame or two, with a decoder that is ready";
    }
}

classes! {
    /// What records.
    devices: Devices {
        /// Set-top boxes.
        set_top "box",
        /// Television sets.
        tv "tv",
        /// Computers.
        pc "pc",
    }
    /// One kind of device.
    Device {
        share: (f64 0.0..=1.0), "share", "Homes whose recorder is one of these" {
            set_top "box": [0.4, 0.6, 0.75], "assumption: the broadcaster hands out boxes";
            tv "tv": [0.4, 0.25, 0.15], "assumption: those who want no further box";
            pc "pc": [0.2, 0.15, 0.1], "assumption: enthusiasts";
        }
        on_share: (f64 0.0..=1.0), "share", "Part of the day that it is switched on" {
            set_top "box": [0.9, 0.95, 0.99], "NRDC 2011: boxes run at almost full power when they seem switched off; some are unplugged (assumption)";
            tv "tv": [0.23, 0.3, 0.4], "Donovan et al. 2013 (LBNL): a home's main set is on for 7.2 hours a day, the mean set for 5.5";
            pc "pc": [0.25, 0.5, 0.8], "assumption: some are left on to record, most are not";
        }
        disk_gb: (f64 0.0..=1_000_000.0), "GB", "Disk space for recordings; 0 keeps none" {
            set_top "box": [250.0, 500.0, 1000.0], "assumption: half of the usual disks";
            tv "tv": [16.0, 64.0, 128.0], "assumption: built-in memory or a stick";
            pc "pc": [50.0, 100.0, 250.0], "assumption: what owners lend";
        }
        uplink_share: (f64 0.0..=1.0), "share", "Part of the line's upstream rate that it may use" {
            set_top "box": [0.1, 0.25, 0.5], "our choice: a quarter leaves room for calls and uploads";
            tv "tv": [0.1, 0.25, 0.5], "our choice: a quarter leaves room for calls and uploads";
            pc "pc": [0.1, 0.25, 0.5], "our choice: a quarter leaves room for calls and uploads";
        }
        day_budget_gb: (f64 0.0..=100_000.0), "GB a day", "Most that it uploads in a day; 0 sets no limit" {
            set_top "box": [5.0, 0.0, 0.0], "our choice: the line's share is the limit";
            tv "tv": [5.0, 0.0, 0.0], "our choice: the line's share is the limit";
            pc "pc": [5.0, 0.0, 0.0], "our choice: the line's share is the limit";
        }
        month_budget_gb: (f64 0.0..=1_000_000.0), "GB a month", "Most that it uploads in a month; 0 sets no limit" {
            set_top "box": [100.0, 0.0, 0.0], "our choice: the line's share is the limit";
            tv "tv": [100.0, 0.0, 0.0], "our choice: the line's share is the limit";
            pc "pc": [100.0, 0.0, 0.0], "our choice: the line's share is the limit";
        }
        metered_share: (f64 0.0..=1.0), "share", "Those of them whose owner pays by volume, and which upload nothing therefore" {
            set_top "box": [0.1, 0.03, 0.0], "assumption: fixed lines are rarely paid by volume";
            tv "tv": [0.1, 0.03, 0.0], "assumption: fixed lines are rarely paid by volume";
            pc "pc": [0.15, 0.05, 0.0], "assumption: some are tethered to a telephone";
        }
    }
}

classes! {
    /// What connects homes.
    access: Access {
        /// Telephone lines.
        dsl "dsl",
        /// Television cable.
        cable "cable",
        /// Fibre to the home.
        fibre "fibre",
        /// Mobile networks.
        mobile "mobile",
    }
    /// One kind of access line.
    AccessLine {
        share: (f64 0.0..=1.0), "share", "Homes on such a line" {
            dsl "dsl": [0.33, 0.2, 0.05], "OECD broadband statistics: 20 % at the end of 2023, 33 % in 2019; high: as in Spain (assumption)";
            cable "cable": [0.33, 0.31, 0.12], "OECD broadband statistics: 34 % in 2020, 32 % in 2021; the rest of 2023 (assumption)";
            fibre "fibre": [0.27, 0.42, 0.8], "OECD broadband statistics: 42 % at the end of 2023, 30 % in 2020, above 80 % in Spain";
            mobile "mobile": [0.07, 0.07, 0.03], "assumption: what the OECD's other technologies leave";
        }
        down_mbps: (f64 0.1..=100_000.0), "Mb/s", "What the line carries towards the home" {
            dsl "dsl": [16.0, 50.0, 100.0], "assumption: FTTC is sold as 40 to 80 Mb/s in Britain (ISPreview 2023), older lines are slower";
            cable "cable": [100.0, 250.0, 500.0], "Ofcom UK Home Broadband Performance 2023: 271 Mb/s on average";
            fibre "fibre": [100.0, 150.0, 500.0], "Ofcom UK Home Broadband Performance 2023: 149 Mb/s on average";
            mobile "mobile": [20.0, 60.0, 150.0], "Ookla 2024 (Czechia): medians of 93 to 95 Mb/s; less inside and shared (assumption)";
        }
        up_mbps: (f64 0.0..=100_000.0), "Mb/s", "What the line carries from the home" {
            dsl "dsl": [2.0, 10.0, 20.0], "Ofcom UK Home Broadband Performance 2021: median of all lines 9.8 Mb/s; FTTC was the commonest";
            cable "cable": [10.0, 25.0, 50.0], "assumption: about a tenth of the downstream rate";
            fibre "fibre": [20.0, 50.0, 250.0], "assumption: sold from a fifth of the downstream rate to as much as it";
            mobile "mobile": [3.0, 10.0, 20.0], "Ookla 2021: world median of 5G 21 Mb/s; Ookla 2024 (Czechia): 24 Mb/s; less inside and shared (assumption)";
        }
        rtt_ms: (f64 0.1..=5000.0), "ms", "Round trip from the home to its provider's network" {
            dsl "dsl": [49.0, 35.0, 20.0], "FCC Measuring Broadband America (early 2010s): 49 ms; less by now (assumption)";
            cable "cable": [32.0, 22.0, 15.0], "FCC Measuring Broadband America (early 2010s): 32 ms; less by now (assumption)";
            fibre "fibre": [24.0, 12.0, 6.0], "FCC Measuring Broadband America (early 2010s): 24 ms; less by now (assumption)";
            mobile "mobile": [60.0, 40.0, 25.0], "Ookla 2024 (Czechia): 33 ms at the best operator; more inside (assumption)";
        }
    }
}

section! {
    /// Which homes reach each other.
    reach: Reach {
        open: (f64 0.0..=1.0), "share", [0.1, 0.15, 0.25],
            "Homes that anybody reaches: no address translation, or an open port",
            "Maier et al. 2011: more than 90 % of DSL lines use address translation; some routers open ports on request (assumption)";
        cone: (f64 0.0..=1.0), "share", [0.7, 0.7, 0.65],
            "Homes behind a router that keeps one outside port for all partners, so that holes can be punched",
            "Ford et al. 2005: 82 % of routers tested allow it for UDP, which is 70 of the 85 % that are not open";
        symmetric: (f64 0.0..=1.0), "share", [0.2, 0.15, 0.1],
            "Homes behind a router that takes another outside port for every partner",
            "Ford et al. 2005: the other 18 % of routers";
        open_any: (f64 0.0..=1.0), "share", [0.95, 0.98, 1.0],
            "Connections that succeed where one side is open",
            "assumption: all but those that a firewall stops";
        cone_cone: (f64 0.0..=1.0), "share", [0.86, 0.9, 0.92],
            "Connections that succeed between cone and cone",
            "Trautwein et al. 2025: 70 % (give or take 7.1) of pairs behind routers succeed; this split over the pairs gives as much";
        cone_symmetric: (f64 0.0..=1.0), "share", [0.3, 0.3, 0.34],
            "Connections that succeed between cone and symmetric",
            "Trautwein et al. 2025: 70 % (give or take 7.1) of pairs behind routers succeed; this split over the pairs gives as much";
        symmetric_symmetric: (f64 0.0..=1.0), "share", [0.05, 0.05, 0.1],
            "Connections that succeed between symmetric and symmetric",
            "Trautwein et al. 2025: 70 % (give or take 7.1) of pairs behind routers succeed; this split over the pairs gives as much";
    }
}

section! {
    /// What fails.
    outages: Outages {
        per_region_month: (f64 0.0..=1000.0), "outages a month", [2.0, 1.0, 0.3],
            "How often all homes of a region are cut off together",
            "assumption: nothing published by region was found";
        minutes: (f64 0.0..=43_200.0), "minutes", [180.0, 90.0, 30.0],
            "How long they then are",
            "assumption: nothing published by region was found";
        churn: (f64 0.0..=0.99), "share", [0.05, 0.02, 0.005],
            "Part of its time switched on that a device is gone without notice",
            "assumption: restarts, pulled plugs, lost wireless links";
    }
}

section! {
    /// How chunks are fetched.
    exchange: Exchange {
        policy: (choice PolicyKind), "name", ["ours"],
            "Which scheduler decides whom to ask; all but ours are there to compare with",
            "our choice: the one that ships";
        holders: (u64 1..=64), "homes", [8],
            "Holders of a chunk that are sampled before the seed is asked",
            "our choice: if each answers with p, the seed is left with (1-p)^8";
        read_ahead_s: (f64 0.5..=600.0), "seconds", [70.0],
            "How far ahead of the picture playback fetches",
            "our choice: a node fetches 40 s ahead of what its player asks for, and browsers' players hold half a minute";
    }
}

section! {
    /// The broadcaster's own servers.
    seed: Seed {
        egress_mbps: (f64 0.0..=10_000_000.0), "Mb/s", [0.0],
            "Most that the seed sends; 0 sets no limit, which shows what it would have to",
            "our choice: find the need first";
        rtt_ms: (f64 0.1..=5000.0), "ms", [20.0],
            "Round trip from a home's provider to the seed",
            "assumption: within one country";
        answer_ms: (f64 0.0..=10_000.0), "ms", [12.0],
            "What an answer takes beside the lines, on average: looked up, signed, and written down at the home",
            "our measurement of 2026 (make calibrate): half of what forty real nodes on two cores add to a start";
        head_kb: (f64 0.0..=100_000.0), "kB", [900.0],
            "Size of the small first chunk that the seed sends to start playback",
            "assumption: six seconds at 1.2 Mb/s";
    }
}

section! {
    /// Who means harm, or does not help.
    adversaries: Adversaries {
        polluters: (f64 0.0..=1.0), "share", [0.001, 0.0, 0.0],
            "Homes that send false bytes to others",
            "assumption: devices are enrolled, and who lies is found out; the preset hostile has more";
        report_liars: (f64 0.0..=1.0), "share", [0.01, 0.0, 0.0],
            "Homes that report false chunks to the seed",
            "assumption: devices are enrolled, and who lies is found out; the preset hostile has more";
        free_riders: (f64 0.0..=1.0), "share", [0.1, 0.02, 0.0],
            "Homes that fetch from others and send nothing",
            "Zghaibeh and Anagnostakis (2000s): about 10 % cheat in BitTorrent; fewer where the owner must switch it off (assumption)";
        departure_share: (f64 0.0..=1.0), "share", [0.0],
            "Homes that leave all at once, for good",
            "our choice: none; the preset hostile has a departure";
        departure_hour: (f64 0.0..=216.0), "hours", [0.0],
            "When they leave, from the beginning of the run with its warm-up; 0 where nobody does",
            "our choice: none; the preset hostile has a departure";
    }
}

section! {
    /// What it costs.
    cost: Cost {
        currency: (text 8), "text", ["USD"],
            "Currency of the prices below",
            "our choice: the list prices below are in dollars";
        egress_per_gb: (f64 0.0..=100.0), "money per GB", [0.005, 0.02, 0.04],
            "Price of what the seed sends",
            "list prices of 2026: bunny.net from 0.005, Amazon CloudFront 0.040 from 150 TB a month on; between them (assumption)";
        storage_per_gb_month: (f64 0.0..=100.0), "money per GB and month", [0.023],
            "Price of what the seed stores",
            "Amazon S3 Standard 2023: 0.021 to 0.026 by region and volume";
        seed_per_month: (f64 0.0..=1_000_000_000.0), "money a month", [2000.0],
            "Price of the seed's machines and their care",
            "assumption: a few rented servers and a part of somebody's time";
        home_credit_per_gb: (f64 0.0..=100.0), "money per GB", [0.0],
            "What homes are paid for what they send",
            "our choice: nothing";
    }
}

section! {
    /// What is asked of `solve`.
    targets: Targets {
        seed_share: (f64 0.0..=1.0), "share", [0.0],
            "Most of the bytes played that may come from the seed",
            "our choice: 0 asks nothing";
        stalls_per_hour: (f64 0.0..=1000.0), "stalls an hour", [0.0],
            "Most interruptions per hour of viewing",
            "our choice: 0 asks nothing";
        start_p95_s: (f64 0.0..=600.0), "seconds", [0.0],
            "Longest that 95 of 100 viewings may take to start",
            "our choice: 0 asks nothing";
        home_upload_gb_month: (f64 0.0..=1_000_000.0), "GB a month", [0.0],
            "Most that a home may upload in a month, on average",
            "our choice: 0 asks nothing";
    }
}
