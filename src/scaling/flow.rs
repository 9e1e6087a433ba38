//! Arrivals and work per message where the broker tells more than the depth: messages unacknowledged, and how many were
//! acknowledged and published since it counts.
//!
//! Between two such readings the flow is known without any inference. What arrived is what was published, or else what is
//! in the system more than before and what was acknowledged; a message that is put back changes neither. What a message
//! took is the time that consumers were busy over the messages that they did, those in work counted by half: an estimate
//! that waits for whole messages would see thirty consumers at work and nothing done, and take the work for endless.

use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::effect::{Bounded, Effect, Level};
use crate::scaling::input::Detail;

/// The average looks back over about this many messages, within these bounds in seconds.
const MESSAGES: f64 = 100.0;
const LEAST_SECONDS: f64 = 30.0;
const MOST_SECONDS: f64 = 600.0;
/// Work is remembered for so long, or for some messages where these take longer.
const WORK_SECONDS: f64 = 300.0;
const WORK_MESSAGES: f64 = 20.0;
/// What was believed before counts like this many messages, and like this many seconds.
const PRIOR_MESSAGES: f64 = 2.0;
const PRIOR_SECONDS: f64 = 1.0;
/// The shortest and the longest work that is planned with, in seconds.
const SERVICE_LEAST_SECONDS: f64 = 1e-4;
const SERVICE_MOST_SECONDS: f64 = 3_600.0;
/// For how many looks at random moments one counts where everybody is at work.
const LOOKS: f64 = 100.0;
/// A reading that is older than this tells nothing any more: brokers renew their statistics every 5 s.
const FRESH: Duration = Duration::from_secs(16);

/// What is known of the flow.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    last: Option<Told>,
    known: Option<Known>,
    effect: Effect,
}

/// A reading, and how many consumers were at work at it.
#[derive(Clone, Copy, Debug)]
struct Told {
    detail: Detail,
    busy: f64,
}

/// What two readings or more have told.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    /// Messages that arrived, and the seconds in which they did; both fade.
    arrived: f64,
    seconds: f64,
    /// Seconds that consumers were busy, and messages that they did in them; both fade.
    busy_seconds: f64,
    done: f64,
}

impl Flow {
    /// Takes a reading at which `working` consumers ran; `believed` are the arrivals a second and the seconds per message so
    /// far, for the first one, and `startup` how long a start takes. Counters that have become less were begun anew by the broker, and tell nothing until the
    /// next reading.
    pub(super) fn observe(&mut self, detail: Detail, working: f64, believed: (f64, f64), startup: Duration) {
        let told = Told { detail, busy: working.min(detail.unacknowledged as f64) };
        let last = self.last.replace(told);
        let Some(last) = last.filter(|last| detail.at > last.detail.at) else { return };
        let Some(counted) = Counted::between(&last, &told) else { return };
        let known = self.known.get_or_insert(Known {
            arrived: believed.0 * PRIOR_SECONDS,
            seconds: PRIOR_SECONDS,
            busy_seconds: believed.1 * PRIOR_MESSAGES,
            done: PRIOR_MESSAGES,
        });
        known.learn(&counted);
        let waited = last.detail.ready > 0 && detail.ready > 0;
        let changed = (told.busy - last.busy).abs();
        self.effect.observe(counted.work(waited), changed, waited, startup, detail.at);
    }

    /// Work that was taken to be of one is of so many at once. What few and many did is to be seen anew.
    pub(super) fn stretch(&mut self, times: f64) {
        if let Some(known) = &mut self.known {
            known.busy_seconds *= times;
        }
        self.effect = Effect::default();
    }

    /// Beyond how many consumers nothing is gained, where that is so.
    pub(super) fn bound(&self) -> Option<Bounded> {
        self.effect.bound()
    }

    /// What is told is not to be believed: the next reading has none before it.
    pub(super) fn interrupt(&mut self) {
        self.last = None;
    }

    /// Whether the newest reading still tells how things are.
    pub(super) fn is_fresh(&self, now: Time) -> bool {
        self.known.is_some() && self.last.is_some_and(|last| now.since(last.detail.at) <= FRESH)
    }

    /// When the newest reading stops telling how things are.
    pub(super) fn stale_at(&self) -> Option<Time> {
        self.known.and(self.last).map(|last| last.detail.at + FRESH + Duration::from_micros(1))
    }

    /// Messages a second over about a hundred messages, and seconds of work per message.
    pub(super) fn known(&self) -> Option<(f64, f64)> {
        self.known.map(|known| (known.arrivals(), known.service()))
    }

    /// Whether the seconds per message come of messages more than of what was believed before them.
    pub(super) fn has_seen_work(&self) -> bool {
        self.known.is_some_and(|known| known.done > 2.0 * PRIOR_MESSAGES)
    }

    /// Messages that are with consumers at the newest reading.
    pub(super) fn unacknowledged(&self) -> Option<u64> {
        self.last.map(|last| last.detail.unacknowledged)
    }

    /// Consumers that are at work at the newest reading.
    pub(super) fn busy(&self) -> Option<u32> {
        self.last.map(|last| last.busy.ceil() as u32)
    }
}

impl Known {
    fn arrivals(&self) -> f64 {
        self.arrived / self.seconds
    }

    fn service(&self) -> f64 {
        (self.busy_seconds / self.done).clamp(SERVICE_LEAST_SECONDS, SERVICE_MOST_SECONDS)
    }

    fn learn(&mut self, counted: &Counted) {
        let rate = self.arrivals().max(counted.arrived / counted.seconds);
        let window = (MESSAGES / rate).clamp(LEAST_SECONDS, MOST_SECONDS);
        let kept = (-counted.seconds / window).exp();
        self.arrived = self.arrived * kept + counted.arrived;
        self.seconds = self.seconds * kept + counted.seconds;

        // What little is left of the past keeps its proportion, so that silence changes nothing.
        let window = WORK_SECONDS.max(WORK_MESSAGES * self.service());
        let kept = (-counted.seconds / window).exp().max((PRIOR_MESSAGES / self.done).min(1.0));
        self.busy_seconds = self.busy_seconds * kept + counted.busy_seconds;
        self.done = (self.done * kept + counted.done).max(1.0);
    }
}

/// What happened between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counted {
    seconds: f64,
    arrived: f64,
    busy_seconds: f64,
    done: f64,
    acknowledged: f64,
}

impl Counted {
    fn between(last: &Told, told: &Told) -> Option<Self> {
        let (before, after) = (&last.detail, &told.detail);
        let seconds = after.at.since(before.at).as_secs_f64();
        let acknowledged = after.acknowledged.checked_sub(before.acknowledged)? as f64;
        let published = match (before.published, after.published) {
            (Some(before), Some(after)) => Some(after.checked_sub(before)? as f64),
            (None, None | Some(_)) | (Some(_), None) => None,
        };
        let in_system = |detail: &Detail| detail.ready as f64 + detail.unacknowledged as f64;
        let arrived =
            published.unwrap_or_else(|| (in_system(after) - in_system(before) + acknowledged).max(0.0));
        Some(Self {
            seconds,
            arrived,
            busy_seconds: (last.busy + told.busy) / 2.0 * seconds,
            done: acknowledged + (told.busy - last.busy) / 2.0,
            acknowledged,
        })
    }

    fn work(&self, waited: bool) -> Level {
        let Self { seconds, arrived: _, busy_seconds, done, acknowledged } = *self;
        Level {
            busy_seconds,
            seconds,
            done: done.max(0.0),
            acknowledged,
            looks: if waited { LOOKS } else { 1.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(second: u64, ready: u64, unacknowledged: u64, acknowledged: u64) -> Detail {
        Detail { at: Time::from_millis(second * 1_000), ready, unacknowledged, acknowledged, published: None }
    }

    /// A flow of `rate` messages a second that take `service` seconds, told every 5 s for `seconds`.
    fn steady(flow: &mut Flow, rate: u64, busy: u64, seconds: u64) {
        for second in (0..=seconds).step_by(5) {
            flow.observe(detail(second, 0, busy, rate * second), 100.0, (0.0, 0.2), Duration::ZERO);
        }
    }

    #[test]
    fn a_flow_that_never_waits_is_known() {
        let mut flow = Flow::default();
        steady(&mut flow, 40, 20, 200);
        let (arrivals, service) = flow.known().expect("it was told");
        assert!((arrivals - 40.0).abs() < 0.5, "{arrivals}");
        assert!((service - 0.5).abs() < 0.01, "{service}");
        assert_eq!((flow.busy(), flow.unacknowledged()), (Some(20), Some(20)));
    }

    #[test]
    fn long_work_is_not_taken_for_endless_before_the_first_message_is_done() {
        let mut flow = Flow::default();
        for second in (0..=55).step_by(5) {
            let busy = if second == 0 { 0 } else { 30 };
            flow.observe(detail(second, 0, busy, 0), 30.0, (0.0, 0.2), Duration::ZERO);
            if let Some((_, service)) = flow.known() {
                assert!(service < 120.0, "{service} after {second} s");
            }
        }
        let (_, service) = flow.known().expect("it was told");
        assert!(service > 20.0, "{service}");
    }

    #[test]
    fn what_is_put_back_is_no_arrival_and_what_was_published_is() {
        let mut flow = Flow::default();
        flow.observe(detail(0, 0, 10, 0), 10.0, (0.0, 1.0), Duration::ZERO);
        flow.observe(detail(5, 10, 0, 0), 10.0, (0.0, 1.0), Duration::ZERO);
        assert_eq!(flow.known().map(|known| known.0), Some(0.0));
        let mut flow = Flow::default();
        let published = |second, count| Detail { published: Some(count), ..detail(second, 0, 0, 0) };
        flow.observe(published(0, 1_000), 10.0, (0.0, 1.0), Duration::ZERO);
        flow.observe(published(600, 7_000), 10.0, (0.0, 1.0), Duration::ZERO);
        let (arrivals, _) = flow.known().expect("it was told");
        assert!((arrivals - 10.0).abs() < 0.01, "{arrivals}: expired messages were published as well");
    }

    #[test]
    fn counters_that_begin_anew_tell_nothing_once() {
        let mut flow = Flow::default();
        steady(&mut flow, 40, 20, 200);
        let before = flow.known();
        flow.observe(detail(205, 0, 20, 3), 100.0, (0.0, 0.2), Duration::ZERO);
        assert_eq!(flow.known(), before);
        flow.observe(detail(210, 0, 20, 203), 100.0, (0.0, 0.2), Duration::ZERO);
        let (arrivals, _) = flow.known().expect("it was told");
        assert!((arrivals - 40.0).abs() < 0.5, "{arrivals}");
    }

    #[test]
    fn silence_changes_nothing_but_the_flow() {
        let mut flow = Flow::default();
        steady(&mut flow, 40, 20, 200);
        for second in (205..4_000).step_by(5) {
            flow.observe(detail(second, 0, 0, 8_000), 100.0, (0.0, 0.2), Duration::ZERO);
        }
        let (arrivals, service) = flow.known().expect("it was told");
        assert!(arrivals < 0.1, "{arrivals}");
        assert!((service - 0.5).abs() < 0.1, "{service}");
        let last = Time::from_millis(3_995_000);
        assert!(flow.is_fresh(last + FRESH) && !flow.is_fresh(last + FRESH + Duration::from_secs(1)));
    }
}
