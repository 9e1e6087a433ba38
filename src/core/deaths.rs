//! How the processes of a program came to their ends when nobody had asked for them: how often each way, and when last.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exit::ExitStatus;
use super::readiness::Unfit;
use super::time::Time;

/// The cause under which starts that failed are counted.
const NOT_STARTED: &str = "could not be started";

/// Ends that nobody asked for, by cause. There are as many causes as exit codes and signals, and a few more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Deaths(BTreeMap<String, Death>);

/// Ends of one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// How many.
    pub count: u64,
    /// When the last one was seen.
    last: Time,
    /// How long before `last` it was. Moments of an earlier boot cannot be said on the present clock.
    #[serde(default)]
    earlier: Duration,
}

impl Death {
    /// How long ago the last one was.
    pub fn age(&self, now: Time) -> Duration {
        now.since(self.last) + self.earlier
    }
}

impl Deaths {
    /// One more; without a status it could not even be started. One that was ended because it was of no use counts as that.
    pub fn count(&mut self, status: Option<ExitStatus>, unfit: Option<Unfit>, at: Time) {
        let cause = match (unfit, status) {
            (Some(unfit), _) => unfit.cause().to_owned(),
            (None, Some(status)) => status.to_string(),
            (None, None) => NOT_STARTED.to_owned(),
        };
        let death = self.0.entry(cause).or_default();
        // An end that is told late is not the last one.
        let last = if death.count == 0 || at >= death.last { at } else { death.last };
        let earlier = if last == at { Duration::ZERO } else { death.earlier };
        *death = Death { count: death.count + 1, last, earlier };
    }

    /// The causes, most frequent first.
    pub fn by_count(&self) -> Vec<(&str, Death)> {
        let mut causes: Vec<_> = self.0.iter().map(|(cause, death)| (cause.as_str(), *death)).collect();
        causes.sort_by_key(|(_, death)| std::cmp::Reverse(death.count));
        causes
    }

    /// Goes on on another clock: what was `then` is `now` less `elapsed`.
    pub fn shift(&mut self, then: Time, now: Time, elapsed: Duration) {
        for death in self.0.values_mut() {
            *death = Death { last: now, earlier: death.age(then) + elapsed, ..*death };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    #[test]
    fn ends_are_counted_by_cause_with_the_last_moment() {
        let mut deaths = Deaths::default();
        deaths.count(Some(ExitStatus::Code(1)), None, at(10));
        deaths.count(Some(ExitStatus::Signal(9)), None, at(20));
        deaths.count(Some(ExitStatus::Code(1)), None, at(30));
        deaths.count(Some(ExitStatus::Code(1)), None, at(29));
        deaths.count(None, None, at(40));
        let told: Vec<_> = deaths
            .by_count()
            .into_iter()
            .map(|(cause, death)| (cause.to_owned(), death.count, death.age(at(100)).as_secs()))
            .collect();
        let expected =
            [("exit code 1", 3, 70), ("could not be started", 1, 60), ("killed by SIGKILL", 1, 80)];
        assert_eq!(told, expected.map(|(cause, count, age)| (cause.to_owned(), count, age)));
    }

    #[test]
    fn an_end_before_a_restart_of_the_machine_is_as_long_ago_as_it_is() {
        let mut deaths = Deaths::default();
        deaths.count(Some(ExitStatus::Code(1)), None, at(9_000));
        deaths.shift(at(10_000), at(5), Duration::from_secs(60));
        assert_eq!(deaths.by_count()[0].1.age(at(8)), Duration::from_secs(1_063));
        deaths.count(Some(ExitStatus::Code(1)), None, at(7));
        assert_eq!(deaths.by_count()[0].1.age(at(8)), Duration::from_secs(1));
    }
}
