//! Means over seeds and how far they may be off.

/// Student's t for 95 % on both sides, by degrees of freedom from 1.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end, not below 0.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The mean of values that are not negative; 0 of nothing. One value has no width.
pub fn interval(values: &[f64]) -> Interval {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return Interval { mean, low: mean, high: mean };
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let student = STUDENT.get(values.len() - 2).copied().unwrap_or(1.96);
    let half = student * (variance / count).sqrt();
    Interval { mean, low: (mean - half).max(0.0), high: mean + half }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let Interval { mean, low, high } = interval(&[2.0, 4.0, 6.0]);
        assert_eq!(mean, 4.0);
        let half = 4.303 * 2.0 / 3.0_f64.sqrt();
        assert!((high - 4.0 - half).abs() < 1e-9 && low == 0.0, "{low} {high}");
        assert_eq!(interval(&[3.0]), Interval { mean: 3.0, low: 3.0, high: 3.0 });
    }
}
