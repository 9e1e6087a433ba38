//! Leveret's own engine as a policy of the virtual world: the very code that the daemon runs.

use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::Engine;
use crate::scaling::decision::Decision;
use crate::scaling::hands::Hands;
use crate::scaling::input::{Detail, Fleet, Goal, Learned, Observation};
use crate::scaling::profile::Profile;
use crate::simulation::policy::{Occasion, Policy, Reading, Removal, Rhythm, Statistics, Tick};
use crate::simulation::queue::Scenario;

/// What the engine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// What a broker tells over AMQP: messages ready, and consumers.
    Amqp,
    /// The figures of the management API as well, and which consumer is idle.
    Full,
}

/// The engine with what it sees.
#[derive(Debug)]
pub struct Own {
    engine: Engine,
    signals: Signals,
    /// When the newest figures were made that it was told.
    told_at: Option<Time>,
    interval: Duration,
    target: u32,
    review_at: Option<Time>,
    decided: Option<Decision>,
}

impl Own {
    /// An engine for a scenario, which begins with what was learned before.
    pub fn new(scenario: &Scenario, learned: Learned, profile: Profile, signals: Signals) -> Self {
        let Scenario { wait, min, max, interval, .. } = *scenario;
        let goal = Goal { wait, min, max, interval, profile };
        let mut engine = Engine::new(goal, learned);
        engine.set_hands(Hands::new(None, Some(scenario.prefetch), None));
        Self { engine, signals, told_at: None, interval, target: min, review_at: None, decided: None }
    }

    /// The whole decision; absent where nothing came of the broker, so that nobody was asked.
    pub fn decision(&mut self, tick: &Tick<'_>) -> Option<Decision> {
        match (tick.occasion, tick.reading) {
            (Occasion::Rhythm, Some(reading)) => self.engine.observe(observation(reading, tick.now)),
            (Occasion::Rhythm, None) | (Occasion::Message, _) => return None,
            (Occasion::Review, _) => {}
        }
        if let (Signals::Full, Some(statistics)) = (self.signals, tick.statistics)
            && self.told_at.replace(statistics.at) != Some(statistics.at)
        {
            self.engine.observe(Observation::Detail(detail(statistics)));
        }
        let decision = self.engine.decide(&fleet(tick), tick.now);
        self.target = decision.target;
        self.review_at = decision.review_at;
        self.decided = Some(decision.clone());
        Some(decision)
    }

    /// The engine's answer to the same question once more.
    pub fn again(&mut self, tick: &Tick<'_>) -> Decision {
        self.engine.decide(&fleet(tick), tick.now)
    }
}

impl Policy for Own {
    fn rhythm(&self) -> Rhythm {
        Rhythm::every(self.interval)
    }

    fn removal(&self) -> Removal {
        match self.signals {
            Signals::Amqp => Removal::Youngest,
            Signals::Full => Removal::WhenIdle,
        }
    }

    fn decide(&mut self, tick: &Tick<'_>) -> u32 {
        self.decision(tick).map_or(self.target, |decision| decision.target)
    }

    fn counts_draining(&self) -> bool {
        true
    }

    fn observe_started(&mut self, took: Duration) {
        self.engine.observe_started(took);
    }

    fn decided(&self) -> Option<&Decision> {
        self.decided.as_ref()
    }

    fn limit_to(&mut self, target: u32) {
        self.engine.resume_at(target);
    }

    fn review_at(&self) -> Option<Time> {
        self.review_at
    }
}

fn observation(reading: Reading, at: Time) -> Observation {
    match reading {
        Reading::Sample { ready, consumers } => Observation::Sample { at, ready, consumers },
        Reading::NoQueue => Observation::NoQueue { at },
        Reading::Lost(why) => Observation::Lost { at, why },
    }
}

fn detail(statistics: Statistics) -> Detail {
    let Statistics { at, ready, unacked, published, acknowledged } = statistics;
    Detail { at, ready, unacknowledged: unacked, acknowledged, published: Some(published) }
}

fn fleet(tick: &Tick<'_>) -> Fleet {
    let consumers = tick.consumers;
    Fleet {
        running: consumers.running(),
        starting: consumers.starting_since(),
        draining: consumers.draining(),
        oldest_running: consumers.oldest_running(),
    }
}
