//! Queues that stumbled and are read apart from the others, and when each is due. Values only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::time::Time;

/// A queue is asked for at every interval this long, because a worker may be about to declare it.
const HOPEFUL: Duration = Duration::from_secs(60);
/// And then at this distance...
const PATIENT_DISTANCE: Duration = Duration::from_secs(5);
/// ... up to this age, ...
const PATIENT: Duration = Duration::from_secs(600);
/// ... and from then on at this distance.
const RESIGNED_DISTANCE: Duration = Duration::from_secs(10);

/// Which queues are kept apart.
#[derive(Debug)]
pub(super) struct Quarantine {
    interval: Duration,
    cases: BTreeMap<String, Case>,
}

#[derive(Debug)]
struct Case {
    since: Time,
    due: Time,
    /// Whether an answer is outstanding.
    asked: bool,
}

impl Quarantine {
    /// `interval` is the shortest distance between two questions about one queue.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, cases: BTreeMap::new() }
    }

    pub(super) fn contains(&self, queue: &str) -> bool {
        self.cases.contains_key(queue)
    }

    /// Takes in a queue that was refused just now.
    pub(super) fn admit_refused(&mut self, queue: String, now: Time) {
        self.cases.insert(queue, Case { since: now, due: now + self.interval, asked: false });
    }

    /// Takes in a queue of which nothing is known yet: it is due at once.
    pub(super) fn admit_suspect(&mut self, queue: String, now: Time) {
        self.cases.insert(queue, Case { since: now, due: now, asked: false });
    }

    /// Takes in a queue whose answer is outstanding: it is not due before the answer is there.
    pub(super) fn admit_hanging(&mut self, queue: String, now: Time) {
        self.cases.insert(queue, Case { since: now, due: now, asked: true });
    }

    /// At most `limit` queues that are to be asked for now. Each must end in [`Self::refused`] or
    /// [`Self::release`], or all in [`Self::begin_again`].
    pub(super) fn take_due(&mut self, now: Time, limit: usize) -> Vec<String> {
        // A question that is due just after a tick would otherwise wait for the next one.
        let soon = now + self.interval / 4;
        let due = self.cases.iter_mut().filter(|(_, case)| !case.asked && case.due <= soon).take(limit);
        due.map(|(queue, case)| {
            case.asked = true;
            queue.clone()
        })
        .collect()
    }

    /// The queue was refused again.
    pub(super) fn refused(&mut self, queue: &str, now: Time) {
        if let Some(case) = self.cases.get_mut(queue) {
            let age = now.since(case.since);
            let distance = if age < HOPEFUL {
                self.interval
            } else if age < PATIENT {
                self.interval.max(PATIENT_DISTANCE)
            } else {
                self.interval.max(RESIGNED_DISTANCE)
            };
            *case = Case { since: case.since, due: now + distance, asked: false };
        }
    }

    /// The queue was read.
    pub(super) fn release(&mut self, queue: &str) {
        self.cases.remove(queue);
    }

    /// Forgets all queues but these.
    pub(super) fn keep(&mut self, queues: &BTreeSet<String>) {
        self.cases.retain(|queue, _| queues.contains(queue));
    }

    /// No answers are outstanding on a new connection. Where the broker was away (`fresh`), everything may have
    /// changed, so that every queue is due and treated as if it had stumbled just now.
    pub(super) fn begin_again(&mut self, now: Time, fresh: bool) {
        for case in self.cases.values_mut() {
            if fresh {
                *case = Case { since: now, due: now, asked: false };
            } else if case.asked {
                *case = Case { since: case.since, due: now, asked: false };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long after each question the next one follows, for a queue that stays missing.
    fn distances(questions: usize) -> Vec<(Duration, Duration)> {
        let mut quarantine = Quarantine::new(SECOND);
        let start = Time::from_millis(0);
        let mut last = start;
        quarantine.admit_refused("q".into(), start);
        let mut found = Vec::new();
        let mut now = start;
        while found.len() < questions {
            now = now + SECOND;
            if !quarantine.take_due(now, 9).is_empty() {
                found.push((now.since(start), now.since(last)));
                last = now;
                quarantine.refused("q", now);
            }
        }
        found
    }

    #[test]
    fn a_missing_queue_is_asked_for_every_interval_at_first_and_every_ten_seconds_at_last() {
        let found = distances(400);
        let expected = |age: Duration| match age.as_secs() {
            0..=60 => 1,
            61..=600 => 5,
            _ => 10,
        };
        let wrong: Vec<_> = found
            .iter()
            .filter(|(age, distance)| distance.as_secs() > expected(*age) || distance.as_secs() == 0)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(found[0].1, SECOND);
        assert_eq!(found.last().unwrap().1, RESIGNED_DISTANCE);
    }

    #[test]
    fn a_queue_with_an_outstanding_answer_is_not_asked_for_again() {
        let mut quarantine = Quarantine::new(SECOND);
        let start = Time::from_millis(0);
        quarantine.admit_hanging("q".into(), start);
        assert!(quarantine.take_due(start + 100 * SECOND, 9).is_empty());
        quarantine.begin_again(start + 100 * SECOND, false);
        assert_eq!(quarantine.take_due(start + 100 * SECOND, 9), ["q"]);
        assert!(quarantine.take_due(start + 200 * SECOND, 9).is_empty());
    }

    #[test]
    fn a_suspect_is_due_at_once_and_no_more_than_the_limit_are_asked_together() {
        let mut quarantine = Quarantine::new(SECOND);
        let now = Time::from_millis(5);
        for queue in ["a", "b", "c"] {
            quarantine.admit_suspect(queue.into(), now);
        }
        assert_eq!(quarantine.take_due(now, 2), ["a", "b"]);
        assert_eq!(quarantine.take_due(now, 2), ["c"]);
    }

    #[test]
    fn after_the_brokers_return_every_queue_is_due_and_hopeful() {
        let mut quarantine = Quarantine::new(SECOND);
        let start = Time::from_millis(0);
        quarantine.admit_refused("q".into(), start);
        let late = start + 2 * PATIENT;
        assert_eq!(quarantine.take_due(late, 9), ["q"]);
        quarantine.refused("q", late);
        assert!(quarantine.take_due(late + SECOND, 9).is_empty());
        quarantine.begin_again(late + SECOND, true);
        assert_eq!(quarantine.take_due(late + SECOND, 9), ["q"]);
        quarantine.refused("q", late + SECOND);
        assert_eq!(quarantine.take_due(late + 2 * SECOND, 9), ["q"]);
    }

    #[test]
    fn queues_that_nobody_asks_for_are_forgotten() {
        let mut quarantine = Quarantine::new(SECOND);
        let now = Time::from_millis(0);
        quarantine.admit_suspect("a".into(), now);
        quarantine.admit_suspect("b".into(), now);
        quarantine.keep(&BTreeSet::from(["b".to_owned()]));
        assert_eq!(quarantine.take_due(now, 9), ["b"]);
        assert!(!quarantine.contains("a"));
    }
}
