//! Messages that wait elsewhere until they are due: a delayed or retry queue from which they come back after their time to live.
//!
//! When each one came there is known by the depth: what it shows more than what is left of those before came since the
//! last reading, and comes back that long after. So consumers that take long to start are ordered before the messages are
//! there, and not when they are.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::input::Observation;

/// Messages that came within this part of the delay are kept as one group: no forecast is finer.
const GROUPS: u32 = 128;
/// Of those that are there at first, nobody knows when they came: evenly, in so many groups.
const UNKNOWN_GROUPS: u32 = 16;

/// One delayed queue.
#[derive(Clone, Debug)]
pub(super) struct Delayed {
    after: Duration,
    /// Those that come back about together, soonest first.
    groups: VecDeque<Group>,
    read_at: Option<Time>,
}

/// Messages that come back from the one moment to the other.
#[derive(Clone, Copy, Debug)]
struct Group {
    first: Time,
    last: Time,
    count: f64,
}

impl Delayed {
    /// A queue from which messages come back `after` they came.
    pub(super) fn new(after: Duration) -> Self {
        Self { after, groups: VecDeque::new(), read_at: None }
    }

    /// How long they stay.
    pub(super) fn after(&self) -> Duration {
        self.after
    }

    /// Takes a reading. Without one, what is known goes on.
    pub(super) fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Sample { at, ready, consumers: _ } => self.read(at, ready as f64),
            // A queue that is gone has nothing to give back.
            Observation::NoQueue { at } => self.read(at, 0.0),
            Observation::Detail(_) | Observation::Lost { .. } => {}
        }
    }

    fn read(&mut self, at: Time, ready: f64) {
        if self.read_at.is_some_and(|before| at <= before) {
            return;
        }
        while self.groups.front().is_some_and(|group| group.last <= at) {
            self.groups.pop_front();
        }
        let known: f64 = self.groups.iter().map(|group| group.count).sum();
        let new = ready - known;
        if new < 0.0 {
            self.take(-new);
        } else if new > 0.0 {
            match self.read_at {
                // In the middle between two readings, one with another.
                Some(before) => self.add(before + at.since(before) / 2 + self.after, new),
                None => {
                    let count = new / f64::from(UNKNOWN_GROUPS);
                    (1..=UNKNOWN_GROUPS)
                        .for_each(|part| self.add(at + self.after * part / UNKNOWN_GROUPS, count));
                }
            }
        }
        self.read_at = Some(at);
    }

    /// Some went, in their time or before it: those that were due first.
    fn take(&mut self, mut count: f64) {
        while let Some(first) = self.groups.front_mut() {
            if first.count > count {
                first.count -= count;
                return;
            }
            count -= first.count;
            self.groups.pop_front();
        }
    }

    fn add(&mut self, due: Time, count: f64) {
        match self.groups.back_mut() {
            Some(group) if due.since(group.first) < self.after / GROUPS => {
                group.last = group.last.max(due);
                group.count += count;
            }
            _ => self.groups.push_back(Group { first: due, last: due, count }),
        }
    }

    /// How many come back within `horizon` from now.
    pub(super) fn due(&self, now: Time, horizon: Duration) -> f64 {
        let coming = self.groups.iter().filter(|group| group.last > now && group.first <= now + horizon);
        coming.map(|group| group.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1_000)
    }

    fn read(delayed: &mut Delayed, second: u64, ready: u64) {
        delayed.observe(Observation::Sample { at: at(second), ready, consumers: 0 });
    }

    #[test]
    fn a_group_comes_back_when_its_time_is_over() {
        let mut delayed = Delayed::new(Duration::from_secs(30));
        for second in 0..=10 {
            read(&mut delayed, second, if second < 10 { 0 } else { 500 });
        }
        let due = |delayed: &Delayed, second, horizon| delayed.due(at(second), Duration::from_secs(horizon));
        assert_eq!(
            [due(&delayed, 10, 20), due(&delayed, 10, 30), due(&delayed, 25, 20)],
            [0.0, 500.0, 500.0]
        );
        for second in 11..40 {
            read(&mut delayed, second, 500);
        }
        assert_eq!(due(&delayed, 35, 5), 500.0, "they are no others");
        read(&mut delayed, 40, 0);
        assert_eq!(due(&delayed, 40, 60), 0.0);
    }

    #[test]
    fn a_flow_through_it_comes_out_as_it_went_in() {
        let mut delayed = Delayed::new(Duration::from_secs(10));
        for second in 0..100_u64 {
            read(&mut delayed, second, second.min(10) * 7);
        }
        let due = delayed.due(at(99), Duration::from_secs(5));
        assert!((due - 35.0).abs() <= 7.0, "{due}");
    }

    #[test]
    fn what_is_there_at_first_is_due_evenly_and_what_is_taken_out_is_due_no_more() {
        let mut delayed = Delayed::new(Duration::from_secs(16));
        read(&mut delayed, 0, 160);
        let due = |delayed: &Delayed, horizon| delayed.due(at(0), Duration::from_secs(horizon));
        assert_eq!([due(&delayed, 4), due(&delayed, 16)], [40.0, 160.0]);
        let mut purged = delayed.clone();
        purged.observe(Observation::NoQueue { at: at(1) });
        assert_eq!(purged.due(at(1), Duration::from_secs(60)), 0.0);
        delayed.observe(Observation::Lost { at: at(1), why: "the broker is unreachable" });
        assert_eq!(delayed.due(at(1), Duration::from_secs(60)), 150.0, "ten have come back unseen");
    }

    #[test]
    fn two_bursts_of_a_long_delay_come_back_one_after_the_other() {
        let mut delayed = Delayed::new(Duration::from_secs(3_600));
        let ready = |second: u64| match second {
            0..=19 => 50 * second,
            20..=59 => 1_000,
            60..=3_600 => 2_000,
            3_601..=3_620 => 2_000 - 50 * (second - 3_600),
            _ => 1_000,
        };
        (0..=3_621).for_each(|second| read(&mut delayed, second, ready(second)));
        let due = delayed.due(at(3_621), Duration::from_secs(60));
        assert!((900.0..=1_000.0).contains(&due), "{due}: {delayed:?}");
        assert!(delayed.due(at(3_700), Duration::from_secs(7_200)) < 100.0, "{delayed:?}");
    }

    #[test]
    fn a_long_delay_is_kept_in_few_groups() {
        let mut delayed = Delayed::new(Duration::from_secs(86_400));
        (0..86_400).for_each(|second| read(&mut delayed, second, second));
        assert!(delayed.groups.len() <= GROUPS as usize + 1, "{}", delayed.groups.len());
    }
}
