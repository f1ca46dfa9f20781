//! The program as a planner runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aftercast_sim::outcome::Report;

/// A few hours of a few homes that watch in the morning: quick.
const MORNING: &str = r#"
title = "A village"
random_seed = 3
[run]
replications = 3
hours = 3
warm_up_hours = 1
[audience]
homes = 200
regions = 2
[broadcast]
channels = 2
bitrate_mbps = 4
chunk_s = 10
[recording]
retention_days = 1
[viewing]
own_share = 0.4
peak_hour = 6
[targets]
seed_share = 0.3
"#;

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aftercast-sim")).args(args).output().unwrap()
}

/// A file of a test's own.
fn file(name: &str, text: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn report(args: &[&str]) -> Report {
    let output = sim(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let scenario = file("threads.toml", MORNING);
    let with = |threads| sim(&["run", &scenario, "--json", "--threads", threads]).stdout;
    let one = with("1");
    assert!(!one.is_empty());
    assert_eq!(one, with("2"));
    assert_eq!(one, with("1"));
    assert_ne!(one, sim(&["run", &scenario, "--json", "--set", "random_seed=4"]).stdout);
}

#[test]
fn all_forms_are_written_where_asked_and_the_page_is_made_anew_from_the_json() {
    let (scenario, first, second) = (file("forms.toml", MORNING), folder("forms-1"), folder("forms-2"));
    let output = sim(&["run", &scenario, "--out", first.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |folder: &Path, name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read(&first, "report.txt").as_bytes(), output.stdout);
    let json = first.join("report.json");
    assert!(sim(&["report", json.to_str().unwrap(), "--out", second.to_str().unwrap()]).status.success());
    for name in ["report.html", "report.csv", "report.txt", "report.json"] {
        assert_eq!(read(&first, name), read(&second, name), "{name}");
    }
    let page = read(&first, "report.html");
    assert!(page.contains("A village") && page.contains("<svg"));
    assert!(!page.contains("http://") && !page.contains("https://"), "the page needs nothing from elsewhere");
}

#[test]
fn a_bad_scenario_is_refused_with_file_line_and_what_to_write() {
    let bad = file("bad.toml", "title = \"x\"\n[viewing]\nhours_per_home_day = -1\nown_shre = 0.5\n");
    let output = sim(&["run", &bad]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("bad.toml:3") && said.contains("write"), "{said}");
    assert!(said.contains("bad.toml:4") && said.contains("own_share"), "{said}");
    for wrong in [
        &["run", "no-such-file.toml"][..],
        &["run", "preset:nothing"],
        &["run", "preset:small", "--set", "audience.homes=-3"],
        &["sweep", "preset:small", "--over", "viewing.own_share"],
        &["solve", "preset:small", "--smallest", "exchange.holders=9..2"],
        &["compare", "preset:small"],
    ] {
        let output = sim(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_written_scenario_can_be_run() {
    let output = sim(&["new", "small"]);
    let written = file("new.toml", &String::from_utf8(output.stdout).unwrap());
    let Report::Run(outcome) = report(&["run", &written, "--json", "--set", "run.level=l0"]) else { panic!("a run") };
    assert_eq!(outcome.level, "l0");
    assert!(outcome.metric("seed_share").is_some_and(|metric| (0.0..=1.0).contains(&metric.mean)));
}

#[test]
fn a_sweep_shows_that_who_has_less_of_his_own_asks_more_of_others() {
    let scenario = file("sweep.toml", MORNING);
    let Report::Sweep(sweep) = report(&["sweep", &scenario, "--over", "viewing.own_share=0.1,0.5,0.9", "--json"])
    else {
        panic!("a sweep")
    };
    let own: Vec<f64> = sweep.points.iter().map(|point| point.outcome.metric("own_share").unwrap().mean).collect();
    assert!(own.is_sorted() && own[0] < 0.3 && own[2] > 0.7, "{own:?}");
}

#[test]
fn solve_finds_the_smallest_value_that_meets_the_target_or_says_that_none_does() {
    let scenario = file("solve.toml", MORNING);
    let args = ["solve", &scenario, "--smallest", "exchange.holders=1..8", "--json", "--set", "run.replications=1"];
    let Report::Solution(solution) = report(&args) else { panic!("a solution") };
    let found: u64 = solution.found.expect("eight holders are enough").parse().unwrap();
    let met = |value: u64| {
        let point = solution.sweep.points.iter().find(|point| point.value == value.to_string());
        point.map(|point| solution.targets.iter().all(|target| target.is_met_by(&point.outcome)))
    };
    assert_eq!(met(found), Some(true));
    assert!(found == 1 || met(found - 1) == Some(false), "{found}");
    let impossible = [&args[..], &["--set", "targets.seed_share=0.000001"]].concat();
    let Report::Solution(solution) = report(&impossible) else { panic!("a solution") };
    assert_eq!(solution.found, None);
}

#[test]
fn policies_are_compared_pair_by_pair_under_the_same_luck() {
    let scenario = file("compare.toml", MORNING);
    let Report::Comparison(comparison) = report(&["compare", &scenario, "--policies", "--json"]) else {
        panic!("a comparison")
    };
    assert_eq!(comparison.cases.len(), 5);
    let seed = comparison.differences.iter().find(|other| other.key == "seed_share" && other.case == "seed-only");
    let seed = seed.expect("a difference in the share of the servers");
    assert!(seed.low > 0.0, "without help the servers send more: {seed:?}");
}

#[test]
fn it_explains_why_bytes_came_from_the_servers() {
    let scenario = file("explain.toml", MORNING);
    let output = sim(&["explain", &scenario]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("jump") && said.contains("start"), "{said}");
}
