//! Report pages as a reader's browser shows them: headless Chromium opens each in narrow and in wide windows and says
//! what does not fit, cannot be read, or is fetched from elsewhere.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

/// A telephone, a window beside another one, a screen.
const WIDTHS: [u32; 3] = [380, 800, 1400];
const SMALL: [&str; 6] = ["--set", "audience.homes=300", "--set", "run.hours=2", "--set", "run.replications=2"];

#[derive(Debug, Deserialize)]
struct Told {
    width: u32,
    title: Option<String>,
    drawings: usize,
    labels: usize,
    faults: Vec<String>,
}

fn sim(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_aftercast-sim")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the page says of itself at each width; none where there is no Chromium.
fn look(folder: &Path, page: &str) -> Option<Vec<Told>> {
    // The page forbids itself all scripts; ours needs leave.
    let (closed, open) =
        ("default-src &#39;none&#39;", "default-src &#39;none&#39;; script-src &#39;unsafe-inline&#39;");
    assert!(page.contains(closed), "the page does not forbid itself to fetch anything");
    let page = page.replace(closed, open);
    let script = format!("<script>{}</script></head>", include_str!("page/look.js"));
    std::fs::write(folder.join("page.html"), page.replacen("</head>", &script, 1)).unwrap();
    let frame = |width: &u32| format!("<iframe src=\"page.html\" width=\"{width}\" height=\"900\"></iframe>\n");
    let frames: String = WIDTHS.iter().map(frame).collect();
    let frames_page = folder.join("frames.html");
    std::fs::write(&frames_page, include_str!("page/frames.html").replace("FRAMES", &frames)).unwrap();
    let mut chromium = Command::new("chromium");
    // A sandbox needs rights that a container seldom has; the page is our own.
    chromium.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--window-size=1600,1000"]);
    chromium.args(["--virtual-time-budget=20000", "--dump-dom"]);
    chromium.arg(format!("--user-data-dir={}", folder.join("profile").display()));
    chromium.arg(format!("file://{}", frames_page.display())).stderr(Stdio::null());
    let output = match chromium.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let dom = String::from_utf8(output.stdout).unwrap();
    let told = dom.split_once("<pre id=\"told\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (told, _) = told.unwrap_or_else(|| panic!("Chromium did not show the frames: {dom}"));
    let told = told.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    Some(told.lines().map(|line| serde_json::from_str(line).expect(line)).collect())
}

fn check(report: &[&str], least_labels: usize) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    sim(&[report, &["--out", out.to_str().unwrap()]].concat());
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    let Some(told) = look(folder.path(), &page) else {
        eprintln!("skipped: there is no chromium on this machine");
        return;
    };
    let mut widths: Vec<u32> = told.iter().map(|one| one.width).collect();
    widths.sort_unstable();
    assert_eq!(widths, WIDTHS);
    for Told { width, title, drawings, labels, faults } in told {
        assert!(title.is_some_and(|title| !title.is_empty()), "{width} px: no heading");
        assert!(labels >= least_labels, "{width} px: {labels} labels in {drawings} drawings");
        assert!(faults.is_empty(), "{width} px: {faults:#?}");
    }
}

#[test]
fn the_page_of_a_run_fits_and_can_be_read_in_every_window() {
    check(&[&["run", "preset:small"], &SMALL[..]].concat(), 40);
}

#[test]
fn the_page_of_a_comparison_fits_and_can_be_read_in_every_window() {
    check(&[&["compare", "preset:small", "--policies"], &SMALL[..]].concat(), 60);
}

#[test]
fn the_page_of_a_sweep_fits_and_can_be_read_in_every_window() {
    check(&[&["sweep", "preset:small", "--over", "viewing.own_share=0.9,0.6,0.3"], &SMALL[..]].concat(), 20);
}

/// The looker itself: a page with each of the faults that it is there for.
#[test]
fn what_does_not_fit_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let page = "<!DOCTYPE html><html><head>\
        <meta http-equiv=\"Content-Security-Policy\" content=\"default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;\"/>\
        </head><body><main><h1>Bad</h1><p style=\"width: 2000px\">wide</p><svg width=\"100\" height=\"60\">\
        <text x=\"10\" y=\"20\" font-size=\"14\">one</text><text x=\"12\" y=\"20\" font-size=\"14\">on it</text>\
        <text x=\"10\" y=\"40\" font-size=\"6\">tiny</text><text x=\"90\" y=\"55\" font-size=\"14\">outside</text>\
        </svg></main></body></html>";
    let Some(told) = look(folder.path(), page) else {
        return eprintln!("skipped: there is no chromium on this machine");
    };
    assert_eq!(told.len(), WIDTHS.len());
    for Told { faults, .. } in told {
        for fault in ["px wide in a window of", "lie on each other", "letters of 6.0 px", "leaves its drawing"] {
            assert!(faults.iter().any(|told| told.contains(fault)), "{fault}: {faults:#?}");
        }
    }
}
