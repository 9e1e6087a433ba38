//! Whether more consumers do more.
//!
//! A database that is at its limit makes every message slower with every consumer that is added; answered with yet more
//! consumers, that ends at the maximum, with nothing gained. So the messages done in a second are compared between few
//! consumers and many: where half as many again, or more, do less than a quarter of what they should have added, while
//! messages wait, none is added for a while. Then a few more are tried, ever more seldom, since the messages themselves
//! may have become slower, where more consumers do help.
//!
//! All comparisons allow for chance: in counts of messages, so that few of them prove nothing, and in the number at
//! work, which is seen only now and then.

use std::time::Duration;

use crate::core::time::Time;

/// Many are this many times few, or more.
const MANY: f64 = 1.5;
/// The least share of the expected gain that counts as an effect.
const LEAST_GAIN: f64 = 0.25;
/// Counts are told apart at so many standard deviations; one is `DEVIATION / sqrt(messages)`, since work varies.
const SURE: f64 = 2.0;
const DEVIATION: f64 = 1.2;
/// Fewer messages prove nothing.
const LEAST_MESSAGES: f64 = 30.0;
/// Where the number at work changed by more than this share of it, nobody knows what it was in between.
const STEADY: f64 = 0.5;
/// Few are still few with so many times their number.
const STILL_FEW: f64 = 1.1;
/// What was measured fades within this time, and never counts for more than so many messages.
const FADES_SECONDS: f64 = 60.0;
const MOST_MESSAGES: f64 = 400.0;
/// After which time more are tried, at first and at most, and by what it grows each time that it did not help: those that
/// were tried stay as long as they are at work.
const FIRST_TRY: Duration = Duration::from_secs(15);
const SELDOM: u32 = 4;
const LAST_TRY: Duration = Duration::from_secs(300);
/// For how long a try may go on beside the time that a start takes.
const TRY: Duration = Duration::from_secs(12);
/// Above what would do, for the inaccuracy of what was measured.
const MARGIN: f64 = 1.1;

/// What is known of the effect of consumers.
#[derive(Clone, Debug, Default)]
pub(super) struct Effect {
    /// What few do.
    few: Level,
    /// What many do, while that is not yet judged.
    many: Level,
    bound: Option<Bound>,
}

/// Work over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Level {
    /// Consumer-seconds.
    pub(super) busy_seconds: f64,
    pub(super) seconds: f64,
    /// Messages, those begun and ended outside counted by half.
    pub(super) done: f64,
    /// Messages that ended within.
    pub(super) acknowledged: f64,
    /// How often it was looked who is at work. While messages wait, that is everybody, and as good as many looks.
    pub(super) looks: f64,
}

/// No more than so many are of use.
#[derive(Clone, Copy, Debug)]
struct Bound {
    useful: u32,
    throughput: f64,
    wait: Duration,
    state: Try,
}

#[derive(Clone, Copy, Debug)]
enum Try {
    /// The next one comes then.
    At(Time),
    /// More are tried until then, beyond this number.
    Until(Time, u32),
}

/// What is to be said of a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounded {
    /// Consumers beyond this many add nothing.
    pub(super) useful: u32,
    /// Messages a second that are done.
    pub(super) throughput: f64,
    /// How many may run; none where the number is only not to rise.
    pub(super) tried: Option<u32>,
}

impl Effect {
    /// Takes what was done between two readings, by how much the number at work changed, whether messages waited at both,
    /// and how long a start takes.
    pub(super) fn observe(&mut self, work: Level, changed: f64, waited: bool, startup: Duration, at: Time) {
        if work.busy_seconds <= 0.0 || work.seconds <= 0.0 || (!waited && changed > STEADY * work.busy()) {
            return;
        }
        if !waited {
            // Whoever keeps up is of use, however many there are.
            self.bound = None;
            self.many = Level::default();
            self.few.take(work);
            return;
        }
        if self.bound.is_some() {
            self.weigh_try(work, startup, at);
        } else if self.few.acknowledged < LEAST_MESSAGES || work.busy() < STILL_FEW * self.few.busy() {
            self.few.take(work);
        } else if work.busy() >= MANY * self.few.busy() {
            self.many.take(work);
            self.weigh(at);
        }
    }

    /// What is known to be of no use.
    pub(super) fn bound(&self) -> Option<Bounded> {
        self.bound.map(|bound| Bounded {
            useful: bound.useful,
            throughput: bound.throughput,
            tried: match bound.state {
                Try::At(_) => None,
                Try::Until(_, base) => Some((f64::from(base) * MANY).ceil() as u32),
            },
        })
    }

    fn weigh(&mut self, at: Time) {
        match self.many.against(&self.few) {
            Verdict::Unknown => {}
            Verdict::Helped => self.few = std::mem::take(&mut self.many),
            Verdict::Useless => {
                let throughput = self.many.throughput();
                let useful = (throughput * self.few.service() * MARGIN).max(self.few.busy()).ceil() as u32;
                self.few = std::mem::take(&mut self.many);
                let state = Try::At(at + FIRST_TRY);
                self.bound = Some(Bound { useful, throughput, wait: FIRST_TRY, state });
            }
        }
    }

    /// With a bound: `few` is what those do that there are, `many` what they and those that are tried do.
    fn weigh_try(&mut self, work: Level, startup: Duration, at: Time) {
        let Some(bound) = &mut self.bound else { return };
        match bound.state {
            Try::At(moment) => {
                self.few.take(work);
                bound.throughput = self.few.throughput();
                if at >= moment {
                    let base = self.few.busy().round() as u32;
                    bound.state = Try::Until(at + startup + TRY, base);
                }
            }
            Try::Until(end, _) => {
                if work.busy() > (1.0 + MANY) / 2.0 * self.few.busy() {
                    self.many.take(work);
                }
                let verdict = self.many.against(&self.few);
                if verdict == Verdict::Helped {
                    self.few = std::mem::take(&mut self.many);
                    self.bound = None;
                } else if verdict == Verdict::Useless || at >= end {
                    self.many = Level::default();
                    bound.wait = (bound.wait * SELDOM).min(LAST_TRY);
                    bound.state = Try::At(at + bound.wait);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Helped,
    Useless,
    Unknown,
}

impl Level {
    /// Consumers at work, on average.
    fn busy(&self) -> f64 {
        self.busy_seconds / self.seconds
    }

    fn throughput(&self) -> f64 {
        self.done / self.seconds
    }

    fn service(&self) -> f64 {
        self.busy_seconds / self.done.max(1.0)
    }

    fn take(&mut self, work: Self) {
        let fades = FADES_SECONDS.max(LEAST_MESSAGES * 2.0 * self.seconds / self.acknowledged.max(1.0));
        let kept = (-work.seconds / fades).exp() * (MOST_MESSAGES / self.acknowledged.max(1.0)).min(1.0);
        self.busy_seconds = self.busy_seconds * kept + work.busy_seconds;
        self.seconds = self.seconds * kept + work.seconds;
        self.done = self.done * kept + work.done;
        self.acknowledged = self.acknowledged * kept + work.acknowledged;
        self.looks = self.looks * kept + work.looks;
    }

    /// Whether these do more than those `few`, as their number promises.
    fn against(&self, few: &Self) -> Verdict {
        if self.acknowledged.min(few.acknowledged) < LEAST_MESSAGES {
            return Verdict::Unknown;
        }
        let gain = self.throughput() / few.throughput();
        let least = 1.0 + LEAST_GAIN * (self.busy() / few.busy() - 1.0);
        let counts = DEVIATION.powi(2) * (1.0 / self.acknowledged + 1.0 / few.acknowledged);
        let doubt = SURE * (counts + 1.0 / (few.busy() * few.looks)).sqrt();
        if gain * (1.0 + doubt) < least {
            Verdict::Useless
        } else if gain * (1.0 - doubt) > least {
            Verdict::Helped
        } else {
            Verdict::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTUP: Duration = Duration::from_secs(2);

    /// Five seconds each of `consumers` at work on what is behind them, which does at most `most` messages a second.
    struct Bench {
        effect: Effect,
        second: u64,
        service: f64,
        most: f64,
    }

    impl Bench {
        fn new(service: f64, most: f64) -> Self {
            Self { effect: Effect::default(), second: 0, service, most }
        }

        fn work(&mut self, consumers: f64, waited: bool) -> Option<Bounded> {
            self.second += 5;
            let done = 5.0 * (consumers / self.service).min(self.most);
            let work =
                Level { busy_seconds: 5.0 * consumers, seconds: 5.0, done, acknowledged: done, looks: 100.0 };
            self.effect.observe(work, 0.0, waited, STARTUP, Time::from_millis(self.second * 1_000));
            self.effect.bound()
        }
    }

    #[test]
    fn where_more_consumers_do_more_nothing_is_bounded() {
        let mut bench = Bench::new(0.2, f64::INFINITY);
        for consumers in [8.0, 8.0, 12.0, 20.0, 60.0, 60.0, 200.0, 30.0, 90.0] {
            assert_eq!(bench.work(consumers, true), None);
        }
    }

    #[test]
    fn what_adds_nothing_is_bounded_by_what_would_do() {
        let mut bench = Bench::new(0.2, 100.0);
        assert_eq!(bench.work(8.0, false), None);
        assert_eq!(bench.work(8.0, false), None);
        let bounded = bench.work(100.0, true).expect("100 messages a second are what 20 do");
        assert_eq!((bounded.useful, bounded.tried), (22, None));
        assert!((bounded.throughput - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_few_more_are_tried_ever_more_seldom() {
        let mut bench = Bench::new(0.2, 100.0);
        bench.work(8.0, false);
        bench.work(100.0, true);
        let mut tries = Vec::new();
        for _ in 0..40 {
            let tried = bench.effect.bound().and_then(|bounded| bounded.tried);
            bench.work(tried.map_or(100.0, f64::from), true).expect("nothing has changed");
            if tried.is_some() {
                assert_eq!(tried, Some(150));
                tries.push(bench.second);
            }
        }
        assert_eq!(tries, [30, 35, 100, 105], "two readings each, after 15 s, 60 s, and then 240 s");
    }

    #[test]
    fn work_that_became_slower_by_itself_is_found_out_by_the_first_try() {
        let mut bench = Bench::new(0.2, f64::INFINITY);
        bench.work(8.0, false);
        bench.work(8.0, false);
        bench.service = 2.0;
        bench.work(100.0, true).expect("100 do less than 8 did");
        for _ in 0..6 {
            let tried = bench.effect.bound().and_then(|bounded| bounded.tried);
            bench.work(tried.map_or(100.0, f64::from), true);
        }
        assert_eq!(bench.effect.bound(), None);
        assert_eq!(bench.work(200.0, true), None);
    }

    #[test]
    fn an_empty_queue_ends_the_bound() {
        let mut bench = Bench::new(0.2, 100.0);
        bench.work(8.0, false);
        assert!(bench.work(100.0, true).is_some());
        assert_eq!(bench.work(60.0, false), None);
    }

    #[test]
    fn few_messages_prove_nothing() {
        let mut bench = Bench::new(60.0, 0.2);
        bench.work(12.0, false);
        assert_eq!(bench.work(24.0, true), None);
        assert_eq!(bench.work(24.0, true), None);
    }
}
