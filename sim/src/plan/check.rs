//! What fields forbid each other. Every default, under each assumption, and every preset passes.

use aftercast_protocol::limits::MAX_CHUNK_BYTES;

use super::value::{decimal, grouped};
use super::{Fault, Level, Plan};

/// Fields that share out a whole: each of these groups adds up to 1.
pub(super) const WHOLES: &[&[&str]] = &[
    &["devices.box.share", "devices.tv.share", "devices.pc.share"],
    &["access.dsl.share", "access.cable.share", "access.fibre.share", "access.mobile.share"],
    &["reach.open", "reach.cone", "reach.symmetric"],
];
/// How far a sum of shares may be off: what rounding shares to a millionth leaves.
const ROUNDING: f64 = 2e-6;

/// Chunks played in one run that are followed one by one: a week of five million homes that watch an hour of
/// six-second chunks a day takes hours and is refused; a million homes pass.
const MAX_CHUNKS_PLAYED: f64 = 5e9;
/// Chunks broadcast in one run: a week of 400 channels in six-second chunks.
const MAX_CHUNKS_BROADCAST: f64 = 5e7;
/// Homes times recordings kept: what the run keeps of each is a few bytes.
const MAX_RECORDINGS_KEPT: f64 = 1e9;

const HOURS_OF_DAY: f64 = 24.0;
const SECONDS_OF_HOUR: f64 = 3600.0;
const DAYS_OF_MONTH: f64 = 31.0;

/// Fields that do not fit each other.
pub(super) struct Clash {
    /// The fields, the likeliest culprit first.
    pub paths: Vec<&'static str>,
    what: What,
    write: String,
}

enum What {
    /// What is wrong with the first of the fields.
    First(String),
    /// The fields, none of them before the others, add up to this.
    Sum(f64),
}

impl Clash {
    /// As a fault, at the first of its fields that the scenario gives; `line` says where it does.
    pub(super) fn fault(self, line: impl Fn(&str) -> Option<usize>) -> Fault {
        let given = self.paths.iter().find_map(|path| line(path).map(|line| (*path, line)));
        let (path, line) = given.map_or((self.paths[0], None), |(path, line)| (path, Some(line)));
        let what = match self.what {
            What::First(what) if path == self.paths[0] => what,
            What::First(what) => format!("does not fit: {} {what}", self.paths[0]),
            What::Sum(sum) => {
                let others: Vec<&str> = self.paths.iter().copied().filter(|other| *other != path).collect();
                format!("adds up to {} with {}", decimal((sum * 1e6).round() / 1e6), others.join(" and "))
            }
        };
        Fault::new(path, what, self.write).at(line)
    }
}

/// All clashes of a plan whose fields are each in range.
pub(super) fn clashes(plan: &Plan) -> Vec<Clash> {
    let mut found = Vec::new();
    wholes(plan, &mut found);
    audience(plan, &mut found);
    broadcast(plan, &mut found);
    recording(plan, &mut found);
    viewing(plan, &mut found);
    devices(plan, &mut found);
    servers(plan, &mut found);
    failures(plan, &mut found);
    size(plan, &mut found);
    found
}

fn clash(found: &mut Vec<Clash>, paths: &[&'static str], what: String, write: String) {
    found.push(Clash { paths: paths.to_vec(), what: What::First(what), write });
}

fn wholes(plan: &Plan, found: &mut Vec<Clash>) {
    for whole in WHOLES {
        let sum: f64 = whole.iter().filter_map(|path| plan.get(path)).sum();
        if (sum - 1.0).abs() > ROUNDING {
            let write = "write shares that add up to 1".to_owned();
            found.push(Clash { paths: whole.to_vec(), what: What::Sum(sum), write });
        }
    }
}

fn audience(plan: &Plan, found: &mut Vec<Clash>) {
    let homes = plan.audience.homes;
    if plan.audience.regions > homes {
        clash(
            found,
            &["audience.regions", "audience.homes"],
            format!("is {}, but there are {} homes", grouped(plan.audience.regions), grouped(homes)),
            format!("write at most {}, or more homes", grouped(homes)),
        );
    }
    if plan.exchange.holders >= homes {
        clash(
            found,
            &["exchange.holders", "audience.homes"],
            format!("is {}, but a home has {} others to ask", plan.exchange.holders, homes - 1),
            "write fewer holders or more homes".to_owned(),
        );
    }
}

fn broadcast(plan: &Plan, found: &mut Vec<Clash>) {
    let broadcast = &plan.broadcast;
    let bytes = chunk_bytes(plan);
    if bytes > MAX_CHUNK_BYTES as f64 {
        let longest = MAX_CHUNK_BYTES as f64 * 8.0 / (broadcast.bitrate_mbps * 1e6);
        clash(
            found,
            &["broadcast.chunk_s", "broadcast.bitrate_mbps"],
            format!(
                "is {} seconds, which at {} Mb/s make chunks of {:.0} MB; a chunk has at most {:.0}",
                decimal(broadcast.chunk_s),
                decimal(broadcast.bitrate_mbps),
                bytes / 1e6,
                MAX_CHUNK_BYTES as f64 / 1e6
            ),
            format!("write at most {}", decimal((longest * 10.0).floor() / 10.0)),
        );
    }
    if broadcast.programme_min * 60.0 < broadcast.chunk_s {
        clash(
            found,
            &["broadcast.programme_min", "broadcast.chunk_s"],
            format!(
                "is {} minutes, shorter than one chunk of {} seconds",
                decimal(broadcast.programme_min),
                decimal(broadcast.chunk_s)
            ),
            "write longer programmes or shorter chunks".to_owned(),
        );
    }
    if plan.exchange.read_ahead_s < broadcast.chunk_s {
        clash(
            found,
            &["exchange.read_ahead_s", "broadcast.chunk_s"],
            format!(
                "is {} seconds, shorter than one chunk of {}",
                decimal(plan.exchange.read_ahead_s),
                decimal(broadcast.chunk_s)
            ),
            format!("write at least {}, or shorter chunks", decimal(broadcast.chunk_s)),
        );
    }
}

fn recording(plan: &Plan, found: &mut Vec<Clash>) {
    let recording = &plan.recording;
    let watched = plan.viewing.hours_per_home_day > 0.0;
    if recording.retention_days == 0.0 && watched {
        clash(
            found,
            &["recording.retention_days", "viewing.hours_per_home_day"],
            "is 0 days: nothing is kept, and yet homes watch".to_owned(),
            "write the days that recordings are kept, or viewing.hours_per_home_day = 0".to_owned(),
        );
    }
    if recording.per_home_day == 0.0 && watched {
        clash(
            found,
            &["recording.per_home_day", "viewing.hours_per_home_day"],
            "is 0: nobody records, and yet homes watch".to_owned(),
            "write the recordings of a home in a day, or viewing.hours_per_home_day = 0".to_owned(),
        );
    }
    let hours = recording.per_home_day * plan.broadcast.programme_min / 60.0;
    let broadcast = HOURS_OF_DAY * plan.broadcast.channels as f64;
    if hours > broadcast {
        clash(
            found,
            &["recording.per_home_day", "broadcast.programme_min", "broadcast.channels"],
            format!(
                "is {}, which are {hours:.1} hours a day; all channels together broadcast {}",
                decimal(recording.per_home_day),
                decimal(broadcast)
            ),
            "write fewer recordings, shorter programmes or more channels".to_owned(),
        );
    }
}

fn viewing(plan: &Plan, found: &mut Vec<Clash>) {
    let viewing = &plan.viewing;
    let at_peak = viewing.hours_per_home_day / HOURS_OF_DAY * viewing.peak_to_mean;
    if at_peak > 1.0 {
        clash(
            found,
            &["viewing.peak_to_mean", "viewing.hours_per_home_day"],
            format!(
                "is {}: with {} hours a day every home would watch {at_peak:.1} programmes at once at the peak",
                decimal(viewing.peak_to_mean),
                decimal(viewing.hours_per_home_day)
            ),
            format!("write at most {:.2}, or fewer hours", HOURS_OF_DAY / viewing.hours_per_home_day),
        );
    }
}

fn devices(plan: &Plan, found: &mut Vec<Clash>) {
    const PATHS: [(&str, &str, &str); 3] = [
        ("devices.box.disk_gb", "devices.box.day_budget_gb", "devices.box.month_budget_gb"),
        ("devices.tv.disk_gb", "devices.tv.day_budget_gb", "devices.tv.month_budget_gb"),
        ("devices.pc.disk_gb", "devices.pc.day_budget_gb", "devices.pc.month_budget_gb"),
    ];
    let programme = plan.broadcast.bitrate_mbps * plan.broadcast.programme_min * 60.0 / 8000.0;
    for ((_, device), (disk, day, month)) in plan.devices.all().into_iter().zip(PATHS) {
        if device.disk_gb > 0.0 && device.disk_gb < programme {
            clash(
                found,
                &[disk, "broadcast.bitrate_mbps", "broadcast.programme_min"],
                format!("is {} GB, too little for one programme of {programme:.2} GB", decimal(device.disk_gb)),
                "write more, or 0 where these devices keep nothing".to_owned(),
            );
        }
        if device.month_budget_gb > 0.0 && device.day_budget_gb > device.month_budget_gb {
            clash(
                found,
                &[day, month],
                format!(
                    "is {} GB, more than the {} GB of a month",
                    decimal(device.day_budget_gb),
                    decimal(device.month_budget_gb)
                ),
                format!("write at most {}", decimal(device.month_budget_gb)),
            );
        }
    }
}

fn servers(plan: &Plan, found: &mut Vec<Clash>) {
    let (egress, stream) = (plan.seed.egress_mbps, plan.broadcast.bitrate_mbps);
    if egress > 0.0 && egress < stream {
        clash(
            found,
            &["seed.egress_mbps", "broadcast.bitrate_mbps"],
            format!("is {} Mb/s, too little for one viewer at {} Mb/s", decimal(egress), decimal(stream)),
            "write more, or 0 for no limit".to_owned(),
        );
    }
}

fn failures(plan: &Plan, found: &mut Vec<Clash>) {
    let outages = &plan.outages;
    let cut_off = outages.per_region_month * outages.minutes / 60.0;
    if cut_off >= DAYS_OF_MONTH * HOURS_OF_DAY {
        clash(
            found,
            &["outages.per_region_month", "outages.minutes"],
            format!(
                "is {}, which with {} minutes each are {cut_off:.0} hours; a month has {}",
                decimal(outages.per_region_month),
                decimal(outages.minutes),
                decimal(DAYS_OF_MONTH * HOURS_OF_DAY)
            ),
            "write fewer or shorter ones".to_owned(),
        );
    }
    let adversaries = &plan.adversaries;
    let sum = adversaries.polluters + adversaries.report_liars + adversaries.free_riders;
    if sum > 1.0 + ROUNDING {
        found.push(Clash {
            paths: vec!["adversaries.polluters", "adversaries.report_liars", "adversaries.free_riders"],
            what: What::Sum(sum),
            write: "write shares that add up to at most 1".to_owned(),
        });
    }
    let end = plan.run.warm_up_hours + plan.run.hours;
    if adversaries.departure_share > 0.0 && adversaries.departure_hour == 0.0 {
        clash(
            found,
            &["adversaries.departure_hour", "adversaries.departure_share"],
            "is 0: nobody leaves, but adversaries.departure_share is not 0".to_owned(),
            format!("write the hour of the run, up to {}, or adversaries.departure_share = 0", decimal(end)),
        );
    }
    if adversaries.departure_share == 0.0 && adversaries.departure_hour > 0.0 {
        clash(
            found,
            &["adversaries.departure_share", "adversaries.departure_hour"],
            "is 0: nobody leaves, but adversaries.departure_hour is not 0".to_owned(),
            "write the share of homes that leave, or adversaries.departure_hour = 0".to_owned(),
        );
    }
    if adversaries.departure_hour > end {
        clash(
            found,
            &["adversaries.departure_hour", "run.hours", "run.warm_up_hours"],
            format!("is {}, after the end of the run at {} hours", decimal(adversaries.departure_hour), decimal(end)),
            format!("write at most {}", decimal(end)),
        );
    }
}

/// What does not fit a machine, where every chunk is followed.
fn size(plan: &Plan, found: &mut Vec<Clash>) {
    if plan.run.level == Level::L0 {
        return;
    }
    let hours = plan.run.warm_up_hours + plan.run.hours;
    let per_hour = SECONDS_OF_HOUR / plan.broadcast.chunk_s;
    let homes = plan.audience.homes as f64;
    let played = homes * plan.viewing.hours_per_home_day * hours / HOURS_OF_DAY * per_hour;
    const HELP: &str = "write less of one of them, or run.level = \"l0\"";
    if played > MAX_CHUNKS_PLAYED {
        clash(
            found,
            &["run.hours", "audience.homes", "viewing.hours_per_home_day", "broadcast.chunk_s"],
            format!(
                "is {}: {} homes play {:.1} thousand million chunks in that time; {} can be followed",
                decimal(plan.run.hours),
                grouped(plan.audience.homes),
                played / 1e9,
                MAX_CHUNKS_PLAYED / 1e9
            ),
            HELP.to_owned(),
        );
    }
    let broadcast = plan.broadcast.channels as f64 * hours * per_hour;
    if broadcast > MAX_CHUNKS_BROADCAST {
        clash(
            found,
            &["broadcast.channels", "broadcast.chunk_s", "run.hours"],
            format!(
                "is {}: they broadcast {:.0} million chunks in the run; {} can be followed",
                plan.broadcast.channels,
                broadcast / 1e6,
                MAX_CHUNKS_BROADCAST / 1e6
            ),
            HELP.to_owned(),
        );
    }
    let days = plan.recording.retention_days.min(hours / HOURS_OF_DAY);
    let kept = homes * plan.recording.per_home_day * days;
    if kept > MAX_RECORDINGS_KEPT {
        clash(
            found,
            &["recording.per_home_day", "audience.homes", "recording.retention_days", "run.hours"],
            format!(
                "is {}: homes keep {:.1} thousand million recordings; {} can be followed",
                decimal(plan.recording.per_home_day),
                kept / 1e9,
                MAX_RECORDINGS_KEPT / 1e9
            ),
            HELP.to_owned(),
        );
    }
}

/// Mean size of a chunk, in bytes.
fn chunk_bytes(plan: &Plan) -> f64 {
    plan.broadcast.bitrate_mbps * 1e6 / 8.0 * plan.broadcast.chunk_s
}
