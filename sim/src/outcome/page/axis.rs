//! Axes: which stretch of numbers is shown, where its ticks are, and where on the drawing a number lies.

use super::super::units::{self, CLOCK, Scale, Unit};

/// Beyond this a value is drawn at the edge: differences of such numbers stay finite.
const FARTHEST: f64 = 1e300;
/// Nearest to zero on a logarithmic axis.
const NEAREST: f64 = 1e-300;

/// One axis of a drawing.
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    from_px: f64,
    to_px: f64,
    /// Where the ticks are, in the axis' values, and what they say.
    pub(super) ticks: Vec<(f64, String)>,
    /// What the numbers at the ticks count; empty where each tick says it.
    pub(super) word: String,
    /// The form of the numbers.
    pub(super) scale: Scale,
}

/// Smallest and largest of the finite values; none where none is finite.
pub(super) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |range, value| {
        let value = value.clamp(-FARTHEST, FARTHEST);
        Some(range.map_or((value, value), |(low, high): (f64, f64)| (low.min(value), high.max(value))))
    })
}

impl Axis {
    /// An axis for values, with zero on it and some `count` ticks at round numbers: a small change is to look small.
    pub(super) fn values(range: (f64, f64), unit: Unit<'_>, count: f64, (from_px, to_px): (f64, f64)) -> Self {
        let (low, high) = (range.0.min(0.0), range.1.max(0.0));
        let scale = unit.scale(low.abs().max(high.abs()));
        let steps = [1.0, 2.0, 5.0];
        let mut axis = Self::linear((low, high), scale, count, &steps, (from_px, to_px));
        axis.round_up();
        axis
    }

    /// An axis for places: exactly as long as they reach. Hours are ticked as a day is divided, and those of the day are
    /// told as a clock does.
    pub(super) fn places(range: (f64, f64), unit: &str, count: f64, (from_px, to_px): (f64, f64)) -> Self {
        let clock = unit == CLOCK;
        let hours = (clock || matches!(unit, "h" | "hours")) && range.1 - range.0 >= 6.0;
        let steps: &[f64] = if hours { &[1.0, 2.0, 3.0, 6.0, 12.0, 24.0] } else { &[1.0, 2.0, 5.0] };
        let scale = Scale { factor: 1.0, word: unit.into() };
        let scale = if hours { scale } else { Unit::of(unit).scale(range.0.abs().max(range.1.abs())) };
        let mut axis = Self::linear(range, scale, count, steps, (from_px, to_px));
        if clock {
            axis.word = String::new();
            for (at, label) in &mut axis.ticks {
                *label = units::clock(*at);
                // Of several days, their beginnings are told by their number.
                if range.1 > 24.0 && at.rem_euclid(24.0) == 0.0 {
                    *label = format!("day {}", units::number(*at / 24.0 + 1.0, 0));
                }
            }
        }
        axis
    }

    fn linear((low, high): (f64, f64), scale: Scale, count: f64, steps: &[f64], (from_px, to_px): (f64, f64)) -> Self {
        let (low, high) = if (high - low) > high.abs().max(low.abs()) * 1e-9 {
            (low, high)
        } else if low == 0.0 {
            (0.0, 1.0 / scale.factor)
        } else {
            (low - low.abs() * 0.1, high + high.abs() * 0.1)
        };
        let (from, to) = (low * scale.factor, high * scale.factor);
        let step = round_step((to - from) / count.max(1.0), steps);
        let first = (from / step - 1e-6).ceil();
        let ticks = (0..50)
            .map(|n| (first + f64::from(n)) * step)
            .take_while(|at| *at <= to + step * 1e-6)
            .map(|at| (at / scale.factor, units::number(at, step_decimals(step))))
            .collect();
        Self { low, high, log: false, from_px, to_px, ticks, word: scale.word.clone(), scale }
    }

    /// Goes on to the next tick, so that no value lies above the last.
    fn round_up(&mut self) {
        if let [first, second, ..] = self.ticks[..].iter().map(|tick| tick.0).collect::<Vec<_>>()[..] {
            let step = second - first;
            let last = self.ticks[self.ticks.len() - 1].0;
            if self.high > last + step * 0.02 {
                let at = last + step;
                self.ticks.push((at, units::number(at * self.scale.factor, step_decimals(step * self.scale.factor))));
                self.high = at;
            }
            if self.low < first - step * 0.02 {
                let at = first - step;
                self.ticks
                    .insert(0, (at, units::number(at * self.scale.factor, step_decimals(step * self.scale.factor))));
                self.low = at;
            }
        }
    }

    /// A logarithmic axis over the positive part of a range. Its ticks carry their prefix each.
    pub(super) fn logarithmic(range: (f64, f64), unit: Unit<'_>, count: f64, (from_px, to_px): (f64, f64)) -> Self {
        let high = range.1.clamp(NEAREST * 10.0, FARTHEST);
        let low = range.0.clamp(NEAREST, high);
        let (low, high) = if high / low < 1.5 { (low / 1.5, high * 1.5) } else { (low, high) };
        let (unit, word) = unit.decimal().parts();
        let scale = unit.scale(high);
        let (from, to) = (low.log10(), high.log10());
        let decades = to - from;
        let choices: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
        let between = choices.into_iter().find(|digits| decades * digits.len() as f64 <= count).unwrap_or(&[1.0]);
        let every = ((decades / count.max(1.0)).ceil() as i32).max(1);
        let powers = (from.floor() as i32..=to.ceil() as i32).filter(|power| power % every == 0);
        let mut ticks: Vec<(f64, String)> = powers
            .flat_map(|power| between.iter().map(move |digit| digit * 10f64.powi(power)))
            .filter(|at| (low * 0.999..=high * 1.001).contains(at))
            .map(|at| (at, unit.show(at)))
            .collect();
        if ticks.len() < 2 {
            // Between 11 and 19 there is no such number.
            let linear = Self::linear((low, high), scale.clone(), count, &[1.0, 2.0, 5.0], (from_px, to_px));
            ticks = linear.ticks.into_iter().map(|(at, _)| (at, unit.show(at))).collect();
        }
        Self { low, high, log: true, from_px, to_px, ticks, word: word.into(), scale }
    }

    /// Where a finite value lies on the drawing; at the edge where it is beyond it.
    pub(super) fn px(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(NEAREST).log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value.clamp(-FARTHEST, FARTHEST) - self.low) / (self.high - self.low)
        };
        self.from_px + part.clamp(0.0, 1.0) * (self.to_px - self.from_px)
    }
}

/// The least of `steps` times a power of ten that is no smaller than `least`.
fn round_step(least: f64, steps: &[f64]) -> f64 {
    let least = if least.is_finite() && least > 0.0 { least } else { 1.0 };
    if steps.len() > 3 {
        return steps.iter().copied().find(|step| *step >= least).unwrap_or_else(|| (least / 24.0).ceil() * 24.0);
    }
    let power = 10f64.powf(least.log10().floor());
    steps.iter().map(|step| step * power).find(|step| *step >= least * 0.999).unwrap_or(power * 10.0)
}

fn step_decimals(step: f64) -> usize {
    units::decimals(step * 1.0001, 1)
}
