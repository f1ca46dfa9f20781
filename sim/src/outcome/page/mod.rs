//! The report as one HTML file: no script, nothing from elsewhere, so that it can be mailed, printed and opened in ten years.
//!
//! Question and answer first, then what to look at first, then how it comes about, then all figures and the scenario.
//! Each drawing is there twice, for wide and for narrow screens, and its values once more as a table.

mod axis;
mod bars;
mod courses;
mod dots;
mod figure;
mod markup;
mod plot;
mod run;
mod spread;
mod stack;
mod studies;

use markup::Markup;

use super::{Outcome, Report};

const STYLE: &str = include_str!("style.css");
/// Nothing is fetched and nothing runs, whatever the texts hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The words that a page needs and a planner may not know.
const WORDS: [(&str, &str); 3] = [
    ("Seed", "the broadcaster's own servers. They keep one copy of everything and deliver what no home can."),
    ("Homes", "the devices of viewers. They record, keep, and deliver to one another what they can spare."),
    (
        "95 % interval",
        "how sure a mean is: were the study repeated, 95 of 100 such intervals would hold the true mean. Written as ± \
         or as a range.",
    ),
];

/// What stands at the top of a page.
struct Top<'a> {
    kind: &'a str,
    title: &'a str,
    question: &'a str,
    answer: &'a [String],
    how: Vec<String>,
}

/// One scenario's page.
#[must_use]
pub fn page(outcome: &Outcome) -> String {
    run::page(outcome)
}

/// Any result's page.
#[must_use]
pub fn report(report: &Report) -> String {
    match report {
        Report::Run(outcome) => run::page(outcome),
        Report::Sweep(sweep) => studies::sweep(sweep),
        Report::Comparison(comparison) => studies::comparison(comparison),
        Report::Solution(solution) => studies::solution(solution),
    }
}

/// A whole page of sections: heading for the reader and the name by which it is linked, and its content. Empty ones are left
/// out.
fn whole(top: &Top<'_>, sections: &[(&str, String)]) -> String {
    let mut out = Markup::default();
    out.raw("<!DOCTYPE html>\n").open("html", &[("lang", "en")]).open("head", &[]);
    out.void("meta", &[("charset", "utf-8")]);
    out.void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    out.void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
    let title = if top.title.is_empty() { top.kind } else { top.title };
    out.leaf("title", &[], title);
    out.open("style", &[]).raw(STYLE).close().close().open("body", &[]);
    head(&mut out, top, title, sections);
    out.open("main", &[]);
    for (index, (heading, content)) in sections.iter().enumerate().filter(|(_, (_, content))| !content.is_empty()) {
        out.open("section", &[("id", &format!("s{index}"))]).leaf("h2", &[], heading).raw(content).close();
    }
    out.close();
    out.leaf(
        "footer",
        &[],
        "Made by Aftercast's simulator. All values are in the CSV and JSON files beside this page.",
    );
    out.finish()
}

fn head(out: &mut Markup, top: &Top<'_>, title: &str, sections: &[(&str, String)]) {
    out.open("header", &[]).leaf("p", &[("class", "over")], &format!("Aftercast · {}", top.kind)).leaf(
        "h1",
        &[],
        title,
    );
    if !top.question.is_empty() {
        out.open("p", &[("class", "question")]).leaf("b", &[], "The question").text(top.question).close();
    }
    if !top.answer.is_empty() {
        out.open("div", &[("class", "answer")]).leaf("b", &[], "The answer");
        for sentence in top.answer {
            out.leaf("p", &[], sentence);
        }
        out.close();
    }
    out.leaf("p", &[("class", "how")], &top.how.join(" "));
    out.open("dl", &[("class", "words")]);
    for (word, meaning) in WORDS {
        out.leaf("dt", &[], word).leaf("dd", &[], meaning);
    }
    out.close();
    out.open("nav", &[("aria-label", "Sections")]);
    for (index, (heading, _)) in sections.iter().enumerate().filter(|(_, (_, content))| !content.is_empty()) {
        out.leaf("a", &[("href", &format!("#s{index}"))], heading);
    }
    out.close().close();
}
