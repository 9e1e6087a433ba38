//! What a run was like: waits against the goal, and what they cost.

/// The figures of one run. Times in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Messages that arrived.
    pub messages: usize,
    /// Messages that were not consumed when the run was given up.
    pub left_over: usize,
    /// The median wait.
    pub wait_p50: f64,
    /// The wait that 95 % did not exceed.
    pub wait_p95: f64,
    /// The wait that 99 % did not exceed.
    pub wait_p99: f64,
    /// The longest wait.
    pub wait_max: f64,
    /// The share of messages that waited longer than the goal, 0 to 1.
    pub over_goal: f64,
    /// The same of the queue where it is the largest.
    pub worst_queue_over_goal: f64,
    /// Consumers times seconds, those that start and those that finish included.
    pub consumer_seconds: f64,
    /// Seconds of work that consumers did.
    pub busy_seconds: f64,
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
    /// Consumers that were busy when they were asked to end. They finished what they had begun.
    pub busy_stops: u32,
    /// The longest time during which fewer consumers ran than the arriving work took.
    pub time_to_capacity: f64,
    /// How long the run lasted.
    pub seconds: f64,
}

impl Report {
    /// Cost as a multiple of what a clairvoyant would have spent; 1 where there was nothing to do.
    pub fn regret(&self) -> f64 {
        if self.least_consumer_seconds > 0.0 {
            self.consumer_seconds / self.least_consumer_seconds
        } else {
            1.0
        }
    }

    /// The share of the consumers' time in which they worked, 0 to 1.
    pub fn utilisation(&self) -> f64 {
        if self.consumer_seconds > 0.0 { (self.busy_seconds / self.consumer_seconds).min(1.0) } else { 0.0 }
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
