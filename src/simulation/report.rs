//! What a run was like: waits against the goal, and what they cost.

use std::fmt;

/// The figures of one run. Times in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Messages that were consumed.
    pub messages: usize,
    /// The median wait.
    pub wait_p50: f64,
    /// The wait that 95 % did not exceed.
    pub wait_p95: f64,
    /// The longest wait.
    pub wait_max: f64,
    /// The share of messages that waited longer than the goal, 0 to 1.
    pub over_goal: f64,
    /// Consumers times seconds, those that start and those that finish included.
    pub consumer_seconds: f64,
    /// What a clairvoyant would have spent at the least: all the work, and never fewer than the minimum.
    pub least_consumer_seconds: f64,
    /// The most consumers at one time.
    pub most_consumers: u32,
    /// Consumers at the end.
    pub consumers_at_end: u32,
    /// Consumers that were started.
    pub starts: u32,
    /// Changes of direction within 300 s.
    pub reversals: u32,
    /// Consumers that were busy when they were asked to end. They finished what they had.
    pub busy_stops: u32,
    /// How long after the last message was consumed the target was back at the minimum.
    pub back_at_minimum_after: Option<f64>,
}

impl Report {
    /// Cost as a multiple of what a clairvoyant would have spent.
    pub fn regret(&self) -> f64 {
        self.consumer_seconds / self.least_consumer_seconds
    }

    /// The heading over rows.
    pub fn heading() -> String {
        format!(
            "{:<28}{:>9}{:>8}{:>8}{:>9}{:>11}{:>8}{:>6}{:>7}{:>7}{:>7}",
            "",
            "messages",
            "p95 s",
            "max s",
            "% over",
            "cons-s",
            "x least",
            "most",
            "starts",
            "revers",
            "busy"
        )
    }

    /// One row of a table.
    pub fn row(&self, name: &str) -> String {
        format!("{name:<28}{self}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:>9}{:>8.2}{:>8.2}{:>9.3}{:>11.0}{:>8.2}{:>6}{:>7}{:>7}{:>7}",
            self.messages,
            self.wait_p95,
            self.wait_max,
            self.over_goal * 100.0,
            self.consumer_seconds,
            self.regret(),
            self.most_consumers,
            self.starts,
            self.reversals,
            self.busy_stops
        )
    }
}

/// The value that a share of the sorted values does not exceed; 0 of nothing.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(
            (quantile(&values, 0.5), quantile(&values, 0.95), quantile(&values, 1.0)),
            (2.0, 4.0, 4.0)
        );
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
