//! Seconds of work per message, from the depth of the queue alone.
//!
//! While messages wait at both ends of an interval every consumer is busy, so the depth changes by
//! `y = arrivals - c / S`. Two unknowns: they are told apart by the changes of `c` that scaling itself makes, and by
//! arrivals never being negative (a pure backlog that falls by 400 a second under 20 consumers is 50 ms a message).
//! That is a linear filter with two states, arrivals (wandering quickly) and the rate of one consumer `1 / S`
//! (wandering slowly): R. E. Kalman, 1960, in its two-by-two form, with the sign constraint put in as one more reading.
//!
//! `S` errs upward as long as it does not know better: what looks like slow work costs a few consumers, what looks like
//! quick work costs the goal.

/// Assumed before anything is known: long enough for most web work, and high rather than low.
pub const PRIOR_SECONDS: f64 = 0.2;
/// Nothing is planned on the belief that a message takes less.
const LEAST_SECONDS: f64 = 1e-4;
/// Nothing is planned on the belief that a message takes longer.
const MOST_SECONDS: f64 = 3_600.0;
/// How surely the prior is known: not at all, its own size in standard deviations.
const PRIOR_SPREAD: f64 = 1.0;
/// How surely a remembered value is known: programs change between restarts.
const REMEMBERED_SPREAD: f64 = 0.3;
/// How surely a measured value is known.
const MEASURED_SPREAD: f64 = 0.03;
/// Below this relative standard deviation the value is called learned.
const LEARNED_SPREAD: f64 = 0.3;
/// Arrivals wander by this share of the flow in a second.
const ARRIVALS_WANDER: f64 = 0.05;
/// The rate of a consumer wanders by this share in a second: half an hour of work may double it.
const RATE_WANDER: f64 = 0.01;
/// A reading that is off by more standard deviations than this is a change of the arrivals, whatever else may be said for
/// it: producers start and stop at once, programs seldom become quicker or slower at once.
const SURPRISE: f64 = 3.0;
/// The same where the depth falls quicker than expected.
const SURPRISE_FALL: f64 = 1.0;
/// A queue is deep enough to learn from when it holds this many times its usual and its present change.
const DEEP_ENOUGH: f64 = 2.0;
/// The weight of a reading in the usual change.
const CHANGE_SHARE: f64 = 0.2;
/// The most by which planning exceeds the estimate for not knowing it well: half as long again.
const LARGEST_MARGIN: f64 = 0.5;
/// The most that one reading may multiply or divide the rate by: a purge or an expiry looks like work, once.
const LARGEST_STEP: f64 = 2.0;

/// A fall tells how quick work is at least, once so many messages fell; what fell before the last so many is forgotten.
const FALLS_LEAST: f64 = 8.0;
const FALLS_FADE: f64 = 1.05;
/// How surely a fall tells: so many standard deviations of a count.
const FALLS_SURE: f64 = 2.0;

/// The filter.
#[derive(Clone, Debug)]
pub struct Service {
    /// Messages a second that arrive during the present busy phase.
    arrivals: f64,
    /// Messages a second that one consumer completes.
    rate: f64,
    /// Variance of `arrivals`.
    arrivals_variance: f64,
    /// Covariance of both.
    covariance: f64,
    /// Variance of `rate`.
    rate_variance: f64,
    /// Whether a phase has begun, and was not interrupted.
    in_phase: bool,
    /// By how many messages the depth usually changes between two readings.
    usual_change: f64,
    /// Whether anything was seen.
    observed: bool,
    /// Whether the rate was ever known well.
    learned: bool,
    /// Consumer-seconds during which messages waited, and messages by which the depth fell in them. Both fade.
    fall_seconds: f64,
    fallen: f64,
    slowest: f64,
}

/// One interval during which messages waited all the time.
#[derive(Clone, Copy, Debug)]
pub struct BusyInterval {
    /// Its length in seconds.
    pub seconds: f64,
    /// Messages ready at its begin.
    pub ready_before: f64,
    /// The change of the depth, messages a second.
    pub slope: f64,
    /// Consumers, on average.
    pub consumers: f64,
    /// By how many their count changed meanwhile.
    pub consumers_changed: f64,
    /// The best guess of the arrivals before this phase, messages a second.
    pub usual_arrivals: f64,
    /// How fast the depth rose when the phase began, messages a second.
    pub onset: f64,
}

impl Service {
    /// A filter that remembers `seconds`, or knows nothing.
    pub fn new(seconds: Option<f64>) -> Self {
        let remembered = seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let rate = 1.0 / remembered.unwrap_or(PRIOR_SECONDS).clamp(LEAST_SECONDS, MOST_SECONDS);
        let spread = if remembered.is_some() { REMEMBERED_SPREAD } else { PRIOR_SPREAD };
        Self {
            arrivals: 0.0,
            rate,
            arrivals_variance: 0.0,
            covariance: 0.0,
            rate_variance: (spread * rate).powi(2),
            in_phase: false,
            usual_change: 0.0,
            observed: false,
            learned: remembered.is_some(),
            fall_seconds: 0.0,
            fallen: 0.0,
            slowest: f64::INFINITY,
        }
    }

    /// Takes over what was measured elsewhere, in seconds, and whether that is more than what was believed before.
    pub(super) fn adopt(&mut self, seconds: f64, is_learned: bool) {
        let (usual_change, learned) = (self.usual_change, self.learned || is_learned);
        *self = Self { usual_change, learned, observed: true, ..Self::new(Some(seconds)) };
        self.rate_variance = (MEASURED_SPREAD * self.rate).powi(2);
    }

    /// Work that was taken to be of one is of so many at once.
    pub(super) fn stretch(&mut self, times: f64) {
        self.rate /= times;
        self.covariance /= times;
        self.rate_variance /= times * times;
        self.fall_seconds *= times;
        self.slowest *= times;
    }

    /// Seconds of work per message.
    pub fn seconds(&self) -> f64 {
        1.0 / self.rate
    }

    /// Seconds of work per message to plan with: longer by what is not known about it.
    pub fn planned_seconds(&self) -> f64 {
        let spread = self.rate_variance.max(0.0).sqrt() / self.rate;
        self.seconds() * (1.0 + if self.observed { spread.min(LARGEST_MARGIN) } else { 0.0 })
    }

    /// Whether that is known rather than assumed.
    pub fn is_learned(&self) -> bool {
        self.learned
    }

    /// The queue was empty, or could not be read: the arrivals of the phase that ended say nothing of the next.
    pub fn end_phase(&mut self) {
        self.in_phase = false;
    }

    /// Learns from one busy interval.
    pub fn observe(&mut self, interval: &BusyInterval) {
        if interval.consumers <= 0.0 || interval.seconds <= 0.0 {
            return;
        }
        if !self.in_phase {
            self.begin_phase(interval);
        }
        if !self.tells(interval) {
            return;
        }
        self.observed = true;
        let previous = self.rate;
        self.wander(interval);
        let noise = self.noise(interval);
        self.expect_new_arrivals(interval, noise);
        self.update(1.0, -interval.consumers, interval.slope, noise);
        if self.arrivals < 0.0 {
            self.update(1.0, 0.0, 0.0, noise);
            self.arrivals = self.arrivals.max(0.0);
        }
        self.limit_step(previous);
        self.learned |= self.rate_variance.max(0.0).sqrt() < LEARNED_SPREAD * self.rate;
    }

    /// Learns how quick work is at least, from `consumer_seconds` with messages waiting at their begin, after which `fallen`
    /// fewer waited: so many were taken, and more if others came. However the arrivals come, that is no more than what was
    /// done. What was seen since the queue was last empty is judged together.
    pub(super) fn observe_fall(&mut self, consumer_seconds: f64, fallen: f64, is_over: bool) {
        self.fall_seconds += consumer_seconds;
        self.fallen += fallen.max(0.0);
        if self.fallen >= FALLS_LEAST {
            let most = self.fall_seconds / self.fallen * (1.0 + FALLS_SURE / self.fallen.sqrt());
            self.slowest = self.slowest.min(most);
        }
        if is_over {
            (self.fall_seconds, self.fallen) = (0.0, 0.0);
            self.slowest *= FALLS_FADE;
        }
        if self.seconds() > self.slowest {
            self.rate = 1.0 / self.slowest.max(LEAST_SECONDS);
            self.rate_variance = (LEARNED_SPREAD * self.rate).powi(2);
            self.covariance = 0.0;
        }
    }

    /// Bounds what one reading may do. Where it would have done more, how well the rate is known is open again.
    fn limit_step(&mut self, previous: f64) {
        let (least, most) = (1.0 / MOST_SECONDS, 1.0 / LEAST_SECONDS);
        let limited = self.rate.clamp(previous / LARGEST_STEP, previous * LARGEST_STEP).clamp(least, most);
        if limited != self.rate {
            self.rate = limited;
            self.rate_variance = (PRIOR_SPREAD * limited).powi(2);
            self.covariance = 0.0;
        }
    }

    /// Whether the queue surely did not run empty in between, judged without favour for rises: of a shallow queue only
    /// those intervals end with messages in which it happened to rise, and their average would say that work is slow.
    fn tells(&mut self, interval: &BusyInterval) -> bool {
        let change = (interval.slope * interval.seconds).abs();
        let deep_enough = interval.ready_before >= DEEP_ENOUGH * self.usual_change.max(change).max(1.0);
        let most = self.usual_change.max(1.0);
        self.usual_change += CHANGE_SHARE * (change - self.usual_change).clamp(-most, most);
        deep_enough
    }

    fn begin_phase(&mut self, interval: &BusyInterval) {
        let unseen = self.rate * interval.consumers;
        self.arrivals = interval.usual_arrivals;
        self.arrivals_variance = interval.usual_arrivals.max(unseen).max(interval.onset).powi(2);
        self.covariance = 0.0;
        self.in_phase = true;
    }

    fn wander(&mut self, interval: &BusyInterval) {
        let flow = self.arrivals.max(self.rate * interval.consumers);
        self.arrivals_variance += (ARRIVALS_WANDER * flow).powi(2) * interval.seconds;
        self.rate_variance += (RATE_WANDER * self.rate).powi(2) * interval.seconds;
    }

    /// Opens the arrivals where the reading cannot be explained otherwise.
    fn expect_new_arrivals(&mut self, interval: &BusyInterval, noise: f64) {
        let consumers = interval.consumers;
        let surprise = interval.slope - (self.arrivals - consumers * self.rate);
        let variance = self.arrivals_variance - 2.0 * consumers * self.covariance
            + consumers.powi(2) * self.rate_variance
            + noise;
        let unlikely = if surprise < 0.0 { SURPRISE_FALL } else { SURPRISE };
        if surprise.powi(2) > unlikely.powi(2) * variance {
            self.arrivals_variance += surprise.powi(2);
        }
    }

    /// The variance of a slope: counts of arrivals and completions vary by their square roots, the depth is read as a
    /// whole number, and a change of the count may have happened anywhere within the interval.
    fn noise(&self, interval: &BusyInterval) -> f64 {
        let counts = (self.arrivals + self.rate * interval.consumers) / interval.seconds;
        let whole = 1.0 / interval.seconds.powi(2);
        let change = (self.rate * interval.consumers_changed).powi(2) / 12.0;
        counts + whole + change
    }

    /// One linear reading `value = of_arrivals * arrivals + of_rate * rate`, with its variance.
    fn update(&mut self, of_arrivals: f64, of_rate: f64, value: f64, noise: f64) {
        let arrivals = of_arrivals * self.arrivals_variance + of_rate * self.covariance;
        let rate = of_arrivals * self.covariance + of_rate * self.rate_variance;
        let total = of_arrivals * arrivals + of_rate * rate + noise;
        let surprise = value - of_arrivals * self.arrivals - of_rate * self.rate;
        self.arrivals += arrivals / total * surprise;
        self.rate += rate / total * surprise;
        self.arrivals_variance -= arrivals * arrivals / total;
        self.covariance -= arrivals * rate / total;
        self.rate_variance -= rate * rate / total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(slope: f64, consumers: f64) -> BusyInterval {
        BusyInterval {
            seconds: 1.0,
            ready_before: 1e4,
            slope,
            consumers,
            consumers_changed: 0.0,
            usual_arrivals: 0.0,
            onset: 2_000.0,
        }
    }

    fn close(service: &Service, seconds: f64, share: f64) {
        let found = service.seconds();
        assert!((found / seconds - 1.0).abs() < share, "{found} is not {seconds}: {service:?}");
    }

    #[test]
    fn a_backlog_of_two_thousand_teaches_the_service_time_within_three_seconds() {
        let mut service = Service::new(None);
        for _ in 0..3 {
            service.observe(&interval(-400.0, 20.0));
        }
        close(&service, 0.05, 0.1);
        assert!(service.is_learned());
    }

    #[test]
    fn a_change_of_the_count_separates_arrivals_from_work() {
        let mut service = Service::new(None);
        for (slope, consumers) in [(36.0, 2.0), (36.0, 2.0), (16.0, 12.0), (16.0, 12.0), (-4.0, 22.0)] {
            service.observe(&interval(slope, consumers));
        }
        close(&service, 0.5, 0.2);
    }

    #[test]
    fn a_slow_worker_is_not_taken_for_a_quick_one_because_messages_arrive() {
        let mut service = Service::new(None);
        for _ in 0..10 {
            service.observe(&interval(-10.0, 10.0));
        }
        assert!(service.seconds() > PRIOR_SECONDS * 0.8, "{}", service.seconds());
    }

    #[test]
    fn one_purge_moves_the_estimate_by_no_more_than_half() {
        let mut service = Service::new(Some(0.5));
        service.observe(&interval(-100_000.0, 1.0));
        assert!(service.seconds() >= 0.25);
    }

    #[test]
    fn a_program_that_became_slower_is_found_out() {
        let mut service = Service::new(Some(0.05));
        for tick in 0..40 {
            let consumers = if tick % 8 < 4 { 20.0 } else { 10.0 };
            service.observe(&interval(10.0 - consumers / 0.2, consumers));
        }
        close(&service, 0.2, 0.25);
    }

    #[test]
    fn nonsense_that_was_remembered_is_ignored() {
        for seconds in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            close(&Service::new(Some(seconds)), PRIOR_SECONDS, 1e-9);
        }
    }
}
