//! The closed forms of a scenario (level L0): at once, and without chance.
//!
//! ```text
//!   viewers at the peak   M_t/G/infinity: beginnings by the day's profile, held for a viewing's length
//!   of them, remote       1 - own disk, by the scenario
//!   a title's swarm       Poisson viewers, binomial holders: what the seed has to add (swarm), for each channel
//!   none of d answers     (1 - p)^d: the seed, however much there is to give
//! ```

use super::told;
use crate::outcome::{Metric, Outcome, Setting};
use crate::plan::Plan;
use crate::theory::cost::{Cost, HomeDay, MONTH_DAYS, recorded_per_day, stored};
use crate::theory::offered::{Holding, Profile, quantile};
use crate::theory::probes::none_answers;
use crate::theory::swarm::Swarm;
use crate::theory::{availability, erlang};

const HOUR_S: f64 = 3600.0;
const MINUTES: usize = 1440;

/// What can be said without a run.
pub fn outcome(plan: &Plan) -> Outcome {
    let figures = Figures::of(plan);
    let mut outcome = Outcome {
        title: plan.title.clone(),
        question: told::question(plan),
        level: "l0".into(),
        policy: "any".into(),
        plan: Setting::all(plan),
        metrics: metrics(plan, &figures),
        notes: notes(),
        ..Outcome::default()
    };
    outcome.answer = told::answer_calculated(plan, &outcome);
    outcome
}

struct Figures {
    /// Viewings at the peak: mean, and what 99 of 100 peaks stay below.
    viewers: f64,
    viewers_p99: f64,
    /// Probability that a holder is there, gives, and is reached.
    available: f64,
    /// Shares of what is played.
    own: f64,
    peer: f64,
    seed: f64,
    /// Bytes per second that the seed sends at the peak.
    egress: f64,
    /// Share of viewers of the rarest channel whom its holders' lines have no room for.
    rare_overflow: f64,
    day: HomeDay,
    stored: f64,
}

impl Figures {
    fn of(plan: &Plan) -> Self {
        let homes = plan.audience.homes as f64;
        let rate = plan.broadcast.bitrate_mbps * 125_000.0;
        let length = plan.viewing.session_min * 60.0;
        let viewings = plan.viewing.hours_per_home_day * HOUR_S / length.max(1.0) * homes;
        let profile = crate::world::day_profile(plan.viewing.peak_hour, plan.viewing.peak_to_mean);
        let rates = profile.iter().map(|share| viewings * share / 60.0).collect();
        let offered = Profile { part_s: 60.0, rates, repeats: true };
        let peak = (0..MINUTES).map(|minute| offered.mean_on(minute as f64 * 60.0, Holding::Fixed(length)));
        let viewers = peak.fold(0.0, f64::max);
        let available = available(plan);
        let (remote, uplink) = (1.0 - plan.viewing.own_share, mean_uplink(plan));
        let titles = titles(plan);
        let busy: f64 = titles.iter().map(|title| title.viewers * viewers * remote).sum();
        let missed = none_answers(available, plan.exchange.holders);
        let mut missing = 0.0;
        let mut rare_overflow: f64 = 0.0;
        for title in &titles {
            let theirs = viewers * remote * title.viewers / title.count;
            let holders = (homes * title.holders).round().max(0.0) as u64;
            // A home sends for all its titles: as much for each as viewers want it of all.
            let part = if busy > 0.0 { (title.viewers * viewers * remote / busy).min(1.0) } else { 1.0 };
            let own_part = uplink * part / (title.holders * title.count / recorded(plan)).max(part);
            let swarm = Swarm { holders, available, uplink: own_part.min(uplink), bit_rate: rate };
            let share = swarm.peer_share_of_mean(theirs);
            let cold = 1.0 - (1.0 - missed).max(0.0) * share;
            missing += theirs * title.count * cold;
            let lines = (holders as f64 * available * (own_part / rate)).floor();
            rare_overflow = rare_overflow.max(erlang::loss(theirs, lines as u64));
        }
        let missing = if busy > 0.0 { missing / busy } else { 0.0 };
        let (own, peer, seed) = (plan.viewing.own_share, remote * (1.0 - missing), remote * missing);
        let recorded_share = availability::of_copies(
            recorded(plan).min(1.0) / titles.iter().map(|t| t.count).sum::<f64>().max(1.0),
            homes as u64,
        );
        let per_day = recorded_per_day(plan.broadcast.channels as f64, rate, recorded_share);
        let day = HomeDay {
            viewed: plan.viewing.hours_per_home_day * HOUR_S * rate,
            local_share: own,
            peer_share: peer,
            duties: per_day / homes.max(1.0),
        };
        Self {
            viewers,
            viewers_p99: quantile(0.99, viewers).map_or(viewers, |count| count as f64),
            available,
            own,
            peer,
            seed,
            egress: viewers * rate * seed,
            rare_overflow,
            day,
            stored: stored(per_day, plan.recording.retention_days, 1.0),
        }
    }
}

/// Recordings of a home that are kept at a time.
fn recorded(plan: &Plan) -> f64 {
    (plan.recording.per_home_day * plan.recording.retention_days).max(1e-9)
}

/// Titles of one channel.
struct Title {
    /// How many there are.
    count: f64,
    /// Share of homes that hold one of them.
    holders: f64,
    /// Share of remote viewers that watch any of them.
    viewers: f64,
}

/// Channels by popularity; of each, as many titles as are watched at a time: those of one and a half half-lives.
fn titles(plan: &Plan) -> Vec<Title> {
    let weights: Vec<f64> =
        (1..=plan.broadcast.channels).map(|rank| (rank as f64).powf(-plan.broadcast.popularity_exponent)).collect();
    let total: f64 = weights.iter().sum();
    let a_day = 24.0 * 60.0 / plan.broadcast.programme_min;
    let days =
        (plan.viewing.age_half_life_h * 1.5 / 24.0).clamp(1.0 / a_day, plan.recording.retention_days.max(1.0 / a_day));
    weights
        .iter()
        .map(|weight| {
            let share = weight / total;
            Title { count: a_day * days, holders: plan.recording.per_home_day * share / a_day, viewers: share }
        })
        .collect()
}

fn available(plan: &Plan) -> f64 {
    let devices = plan.devices.all();
    let on: f64 = devices.iter().map(|(_, device)| device.share * device.on_share * (1.0 - device.metered_share)).sum();
    let reach = &plan.reach;
    let routed = [(reach.cone, reach.cone), (reach.cone, reach.symmetric), (reach.symmetric, reach.symmetric)];
    let chances = [reach.cone_cone, 2.0 * reach.cone_symmetric, reach.symmetric_symmetric];
    let meet: f64 = routed.iter().zip(chances).map(|((one, other), chance)| one * other * chance).sum();
    let meet = meet + (1.0 - (1.0 - reach.open) * (1.0 - reach.open)) * reach.open_any;
    let honest = (1.0 - plan.adversaries.free_riders) * (1.0 - plan.adversaries.polluters);
    (on * (1.0 - plan.outages.churn) * meet * honest).clamp(0.0, 1.0)
}

/// Bytes per second that a home that gives may send.
fn mean_uplink(plan: &Plan) -> f64 {
    let up: f64 = plan.access.all().iter().map(|(_, line)| line.share * line.up_mbps * 125_000.0).sum();
    let share: f64 = plan.devices.all().iter().map(|(_, device)| device.share * device.uplink_share).sum();
    up * share
}

fn metrics(plan: &Plan, figures: &Figures) -> Vec<Metric> {
    let prices = told::prices(plan);
    let homes = plan.audience.homes as f64;
    let upload = figures.day.upload_per_month();
    let egress = figures.day.seed_egress_per_month();
    let cost =
        |egress: f64, upload: f64| Cost::of(&prices, egress * homes, figures.stored, upload * homes, homes).total();
    let without = egress + MONTH_DAYS * figures.day.viewed * figures.peer;
    let unit = format!("{} per home and month", plan.cost.currency);
    let exact =
        |key: &str, name: &str, unit: &str, group: &str, value: f64| Metric::exact(key, name, unit, group, value);
    vec![
        exact(
            "egress_max",
            "Servers at the evening's peak",
            "Mb/s",
            "What the broadcaster's servers send",
            figures.egress * 8.0 / 1e6,
        )
        .lower_is_better()
        .headline(),
        exact(
            told::SEED_SHARE,
            "Share of the broadcaster's servers",
            "share",
            "Where the pictures come from",
            figures.seed,
        )
        .lower_is_better()
        .headline(),
        exact("peer_share", "Share of other homes", "share", "Where the pictures come from", figures.peer).headline(),
        exact("own_share", "Share of the home's own disk", "share", "Where the pictures come from", figures.own),
        exact("viewers", "Viewings at once, at the peak", "", "What viewers feel", figures.viewers),
        exact("viewers_p99", "Viewings that 99 of 100 peaks stay below", "", "What viewers feel", figures.viewers_p99),
        exact("available", "A holder is there, gives, and is reached", "share", "Homes", figures.available)
            .higher_is_better(),
        exact(
            "rare_overflow",
            "Viewers of the rarest channel that its holders have no room for",
            "share",
            "Homes",
            figures.rare_overflow,
        )
        .lower_is_better(),
        exact(told::HOME_UPLOAD, "Upload of a home", "GB per month", "Homes", upload / 1e9)
            .lower_is_better()
            .headline(),
        exact("seed_storage", "Kept by the broadcaster", "TB", "Storage and repair", figures.stored / 1e12)
            .lower_is_better(),
        exact("cost", "Cost with homes helping", &unit, "Cost", cost(egress, upload)).lower_is_better().headline(),
        exact("cost_without", "Cost if the servers sent what other homes sent", &unit, "Cost", cost(without, 0.0))
            .lower_is_better(),
    ]
}

fn notes() -> Vec<String> {
    [
        "Closed forms: means of a peak in balance, without starts, jumps, deadlines and the time that anything takes.",
        "Titles of a channel count as equally popular; a home's line is shared among its titles by what viewers want of each.",
        "Own disks count as never damaged.",
    ]
    .map(String::from)
    .to_vec()
}
