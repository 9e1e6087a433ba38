//! Axes: where a value stands, and which round values are marked.

use crate::core::words::grouped;

/// How values are laid out along an axis, from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Evenly, up to `most`.
    Linear {
        /// The largest value.
        most: f64,
    },
    /// Like a logarithm above `unit` and evenly below it, so that 0 has a place.
    Log {
        /// A power of ten.
        unit: f64,
        /// The largest value.
        most: f64,
    },
}

impl Scale {
    /// For values up to `most` among which those about `small` are to be seen as well.
    pub(super) fn new(most: f64, small: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        if small > 0.0 && most / small > 10.0 {
            let unit = 10.0_f64.powf(small.log10().floor()).max(most / 1e5);
            Self::log(10.0_f64.powf(unit.log10().ceil()), most)
        } else {
            Self::Linear { most }
        }
    }

    /// A logarithm above `unit`.
    pub(super) fn log(unit: f64, most: f64) -> Self {
        Self::Log { unit, most: most.max(unit) }
    }

    /// How far along the axis, 0 to 1; what is beyond its end stands at the end.
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear { most } => (value / most).clamp(0.0, 1.0),
            Self::Log { unit, most } => ((value / unit).ln_1p() / (most / unit).ln_1p()).clamp(0.0, 1.0),
        }
    }

    /// Round values from 0 to the end, about `wanted` of them.
    pub(super) fn ticks(self, wanted: u32) -> Vec<f64> {
        match self {
            Self::Linear { most } => multiples(round_step(most / f64::from(wanted.max(1))), most),
            Self::Log { unit, most } => {
                let powers = (most / unit).log10().floor() as i32;
                let every = (powers + 1).div_euclid(wanted.max(1) as i32).max(1);
                let marked = (0..=powers).filter(|power| (powers - power) % every == 0);
                std::iter::once(0.0).chain(marked.map(|power| unit * 10.0_f64.powi(power))).collect()
            }
        }
    }

    /// What is to be said of it beside the unit.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Linear { .. } => "",
            Self::Log { .. } => ", logarithmic",
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10.0_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= least * (1.0 - 1e-9));
    step.unwrap_or(10.0) * power
}

fn multiples(step: f64, most: f64) -> Vec<f64> {
    let count = (most / step * (1.0 + 1e-9)).floor() as u32;
    (0..=count).map(|index| f64::from(index) * step).collect()
}

/// The steps between marks of time that people count in, seconds.
const TIME_STEPS: [f64; 19] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0,
    21_600.0, 43_200.0, 86_400.0, 172_800.0,
];

/// Round moments within `seconds`, at most `most` after the begin, and their words.
pub(super) fn times(seconds: f64, most: u32) -> Vec<(f64, String)> {
    let least = seconds / f64::from(most.max(1));
    let step = TIME_STEPS.into_iter().find(|step| *step >= least);
    let step = step.unwrap_or_else(|| 86_400.0 * round_step(least / 86_400.0));
    let (unit, word) = match step {
        86_400.0.. => (86_400.0, "d"),
        3_600.0.. => (3_600.0, "h"),
        60.0.. => (60.0, "min"),
        _ => (1.0, "s"),
    };
    multiples(step, seconds).into_iter().map(|at| (at, format!("{:.0} {word}", at / unit))).collect()
}

/// A number that is not negative, with thousands set apart: `12,500`, `0.25`.
pub(super) fn count(value: f64) -> String {
    if value < 1_000.0 {
        let text = format!("{value:.3}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    grouped(value.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_within_the_axis() {
        for (most, wanted, expected) in [
            (47.0, 3, vec![0.0, 20.0, 40.0]),
            (60.0, 3, vec![0.0, 20.0, 40.0, 60.0]),
            (1.3, 3, vec![0.0, 0.5, 1.0]),
            (72_000.0, 4, vec![0.0, 20_000.0, 40_000.0, 60_000.0]),
        ] {
            assert_eq!(Scale::Linear { most }.ticks(wanted), expected);
        }
        assert_eq!(Scale::log(1.0, 2_500.0).ticks(4), [0.0, 1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!(Scale::log(1.0, 2_500.0).ticks(2), [0.0, 10.0, 1_000.0]);
    }

    #[test]
    fn an_axis_is_logarithmic_where_the_small_would_vanish() {
        assert_eq!(Scale::new(90.0, 10.0), Scale::Linear { most: 90.0 });
        assert_eq!(Scale::new(500.0, 15.0), Scale::Log { unit: 10.0, most: 500.0 });
        assert_eq!(Scale::new(0.0, 0.0), Scale::Linear { most: 1.0 });
        let scale = Scale::log(1.0, 99.0);
        assert_eq!((scale.place(0.0), scale.place(99.0), scale.place(1e6)), (0.0, 1.0, 1.0));
        assert!((scale.place(9.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn time_is_told_in_the_units_of_people() {
        let words = |seconds, most| {
            times(seconds, most).into_iter().map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(45.0, 5), "0 s 10 s 20 s 30 s 40 s");
        assert_eq!(words(3_700.0, 4), "0 min 30 min 60 min");
        assert_eq!(words(86_400.0, 4), "0 h 6 h 12 h 18 h 24 h");
        assert_eq!(words(30.0 * 86_400.0, 4), "0 d 10 d 20 d 30 d");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0.25, 999.0, 1_000.0, 1_234_567.0].map(count), ["0.25", "999", "1,000", "1,234,567"]);
        assert_eq!(count(0.0), "0");
    }
}
