//! Invented results of a plausible size and shape: what the tests of every form look at.

use crate::outcome::{
    Breakdown, Comparison, Distribution, Line, Metric, Named, Outcome, Part, Point, Series, Setting, Solution, Sweep,
    Target,
};

const RUNS: usize = 10;

/// Values of ten runs about a mean, some two per cent apart; others for another `salt`.
fn runs(mean: f64, salt: u64) -> Vec<f64> {
    let offset = |run: u64| ((run * 7919 + salt * 104_729) % 1000) as f64 / 1000.0 - 0.5;
    (0..RUNS as u64).map(|run| mean * (1.0 + 0.06 * offset(run))).collect()
}

/// How much is watched at an hour of the day, 0 to 1.
fn demand(hour: f64) -> f64 {
    let bump = |at: f64, width: f64| (-((hour - at) / width).powi(2)).exp();
    0.04 + 0.86 * bump(20.6, 2.1) + 0.22 * bump(13.0, 2.6) + 0.1 * bump(7.5, 1.4)
}

/// One scenario of so many homes whose seed delivers so great a part.
pub(crate) fn outcome(homes: f64, seed_part: f64) -> Outcome {
    let peak = homes * 0.172 * 8.0;
    Outcome {
        title: "A regional broadcaster: 20 channels, 20,000 homes".into(),
        question: "How much does the broadcaster have to deliver itself on an ordinary weekday evening, and what does a viewer \
                   notice?"
            .into(),
        answer: vec![
            "The broadcaster's servers have to deliver at most 1.9 Gb/s in the busiest five minutes of the evening.".into(),
            "Nine of ten hours watched come from the viewer's own disk or from other homes. Half of all viewers wait less \
             than half a second, and one viewer in twenty more than 1.3 seconds."
                .into(),
            "The narrowest place is the uplink of homes on DSL: with a third fewer homes on fibre the servers would deliver \
             twice as much."
                .into(),
        ],
        level: "l1".into(),
        policy: "ours".into(),
        replications: RUNS as u64,
        plan: plan(homes),
        metrics: metrics(peak, homes, seed_part),
        series: vec![delivered(peak, seed_part), egress(peak, seed_part)],
        breakdowns: vec![reasons(peak, seed_part)],
        distributions: vec![start_up(seed_part), uploads()],
        notes: vec![
            "Homes on the same provider's network share no bottleneck beyond their own line in this model.".into(),
            "Viewers do not react to what they see: nobody gives up after a long wait.".into(),
            "The mix of access lines is an assumption; with `assumptions = \"low\"` peers carry a fifth less.".into(),
        ],
    }
}

fn plan(homes: f64) -> Vec<Setting> {
    [
        ("random_seed", "1", "", "Chance begins here; the same number gives the same result."),
        ("assumptions", "mid", "", "Which of three values uncertain fields have where the file names none."),
        ("audience.homes", &homes.to_string(), "homes", "Homes that record and watch."),
        ("audience.regions", "20", "", "Parts of the country that share outages."),
        ("broadcast.channels", "20", "", "Channels that are broadcast all day."),
        ("broadcast.bitrate_mbps", "8", "Mb/s", "Bit rate of one channel as it is broadcast."),
        ("broadcast.chunk_s", "6", "s", "Length of a chunk."),
        ("viewing.hours_per_home_day", "1", "h", "How long a home watches recordings per day."),
        ("viewing.peak_hour", "20.5", "o'clock", "When most is watched."),
        ("devices.box.share", "0.4", "share", "Part of all homes whose device is a set-top box."),
        ("devices.box.on_share", "0.95", "share", "Part of the day that it is on."),
        ("access.dsl.up_mbps", "10", "Mb/s", "What a DSL line sends."),
    ]
    .map(|(path, value, unit, help)| Setting::new(path, value, unit).explained(help))
    .to_vec()
}

fn metrics(peak: f64, homes: f64, seed: f64) -> Vec<Metric> {
    let metric = |key: &str, name: &str, unit: &str, group: &str, mean: f64, salt: u64| {
        Metric::of(key, name, unit, group, runs(mean, salt)).lower_is_better()
    };
    vec![
        metric(
            "seed_egress_p95",
            "Seed's delivery in the busiest 5 minutes of 20",
            "Mb/s",
            "Seed",
            peak * seed * 0.8,
            1,
        )
        .explained("What most contracts bill: one five-minute mean in twenty is higher.")
        .headline(),
        metric("seed_egress_max", "Seed's highest delivery", "Mb/s", "Seed", peak * seed, 2).headline(),
        metric("seed_storage", "Storage on the seed", "TB", "Seed", 31.4, 3).headline(),
        metric("seed_share", "Part of all bytes that the seed delivers", "share", "Who delivers", seed, 4).headline(),
        metric("peer_share", "Part of all bytes that other homes deliver", "share", "Who delivers", 0.31 - seed, 5)
            .higher_is_better(),
        metric("local_share", "Part of all bytes from the viewer's own disk", "share", "Who delivers", 0.69, 6)
            .higher_is_better(),
        metric("start_p50", "Wait until playback begins: half wait less", "s", "What viewers feel", 0.42, 7),
        metric(
            "start_p95",
            "Wait until playback begins: 95 of 100 wait less",
            "s",
            "What viewers feel",
            1.2 + 1.3 * seed,
            8,
        )
        .explained("From pressing play to the first picture.")
        .headline(),
        metric("stalls", "Interruptions per hour watched", "per hour", "What viewers feel", 0.013, 9).headline(),
        metric("coverage", "Chunks that are whole somewhere", "share", "What viewers feel", 0.953, 10)
            .higher_is_better(),
        metric(
            "upload_home",
            "Upload of an average home",
            "GB per month",
            "What homes give",
            3.7e4 / homes.max(1.0),
            11,
        )
        .headline(),
        Metric::exact("upload_budget", "Budget of a home", "GB per month", "What homes give", 60.0),
        Metric::of("cost", "Cost per home", "EUR per month", "Cost", vec![0.031; RUNS]).lower_is_better(),
        Metric::of("late", "Chunks lost after being acknowledged", "", "Checks", vec![0.0; RUNS]).lower_is_better(),
    ]
}

fn quarter_hours() -> Vec<f64> {
    (0..97).map(|quarter| f64::from(quarter) / 4.0).collect()
}

fn over_the_day(peak: f64, part: f64, salt: u64) -> Vec<Vec<f64>> {
    let run = |scale: f64| {
        let noisy = |(index, hour): (usize, f64)| {
            let noise = ((index as u64 * 31 + salt * 17 + (scale * 1000.0) as u64) % 97) as f64 / 97.0 - 0.5;
            peak * part * scale * demand(hour) * (1.0 + 0.14 * noise)
        };
        quarter_hours().into_iter().enumerate().map(noisy).collect()
    };
    runs(1.0, salt).into_iter().map(run).collect()
}

fn delivered(peak: f64, seed: f64) -> Series {
    let line = |name: &str, part: f64, salt: u64| Line::of(name, &over_the_day(peak, part, salt));
    Series {
        key: "delivered".into(),
        name: "Who delivers what is watched".into(),
        help: "All that viewers watch at each time of the day, by where it came from.".into(),
        unit: "Mb/s".into(),
        x_name: "Hour of the day".into(),
        x_unit: "o'clock".into(),
        x: quarter_hours(),
        lines: vec![
            line("The viewer's own disk", 0.66, 1),
            line("Own home's network", 0.03, 2),
            line("Other homes", 0.31 - seed, 3),
            line("Seed", seed, 4),
        ],
        stacked: true,
    }
}

fn egress(peak: f64, seed: f64) -> Series {
    Series {
        key: "seed_egress".into(),
        name: "What the seed delivers over the day".into(),
        help: "Means of five minutes, over all runs.".into(),
        unit: "Mb/s".into(),
        x_name: "Hour of the day".into(),
        x_unit: "o'clock".into(),
        x: quarter_hours(),
        lines: vec![Line::of("Seed", &over_the_day(peak, seed, 9))],
        stacked: false,
    }
}

fn reasons(peak: f64, seed: f64) -> Breakdown {
    let part =
        |name: &str, help: &str, part: f64, salt: u64| Part::of(name, help, &runs(peak * seed * part * 3.4, salt));
    Breakdown {
        key: "seed_reasons".into(),
        name: "Why the seed had to deliver".into(),
        help: "All bytes that came from the seed in a day, by why they did not come from a home.".into(),
        unit: "GB".into(),
        parts: vec![
            part("Start", "The first seconds always come from the seed, so that playback begins at once.", 0.34, 1),
            part(
                "Busy homes",
                "Homes had it, but their uplinks were taken. More uplink share would move this.",
                0.27,
                2,
            ),
            part("Nobody has it", "No other home recorded the programme, or all that did have deleted it.", 0.18, 3),
            part("Not reachable", "Homes had it, behind routers that no connection gets through.", 0.12, 4),
            part("Too late", "A home was asked and did not deliver in time.", 0.06, 5),
            part("Wrong data", "A home sent what does not match its fingerprint.", 0.002, 6),
        ],
    }
}

fn spread(median: f64, width: f64) -> Vec<(f64, f64)> {
    let logit = |part: f64| (part / (1.0 - part)).ln();
    (1..200)
        .map(|n| f64::from(n) / 200.0)
        .chain([0.999])
        .map(|part| (part, median * (width * logit(part)).exp()))
        .collect()
}

fn start_up(seed: f64) -> Distribution {
    Distribution {
        key: "start".into(),
        name: "Wait until playback begins".into(),
        help: "From pressing play to the first picture.".into(),
        unit: "s".into(),
        of: "starts".into(),
        log: true,
        points: spread(0.37 + 0.6 * seed, 0.39),
    }
}

fn uploads() -> Distribution {
    Distribution {
        key: "uploads".into(),
        name: "Upload of a home".into(),
        help: String::new(),
        unit: "GB per month".into(),
        of: "homes".into(),
        log: false,
        points: spread(1.5, 0.3),
    }
}

/// The same broadcaster with more and more homes.
pub(crate) fn sweep() -> Sweep {
    let point = |homes: f64| Point { value: homes.to_string(), outcome: outcome(homes, 0.9 / homes.powf(0.22)) };
    Sweep {
        title: "More homes, more peers".into(),
        question: "Does the broadcaster's own share fall as more homes take part?".into(),
        answer: vec!["Yes: with ten times as many homes the part that the seed delivers falls by 40 %.".into()],
        parameter: Setting::new("audience.homes", "20000", "homes").explained("Homes that record and watch."),
        name: "Homes".into(),
        points: [1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5].map(point).to_vec(),
    }
}

/// Three policies on the same evening.
pub(crate) fn comparison() -> Comparison {
    let case = |name: &str, seed| Named { name: name.into(), outcome: outcome(2e4, seed) };
    let cases = vec![case("Ours", 0.085), case("In order", 0.124), case("Only the seed", 0.29)];
    let mut comparison = Comparison::of("Three ways to choose who delivers", "What does a good choice save?", cases);
    comparison.answer = vec!["Against the usual order it saves a third of what the seed delivers.".into()];
    for case in &mut comparison.cases[1..] {
        case.outcome.plan[1].value = "low".into();
    }
    comparison
}

/// A search among the sweep's points.
pub(crate) fn solution() -> Solution {
    let mut sweep = sweep();
    sweep.question = "How many homes does it take until the seed delivers no more than a ninth?".into();
    sweep.answer = vec!["20,000 homes are enough.".into()];
    let targets = vec![
        Target { key: "seed_share".into(), limit: 0.11, at_least: false },
        Target { key: "start_p95".into(), limit: 1.5, at_least: false },
    ];
    Solution { found: Some("20000".into()), sweep, targets }
}
