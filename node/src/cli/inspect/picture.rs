//! The timeline of a stream as a picture: where key pictures are, what was lost, where clocks jump.

use std::fmt::Write as _;

use aftercast_protocol::inspect::{Event, EventKind, Report};

/// Characters of the text form.
const COLUMNS: usize = 72;
/// Width of the drawing in pixels.
const WIDTH: f64 = 1000.0;
/// Of that: the names of the rows.
const NAMES: f64 = 70.0;
/// Height of a row in pixels.
const ROW: f64 = 26.0;

/// A kind of thing that happens.
struct Row {
    name: &'static str,
    sign: char,
    colour: &'static str,
    holds: fn(&EventKind) -> bool,
}

const ROWS: [Row; 5] = [
    Row { name: "key", sign: '|', colour: "#2b6cb0", holds: |kind| matches!(kind, EventKind::KeyPicture { .. }) },
    Row {
        name: "loss",
        sign: 'x',
        colour: "#c53030",
        holds: |kind| matches!(kind, EventKind::Loss { .. } | EventKind::TransportError),
    },
    Row { name: "clock", sign: '!', colour: "#b7791f", holds: |kind| matches!(kind, EventKind::ClockJump { .. }) },
    Row { name: "tables", sign: 'T', colour: "#6b46c1", holds: |kind| matches!(kind, EventKind::NewTable) },
    Row { name: "splices", sign: 'S', colour: "#2f855a", holds: |kind| matches!(kind, EventKind::Splice { .. }) },
];

/// Rows in which something happened, and what.
fn rows(report: &Report) -> impl Iterator<Item = (&'static Row, Vec<&Event>)> {
    let of = |row: &'static Row| (row, report.events.iter().filter(|event| (row.holds)(&event.kind)).collect());
    ROWS.iter().map(of).filter(|(_, events): &(_, Vec<_>)| !events.is_empty())
}

/// Where an event is, from 0 to 1.
fn place(event: &Event, report: &Report) -> f64 {
    let millis = (report.seconds * 1000.0).max(1.0);
    (event.at_millis as f64 / millis).clamp(0.0, 1.0)
}

/// The timeline in text.
pub fn text(report: &Report) -> String {
    let end = super::duration(report.seconds);
    let mut out = format!("\n        0:00{end:>width$}\n", width = COLUMNS - 4);
    for (row, events) in rows(report) {
        let mut line = vec!['·'; COLUMNS];
        for event in events {
            let at = (place(event, report) * (COLUMNS - 1) as f64) as usize;
            if let Some(column) = line.get_mut(at) {
                *column = row.sign;
            }
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{:<7} {}", row.name, line.into_iter().collect::<String>());
    }
    out
}

/// Seconds from one mark of the time axis to the next: a round number, and no more than a dozen marks.
fn tick(seconds: f64) -> f64 {
    const MOST: f64 = 12.0;
    let minute = 60.0;
    let hour = 60.0 * minute;
    let rounds = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, minute, 2.0 * minute, 5.0 * minute, 10.0 * minute];
    let longer = [15.0 * minute, 30.0 * minute, hour, 2.0 * hour, 3.0 * hour, 6.0 * hour, 12.0 * hour];
    rounds.into_iter().chain(longer).find(|step| seconds / step <= MOST).unwrap_or(seconds / MOST)
}

/// The timeline as a drawing.
pub fn svg(report: &Report) -> String {
    let rows: Vec<_> = rows(report).collect();
    let height = ROW * (rows.len() + 1) as f64 + 10.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let x = |part: f64| NAMES + part * (WIDTH - NAMES - 50.0);
    let step = tick(report.seconds);
    for at_seconds in (0..).map(|number| f64::from(number) * step).take_while(|at| *at <= report.seconds) {
        let at = x(at_seconds / report.seconds.max(0.001));
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"20\" x2=\"{at:.1}\" y2=\"{height}\" stroke=\"#e2e8f0\"/>\
             <text x=\"{at:.1}\" y=\"14\" text-anchor=\"middle\" fill=\"#4a5568\">{}</text>",
            super::duration(at_seconds)
        );
    }
    for (number, (row, events)) in rows.iter().enumerate() {
        let top = ROW * (number + 1) as f64;
        let _ = writeln!(out, "<text x=\"8\" y=\"{:.1}\" fill=\"#1a202c\">{}</text>", top + 17.0, row.name);
        // One path for a row: thousands of key pictures stay a small file.
        let mut path = String::new();
        let mut last = f64::NEG_INFINITY;
        for event in events {
            let at = x(place(event, report));
            // What lies on the same pixel is the same stroke.
            if at - last >= 0.5 {
                let _ = write!(path, "M{at:.1} {:.1}v{:.1}", top + 4.0, ROW - 8.0);
                last = at;
            }
        }
        let _ = writeln!(out, "<path d=\"{path}\" stroke=\"{}\" stroke-width=\"1.5\"/>", row.colour);
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_axis_has_round_marks_and_not_too_many() {
        let steps = [0.0, 0.9, 6.5, 60.0, 3600.0, 86_400.0].map(tick);
        assert_eq!(steps, [0.1, 0.1, 1.0, 5.0, 300.0, 7200.0]);
        assert!(tick(1e9) > 86_400.0);
    }
}
