//! A rate that is not to be passed, for what is behind the consumers: as many as do that many messages, and no more.

use std::time::Duration;

/// What is measured is no more exact than that: a count that falls short of a whole one by less is a whole one.
const INACCURACY: f64 = 0.05;
/// A present number is too many only beyond this many times what is allowed, so that a measured time that wavers changes nothing.
const WAVERS: f64 = 1.25;

/// How many consumers a rate allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Allowed {
    /// Messages a second.
    pub(super) rate: f64,
    /// What one message takes.
    pub(super) service: Duration,
    /// How many may be added up to.
    pub(super) consumers: u32,
    /// Beyond how many some have to go.
    pub(super) most: u32,
}

impl Allowed {
    /// By `rate` messages a second that take `service` seconds each, `concurrency` of them at once; never fewer than `min`, nor
    /// than one. What is not learned makes nobody go.
    pub(super) fn new(rate: f64, service: f64, concurrency: u32, is_learned: bool, min: u32) -> Self {
        let busy = rate * service / f64::from(concurrency);
        let consumers = ((busy + INACCURACY).floor() as u32).max(1).max(min);
        let most = ((busy * WAVERS + INACCURACY).floor() as u32).max(consumers);
        let service = Duration::try_from_secs_f64(service).unwrap_or(Duration::MAX);
        Self { rate, service, consumers, most: if is_learned { most } else { u32::MAX } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rate: f64, service: f64, is_learned: bool, min: u32) -> (u32, u32) {
        let allowed = Allowed::new(rate, service, 1, is_learned, min);
        (allowed.consumers, allowed.most)
    }

    #[test]
    fn as_many_as_do_no_more_than_the_rate_and_one_at_the_least() {
        assert_eq!(counts(10.0, 0.5, true, 0), (5, 6));
        assert_eq!(counts(10.0, 0.499, true, 0), (5, 6), "that is five");
        assert_eq!(counts(10.0, 0.46, true, 0), (4, 5), "that is four and a half");
        assert_eq!(counts(10.0, 0.001, true, 0), (1, 1));
        assert_eq!(counts(10.0, 0.001, true, 3), (3, 3), "the minimum runs");
        assert_eq!(counts(10.0, 0.5, false, 0), (5, u32::MAX), "an assumed time makes nobody go");
        assert_eq!(Allowed::new(10.0, 0.5, 4, true, 0).consumers, 1, "four at once are eight a second");
        assert_eq!(counts(f64::INFINITY, 1.0, true, 0).0, u32::MAX);
    }
}
