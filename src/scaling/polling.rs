//! Whether the workers poll.
//!
//! A worker that takes with `basic.get` is never shown as a consumer. So "nobody consumes" means nothing on a queue of
//! polling workers, and on any other queue, while processes that were seen consuming still run, it means that the answer
//! is not to be trusted: a quorum queue without a leader says 0 ready and 0 consumers.

use crate::core::time::Time;
use crate::scaling::input::Fleet;
use crate::scaling::track::Sample;

/// Falls of the depth without a visible consumer before workers are taken to poll: one may be a purge, or a restart.
const EVIDENCE: u32 = 3;

/// What is known about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Polling {
    recognised: bool,
    evidence: u32,
    consumers_seen_at: Option<Time>,
}

impl Polling {
    pub(super) fn new(recognised: bool) -> Self {
        Self { recognised, evidence: 0, consumers_seen_at: None }
    }

    /// Whether the workers poll.
    pub(super) fn is_recognised(&self) -> bool {
        self.recognised
    }

    /// Whether a reading says that nothing is there, and processes that were seen consuming still run.
    pub(super) fn contradicts(&self, sample: &Sample, fleet: &Fleet) -> bool {
        let seen_consuming = match (fleet.oldest_running, self.consumers_seen_at) {
            (Some(started), Some(seen)) => fleet.running > 0 && started < seen,
            (None, None | Some(_)) | (Some(_), None) => false,
        };
        sample.ready == 0 && sample.consumers == 0 && seen_consuming && !self.recognised
    }

    /// Looks at two neighbouring readings: messages that are taken while processes run and no consumer is shown.
    pub(super) fn weigh(&mut self, previous: &Sample, sample: &Sample, fleet: &Fleet) {
        let ran_all_the_time = fleet.running > 0 && fleet.oldest_running.is_some_and(|at| at < previous.at);
        let taken = sample.ready < previous.ready;
        if ran_all_the_time && taken && previous.consumers == 0 && sample.consumers == 0 {
            self.evidence += 1;
            self.recognised |= self.evidence >= EVIDENCE;
        }
    }

    /// Takes a reading that is trusted. A visible consumer ends the matter.
    pub(super) fn note(&mut self, sample: &Sample) {
        if sample.consumers > 0 {
            *self = Self { recognised: false, evidence: 0, consumers_seen_at: Some(sample.at) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, ready: u64, consumers: u64) -> Sample {
        Sample { at: Time::from_millis(second * 1_000), ready, consumers }
    }

    fn running_since(second: u64) -> Fleet {
        Fleet { running: 2, oldest_running: Some(Time::from_millis(second * 1_000)), ..Fleet::default() }
    }

    #[test]
    fn messages_that_vanish_three_times_without_a_consumer_are_taken_by_polling() {
        let mut polling = Polling::new(false);
        for second in 1..=3 {
            assert!(!polling.is_recognised());
            polling.weigh(
                &sample(second, 50 - second, 0),
                &sample(second + 1, 49 - second, 0),
                &running_since(0),
            );
        }
        assert!(polling.is_recognised());
        polling.note(&sample(9, 0, 1));
        assert!(!polling.is_recognised());
    }

    #[test]
    fn messages_that_vanish_while_nobody_runs_say_nothing() {
        let mut polling = Polling::new(false);
        for second in 1..=9 {
            polling.weigh(
                &sample(second, 50 - second, 0),
                &sample(second + 1, 49 - second, 0),
                &Fleet::default(),
            );
        }
        assert!(!polling.is_recognised());
    }

    #[test]
    fn nothing_and_nobody_is_a_contradiction_only_while_those_live_who_were_seen() {
        let mut polling = Polling::new(false);
        let nothing = sample(20, 0, 0);
        assert!(!polling.contradicts(&nothing, &running_since(0)));
        polling.note(&sample(10, 0, 2));
        assert!(polling.contradicts(&nothing, &running_since(0)));
        assert!(!polling.contradicts(&sample(20, 5, 0), &running_since(0)));
        assert!(!polling.contradicts(&nothing, &running_since(15)));
        assert!(!polling.contradicts(&nothing, &Fleet::default()));
    }
}
