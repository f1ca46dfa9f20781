//! Whatever a file holds, reading it ends in a plan or in faults that are fit to be shown.

use proptest::prelude::*;

use crate::plan::{Plan, PlanFaults};

/// Reads and looks at the faults, if any.
fn read(text: &str) {
    if let Err(PlanFaults(faults)) = Plan::parse(text, "s.toml") {
        assert!((1..=101).contains(&faults.len()));
        let lines = text.matches('\n').count() + 1;
        for fault in &faults {
            assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{fault:?}");
            let told = fault.to_string();
            assert!(!told.contains(char::is_control), "{told:?}");
            assert!(told.len() < 1000, "{told}");
            assert!(!fault.what.is_empty() && !fault.write.is_empty());
        }
        assert!(faults.windows(2).all(|pair| pair[0].line <= pair[1].line || pair[1].line.is_none()));
    }
}

/// Pieces that scenarios are made of, and pieces that they are not.
fn piece() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "\r\n",
        "\t",
        " ",
        "#",
        "\"",
        "'",
        "\"\"\"",
        "'''",
        "\\u",
        "audience",
        "homes",
        "devices",
        "box",
        "share",
        "[audience]\n",
        "[devices.box]\n",
        "[[run]]\n",
        "homes = ",
        "title = ",
        "nan",
        "-inf",
        "1e999",
        "0x",
        "0b2",
        "-0",
        "1_000",
        "__",
        "99999999999999999999",
        "true",
        "2026-11-23",
        "\u{0}",
        "\u{7f}",
        "\u{feff}",
        "\u{1b}[31m",
        "é",
        "𝒳",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(pieces in proptest::collection::vec(piece(), 0..60)) {
        read(&pieces.concat());
    }

    #[test]
    fn a_damaged_scenario_is_read_or_refused(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..40, piece()), 1..6),
    ) {
        let mut text = Plan::preset("hostile").unwrap().to_toml();
        for (at, cut, piece) in damage {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let from = at.index(places.len());
            let to = (from + cut).min(places.len() - 1);
            text.replace_range(places[from]..places[to], &piece);
        }
        read(&text);
    }
}

#[test]
fn large_deep_and_repeated_things_are_refused() {
    let large = 1024 * 1024;
    for text in [
        "x".repeat(large),
        "\u{0}".repeat(large),
        "\n".repeat(large),
        "[".repeat(large),
        "a=".to_owned() + &"[".repeat(large - 2),
        "a=".to_owned() + &"{a=".repeat(100_000),
        "a.".repeat(200_000) + "a = 1",
        format!("[{}a]", "a.".repeat(200_000)),
        "homes = 1\n".repeat(100_000),
        "[run]\n".repeat(100_000),
        "[[run]]\n".repeat(100_000),
        format!("[audience]\nhomes = {}\n", "9".repeat(500_000)),
        format!("[audience]\nhomes = 1.{}e9\n", "9".repeat(500_000)),
        format!("[audience]\n{} = 1\n", "h".repeat(500_000)),
        format!("title = \"{}\"\n", "t".repeat(500_000)),
        (0..60_000).map(|n| format!("k{n} = 1\n")).collect(),
        (0..60_000).map(|n| format!("[s{n}]\n")).collect(),
        "\"".repeat(large),
        "é".repeat(large),
    ] {
        read(&text);
        if !text.trim().is_empty() {
            assert!(Plan::parse(&text, "s.toml").is_err());
        }
    }
}
