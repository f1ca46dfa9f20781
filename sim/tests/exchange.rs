//! `aftercast-sim exchange` as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

fn exchange(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aftercast-sim")).arg("exchange").args(args).output().unwrap()
}

fn summaries(args: &[&str]) -> Vec<serde_json::Value> {
    let output = exchange(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn all_policies_are_beside_each_other_and_the_same_seed_gives_the_same_bytes() {
    let args = ["--chunks", "10", "--runs", "3", "--json"];
    let first = exchange(&args).stdout;
    assert_eq!(first, exchange(&args).stdout);
    assert_ne!(first, exchange(&[&args[..], &["--random-seed", "9"]].concat()).stdout);
    let summaries = summaries(&args[..4]);
    let names: Vec<_> = summaries.iter().map(|summary| summary["policy"].as_str().unwrap()).collect();
    assert_eq!(names, ["ours", "seed-only", "in-order", "windows", "deadlines"]);
    assert_eq!(summaries[1]["seed_permyriad"], 10_000);
}

#[test]
fn options_change_what_the_preset_says() {
    let args = ["--policy", "ours", "--chunks", "5", "--runs", "1", "--bitrate", "2Mb/s", "--interval", "2s"];
    let few = summaries(&args);
    assert_eq!(few[0]["traffic"]["useful"], 2_500_000);
    let none = summaries(&[&args[..], &["--holders", "0", "--no-seed"]].concat());
    assert_eq!((&none[0]["traffic"]["sent"], &none[0]["unfinished"]), (&0.into(), &1.into()));
    let liars = summaries(&[&args[..], &["--holders", "3", "--holder-rate", "9Mb/s", "--liars", "2"]].concat());
    assert_eq!((&liars[0]["bans"], &liars[0]["wrong_bans"]), (&2.into(), &0.into()));
}

#[test]
fn a_trace_says_who_was_asked_for_what() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trace.txt");
    let output = exchange(&["--chunks", "2", "--runs", "1", "--trace", path.to_str().unwrap()]);
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.lines().any(|line| line.starts_with("ours ")), "{table}");
    let trace = std::fs::read_to_string(path).unwrap();
    assert!(trace.lines().any(|line| line.contains("request 1 ") && line.contains("chunk 0 0..")), "{trace}");
    assert!(trace.ends_with("complete chunk 1\n"), "{trace}");
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_write() {
    for (args, says) in [
        (["--stalling", "30s/10s"], "10s/30s"),
        (["--holder-rate", "6"], "6Mb/s"),
        (["--policy", "tit-for-tat"], "in-order"),
        (["--bitrate", "900Mb/s"], "64 MiB"),
        (["--interval", "0s"], "4s"),
    ] {
        let output = exchange(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(says), "{args:?}: {said}");
    }
}
