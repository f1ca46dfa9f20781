//! What runs say, in figures and sentences.

use crate::outcome::{Better, Breakdown, Distribution, Line, Metric, Outcome, Part, Series, Setting};
use crate::plan::Plan;
use crate::stats::{Histogram, billed, quantile_of_sorted};
use crate::theory::cost::{Cost, MONTH_DAYS, Prices};
use crate::world::{Run, Why};

/// Keys of the figures that targets speak of.
pub const SEED_SHARE: &str = "seed_share";
/// See above.
pub const STALLS: &str = "stalls_per_hour";
/// See above.
pub const START_P95: &str = "start_p95";
/// See above.
pub const HOME_UPLOAD: &str = "home_upload";
/// What is paid for, where the 95th percentile is.
pub const EGRESS_BILLED: &str = "egress_billed";

/// Minutes of one sample that is charged, and of one point of a curve.
const BILLED_MINUTES: usize = 5;
const CURVE_MINUTES: usize = 10;
const QUANTILES: [f64; 13] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/// The result of a scenario's runs.
pub fn outcome(plan: &Plan, runs: &[Run]) -> Outcome {
    let mut outcome = Outcome {
        title: plan.title.clone(),
        question: question(plan),
        level: "l1".into(),
        policy: plan.exchange.policy.name().into(),
        replications: runs.len() as u64,
        plan: Setting::all(plan),
        metrics: metrics(plan, runs),
        series: series(runs),
        breakdowns: breakdowns(runs),
        distributions: distributions(plan, runs),
        notes: notes(),
        ..Outcome::default()
    };
    outcome.answer = answer(plan, &outcome);
    outcome
}

pub(super) fn question(plan: &Plan) -> String {
    format!(
        "What do {} homes need from the broadcaster's own servers, and from each other, to play back {} channels of {} Mb/s?",
        plan.audience.homes, plan.broadcast.channels, plan.broadcast.bitrate_mbps
    )
}

struct Columns<'a> {
    runs: &'a [Run],
    all: Vec<Metric>,
}

impl Columns<'_> {
    fn add(
        &mut self,
        better: Better,
        group: &str,
        key: &str,
        name: &str,
        unit: &str,
        value: impl Fn(&Run) -> f64,
    ) -> &mut Metric {
        let values = self.runs.iter().map(value).collect();
        self.all.push(Metric { better, ..Metric::of(key, name, unit, group, values) });
        let last = self.all.len() - 1;
        &mut self.all[last]
    }
}

fn headline(metric: &mut Metric, help: &str) {
    metric.headline = true;
    explain(metric, help);
}

fn explain(metric: &mut Metric, help: &str) {
    metric.help = help.into();
}

fn metrics(plan: &Plan, runs: &[Run]) -> Vec<Metric> {
    let mut columns = Columns { runs, all: Vec::new() };
    let homes = plan.audience.homes.max(1) as f64;
    let months = plan.run.hours / 24.0 / MONTH_DAYS;
    egress(&mut columns);
    efficiency(&mut columns);
    shares(&mut columns);
    viewing(&mut columns);
    recording(&mut columns);
    let c = &mut columns;
    let upload = |run: &Run| run.sent.iter().sum::<u64>() as f64 / homes / months / 1e9;
    headline(
        c.add(Better::Lower, "Homes", HOME_UPLOAD, "Upload of a home", "GB per month", upload),
        "What a home sends to others and to the broadcaster in a month, on average over all homes.",
    );
    let of_homes = |share| move |run: &Run| quantile_of_sorted(&run.sent, share).unwrap_or(0) as f64 / months / 1e9;
    explain(
        c.add(
            Better::Lower,
            "Homes",
            "home_upload_p95",
            "Upload that 95 of 100 homes stay below",
            "GB per month",
            of_homes(0.95),
        ),
        "As if each day of the month were like the one that was run.",
    );
    c.add(Better::Lower, "Homes", "home_upload_max", "Upload of the busiest home", "GB per month", of_homes(1.0));
    budgets(c);
    storage(plan, c);
    costs(plan, c, months);
    columns.all
}

/// Only where owners set budgets.
fn budgets(c: &mut Columns) {
    if c.runs.iter().all(|run| run.of_budget.is_empty()) {
        return;
    }
    let mean = |run: &Run| run.of_budget.iter().map(|part| f64::from(*part)).sum::<f64>() / 1e6;
    explain(
        c.add(Better::Lower, "Homes", "of_budget", "Upload of what owners allow, on average", "share", move |run| {
            mean(run) / run.of_budget.len().max(1) as f64
        }),
        "Of the budget of a day or a month, whichever is less for the time that was run.",
    );
    c.add(Better::Lower, "Homes", "of_budget_p95", "Of what owners allow, 95 of 100 homes below", "share", |run| {
        f64::from(quantile_of_sorted(&run.of_budget, 0.95).unwrap_or(0)) / 1e6
    });
}

/// Mb/s of one source, in means of so many minutes.
fn rates(run: &Run, from: usize, minutes: usize) -> Vec<f64> {
    let minute = run.tally.minutes[from].rates();
    minute.chunks(minutes).map(|part| part.iter().sum::<f64>() * 8.0 / 1e6 / part.len() as f64).collect()
}

fn egress(c: &mut Columns) {
    let quantile = |share| {
        move |run: &Run| {
            let mut rates = rates(run, 2, 1);
            rates.sort_by(f64::total_cmp);
            quantile_of_sorted(&rates, share).unwrap_or(0.0)
        }
    };
    let group = "What the broadcaster's servers send";
    c.add(Better::Lower, group, "egress_p50", "Half of all minutes below", "Mb/s", quantile(0.5));
    c.add(Better::Lower, group, "egress_p95", "95 of 100 minutes below", "Mb/s", quantile(0.95));
    c.add(Better::Lower, group, "egress_p99", "99 of 100 minutes below", "Mb/s", quantile(0.99));
    headline(
        c.add(Better::Lower, group, "egress_max", "Busiest minute of the servers", "Mb/s", quantile(1.0)),
        "The most that the broadcaster's own servers had to send in any minute.",
    );
    explain(
        c.add(Better::Lower, group, EGRESS_BILLED, "Charged by the 95th percentile", "Mb/s", |run| {
            billed(&rates(run, 2, BILLED_MINUTES)).unwrap_or(0.0)
        }),
        "Of all five-minute means the top 5 % are left out; what is left at most is what many contracts charge.",
    );
}

fn share(run: &Run, from: usize) -> f64 {
    run.tally.bytes[from] as f64 / run.tally.bytes.iter().sum::<u64>().max(1) as f64
}

fn shares(c: &mut Columns) {
    let group = "Where the pictures come from";
    headline(
        c.add(Better::Lower, group, SEED_SHARE, "Share of the broadcaster's servers", "share", |run| share(run, 2)),
        "Of all bytes that were played, those that the broadcaster's own servers sent.",
    );
    headline(
        c.add(Better::Neither, group, "peer_share", "Share of other homes", "share", |run| share(run, 1)),
        "Of all bytes that were played, those that other viewers' devices sent.",
    );
    c.add(Better::Neither, group, "own_share", "Share of the home's own disk", "share", |run| share(run, 0));
    c.add(Better::Higher, group, "offload_mean", "Kept away from the servers, mean of viewings", "share", |run| {
        run.tally.offload.mean().unwrap_or(0.0) / 1e6
    });
    explain(
        c.add(
            Better::Higher,
            group,
            "offload_p5",
            "Kept away from the servers, worst 5 % of viewings",
            "share",
            |run| quantile(&run.tally.offload, 0.05),
        ),
        "95 of 100 viewings need less of the servers than this leaves.",
    );
}

/// Of a histogram in millionths.
fn quantile(histogram: &Histogram, share: f64) -> f64 {
    histogram.quantile(share).map_or(0.0, |value| value as f64 / 1e6)
}

fn viewing(c: &mut Columns) {
    let group = "What viewers feel";
    c.add(Better::Lower, group, "start_p50", "Start, half of all viewings within", "s", |run| {
        quantile(&run.tally.start, 0.5)
    });
    headline(
        c.add(Better::Lower, group, START_P95, "Start, 95 of 100 viewings within", "s", |run| {
            quantile(&run.tally.start, 0.95)
        }),
        "From the key on the remote control to the picture.",
    );
    for (key, name, share) in [
        ("start_away_p50", "Start of what is not on the own disk, half within", 0.5),
        ("start_away_p95", "Start of what is not on the own disk, 95 of 100 within", 0.95),
    ] {
        c.add(Better::Lower, group, key, name, "s", |run| quantile(&run.tally.start_away, share));
    }
    c.add(Better::Lower, group, "seek_p50", "Jump, half of them within", "s", |run| quantile(&run.tally.seek, 0.5));
    c.add(Better::Lower, group, "seek_p95", "Jump, 95 of 100 within", "s", |run| quantile(&run.tally.seek, 0.95));
    headline(
        c.add(Better::Lower, group, STALLS, "Interruptions in an hour of viewing", "per hour", |run| {
            run.tally.stalls as f64 * 3600.0 / run.tally.watched.max(1.0)
        }),
        "Times that the picture stood still because a piece was not there.",
    );
    c.add(Better::Lower, group, "stalled_share", "Time stood still", "share of viewing", |run| {
        run.tally.stalled / run.tally.watched.max(1.0)
    });
    c.add(Better::Neither, group, "viewings", "Viewings", "", |run| run.tally.ended as f64);
    c.add(Better::Neither, group, "most_at_once", "Most viewings at once", "", |run| run.most_sessions as f64);
}

fn recording(c: &mut Columns) {
    let group = "Recording";
    let part =
        |part: fn(&Run) -> u64, whole: fn(&Run) -> u64| move |run: &Run| part(run) as f64 / whole(run).max(1) as f64;
    explain(
        c.add(
            Better::Higher,
            group,
            "coverage",
            "Pieces that reached the broadcaster's store",
            "share",
            part(|run| run.recorded.stored, |run| run.recorded.received),
        ),
        "Of the pieces that at least one honest home received whole; what was still on its way at the end is missing.",
    );
    explain(
        c.add(
            Better::Lower,
            group,
            "amplification",
            "Uploaded per byte stored",
            "times",
            part(|run| run.recorded.uploaded, |run| run.recorded.unique),
        ),
        "1 means that nothing was uploaded twice.",
    );
    c.add(Better::Lower, group, "decided_p95", "Agreed upon, 95 of 100 pieces within", "s", |run| {
        quantile(&run.recorded.decided, 0.95)
    });
    c.add(Better::Lower, group, "stored_p95", "Stored, 95 of 100 pieces within", "s", |run| {
        quantile(&run.recorded.kept, 0.95)
    });
    c.add(Better::Lower, group, "falsely", "Pieces agreed upon falsely", "", |run| run.recorded.falsely as f64);
    let per_home = |run: &Run| run.tally.thrown as f64 / run.tally.bytes.iter().sum::<u64>().max(1) as f64;
    c.add(Better::Lower, group, "thrown", "Fetched and thrown away", "share", per_home);
    c.add(Better::Neither, group, "banned", "Times that a device was caught sending false bytes", "", |run| {
        run.tally.banned as f64
    });
}

/// Beside the least that any policy would have needed, where that was looked at.
fn efficiency(c: &mut Columns) {
    if c.runs.iter().all(|run| run.intervals.is_empty()) {
        return;
    }
    let group = "What the broadcaster's servers send";
    let sums = |run: &Run| {
        let sum = |of: fn(&crate::world::Interval) -> u64| run.intervals.iter().map(of).sum::<u64>() as f64;
        (sum(|at| at.delivered), sum(|at| at.seed), sum(|at| at.least))
    };
    explain(
        c.add(Better::Higher, group, "efficiency", "Of what homes could have sent, they sent", "share", move |run| {
            let (delivered, seed, least) = sums(run);
            (delivered - seed) / (delivered - least).max(1.0)
        }),
        "In minutes that were looked at closely; 100 % would take a scheduler that knows everything beforehand.",
    );
    c.add(
        Better::Lower,
        group,
        "least",
        "The least that the servers could have sent, of what came by the network",
        "share",
        move |run| {
            let (delivered, _, least) = sums(run);
            least / delivered.max(1.0)
        },
    );
}

fn storage(plan: &Plan, c: &mut Columns) {
    let group = "Storage and repair";
    let days = plan.run.hours / 24.0;
    let retention = plan.recording.retention_days;
    c.add(Better::Lower, group, "seed_storage", "Kept by the broadcaster", "TB", move |run| {
        run.recorded.unique as f64 / days * retention / 1e12
    });
    let programme = plan.broadcast.programme_min * 60.0 * plan.broadcast.bitrate_mbps * 125_000.0;
    let a_day = plan.recording.per_home_day * programme;
    let kept: f64 =
        plan.devices.all().iter().map(|(_, device)| device.share * (a_day * retention).min(device.disk_gb * 1e9)).sum();
    c.add(Better::Neither, group, "home_storage", "Kept by a home, on average", "GB", move |_| kept / 1e9);
    let repaired = a_day * MONTH_DAYS * plan.recording.damaged_share * plan.recording.repaired_share / 1e9;
    explain(
        c.add(
            Better::Lower,
            group,
            "repair",
            "Repair of damaged recordings, at most",
            "GB per home and month",
            move |_| repaired,
        ),
        "If damaged pieces were fetched whole; usually a few hundredths of a piece are enough.",
    );
}

pub(super) fn prices(plan: &Plan) -> Prices {
    Prices {
        egress_per_gb: plan.cost.egress_per_gb,
        storage_per_gb_month: plan.cost.storage_per_gb_month,
        seed_per_month: plan.cost.seed_per_month,
        home_credit_per_gb: plan.cost.home_credit_per_gb,
    }
}

fn costs(plan: &Plan, c: &mut Columns, months: f64) {
    let prices = prices(plan);
    let homes = plan.audience.homes.max(1) as f64;
    let days = plan.run.hours / 24.0;
    let stored = plan.recording.retention_days / days;
    let unit = format!("{} per home and month", plan.cost.currency);
    let with = move |run: &Run| {
        let sent: u64 = run.sent.iter().sum();
        let storage = run.recorded.unique as f64 * stored;
        Cost::of(&prices, run.tally.bytes[2] as f64 / months, storage, sent as f64 / months, homes).total()
    };
    headline(
        c.add(Better::Lower, "Cost", "cost", "Cost with homes helping", &unit, with),
        "Servers, what they send and store, and what homes are paid.",
    );
    let without = move |run: &Run| {
        let sent = (run.tally.bytes[1] + run.tally.bytes[2]) as f64;
        let storage = run.recorded.unique as f64 * stored;
        Cost::of(&prices, sent / months, storage, 0.0, homes).total()
    };
    explain(
        c.add(Better::Lower, "Cost", "cost_without", "Cost if the servers sent what other homes sent", &unit, without),
        "The same viewings, own disks included, without any help of other homes.",
    );
}

fn series(runs: &[Run]) -> Vec<Series> {
    let Some(first) = runs.first() else { return Vec::new() };
    let points = rates(first, 0, CURVE_MINUTES).len();
    let x: Vec<f64> = (0..points).map(|point| (point * CURVE_MINUTES) as f64 / 60.0).collect();
    let line =
        |name: &str, from| Line::of(name, &runs.iter().map(|run| rates(run, from, CURVE_MINUTES)).collect::<Vec<_>>());
    let names = ["Own disk", "Other homes", "Broadcaster's servers"];
    let who = Series {
        key: "who".into(),
        name: "Who delivers, over the day".into(),
        help: "All bytes that homes play, by where they come from.".into(),
        unit: "Mb/s".into(),
        x_name: "Time since measuring began".into(),
        x_unit: "h".into(),
        x: x.clone(),
        lines: names.iter().enumerate().map(|(from, name)| line(name, from)).collect(),
        stacked: true,
    };
    let seed = Series {
        key: "egress".into(),
        name: "What the broadcaster's servers send, over the day".into(),
        help: "With the range in which the mean lies with 95 % confidence.".into(),
        lines: vec![line(names[2], 2)],
        stacked: false,
        ..who.clone()
    };
    vec![who, seed]
}

fn breakdowns(runs: &[Run]) -> Vec<Breakdown> {
    let part = |why: Why| {
        let shares: Vec<f64> = runs
            .iter()
            .map(|run| run.tally.why[why as usize] as f64 / run.tally.bytes.iter().sum::<u64>().max(1) as f64)
            .collect();
        Part::of(why.name(), why.help(), &shares)
    };
    vec![Breakdown {
        key: "why".into(),
        name: "Why bytes came from the broadcaster's servers".into(),
        help: "As shares of all bytes played.".into(),
        unit: "share".into(),
        parts: Why::ALL.into_iter().map(part).filter(|part| part.mean > 0.0).collect(),
    }]
}

fn distributions(plan: &Plan, runs: &[Run]) -> Vec<Distribution> {
    let months = plan.run.hours / 24.0 / MONTH_DAYS;
    let of = |get: fn(&Run) -> &Histogram| {
        let mut all = Histogram::new();
        runs.iter().for_each(|run| all.merge(get(run)));
        QUANTILES.iter().map(|share| (*share, quantile(&all, *share))).collect::<Vec<_>>()
    };
    let mut sent: Vec<u64> = runs.iter().flat_map(|run| run.sent.iter().copied()).collect();
    sent.sort_unstable();
    let upload = QUANTILES
        .iter()
        .map(|share| (*share, quantile_of_sorted(&sent, *share).unwrap_or(0) as f64 / months / 1e9))
        .collect();
    let distribution = |key: &str, name: &str, help: &str, unit: &str, of: &str, log, points| Distribution {
        key: key.into(),
        name: name.into(),
        help: help.into(),
        unit: unit.into(),
        of: of.into(),
        log,
        points,
    };
    vec![
        distribution(
            "start",
            "Time to the picture",
            "At the start of a viewing.",
            "s",
            "viewings",
            true,
            of(|run| &run.tally.start),
        ),
        distribution(
            "seek",
            "Time to the picture after a jump",
            "Within a recording.",
            "s",
            "jumps",
            true,
            of(|run| &run.tally.seek),
        ),
        distribution(
            "upload",
            "Upload of homes",
            "If each day were like this one.",
            "GB per month",
            "homes",
            false,
            upload,
        ),
    ]
}

fn notes() -> Vec<String> {
    [
        "Devices decide piece by piece; here they do once for each chunk, by the same rules, as if pieces were a fluid.",
        "A viewer's line towards the home is not shared between downloads, and other use of homes' lines is not modelled beside the share that owners allow.",
        "Damaged recordings are repaired or not by chance; the traffic of repair is only estimated.",
        "The seed's own limits other than its line (processor, disk) are not modelled.",
        "A month is thirty days like the one that was run.",
    ]
    .map(String::from)
    .to_vec()
}

/// The answer in sentences.
pub(super) fn answer(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mean = |key: &str| outcome.metric(key).map_or(0.0, |metric| metric.mean);
    let rate = |megabits: f64| {
        if megabits >= 1000.0 { format!("{:.1} Gb/s", megabits / 1000.0) } else { format!("{megabits:.0} Mb/s") }
    };
    let mut sentences = vec![
        format!(
            "The broadcaster's servers send {:.1} % of what is played, {} in their busiest minute.",
            mean(SEED_SHARE) * 100.0,
            rate(mean("egress_max")),
        ),
        format!(
            "{:.1} % comes from other homes, {:.1} % from the viewer's own disk; a home uploads {:.1} GB a month on average.",
            mean("peer_share") * 100.0,
            mean("own_share") * 100.0,
            mean(HOME_UPLOAD),
        ),
        format!(
            "95 of 100 viewings start within {:.2} s; the picture stands still {:.2} times in an hour.",
            mean(START_P95),
            mean(STALLS),
        ),
    ];
    let (with, without) = (mean("cost"), mean("cost_without"));
    sentences.push(format!(
        "That costs {with:.3} {currency} per home and month; without the help of other homes it would be {without:.3} {currency}.",
        currency = plan.cost.currency
    ));
    sentences
}

/// The same where it was calculated.
pub(super) fn answer_calculated(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mean = |key: &str| outcome.metric(key).map_or(0.0, |metric| metric.mean);
    vec![
        format!(
            "At the evening's peak {:.0} homes watch at once, and the broadcaster's servers send about {:.0} Mb/s of it, {:.1} %.",
            mean("viewers"),
            mean("egress_max"),
            mean(SEED_SHARE) * 100.0,
        ),
        format!(
            "A home uploads about {:.1} GB a month; all of it costs {:.3} {} per home and month.",
            mean(HOME_UPLOAD),
            mean("cost"),
            plan.cost.currency
        ),
    ]
}
