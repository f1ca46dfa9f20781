//! What is asked, put to the simulator.

use std::path::Path;

use aftercast_sim::exchange::PolicyKind;
use aftercast_sim::outcome::{Comparison, Named, Outcome, Point, Report, Setting, Solution, Sweep, Target};
use aftercast_sim::plan::{FIELDS, Kind, PRESETS, Plan};
use aftercast_sim::study::{HOME_UPLOAD, SEED_SHARE, STALLS, START_P95, study};
use anyhow::Context as _;

use crate::progress::Bar;
use crate::{How, Trouble};

/// Most values that solve tries between two that do not differ in a whole number.
const HALVINGS: u32 = 12;

/// The scenario that is meant.
pub fn plan(scenario: &str, changes: &[String]) -> Result<Plan, Trouble> {
    let mut plan = match scenario.strip_prefix("preset:") {
        Some(name) => {
            Plan::preset(name).ok_or_else(|| Trouble::Asked(format!("there is no preset {name}; {}", presets())))?
        }
        None => Plan::read(Path::new(scenario)).map_err(|faults| Trouble::Asked(faults.to_string()))?,
    };
    for change in changes {
        let (path, value) = split(change, "audience.homes=50000")?;
        plan.vary(path, value).map_err(|fault| Trouble::Asked(fault.to_string()))?;
    }
    plan.check().map_err(|faults| Trouble::Asked(faults.to_string()))?;
    Ok(plan)
}

/// The presets there are.
pub fn presets() -> String {
    let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    format!("there are {}", names.join(", "))
}

fn split<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), Trouble> {
    text.split_once('=').ok_or_else(|| Trouble::Asked(format!("{text:?} is no change of a field; write {example}")))
}

fn changed(plan: &Plan, path: &str, value: &str) -> Result<Plan, Trouble> {
    let mut other = plan.clone();
    other.vary(path, value).map_err(|fault| Trouble::Asked(fault.to_string()))?;
    other.check().map_err(|faults| Trouble::Asked(faults.to_string()))?;
    Ok(other)
}

fn outcomes(plans: &[Plan], how: &How) -> Vec<Outcome> {
    let threads = how.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let runs = plans.iter().map(|plan| plan.run.replications).sum();
    let mut bar = Bar::new(runs, how.json);
    let outcomes = study(plans, threads, |progress| bar.told(progress));
    bar.done();
    outcomes
}

/// One scenario.
pub fn run(plan: Plan, how: &How) -> Result<Report, Trouble> {
    let outcome = outcomes(&[plan], how).pop().context("nothing was run")?;
    Ok(Report::Run(outcome))
}

/// A result that was written earlier; none where a scenario is meant.
pub fn earlier(scenario: &str) -> Result<Option<Report>, Trouble> {
    if Path::new(scenario).extension().is_none_or(|extension| extension != "json") {
        return Ok(None);
    }
    let text = std::fs::read_to_string(scenario).with_context(|| scenario.to_owned())?;
    let report = serde_json::from_str(&text).map_err(|error| {
        Trouble::Asked(format!("{scenario}: {error}; it is to be the report.json of an earlier run"))
    })?;
    Ok(Some(report))
}

fn swept(plan: &Plan, path: &str, values: &[String], how: &How) -> Result<Sweep, Trouble> {
    let plans: Vec<Plan> = values.iter().map(|value| changed(plan, path, value)).collect::<Result<_, _>>()?;
    let outcomes = outcomes(&plans, how);
    let points = values.iter().zip(outcomes).map(|(value, outcome)| Point { value: value.clone(), outcome }).collect();
    let parameter = Setting::one(plan, path);
    let parameter = parameter.ok_or_else(|| Trouble::Asked(format!("{path} is no field; see aftercast-sim fields")))?;
    let name = parameter.help.clone();
    let question = format!("What does it change if {path} is {}?", values.join(", "));
    let mut sweep = Sweep { title: plan.title.clone(), question, parameter, name, points, answer: Vec::new() };
    sweep.answer = told(&sweep);
    Ok(sweep)
}

/// What a sweep shows in a sentence for each of what matters most.
fn told(sweep: &Sweep) -> Vec<String> {
    let (Some(first), Some(last)) = (sweep.points.first(), sweep.points.last()) else { return Vec::new() };
    let percent = |point: &Point| point.outcome.metric(SEED_SHARE).map_or(0.0, |metric| metric.mean * 100.0);
    let upload = |point: &Point| point.outcome.metric(HOME_UPLOAD).map_or(0.0, |metric| metric.mean);
    vec![
        format!(
            "With {} at {} the broadcaster's servers send {:.1} % of what is played, at {} {:.1} %.",
            sweep.parameter.path,
            first.value,
            percent(first),
            last.value,
            percent(last)
        ),
        format!("A home then uploads {:.1} GB a month, or {:.1} GB.", upload(first), upload(last)),
    ]
}

/// One scenario at several values.
pub fn sweep(plan: &Plan, over: &str, how: &How) -> Result<Report, Trouble> {
    let (path, values) = split(over, "viewing.own_share=0.5,0.7,0.9")?;
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    Ok(Report::Sweep(swept(plan, path, &values, how)?))
}

/// Targets that a scenario sets.
fn targets(plan: &Plan) -> Result<Vec<Target>, Trouble> {
    let asked = [
        (SEED_SHARE, plan.targets.seed_share),
        (STALLS, plan.targets.stalls_per_hour),
        (START_P95, plan.targets.start_p95_s),
        (HOME_UPLOAD, plan.targets.home_upload_gb_month),
    ];
    let targets: Vec<Target> = asked
        .into_iter()
        .filter(|(_, limit)| *limit > 0.0)
        .map(|(key, limit)| Target { key: key.into(), limit, at_least: false })
        .collect();
    if targets.is_empty() {
        return Err(Trouble::Asked(
            "the scenario asks for nothing; write for instance seed_share = 0.1 under [targets]".into(),
        ));
    }
    Ok(targets)
}

/// The smallest value that meets the targets: halved, as more of the field is taken to do no worse.
pub fn solve(plan: &Plan, smallest: &str, how: &How) -> Result<Report, Trouble> {
    let example = "exchange.holders=1..32";
    let (path, range) = split(smallest, example)?;
    let wrong = || Trouble::Asked(format!("{smallest:?} says no range; write {example}"));
    let (from, to) = range.split_once("..").ok_or_else(wrong)?;
    let (mut low, mut high): (f64, f64) =
        (from.trim().parse().map_err(|_| wrong())?, to.trim().parse().map_err(|_| wrong())?);
    if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) {
        return Err(wrong());
    }
    let whole = FIELDS.iter().any(|field| field.path == path && matches!(field.kind, Kind::Count { .. }));
    let text = |value: f64| if whole { format!("{value:.0}") } else { format!("{value}") };
    let targets = targets(plan)?;
    let is_met = |outcome: &Outcome| targets.iter().all(|target| target.is_met_by(outcome));
    let mut sweep = swept(plan, path, &[text(low), text(high)], how)?;
    let met = |sweep: &Sweep, value: &str| {
        sweep.points.iter().find(|point| point.value == value).is_some_and(|point| is_met(&point.outcome))
    };
    let mut found = None;
    if met(&sweep, &text(low)) {
        found = Some(text(low));
    } else if met(&sweep, &text(high)) {
        for _ in 0..HALVINGS {
            let middle = if whole { ((low + high) / 2.0).floor() } else { (low + high) / 2.0 };
            if middle <= low || middle >= high {
                break;
            }
            let more = swept(plan, path, &[text(middle)], how)?;
            sweep.points.extend(more.points);
            if met(&sweep, &text(middle)) {
                high = middle;
            } else {
                low = middle;
            }
        }
        found = Some(text(high));
    }
    let number = |point: &Point| point.value.parse::<f64>().unwrap_or(0.0);
    sweep.points.sort_by(|one, other| number(one).total_cmp(&number(other)));
    sweep.question = format!("What is the smallest {path} that meets the targets?");
    sweep.answer = match &found {
        Some(value) => vec![format!("{path} = {value}.")],
        None => vec![format!("None between {from} and {to}: not even {to} meets all targets.")],
    };
    Ok(Report::Solution(Solution { sweep, targets, found }))
}

/// Several scenarios with the same luck.
pub fn compare(plan: Plan, with: &[String], changes: &[String], policies: bool, how: &How) -> Result<Report, Trouble> {
    let mut cases: Vec<(String, Plan)> = Vec::new();
    for other in with {
        cases.push((other.clone(), self::plan(other, &[])?));
    }
    for change in changes {
        let (path, value) = split(change, "exchange.policy=seed-only")?;
        cases.push((change.clone(), changed(&plan, path, value)?));
    }
    if policies {
        for policy in PolicyKind::ALL.into_iter().filter(|policy| *policy != plan.exchange.policy) {
            cases.push((policy.name().into(), changed(&plan, "exchange.policy", policy.name())?));
        }
    }
    if cases.is_empty() {
        return Err(Trouble::Asked("nothing to compare with; give --with, --change or --policies".into()));
    }
    let title = plan.title.clone();
    cases.insert(0, (if policies { plan.exchange.policy.name().into() } else { "as it is".into() }, plan));
    let (names, plans): (Vec<String>, Vec<Plan>) = cases.into_iter().unzip();
    let outcomes = outcomes(&plans, how);
    let cases: Vec<Named> = names.into_iter().zip(outcomes).map(|(name, outcome)| Named { name, outcome }).collect();
    let question =
        format!("What differs between {}?", cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>().join(", "));
    let mut comparison = Comparison::of(title, question, cases);
    comparison.answer = comparison
        .cases
        .iter()
        .map(|case| {
            let mean = |key: &str| case.outcome.metric(key).map_or(0.0, |metric| metric.mean);
            format!(
                "{}: the servers send {:.1} % of what is played; {:.3} interruptions in an hour of viewing.",
                case.name,
                mean(SEED_SHARE) * 100.0,
                mean(STALLS)
            )
        })
        .collect();
    Ok(Report::Comparison(comparison))
}
