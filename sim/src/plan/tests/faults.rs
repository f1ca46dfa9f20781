//! Every kind of fault is told with its file, its line and what to write.

use crate::plan::{Plan, PlanFaults};

/// A scenario and all that is to be said of it.
const FAULTS: &[(&str, &[&str])] = &[
    // Names.
    ("[audience]\nhome = 5\n", &["s.toml:2: audience.home is no field; did you mean audience.homes?"]),
    ("[audiense]\nhomes = 5\n", &["s.toml:1: audiense is no section; did you mean [audience]?"]),
    ("homes = 5\n", &["s.toml:1: homes is no field; did you mean audience.homes?"]),
    ("[broadcast]\nbitrate = 5\n", &["s.toml:2: broadcast.bitrate is no field; did you mean broadcast.bitrate_mbps?"]),
    (
        "[broadcast]\nbitrate_kbps = 5000\n",
        &["s.toml:2: broadcast.bitrate_kbps is no field; did you mean broadcast.bitrate_mbps?"],
    ),
    ("[viewing]\nhomes = 5\n", &["s.toml:2: viewing.homes is no field; did you mean audience.homes?"]),
    ("[device.tv]\nshare = 1\n", &["s.toml:1: device is no section; did you mean [devices]?"]),
    (
        "[devices]\non_share = 0.5\n",
        &["s.toml:2: devices.on_share is no field; did you mean devices.box.on_share or devices.pc.on_share or \
         devices.tv.on_share?"],
    ),
    ("[run]\nqwertzuiop = 1\n", &["s.toml:2: run.qwertzuiop is no field; \"aftercast-sim fields\" lists all"]),
    // Types.
    (
        "[broadcast]\n\nbitrate_mbps = \"8Mb/s\"\n",
        &["s.toml:3: broadcast.bitrate_mbps is the text \"8Mb/s\"; write 8, without quotes; it is in Mb/s"],
    ),
    (
        "[broadcast]\nbitrate_mbps = \"800 kb/s\"\n",
        &[
            "s.toml:2: broadcast.bitrate_mbps is the text \"800 kb/s\"; write a number from 0.05 to 100, without quotes; it \
         is in Mb/s",
        ],
    ),
    (
        "[devices.tv]\non_share = \"30 %\"\n",
        &["s.toml:2: devices.tv.on_share is the text \"30 %\"; write 0.3, without quotes"],
    ),
    (
        "[audience]\nhomes = \"many\"\n",
        &[
            "s.toml:2: audience.homes is the text \"many\"; write a whole number from 1 to 5_000_000, without quotes; it is \
         in homes",
        ],
    ),
    ("[audience]\nhomes = true\n", &["s.toml:2: audience.homes is true; write a whole number from 1 to 5_000_000"]),
    ("[audience]\nhomes = [1, 2]\n", &["s.toml:2: audience.homes is a list; write a whole number from 1 to 5_000_000"]),
    (
        "[audience]\nhomes = 2026-11-23\n",
        &["s.toml:2: audience.homes is a date; write a whole number from 1 to 5_000_000"],
    ),
    (
        "[audience.homes]\nmany = 1\n",
        &["s.toml:1: audience.homes is a section; write a whole number from 1 to 5_000_000"],
    ),
    ("title = 5\n", &["s.toml:1: title is 5; write text of at most 120 characters, in quotes"]),
    ("title = \"a\\nb\"\n", &["s.toml:1: title is \"a\u{fffd}b\"; write text of at most 120 characters, in quotes"]),
    ("audience = 5\n", &["s.toml:1: audience is a section and has no value; write [audience] and its fields below"]),
    ("[[audience]]\nhomes = 5\n", &["s.toml:1: audience is given as a list; write [audience], once"]),
    // Ranges.
    (
        "[viewing]\nhours_per_home_day = -1\n",
        &["s.toml:2: viewing.hours_per_home_day is -1 hours a day; write a number from 0 to 24"],
    ),
    ("[audience]\nhomes = 0\n", &["s.toml:2: audience.homes is 0 homes; write a whole number from 1 to 5_000_000"]),
    ("[audience]\nhomes = 3.5\n", &["s.toml:2: audience.homes is 3.5 homes; write a whole number from 1 to 5_000_000"]),
    (
        "[audience]\nhomes = 99999999999999999999999999\n",
        &["s.toml:2: audience.homes is 99999999999999999999999999 homes; write a whole number from 1 to 5_000_000"],
    ),
    ("[viewing]\nown_share = nan\n", &["s.toml:2: viewing.own_share is nan; write a number from 0 to 1"]),
    ("[viewing]\nown_share = -inf\n", &["s.toml:2: viewing.own_share is -inf; write a number from 0 to 1"]),
    ("[viewing]\nown_share = 1e999\n", &["s.toml:2: viewing.own_share is 1e999; write a number from 0 to 1"]),
    ("[run]\nlevel = \"l2\"\n", &["s.toml:2: run.level is \"l2\"; write \"l1\" or \"l0\""]),
    ("assumptions = \"none\"\n", &["s.toml:1: assumptions is \"none\"; write \"low\", \"mid\" or \"high\""]),
    (
        "[exchange]\npolicy = \"our\"\n",
        &[
            "s.toml:2: exchange.policy is \"our\"; write \"ours\", \"seed-only\", \"in-order\", \"windows\" or \"deadlines\"",
        ],
    ),
    // Not TOML.
    ("[audience]\nhomes = 5\nhomes = 6\n", &["s.toml:3: audience.homes is given twice; write it once"]),
    (
        "[audience]\nhomes = 5\n[run]\nhours = 24\n[audience]\nregions = 5\n",
        &["s.toml:5: audience is given twice; write it once"],
    ),
    // Fields that forbid each other.
    (
        "[access.dsl]\nshare = 0.3\n",
        &["s.toml:2: access.dsl.share adds up to 1.1 with access.cable.share and access.fibre.share and \
         access.mobile.share; write shares that add up to 1"],
    ),
    (
        "[reach]\nopen = 0.5\ncone = 0.4\nsymmetric = 0.2\n",
        &["s.toml:2: reach.open adds up to 1.1 with reach.cone and reach.symmetric; write shares that add up to 1"],
    ),
    (
        "[devices.box]\nshare = 0\n[devices.tv]\nshare = 0\n[devices.pc]\nshare = 0\n",
        &[
            "s.toml:2: devices.box.share adds up to 0 with devices.tv.share and devices.pc.share; write shares that add up to 1",
        ],
    ),
    (
        "[exchange]\nread_ahead_s = 5\n",
        &[
            "s.toml:2: exchange.read_ahead_s is 5 seconds, shorter than one chunk of 6; write at least 6, or shorter chunks",
        ],
    ),
    (
        "[broadcast]\nbitrate_mbps = 100\n",
        &[
            "s.toml:2: broadcast.bitrate_mbps does not fit: broadcast.chunk_s is 6 seconds, which at 100 Mb/s make chunks of \
         75 MB; a chunk has at most 67; write at most 5.3",
        ],
    ),
    ("[exchange]\nread_ahead_s = 60\n[broadcast]\nchunk_s = 60\nprogramme_min = 1\nbitrate_mbps = 2\n", &[]),
    (
        "[recording]\nretention_days = 0\n",
        &["s.toml:2: recording.retention_days is 0 days: nothing is kept, and yet homes watch; write the days that \
         recordings are kept, or viewing.hours_per_home_day = 0"],
    ),
    (
        "[recording]\nper_home_day = 0\n",
        &[
            "s.toml:2: recording.per_home_day is 0: nobody records, and yet homes watch; write the recordings of a home in a \
         day, or viewing.hours_per_home_day = 0",
        ],
    ),
    (
        "[recording]\nper_home_day = 50\n[broadcast]\nchannels = 1\n",
        &[
            "s.toml:2: recording.per_home_day is 50, which are 37.5 hours a day; all channels together broadcast 24; write fewer \
         recordings, shorter programmes or more channels",
        ],
    ),
    (
        "[audience]\nhomes = 10\n",
        &[
            "s.toml:2: audience.homes does not fit: audience.regions is 20, but there are 10 homes; write at most 10, or \
         more homes",
        ],
    ),
    (
        "[audience]\nhomes = 8\nregions = 2\n",
        &["s.toml:2: audience.homes does not fit: exchange.holders is 8, but a home has 7 others to ask; write fewer \
         holders or more homes"],
    ),
    (
        "[viewing]\nhours_per_home_day = 20\n",
        &[
            "s.toml:2: viewing.hours_per_home_day does not fit: viewing.peak_to_mean is 2.6: with 20 hours a day every home \
         would watch 2.2 programmes at once at the peak; write at most 1.20, or fewer hours",
        ],
    ),
    (
        "[devices.tv]\ndisk_gb = 1\n",
        &[
            "s.toml:2: devices.tv.disk_gb is 1 GB, too little for one programme of 2.70 GB; write more, or 0 where these \
         devices keep nothing",
        ],
    ),
    (
        "[devices.pc]\nday_budget_gb = 20\nmonth_budget_gb = 10\n",
        &["s.toml:2: devices.pc.day_budget_gb is 20 GB, more than the 10 GB of a month; write at most 10"],
    ),
    (
        "[seed]\negress_mbps = 5\n",
        &["s.toml:2: seed.egress_mbps is 5 Mb/s, too little for one viewer at 8 Mb/s; write more, or 0 for no limit"],
    ),
    (
        "[outages]\nper_region_month = 1000\nminutes = 60\n",
        &[
            "s.toml:2: outages.per_region_month is 1000, which with 60 minutes each are 1000 hours; a month has 744; write \
         fewer or shorter ones",
        ],
    ),
    (
        "[adversaries]\npolluters = 0.6\nfree_riders = 0.6\n",
        &["s.toml:2: adversaries.polluters adds up to 1.2 with adversaries.report_liars and adversaries.free_riders; \
         write shares that add up to at most 1"],
    ),
    (
        "[adversaries]\ndeparture_share = 0.5\n",
        &["s.toml:2: adversaries.departure_share does not fit: adversaries.departure_hour is 0: nobody leaves, but \
         adversaries.departure_share is not 0; write the hour of the run, up to 26, or adversaries.departure_share = 0"],
    ),
    (
        "[adversaries]\ndeparture_hour = 5\n",
        &["s.toml:2: adversaries.departure_hour does not fit: adversaries.departure_share is 0: nobody leaves, but \
         adversaries.departure_hour is not 0; write the share of homes that leave, or adversaries.departure_hour = 0"],
    ),
    (
        "[adversaries]\ndeparture_share = 0.1\ndeparture_hour = 30\n",
        &["s.toml:3: adversaries.departure_hour is 30, after the end of the run at 26 hours; write at most 26"],
    ),
    (
        "[run]\nhours = 168\nreplications = 1\n[audience]\nhomes = 5_000_000\n[viewing]\nhours_per_home_day = 4\n",
        &[
            "s.toml:2: run.hours is 168: 5_000_000 homes play 85.0 thousand million chunks in that time; 5 can be followed; \
         write less of one of them, or run.level = \"l0\"",
        ],
    ),
    (
        "[broadcast]\nchannels = 1000\nchunk_s = 0.5\n[run]\nhours = 168\n",
        &[
            "s.toml:2: broadcast.channels is 1000: they broadcast 1224 million chunks in the run; 50 can be followed; write \
         less of one of them, or run.level = \"l0\"",
        ],
    ),
    (
        "[recording]\nper_home_day = 50\nretention_days = 30\n[run]\nhours = 160\n[audience]\nhomes = 5_000_000\n\
      [viewing]\nhours_per_home_day = 0.1\n",
        &[
            "s.toml:2: recording.per_home_day is 50: homes keep 1.7 thousand million recordings; 1 can be followed; write \
         less of one of them, or run.level = \"l0\"",
        ],
    ),
    ("[run]\nhours = 168\nlevel = \"l0\"\n[audience]\nhomes = 5_000_000\n[viewing]\nhours_per_home_day = 4\n", &[]),
    // All at once, in the order of lines; a clash with a field at fault is not told.
    (
        "[audience]\nhomes = -1\nregions = 0\n[viewing]\nsession = 5\npeak_hour = 25\n",
        &[
            "s.toml:2: audience.homes is -1 homes; write a whole number from 1 to 5_000_000",
            "s.toml:3: audience.regions is 0 regions; write a whole number from 1 to 10_000",
            "s.toml:5: viewing.session is no field; did you mean viewing.session_min?",
            "s.toml:6: viewing.peak_hour is 25 o'clock; write a number from 0 to 24",
        ],
    ),
    // Legal after all.
    ("", &[]),
    ("# nothing\n", &[]),
    ("[audience]\nhomes = 2e4\n", &[]),
    ("audience = { homes = 100 }\nexchange.holders = 4\n", &[]),
    ("\u{feff}[audience]\r\nhomes = 0x100\r\n", &[]),
    ("[devices]\n[devices.tv]\non_share = 1\n", &[]),
];

#[test]
fn every_fault_is_told_with_its_line_and_what_to_write() {
    for (text, expected) in FAULTS {
        let told = match Plan::parse(text, "s.toml") {
            Ok(_) => Vec::new(),
            Err(PlanFaults(faults)) => faults.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(told, *expected, "of\n{text}");
    }
}

/// The parser's words may change; the line and the advice are ours.
#[test]
fn what_is_not_toml_is_told_once_a_line() {
    for (text, line) in [
        ("[audience]\nhomes = \n", 2),
        ("[audience\nhomes = 5\n", 1),
        ("[run]\nlevel = l1\n", 2),
        ("title = \"open\n", 1),
        ("homes 5\n", 1),
        ("[run]\nhours = 24 hours\n", 2),
        ("[audience]\nhomes = 20.000,5\n", 2),
    ] {
        let told = Plan::parse(text, "s.toml").unwrap_err().to_string();
        let begin = format!("s.toml:{line}: this is not TOML (");
        assert!(told.starts_with(&begin), "{text}\n{told}");
        assert!(
            told.lines().next().unwrap().ends_with("); write [section] or name = value, with text in quotes"),
            "{told}"
        );
    }
}

#[test]
fn a_value_from_a_command_line_is_checked_like_one_of_a_file() {
    let mut plan = Plan::default();
    for (path, text, told) in [
        ("audience.homes", "0", "audience.homes is 0 homes; write a whole number from 1 to 5_000_000"),
        ("audience.homes", "3.5", "audience.homes is 3.5 homes; write a whole number from 1 to 5_000_000"),
        (
            "audience.homes",
            "many",
            "audience.homes is the text \"many\"; write a whole number from 1 to 5_000_000, \
                                    without quotes; it is in homes",
        ),
        ("audience.home", "5", "audience.home is no field; did you mean audience.homes?"),
        ("viewing.own_share", "NaN", "viewing.own_share is NaN; write a number from 0 to 1"),
        (
            "exchange.policy",
            "theirs",
            "exchange.policy is \"theirs\"; write \"ours\", \"seed-only\", \"in-order\", \
                                       \"windows\" or \"deadlines\"",
        ),
    ] {
        assert_eq!(plan.set(path, text).unwrap_err().to_string(), told);
    }
    assert_eq!(plan, Plan::default(), "a refused value changes nothing");
    for (path, text) in [("audience.homes", "20_000"), ("exchange.policy", "\"ours\""), ("cost.currency", "USD")] {
        plan.set(path, text).unwrap();
    }
    assert_eq!(plan, Plan::default());
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_a_fault_too() {
    let folder = std::env::temp_dir().join(format!("aftercast-plan-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("s.toml");
    let told = Plan::read(&file).unwrap_err().to_string();
    assert!(
        told.contains("s.toml: cannot be read (") && told.ends_with("; give the path of a scenario file"),
        "{told}"
    );
    std::fs::write(&file, b"[audience]\nhomes = \xff\n").unwrap();
    let told = Plan::read(&file).unwrap_err().to_string();
    assert!(told.ends_with("s.toml:2: has bytes that are not UTF-8; save it as UTF-8"), "{told}");
    std::fs::write(&file, "[audience]\nhomes = 100\n").unwrap();
    assert_eq!(Plan::read(&file).unwrap().audience.homes, 100);
    std::fs::remove_dir_all(&folder).unwrap();
}
