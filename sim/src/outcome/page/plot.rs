//! A drawing with two axes: its frame, grid, ticks and labels.

use super::axis::Axis;
use super::markup::Markup;

/// Size of text, in pixels; the page shows drawings at their own size wherever they fit.
pub(super) const TEXT_PX: f64 = 13.0;
/// Height of a line of text.
pub(super) const LINE_PX: f64 = 17.0;
/// Tones that the page's style has.
const TONES: usize = 7;

/// For which width a drawing is made. The page holds both and shows the one that fits, so that text stays legible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A page or a large screen.
    Wide,
    /// A telephone, or one of two neighbours.
    Narrow,
}

/// Where things are on a drawing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) form: Form,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Form {
    /// Class of the page's style that shows it.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

impl Frame {
    /// A drawing with room for labels at its right, each of so many pixels at most.
    pub(super) fn new(form: Form, right_px: f64) -> Self {
        let (width, height) = match form {
            Form::Wide => (880.0, 330.0),
            Form::Narrow => (400.0, 270.0),
        };
        Self { form, width, height, left: 56.0, right: width - right_px.max(20.0), top: 30.0, bottom: height - 46.0 }
    }

    /// Grows until that much can stand beside it.
    pub(super) fn make_room(&mut self, height: f64) {
        let more = (height + 8.0 - self.bottom).max(0.0);
        self.height += more;
        self.bottom += more;
    }

    /// Ends of the horizontal axis.
    pub(super) fn across(&self) -> (f64, f64) {
        (self.left, self.right)
    }

    /// Ends of the vertical axis, upwards.
    pub(super) fn up(&self) -> (f64, f64) {
        (self.bottom, self.top)
    }

    /// How many ticks fit across and up.
    pub(super) fn ticks(&self) -> (f64, f64) {
        (((self.right - self.left) / 70.0).floor().max(2.0), ((self.bottom - self.top) / 48.0).floor().max(2.0))
    }

    /// Begins the drawing, with what tells it to those who cannot see it. `id` is unique on the page.
    pub(super) fn begin(&self, id: &str, name: &str, description: &str) -> Markup {
        let class = self.form.class();
        let (title_id, text_id) = (format!("{id}-{class}-t"), format!("{id}-{class}-d"));
        let view = format!("0 0 {} {}", self.width, self.height);
        let mut svg = Markup::default();
        let labelled = format!("{title_id} {text_id}");
        svg.open("svg", &[("class", class), ("viewBox", &view), ("role", "img"), ("aria-labelledby", &labelled)]);
        svg.leaf("title", &[("id", &title_id)], name).leaf("desc", &[("id", &text_id)], description);
        svg
    }

    /// Grid, ticks, and what the axes are. `x_name` stands below, the vertical unit above.
    pub(super) fn axes(&self, svg: &mut Markup, x: &Axis, y: &Axis, x_name: &str) {
        for (at, label) in &y.ticks {
            let at = y.px(*at);
            let class = if (at - self.bottom).abs() < 0.5 { "base" } else { "grid" };
            line(svg, class, (self.left, at), (self.right, at));
            text(svg, "tick end", (self.left - 8.0, at + 4.5), label);
        }
        let mut free = f64::NEG_INFINITY;
        for (at, label) in &x.ticks {
            let (at, half) = (x.px(*at), text_px(label) / 2.0);
            line(svg, "base", (at, self.bottom), (at, self.bottom + 5.0));
            // Ticks of a logarithmic axis are not evenly apart: what would touch its neighbour is left out.
            if at - half >= free {
                let place = at.clamp(half, (self.width - half).max(half));
                text(svg, "tick middle", (place, self.bottom + LINE_PX + 4.0), label);
                free = at + half + 8.0;
            }
        }
        line(svg, "base", (self.left, self.bottom), (self.right, self.bottom));
        let below = match (x_name, x.word.as_str()) {
            (name, word) if word.is_empty() || name.eq_ignore_ascii_case(word) => name.to_owned(),
            ("", word) => word.to_owned(),
            (name, word) => format!("{name} ({word})"),
        };
        let middle = f64::midpoint(self.left, self.right);
        text(svg, "axis middle", (middle, self.bottom + 2.0 * LINE_PX + 6.0), &fit(&below, self.right - self.left));
        text(svg, "axis", (2.0, 14.0), &fit(&y.word, self.width - 4.0));
    }
}

/// Class of the `index`th tone; they come round.
pub(super) fn tone(index: usize) -> &'static str {
    ["t0", "t1", "t2", "t3", "t4", "t5", "t6"][index % TONES]
}

/// A straight line.
pub(super) fn line(svg: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    svg.void(
        "line",
        &[("class", class), ("x1", &px(from.0)), ("y1", &px(from.1)), ("x2", &px(to.0)), ("y2", &px(to.1))],
    );
}

/// A line of text at its baseline.
pub(super) fn text(svg: &mut Markup, class: &str, at: (f64, f64), words: &str) {
    svg.leaf("text", &[("class", class), ("x", &px(at.0)), ("y", &px(at.1))], words);
}

/// A mark's words above a place, moved sideways where they would leave the drawing.
pub(super) fn mark(svg: &mut Markup, frame: &Frame, (across, down): (f64, f64), words: &str) {
    let words = fit(words, frame.right - frame.left);
    let half = text_px(&words) / 2.0;
    let middle = across.min(frame.right - half).max(frame.left + half);
    text(svg, "mark middle", (middle, (down - 10.0).max(26.0)), &words);
}

/// A dot, with what it says when it is pointed at.
pub(super) fn dot(svg: &mut Markup, class: &str, at: (f64, f64), radius: f64, says: &str) {
    svg.open("circle", &[("class", class), ("cx", &px(at.0)), ("cy", &px(at.1)), ("r", &px(radius))]);
    svg.leaf("title", &[], says).close();
}

/// A line through points; nothing where there are none.
pub(super) fn path(svg: &mut Markup, class: &str, points: &[(f64, f64)]) {
    if points.len() > 1 {
        svg.void("path", &[("class", class), ("d", &through(points))]);
    }
}

/// The area between a line and another, both from left to right.
pub(super) fn area(svg: &mut Markup, class: &str, upper: &[(f64, f64)], lower: &[(f64, f64)]) {
    if upper.len() > 1 && lower.len() > 1 {
        let round: Vec<_> = upper.iter().chain(lower.iter().rev()).copied().collect();
        svg.void("path", &[("class", class), ("d", &(through(&round) + "Z"))]);
    }
}

fn through(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        d.push(if index == 0 { 'M' } else { 'L' });
        d.push_str(&px(*x));
        d.push(' ');
        d.push_str(&px(*y));
    }
    d
}

/// A place on a drawing, to a tenth of a pixel.
pub(super) fn px(place: f64) -> String {
    let text = format!("{place:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// About how wide a text is: the page has no font of its own, so this is a wide one's.
pub(super) fn text_px(text: &str) -> f64 {
    text.chars().map(|character| if u32::from(character) < 0x1100 { 0.58 } else { 1.0 }).sum::<f64>() * TEXT_PX
}

/// As much of a text as has room.
pub(super) fn fit(text: &str, room_px: f64) -> String {
    if text_px(text) <= room_px {
        return text.to_owned();
    }
    let mut used = TEXT_PX;
    let fits = |character: &char| {
        used += text_px(character.encode_utf8(&mut [0; 4]));
        used <= room_px
    };
    text.chars().take_while(fits).collect::<String>().trim_end().to_owned() + "…"
}

/// A text in one line or two, each as wide as there is room.
pub(super) fn fold(text: &str, room_px: f64) -> Vec<String> {
    if text_px(text) <= room_px {
        return vec![text.to_owned()];
    }
    let mut first = String::new();
    let mut words = text.split_inclusive(char::is_whitespace).peekable();
    while let Some(word) = words.next_if(|word| text_px(&first) + text_px(word.trim_end()) <= room_px) {
        first.push_str(word);
    }
    let rest: String = words.collect();
    if first.is_empty() { vec![fit(text, room_px)] } else { vec![first.trim_end().to_owned(), fit(&rest, room_px)] }
}

/// Places for labels near the heights that they belong to, in the same order, none on top of another: label `n` is
/// `heights[n]` tall and wants its middle at `wanted[n]`.
pub(super) fn spread(wanted: &[f64], heights: &[f64], (top, bottom): (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len().min(heights.len())).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut places = wanted.to_vec();
    let mut free = top;
    for index in &order {
        let half = heights[*index] / 2.0;
        places[*index] = wanted[*index].max(free + half);
        free = places[*index] + half;
    }
    let mut limit = bottom;
    for index in order.iter().rev() {
        let half = heights[*index] / 2.0;
        places[*index] = places[*index].min(limit - half);
        limit = places[*index] - half;
    }
    places
}
