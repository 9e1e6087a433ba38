//! Arrivals per second and the start-up time of a consumer.

use std::time::Duration;

/// The slow average looks back over about this many messages, so that its own noise is about 10 %.
const SLOW_MESSAGES: f64 = 100.0;
/// ... but over no fewer seconds than this, or single bursts would be taken for a flow,
const SLOW_LEAST_SECONDS: f64 = 30.0;
/// ... and over no more than this, or a quiet night would be remembered all morning.
const SLOW_MOST_SECONDS: f64 = 600.0;
/// The fast average, used only for what arrives while consumers start.
const FAST_SECONDS: f64 = 5.0;
/// Arrivals, as far as they can be seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrivals {
    slow: f64,
    fast: f64,
    known: bool,
}

/// What happened between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// Its length in seconds.
    pub seconds: f64,
    /// Messages ready at its begin.
    pub ready_before: f64,
    /// Messages ready at its end.
    pub ready_after: f64,
    /// Messages a second that the consumers can complete.
    pub capacity: f64,
    /// Where the queue has been empty for so long that no flow near that capacity is likely: that time in seconds.
    pub long_empty: Option<f64>,
}

impl Arrivals {
    /// Messages a second over about a hundred messages.
    pub fn slow(&self) -> f64 {
        self.slow
    }

    /// Messages a second over a few seconds.
    pub fn fast(&self) -> f64 {
        self.fast
    }

    /// Whether two readings have been seen.
    pub fn are_known(&self) -> bool {
        self.known
    }

    /// Takes over what is known from elsewhere, in messages a second.
    pub(super) fn adopt(&mut self, slow: f64) {
        self.slow = slow;
        self.known = true;
    }

    /// Takes what happened between two readings. A deeper end never gives fewer arrivals.
    pub fn observe(&mut self, interval: &Interval) {
        if interval.seconds <= 0.0 {
            return;
        }
        let messages = SLOW_MESSAGES / self.slow.max(self.fast);
        let window = interval.long_empty.unwrap_or(messages).clamp(SLOW_LEAST_SECONDS, SLOW_MOST_SECONDS);
        let slow = seen(interval, self.slow);
        let fast = seen(interval, self.fast);
        self.slow += (slow - self.slow) * share(interval.seconds, window);
        self.fast += (fast - self.fast) * share(interval.seconds, FAST_SECONDS);
        self.known = true;
    }
}

/// Arrivals a second during an interval: exact while messages waited all the time or nobody consumed, between bounds
/// otherwise, where `usual` decides.
///
/// While the queue reads empty, arrivals are invisible: any flow that the consumers can do leaves it empty. Near their
/// capacity, though, messages show now and then. So the estimate stands for a while, and when the emptiness has lasted
/// it fades as quickly, until so few consumers are left that messages show again.
fn seen(interval: &Interval, usual: f64) -> f64 {
    let slope = (interval.ready_after - interval.ready_before) / interval.seconds;
    let most = (slope + interval.capacity).max(0.0);
    match (interval.ready_before > 0.0, interval.ready_after > 0.0) {
        (true, true) => most,
        (true, false) => usual.min(most),
        (false, true) => usual.clamp(slope, most),
        (false, false) if interval.long_empty.is_some() => 0.0,
        (false, false) => usual.min(most),
    }
}

/// The weight of a new value that covers `seconds` in an exponential average over `window` seconds.
fn share(seconds: f64, window: f64) -> f64 {
    1.0 - (-seconds / window).exp()
}

/// Assumed before the first start was seen.
const STARTUP_PRIOR_SECONDS: f64 = 1.0;
/// Nothing is planned on the belief that a start takes longer.
const STARTUP_MOST_SECONDS: f64 = 600.0;
/// Weights three to one lead near the third quartile: a start that is planned for is slow more often than quick.
const STARTUP_WEIGHT_SLOWER: f64 = 0.3;
const STARTUP_WEIGHT_QUICKER: f64 = 0.1;

/// The start-up time of a consumer, from the order until it consumes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Startup {
    seconds: Option<f64>,
}

impl Startup {
    /// Remembers `seconds`, or knows nothing.
    pub fn new(seconds: Option<f64>) -> Self {
        let usable = |seconds: &f64| seconds.is_finite() && *seconds >= 0.0;
        Self { seconds: seconds.filter(usable).map(|seconds| seconds.min(STARTUP_MOST_SECONDS)) }
    }

    /// Seconds; the prior where none was seen.
    pub fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(STARTUP_PRIOR_SECONDS)
    }

    /// Seconds, where any start was seen.
    pub fn learned(&self) -> Option<f64> {
        self.seconds
    }

    /// Takes one start.
    pub fn observe(&mut self, took: Duration) {
        let took = took.as_secs_f64().min(STARTUP_MOST_SECONDS);
        self.seconds = Some(match self.seconds {
            None => took,
            Some(usual) if took > usual => usual + (took - usual) * STARTUP_WEIGHT_SLOWER,
            Some(usual) => usual + (took - usual) * STARTUP_WEIGHT_QUICKER,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(ready_before: f64, ready_after: f64, capacity: f64) -> Interval {
        Interval { seconds: 1.0, ready_before, ready_after, capacity, long_empty: None }
    }

    #[test]
    fn a_flow_under_which_the_queue_grows_is_measured() {
        let mut arrivals = Arrivals::default();
        for tick in 1..200 {
            arrivals.observe(&second(f64::from(tick) * 30.0, f64::from(tick + 1) * 30.0, 10.0));
        }
        assert!((arrivals.slow() - 40.0).abs() < 1.0, "{arrivals:?}");
        assert!((arrivals.fast() - 40.0).abs() < 0.1, "{arrivals:?}");
    }

    #[test]
    fn an_empty_queue_leaves_the_estimate_alone_for_a_while_and_then_fades_it() {
        let mut arrivals = Arrivals { slow: 40.0, fast: 40.0, known: true };
        arrivals.observe(&second(0.0, 0.0, 100.0));
        assert!((arrivals.slow() - 40.0).abs() < 1e-9);
        for _ in 0..60 {
            arrivals.observe(&Interval { long_empty: Some(10.0), ..second(0.0, 0.0, 100.0) });
        }
        assert!(arrivals.slow() < 10.0, "{arrivals:?}");
    }

    #[test]
    fn an_empty_queue_without_consumers_has_no_arrivals() {
        let mut arrivals = Arrivals { slow: 40.0, fast: 40.0, known: true };
        for _ in 0..60 {
            arrivals.observe(&second(0.0, 0.0, 0.0));
        }
        assert!(arrivals.slow() < 10.0, "{arrivals:?}");
    }

    #[test]
    fn one_burst_is_not_taken_for_a_flow() {
        let mut arrivals = Arrivals::default();
        arrivals.observe(&second(0.0, 0.0, 20.0));
        arrivals.observe(&second(0.0, 2_000.0, 20.0));
        assert!(arrivals.slow() < 70.0, "{arrivals:?}");
        assert!(arrivals.fast() > 300.0, "{arrivals:?}");
    }

    #[test]
    fn startup_settles_on_the_slower_half() {
        let mut startup = Startup::new(None);
        assert!((startup.seconds() - STARTUP_PRIOR_SECONDS).abs() < 1e-9);
        for tick in 0..200 {
            startup.observe(Duration::from_millis(if tick % 2 == 0 { 1_000 } else { 3_000 }));
        }
        assert!((2.0..3.0).contains(&startup.seconds()), "{startup:?}");
    }
}
