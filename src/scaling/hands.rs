//! What one consumer has in its hands: how many messages it works on at once, and how many it takes beside them.
//!
//! The need is computed in *places*, each of which works on one message, and then divided by the places of a consumer.
//! A message that a consumer has taken and not begun waits where nobody sees it and no other consumer can begin it: with
//! a prefetch of `P`, `C` at once and `S` seconds of work for up to `(P - C) S / C`. So much less is left of the goal for
//! those that wait in the queue. Without a limit (prefetch 0) nothing is left to be seen there.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::scaling::input::{Fleet, Goal};
use crate::scaling::need::{Ahead, Need};

/// How one consumer takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hands {
    /// How many messages it works on at once; one at least.
    pub concurrency: u32,
    /// How many messages it holds at the most, those included; 0 is without a limit.
    pub prefetch: u32,
}

impl Default for Hands {
    /// One at a time, and none taken before that one is done.
    fn default() -> Self {
        Self { concurrency: 1, prefetch: 1 }
    }
}

impl Hands {
    /// What was said, and else what was told; one message at a time and none beside it where nobody knows.
    pub fn new(concurrency: Option<u32>, prefetch: Option<u32>, told: Option<Self>) -> Self {
        let concurrency = concurrency.or(told.map(|told| told.concurrency)).unwrap_or(1).max(1);
        match prefetch.or(told.map(|told| told.prefetch)) {
            Some(0) => Self { concurrency, prefetch: 0 },
            Some(prefetch) => Self { concurrency, prefetch: prefetch.max(concurrency) },
            None => Self { concurrency, prefetch: concurrency },
        }
    }

    /// Whether a consumer takes all that there is.
    pub(super) fn are_unlimited(self) -> bool {
        self.prefetch == 0
    }

    /// How long a message may wait in them, with `service` seconds of work for each one. It is not known where they are
    /// unlimited, and 0 then.
    pub(super) fn seconds(self, service: f64) -> f64 {
        f64::from(self.prefetch.saturating_sub(self.concurrency)) / f64::from(self.concurrency) * service
    }

    /// A count of consumers in places.
    pub(super) fn places(self, consumers: u32) -> u32 {
        consumers.saturating_mul(self.concurrency)
    }

    /// As many consumers as have so many places.
    pub(super) fn consumers(self, places: u32) -> u32 {
        places.div_ceil(self.concurrency)
    }

    /// The goal with its bounds in places.
    pub(super) fn goal(self, goal: Goal) -> Goal {
        Goal { min: self.places(goal.min), max: self.places(goal.max), ..goal }
    }

    /// The fleet in places.
    pub(super) fn fleet(self, fleet: &Fleet) -> Cow<'_, Fleet> {
        if self.concurrency == 1 {
            return Cow::Borrowed(fleet);
        }
        let starting = fleet.starting.iter();
        let starting = starting.flat_map(|&at| std::iter::repeat_n(at, self.concurrency as usize)).collect();
        let (running, draining) = (self.places(fleet.running), self.places(fleet.draining));
        Cow::Owned(Fleet { running, starting, draining, oldest_running: fleet.oldest_running })
    }

    /// A need of places in consumers.
    pub(super) fn need(self, places: Need) -> Need {
        Need { steady: self.consumers(places.steady), drain: self.consumers(places.drain) }
    }

    /// Work for places in work for consumers.
    pub(super) fn ahead(self, places: Ahead) -> Ahead {
        let each = f64::from(self.concurrency);
        Ahead { seconds: places.seconds / each, taken: places.taken / each }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_before_what_is_told_and_no_hand_is_smaller_than_its_work() {
        let told = Some(Hands { concurrency: 4, prefetch: 40 });
        assert_eq!(Hands::new(None, None, None), Hands::default());
        assert_eq!(Hands::new(None, None, told), Hands { concurrency: 4, prefetch: 40 });
        assert_eq!(Hands::new(Some(8), None, told), Hands { concurrency: 8, prefetch: 40 });
        assert_eq!(Hands::new(Some(8), None, None), Hands { concurrency: 8, prefetch: 8 });
        assert_eq!(Hands::new(Some(8), Some(2), told), Hands { concurrency: 8, prefetch: 8 });
        assert_eq!(Hands::new(None, Some(0), told), Hands { concurrency: 4, prefetch: 0 });
    }

    #[test]
    fn a_message_waits_in_them_for_those_that_were_taken_before_it() {
        let seconds = |concurrency, prefetch| Hands { concurrency, prefetch }.seconds(0.5);
        assert_eq!([seconds(1, 1), seconds(1, 10), seconds(5, 25), seconds(4, 0)], [0.0, 4.5, 2.0, 0.0]);
    }

    #[test]
    fn places_are_divided_among_consumers() {
        let hands = Hands { concurrency: 4, prefetch: 4 };
        assert_eq!(hands.need(Need { steady: 9, drain: 0 }), Need { steady: 3, drain: 0 });
        let fleet =
            Fleet { running: 2, starting: vec![crate::core::time::Time::default()], ..Fleet::default() };
        assert_eq!(hands.fleet(&fleet).live(), 12);
    }
}
