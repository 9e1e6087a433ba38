//! Advice for a workload: the profile, and where it takes one the minimum, that keeps the goal at the least cost; and what
//! fixed numbers of processes would cost and miss.

use std::time::Duration;

use crate::scaling::profile::Profile;
use crate::simulation::catalogue::PolicyName;
use crate::simulation::comparison::{Outcome, compare};
use crate::simulation::own::Signals;
use crate::simulation::queue::Scenario;
use crate::simulation::workload::Workload;

/// A goal is kept when no larger share of the messages waits longer.
pub const KEPT: f64 = 0.001;
/// A goal that cannot be kept is made longer by this factor until it can ...
const LONGER: f64 = 1.25;
/// ... but no more often than this: to ten times itself.
const LONGER_MOST: u32 = 10;

/// What a setting comes to, means over the seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// The share of messages that waited longer than the goal, 0 to 1.
    pub over_goal: f64,
    /// Seconds that 95 % of messages did not wait longer than.
    pub wait_p95: f64,
    /// The longest wait, in seconds.
    pub wait_max: f64,
    /// Consumers times seconds.
    pub consumer_seconds: f64,
    /// The most consumers at one time.
    pub most_consumers: f64,
}

impl Course {
    fn of(outcome: &Outcome) -> Self {
        Self {
            over_goal: outcome.figure(|report| report.over_goal).mean,
            wait_p95: outcome.figure(|report| report.wait_p95).mean,
            wait_max: outcome.figure(|report| report.wait_max).mean,
            consumer_seconds: outcome.figure(|report| report.consumer_seconds).mean,
            most_consumers: outcome.figure(|report| f64::from(report.most_consumers)).mean,
        }
    }

    /// Whether the goal is kept.
    pub fn is_kept(&self) -> bool {
        self.over_goal <= KEPT
    }
}

/// A setting of the engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// The profile.
    pub profile: Profile,
    /// The fewest processes.
    pub min: u32,
    /// What it comes to.
    pub course: Course,
}

/// What is advised where the engine is told so much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Advised {
    /// What the engine is told.
    pub signals: Signals,
    /// The balanced profile with the minimum that was asked for.
    pub balanced: Setting,
    /// The cheapest setting with the minimum that was asked for, or the one that misses the fewest where none keeps the goal.
    pub best: Setting,
    /// Where that does not keep the goal: the least minimum with which one does, and the cheapest such profile.
    pub floor: Option<Setting>,
    /// Where that does not keep the goal: a longer goal that the balanced profile keeps without a higher minimum.
    pub longer: Option<Duration>,
}

impl Advised {
    /// The cheapest that keeps the goal, with a higher minimum where that takes one; else what misses the fewest.
    pub fn setting(&self) -> Setting {
        self.floor.unwrap_or(self.best)
    }
}

/// A fixed number of processes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixed {
    /// How many.
    pub processes: u32,
    /// What it comes to.
    pub course: Course,
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// With the management API, then without.
    pub advised: [Advised; 2],
    /// The least fixed number that keeps the goal; absent where the maximum does not.
    pub fixed: Option<Fixed>,
    /// The number that there is at present, where one was named.
    pub present: Option<Fixed>,
}

/// What is tried on.
struct Trial<'a> {
    scenario: &'a Scenario,
    workload: &'a (dyn Fn(u64) -> Workload + Sync),
    seeds: u32,
    progress: &'a dyn Fn(),
}

/// Tries profiles, minimums and fixed numbers on a workload, with those that always run up at its begin. `progress` is called after each round of runs.
pub fn advise(
    scenario: &Scenario,
    workload: &(dyn Fn(u64) -> Workload + Sync),
    seeds: u32,
    present: Option<u32>,
    progress: &dyn Fn(),
) -> Advice {
    let scenario = &Scenario { warm: true, ..scenario.clone() };
    let trial = Trial { scenario, workload, seeds, progress };
    Advice {
        advised: [Signals::Full, Signals::Amqp].map(|signals| trial.advised(signals)),
        fixed: trial.least_fixed(),
        present: present.map(|processes| trial.fixed(processes)),
    }
}

impl Trial<'_> {
    fn advised(&self, signals: Signals) -> Advised {
        let profiles = self.profiles(signals, self.scenario.min);
        let best = best(&profiles);
        let balanced =
            profiles.into_iter().find(|setting| setting.profile == Profile::Balanced).unwrap_or(best);
        if best.course.is_kept() {
            return Advised { signals, balanced, best, floor: None, longer: None };
        }
        let (floor, longer) = (self.floor(signals), self.longer(signals));
        Advised { signals, balanced, best, floor, longer }
    }

    fn profiles(&self, signals: Signals, min: u32) -> [Setting; 4] {
        let scenario = Scenario { min, ..self.scenario.clone() };
        let policies = Profile::ALL.map(|profile| PolicyName::Own(profile, signals));
        let courses = self.courses(&policies, &scenario);
        let mut settings = Profile::ALL.into_iter().zip(courses);
        std::array::from_fn(|_| {
            let (profile, course) = settings.next().expect("there is a course for each profile");
            Setting { profile, min, course }
        })
    }

    fn floor(&self, signals: Signals) -> Option<Setting> {
        let kept = |min| Some(best(&self.profiles(signals, min))).filter(|setting| setting.course.is_kept());
        least(self.scenario.min + 1, self.scenario.max, kept)
    }

    fn longer(&self, signals: Signals) -> Option<Duration> {
        let policy = [PolicyName::Own(Profile::Balanced, signals)];
        (1..=LONGER_MOST).find_map(|times| {
            let wait = self.scenario.wait.as_secs_f64() * LONGER.powi(times as i32);
            let wait = Duration::try_from_secs_f64(wait.ceil()).ok()?;
            let scenario = Scenario { wait, ..self.scenario.clone() };
            self.courses(&policy, &scenario).iter().all(Course::is_kept).then_some(wait)
        })
    }

    fn least_fixed(&self) -> Option<Fixed> {
        let kept = |processes| Some(self.fixed(processes)).filter(|fixed| fixed.course.is_kept());
        least(1, self.scenario.max, kept)
    }

    fn fixed(&self, processes: u32) -> Fixed {
        let max = self.scenario.max.max(processes);
        let scenario = Scenario { min: processes, max, ..self.scenario.clone() };
        let courses = self.courses(&[PolicyName::Fixed(processes)], &scenario);
        Fixed { processes, course: courses[0] }
    }

    fn courses(&self, policies: &[PolicyName], scenario: &Scenario) -> Vec<Course> {
        let outcomes = compare(policies, self.seeds, scenario, self.workload, false, &|_| ());
        (self.progress)();
        outcomes.iter().map(Course::of).collect()
    }
}

/// The cheapest that keeps the goal, or the one that misses the fewest.
fn best(settings: &[Setting; 4]) -> Setting {
    let worth = |setting: &Setting| {
        let missed = if setting.course.is_kept() { 0.0 } else { setting.course.over_goal };
        (missed, setting.course.consumer_seconds)
    };
    let mut best = settings[0];
    for setting in &settings[1..] {
        if worth(setting) < worth(&best) {
            best = *setting;
        }
    }
    best
}

/// The outcome of the least number from `from` to `to` that has one, taking it that every larger number has one too.
fn least<T>(from: u32, to: u32, outcome: impl Fn(u32) -> Option<T>) -> Option<T> {
    let (mut from, mut to) = (from, to);
    if from > to {
        return None;
    }
    let mut found = outcome(to)?;
    while from < to {
        let middle = from + (to - from) / 2;
        match outcome(middle) {
            Some(better) => (found, to) = (better, middle),
            None => from = middle + 1,
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::builtin::Builtin;

    fn advice(builtin: Builtin, startup: f64, max: u32, present: Option<u32>) -> Advice {
        let scenario = Scenario { wait: builtin.wait(), startup, max, ..Scenario::default() };
        advise(&scenario, &|seed| builtin.workload(seed, builtin.service()), 1, present, &|| ())
    }

    #[test]
    fn where_the_goal_can_be_kept_the_cheapest_profile_is_advised_and_beats_every_fixed_number() {
        let advice = advice(Builtin::Step, 2.0, 60, Some(8));
        for advised in &advice.advised {
            assert!(advised.best.course.is_kept() && advised.best.min == 0, "{advised:?}");
            assert_eq!((advised.floor, advised.longer), (None, None));
        }
        let fixed = advice.fixed.expect("sixty do");
        assert!((19..=24).contains(&fixed.processes), "20 are busy at the height: {fixed:?}");
        assert!(fixed.course.consumer_seconds > 1.5 * advice.advised[1].best.course.consumer_seconds);
        let present = advice.present.expect("it was asked for");
        assert!(present.course.over_goal > 0.5, "{present:?}");
    }

    #[test]
    fn where_a_start_takes_longer_than_the_goal_a_floor_and_a_longer_goal_are_named() {
        let advice = advice(Builtin::Burst, 20.0, 80, None);
        let [full, _] = advice.advised;
        assert!(!full.best.course.is_kept(), "{full:?}");
        let floor = full.floor.expect("eighty that run keep it");
        assert!(floor.course.is_kept() && floor.min > 10, "{floor:?}");
        let longer = full.longer.expect("some goal can be kept");
        assert!(longer > Duration::from_secs(20), "{longer:?}");
    }

    #[test]
    fn the_least_of_a_row_is_found_and_nothing_where_there_is_none() {
        for wanted in 1..=9 {
            assert_eq!(least(1, 9, |count| (count >= wanted).then_some(count)), Some(wanted));
        }
        assert_eq!(least(1, 9, |_| None::<u32>), None);
        assert_eq!(least(3, 2, Some), None);
    }
}
