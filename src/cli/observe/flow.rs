//! What a queue's figures say of its load: what came when, how long one message takes, and how many waited. Values only.

use std::collections::BTreeMap;

use super::recording::Sample;
use crate::amqp::fact::NoFlow;

/// A broker renews its figures every 5 s, so the same ones again before this time may just be old.
const OLD_MS: u64 = 9_000;
/// Publishes that a broker counts explain at least this share of what came, or messages come in another way as well.
const PUBLISHED_SHARE: f64 = 0.9;

/// So many messages that were done while others waited tell how long one takes, whatever was seen at other times.
const SATURATED_LEAST: u64 = 50;

/// The load of a queue, or of several together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Flow {
    /// How long it was looked at, in seconds.
    pub(super) seconds: f64,
    /// What came from each of these moments on, in milliseconds after the begin; what was there at the begin came then.
    pub(super) arrivals: BTreeMap<u64, u64>,
    /// Messages that were there at the begin.
    pub(super) before: u64,
    /// Messages that were done.
    pub(super) done: u64,
    /// Seconds that consumers were busy together.
    pub(super) busy_seconds: f64,
    /// Whether nobody was ever seen at work, so that the time of a message is at most what is said.
    pub(super) is_upper_bound: bool,
    /// Seconds times messages that waited.
    waiting_seconds: f64,
    /// The most that waited.
    pub(super) ready_most: u64,
}

impl Flow {
    /// Everything that came, what was there at the begin included.
    pub(super) fn arrived(&self) -> u64 {
        self.arrivals.values().sum()
    }

    /// Messages a second that came, less what was there at the begin.
    pub(super) fn rate(&self) -> f64 {
        if self.seconds > 0.0 { (self.arrived() - self.before) as f64 / self.seconds } else { 0.0 }
    }

    /// Seconds that one message takes; absent where none was done.
    pub(super) fn service(&self) -> Option<f64> {
        (self.done > 0).then(|| self.busy_seconds / self.done as f64)
    }

    /// The mean wait of a message in seconds, by Little's law; absent where none was done.
    pub(super) fn wait_mean(&self) -> Option<f64> {
        (self.done > 0).then(|| self.waiting_seconds / self.done as f64)
    }

    /// Both together, as processes have them that consume from several queues.
    pub(super) fn and(mut self, other: &Self) -> Self {
        for (at_ms, count) in &other.arrivals {
            *self.arrivals.entry(*at_ms).or_default() += count;
        }
        Self {
            seconds: self.seconds.max(other.seconds),
            arrivals: self.arrivals,
            before: self.before + other.before,
            done: self.done + other.done,
            busy_seconds: self.busy_seconds + other.busy_seconds,
            is_upper_bound: self.is_upper_bound || other.is_upper_bound,
            waiting_seconds: self.waiting_seconds + other.waiting_seconds,
            ready_most: self.ready_most.max(other.ready_most),
        }
    }

    /// The file that `simulate` reads.
    pub(super) fn csv(&self) -> String {
        let mut csv = "second,messages\n".to_owned();
        for (at_ms, count) in &self.arrivals {
            csv.push_str(&format!("{:.1},{count}\n", *at_ms as f64 / 1_000.0));
        }
        csv
    }
}

/// The load that figures tell of, with so many consumers in the mean.
///
/// # Errors
/// Why they tell nothing; `None` where there are too few of them.
pub(super) fn flow(samples: &[Sample], consumers: f64) -> Result<Flow, Option<NoFlow>> {
    let mut kept: Vec<(Sample, u64, Option<u64>)> = Vec::new();
    let mut refused = None;
    for sample in samples {
        let counters = match sample.flow {
            Ok(counters) => counters,
            Err(why) => {
                refused = Some(why);
                continue;
            }
        };
        let is_old = kept.last().is_some_and(|(last, ..)| {
            Sample { at_ms: last.at_ms, ..*sample } == *last && sample.at_ms - last.at_ms < OLD_MS
        });
        if !is_old {
            kept.push((*sample, counters.acknowledged, counters.published));
        }
    }
    let [(first, ..), .., (last, ..)] = kept.as_slice() else { return Err(refused) };
    let mut flow = Flow {
        seconds: seconds(first.at_ms, last.at_ms),
        before: first.ready + first.unacknowledged,
        ready_most: kept.iter().map(|(sample, ..)| sample.ready).max().unwrap_or(0),
        ..Flow::default()
    };
    let mut counted = BTreeMap::new();
    let mut balanced = BTreeMap::new();
    let (mut saturated_seconds, mut saturated_done) = (0.0, 0);
    // Depths and counters come from other places of the broker, so one may be ahead of the other for a moment.
    let mut owed = 0;
    for pair in kept.windows(2) {
        let [(before, done_before, published_before), (after, done_after, published_after)] = pair else {
            continue;
        };
        let lasted = seconds(before.at_ms, after.at_ms);
        let mean = |before: u64, after: u64| (before + after) as f64 / 2.0;
        flow.waiting_seconds += mean(before.ready, after.ready) * lasted;
        let busy = mean(before.unacknowledged, after.unacknowledged).min(consumers) * lasted;
        flow.busy_seconds += busy;
        // Counters begin anew with a queue or a node.
        let done = done_after.saturating_sub(*done_before);
        flow.done += done;
        if before.ready > 0 && after.ready > 0 {
            saturated_seconds += busy;
            saturated_done += done;
        }
        let held = |sample: &Sample| (sample.ready + sample.unacknowledged) as i64;
        let came = held(after) - held(before) + done as i64 + owed;
        owed = came.min(0);
        balanced.insert(before.at_ms, came.max(0) as u64);
        let published = match (published_before, published_after) {
            (Some(before), Some(after)) => after.saturating_sub(*before),
            // What was counted before anybody told did not come now.
            (None, None | Some(_)) | (Some(_), None) => came.max(0) as u64,
        };
        counted.insert(before.at_ms, published);
    }
    let all = |arrivals: &BTreeMap<u64, u64>| arrivals.values().sum::<u64>() as f64;
    // What is dead-lettered or comes from another broker is not published here.
    flow.arrivals = if all(&counted) >= PUBLISHED_SHARE * all(&balanced) { counted } else { balanced };
    *flow.arrivals.entry(first.at_ms).or_default() += flow.before;
    if flow.done > 0 && flow.busy_seconds == 0.0 {
        // Nobody was at work at any of the moments: so much at the most, about.
        flow.busy_seconds = flow.seconds / (kept.len() - 1) as f64;
        flow.is_upper_bound = true;
    }
    // A load with a rhythm of its own may be seen at rest each time; while messages wait, everybody is at work.
    if saturated_done >= SATURATED_LEAST {
        let at_work = saturated_seconds / saturated_done as f64;
        flow.busy_seconds = flow.busy_seconds.max(at_work * flow.done as f64);
    }
    Ok(flow)
}

fn seconds(from_ms: u64, to_ms: u64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1_000.0
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::amqp::fact::Counters;

    pub(in crate::cli::observe) fn sample(
        second: u64,
        (ready, unacknowledged): (u64, u64),
        (acknowledged, published): (u64, u64),
    ) -> Sample {
        let flow = Ok(Counters { acknowledged, published: Some(published) });
        Sample { at_ms: second * 1_000, ready, unacknowledged, flow }
    }

    #[test]
    fn rate_work_and_wait_follow_from_counters_and_depths() {
        // Two consumers, busy all the time, do one message in half a second, and ten wait.
        let samples: Vec<Sample> =
            (0..=12).map(|step| sample(step * 5, (10, 2), (100 + step * 20, 500 + step * 20))).collect();
        let flow = flow(&samples, 2.0).unwrap();
        assert_eq!((flow.seconds, flow.before, flow.done, flow.arrived()), (60.0, 12, 240, 252));
        assert_eq!((flow.rate(), flow.service(), flow.ready_most), (4.0, Some(0.5), 10));
        assert_eq!(flow.wait_mean(), Some(2.5));
        assert!(!flow.is_upper_bound);
        assert!(flow.csv().starts_with("second,messages\n0.0,32\n5.0,20\n"), "{}", flow.csv());
        let trace = crate::simulation::csv::Trace::read(&flow.csv()).unwrap();
        assert_eq!(trace.workload(1, 0.5).messages.len(), 252);
    }

    #[test]
    fn what_is_not_published_here_is_seen_in_the_depth() {
        let samples = [sample(0, (0, 0), (0, 0)), sample(5, (30, 1), (9, 0)), sample(10, (0, 0), (60, 0))];
        let flow = flow(&samples, 1.0).unwrap();
        assert_eq!(flow.arrivals, [(0, 40), (5_000, 20)].into());
    }

    #[test]
    fn a_counter_that_comes_late_invents_no_messages() {
        // Five leave the depth before they are counted as done.
        let samples = [sample(0, (5, 0), (0, 0)), sample(5, (0, 0), (0, 0)), sample(10, (0, 0), (5, 0))];
        assert_eq!(flow(&samples, 1.0).unwrap().arrivals, [(0, 5), (5_000, 0)].into());
    }

    #[test]
    fn figures_that_were_not_renewed_are_not_a_time_without_messages() {
        let samples = [sample(0, (0, 1), (0, 0)), sample(5, (0, 1), (0, 0)), sample(6, (0, 1), (60, 60))];
        assert_eq!(flow(&samples, 1.0).unwrap().arrivals, [(0, 61)].into());
        // The same for ten seconds is the truth.
        let samples = [sample(0, (0, 1), (0, 0)), sample(10, (0, 1), (0, 0)), sample(15, (0, 1), (60, 60))];
        assert_eq!(flow(&samples, 1.0).unwrap().arrivals, [(0, 1), (10_000, 60)].into());
    }

    #[test]
    fn work_that_is_never_seen_is_bounded_and_said_to_be() {
        let samples: Vec<Sample> =
            (0..=10).map(|step| sample(step * 5, (0, 0), (step * 50, step * 50))).collect();
        let flow = flow(&samples, 4.0).unwrap();
        assert!(flow.is_upper_bound && flow.service() == Some(0.01), "{flow:?}");
    }

    #[test]
    fn a_load_whose_rhythm_hides_its_work_is_measured_while_messages_wait() {
        let mut samples: Vec<Sample> =
            (0..=10).map(|step| sample(step * 5, (0, 0), (step * 20, step * 20))).collect();
        samples.push(sample(55, (100, 4), (240, 344)));
        samples.push(sample(60, (60, 4), (280, 344)));
        samples.push(sample(65, (20, 4), (320, 344)));
        // Four consumers that do 40 in 5 s need half a second for one.
        assert_eq!(flow(&samples, 4.0).unwrap().service(), Some(0.5));
    }

    #[test]
    fn without_counters_the_reason_is_told() {
        let automatic = Sample { flow: Err(NoFlow::AutomaticAcknowledgement), ..sample(0, (0, 0), (0, 0)) };
        assert_eq!(flow(&[automatic; 3], 1.0), Err(Some(NoFlow::AutomaticAcknowledgement)));
        assert_eq!(flow(&[sample(0, (0, 0), (0, 0))], 1.0), Err(None));
    }

    #[test]
    fn queues_of_one_program_are_one_load() {
        let one = |scale: u64| {
            let samples: Vec<Sample> =
                (0..=2).map(|step| sample(step * 5, (0, 1), (step * scale, step * scale))).collect();
            flow(&samples, 1.0).unwrap()
        };
        let both = one(10).and(&one(30));
        assert_eq!((both.done, both.before, both.seconds), (80, 2, 10.0));
        assert_eq!(both.arrivals, [(0, 42), (5_000, 40)].into());
    }
}
