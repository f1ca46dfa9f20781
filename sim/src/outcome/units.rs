//! Numbers and units as people read them: the prefix that suits, as many digits as the interval allows.

/// One unit of a family: its word, its size in the family's base unit, and the least value (in the base unit) that it suits.
struct Step {
    word: &'static str,
    size: f64,
    from: f64,
}

const fn step(word: &'static str, size: f64, from: f64) -> Step {
    Step { word, size, from }
}

/// Families of units, each from its smallest unit up.
static FAMILIES: [&[Step]; 4] = [
    &[
        step("b/s", 1.0, 0.0),
        step("kb/s", 1e3, 1e3),
        step("Mb/s", 1e6, 1e6),
        step("Gb/s", 1e9, 1e9),
        step("Tb/s", 1e12, 1e12),
        step("Pb/s", 1e15, 1e15),
    ],
    &[
        step("B", 1.0, 0.0),
        step("kB", 1e3, 1e3),
        step("MB", 1e6, 1e6),
        step("GB", 1e9, 1e9),
        step("TB", 1e12, 1e12),
        step("PB", 1e15, 1e15),
        step("EB", 1e18, 1e18),
    ],
    &[
        step("B/s", 1.0, 0.0),
        step("kB/s", 1e3, 1e3),
        step("MB/s", 1e6, 1e6),
        step("GB/s", 1e9, 1e9),
        step("TB/s", 1e12, 1e12),
    ],
    // Two of a larger unit and more: "90 s" and "90 min" are read faster than "1.5 min" and "1.5 h".
    &[
        step("µs", 1e-6, 0.0),
        step("ms", 1e-3, 1e-3),
        step("s", 1.0, 1.0),
        step("min", 60.0, 120.0),
        step("h", 3600.0, 7200.0),
        step("days", 86_400.0, 259_200.0),
    ],
];

/// Bare numbers and unknown units.
static COUNTS: [Step; 4] =
    [step("", 1.0, 0.0), step("million", 1e6, 1e6), step("billion", 1e9, 1e9), step("trillion", 1e12, 1e12)];

/// Unit of hours that are a time of the day.
pub(super) const CLOCK: &str = "o'clock";

/// What is not finite, as people read it.
const NOTHING: &str = "not measured";

/// A unit that was read.
#[derive(Clone, Copy)]
pub(super) struct Unit<'a> {
    steps: &'static [Step],
    /// Size of the unit that values come in, in the family's base unit.
    size: f64,
    /// What follows the word that was understood, or all of it.
    tail: &'a str,
}

/// The form in which values of one unit are shown together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    /// A value times this is the number shown.
    pub(super) factor: f64,
    /// What stands after the number; may be empty.
    pub(super) word: String,
}

/// A value with its interval, ready to be shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    /// The value without its unit.
    pub(super) value: String,
    /// The unit; may be empty.
    pub(super) unit: String,
    /// Ends of the interval without unit, where there is one.
    pub(super) ends: Option<(String, String)>,
    /// Half of the interval without unit, where it lies evenly about the value.
    pub(super) half: Option<String>,
}

impl<'a> Unit<'a> {
    /// Reads a unit as [the module](super) describes.
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.trim();
        let (word, tail) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let word = match word {
            "us" => "µs",
            "seconds" => "s",
            "minutes" => "min",
            "hours" => "h",
            "d" => "days",
            "share" => return Self { steps: &[Step { word: "%", size: 0.01, from: 0.0 }], size: 1.0, tail },
            word => word,
        };
        let known = |steps: &'static [Step]| {
            let found = steps.iter().find(|step| step.word == word)?;
            Some(Self { steps, size: found.size, tail })
        };
        FAMILIES.into_iter().find_map(known).unwrap_or(Self { steps: &COUNTS, size: 1.0, tail: text })
    }

    /// The same without minutes, hours and days: what a logarithmic axis counts in.
    pub(super) fn decimal(self) -> Self {
        let hours = self.steps.iter().position(|step| step.word == "min");
        Self { steps: &self.steps[..hours.unwrap_or(self.steps.len())], ..self }
    }

    /// The prefixed unit alone, and what follows it.
    pub(super) fn parts(self) -> (Self, &'a str) {
        (Self { tail: "", ..self }, self.tail)
    }

    /// The form that suits values up to `largest`.
    pub(super) fn scale(&self, largest: f64) -> Scale {
        // What rounds up to the next unit is shown in it: 999.96 Mb/s as 1 Gb/s.
        let base = largest.abs() * self.size * 1.0005;
        let suited = self.steps.iter().rev().find(|step| base.is_finite() && base > 0.0 && base >= step.from);
        let own = || self.steps.iter().find(|step| step.size == self.size);
        let step = suited.or_else(own).unwrap_or(&self.steps[0]);
        let word = [step.word, self.tail].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        Scale { factor: self.size / step.size, word }
    }

    /// The value with its unit, to three digits.
    pub(super) fn show(&self, value: f64) -> String {
        self.scale(value).show(value)
    }

    /// The value with its interval, both to the digits that the interval allows.
    pub(super) fn estimate(&self, mean: f64, low: f64, high: f64) -> Shown {
        let half = (high - low) / 2.0;
        let scale = self.scale(if half.is_finite() { mean.abs().max(half) } else { mean });
        let (value, low, high) = (mean * scale.factor, low * scale.factor, high * scale.factor);
        if !mean.is_finite() {
            return Shown { value: NOTHING.into(), unit: String::new(), ends: None, half: None };
        }
        let half = (high - low) / 2.0;
        // What adds up to no more than rounding is no interval.
        if !(half.is_finite() && half > value.abs() * 1e-9) {
            return Shown { value: three_digits(value), unit: scale.word, ends: None, half: None };
        }
        // One digit of the interval's half, two where it begins with 1; never more than five of the value.
        let leading = half / 10f64.powf(half.log10().floor());
        let digits = decimals(half, if leading < 1.95 { 2 } else { 1 }).min(decimals(value, 5).max(decimals(half, 1)));
        let even = ((high + low) / 2.0 - value).abs() <= half * 0.02;
        Shown {
            value: number(value, digits),
            unit: scale.word,
            ends: Some((number(low, digits), number(high, digits))),
            half: even.then(|| number(half, digits)),
        }
    }
}

impl Scale {
    /// The value with its unit, to three digits.
    pub(super) fn show(&self, value: f64) -> String {
        join(&self.number(value), if value.is_finite() { &self.word } else { "" })
    }

    /// The value without its unit, to three digits.
    pub(super) fn number(&self, value: f64) -> String {
        three_digits(value * self.factor)
    }
}

impl Shown {
    /// The value with its unit.
    pub(super) fn with_unit(&self) -> String {
        join(&self.value, &self.unit)
    }

    /// The value, what is known of its accuracy, and the unit: "3.42 ± 0.12 Gb/s".
    pub(super) fn with_interval(&self) -> String {
        match (&self.half, &self.ends) {
            (Some(half), _) => join(&format!("{} ± {half}", self.value), &self.unit),
            (None, Some((low, high))) => format!("{} ({low} to {high})", self.with_unit()),
            (None, None) => self.with_unit(),
        }
    }
}

/// Hours since a first day's beginning as a time: 44.5 as "day 2, 20:30".
pub(super) fn clock(hours: f64) -> String {
    if !(0.0..1e6).contains(&hours) {
        return join(&number(hours, 0), CLOCK);
    }
    let minutes = (hours * 60.0).round() as u64;
    // A day ends at 24:00, and no other begins with it: nothing is drawn after it.
    let (day, minutes) = if minutes == 1440 { (0, 1440) } else { (minutes / 1440, minutes % 1440) };
    let time = format!("{:02}:{:02}", minutes / 60, minutes % 60);
    if day == 0 { time } else { format!("day {}, {time}", day + 1) }
}

/// A value that somebody wrote, to all its digits and in the unit it was written in; words as they are.
pub(super) fn as_written(value: &str, unit: &str) -> String {
    let Some(number) = value.trim().parse().ok().filter(|number: &f64| number.is_finite()) else {
        return join(value, unit);
    };
    if unit == CLOCK {
        return clock(number);
    }
    let (shown, word) = match unit.strip_prefix("share") {
        Some(tail) => (number * 100.0, format!("%{tail}")),
        None => (number, unit.to_owned()),
    };
    let digits = format!("{shown:.6}");
    let digits = digits.trim_end_matches('0').split_once('.').map_or(0, |(_, rest)| rest.len());
    join(&self::number(shown, digits), &word)
}

/// A number to three digits; a whole one without decimals.
fn three_digits(value: f64) -> String {
    let digits = decimals(value, 3);
    // Rounded before its digits are counted: 0.9996 is 1.
    let unit = 10f64.powi(i32::try_from(digits).unwrap_or(0));
    let rounded = (value * unit).round() / unit;
    let value = if rounded.is_finite() { rounded } else { value };
    number(value, if value.fract() == 0.0 { 0 } else { decimals(value, 3) })
}

/// A number and what stands after it, not to be parted.
fn join(number: &str, word: &str) -> String {
    if word.is_empty() { number.into() } else { format!("{number}\u{a0}{word}") }
}

/// Decimals that show so many digits of a value; 0 for what has as many before its point.
pub(super) fn decimals(value: f64, digits: i32) -> usize {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    let before = value.abs().log10().floor() as i32 + 1;
    usize::try_from((digits - before).clamp(0, 9)).unwrap_or(0)
}

/// A number with so many decimals, thousands apart, and powers of ten where it would be unreadable without.
pub(super) fn number(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NOTHING.into();
    }
    if value != 0.0 && !(1e-6..1e15).contains(&value.abs()) {
        return powers(value);
    }
    let text = format!("{:.*}", decimals, value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    // What was rounded to zero has no sign.
    if value < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        out.push('−');
    }
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

fn powers(value: f64) -> String {
    let text = format!("{value:.1e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let raised = |sign: char| match sign {
        '-' => '⁻',
        digit => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][digit.to_digit(10).unwrap_or(0) as usize],
    };
    format!("{}×10{}", digits.replace('-', "−"), power.chars().map(raised).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_with_the_prefix_that_suits() {
        for (unit, value, shown) in [
            ("Mb/s", 3420.0, "3.42 Gb/s"),
            ("Mb/s", 999.96, "1 Gb/s"),
            ("Mb/s", 0.0, "0 Mb/s"),
            ("GB per home and month", 0.0123, "12.3 MB per home and month"),
            ("s", 0.25, "250 ms"),
            ("s", 90.0, "90 s"),
            ("s", 5400.0, "90 min"),
            ("h", 18.0, "18 h"),
            ("share", 0.2512, "25.1 %"),
            ("share of bytes", 0.5, "50 % of bytes"),
            ("homes", 1_234_567.0, "1.23 million homes"),
            ("homes", 20_000.0, "20,000 homes"),
            ("", -12_345.0, "−12,345"),
            ("EUR", 0.0034, "0.00340 EUR"),
            ("EUR", 1e-9, "1.0×10⁻⁹ EUR"),
            ("s", f64::NAN, "not measured"),
        ] {
            assert_eq!(Unit::of(unit).show(value).replace('\u{a0}', " "), shown, "{value} {unit}");
        }
    }

    #[test]
    fn what_was_written_keeps_its_digits_and_its_unit() {
        for (value, unit, shown) in [
            ("20000", "homes", "20,000 homes"),
            ("20.25", "h", "20.25 h"),
            ("20.25", "o'clock", "20:15"),
            ("44.5", "o'clock", "day 2, 20:30"),
            ("24", "o'clock", "24:00"),
            ("-1", "o'clock", "−1 o'clock"),
            ("0.07", "share", "7 %"),
            ("0.002", "share of homes", "0.2 % of homes"),
            ("1000", "Mb/s", "1,000 Mb/s"),
            ("0", "", "0"),
            ("seed-only", "", "seed-only"),
            ("inf", "", "inf"),
        ] {
            assert_eq!(as_written(value, unit).replace('\u{a0}', " "), shown);
        }
    }

    #[test]
    fn an_estimate_has_the_digits_that_its_interval_allows() {
        let shown = |mean, low, high| Unit::of("Mb/s").estimate(mean, low, high).with_interval().replace('\u{a0}', " ");
        assert_eq!(shown(3421.3, 3301.3, 3541.3), "3.42 ± 0.12 Gb/s");
        assert_eq!(shown(12.0, 12.0, 12.0), "12 Mb/s");
        assert_eq!(shown(12.0, 10.0, 20.0), "12 Mb/s (10 to 20)");
        assert_eq!(shown(12.0, f64::NEG_INFINITY, f64::INFINITY), "12 Mb/s");
        assert_eq!(shown(0.001, -40.0, 40.002), "0 ± 40 Mb/s");
    }
}
