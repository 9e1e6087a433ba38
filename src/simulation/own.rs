//! Leveret's own engine as a policy of the virtual world: the very code that the daemon runs.

use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::Engine;
use crate::scaling::decision::Decision;
use crate::scaling::input::{Fleet, Goal, Learned, Observation};
use crate::simulation::policy::{Occasion, Policy, Reading, Removal, Rhythm, Tick};
use crate::simulation::queue::Scenario;

/// The engine with what it sees over AMQP.
#[derive(Debug)]
pub struct Own {
    engine: Engine,
    interval: Duration,
    target: u32,
    review_at: Option<Time>,
}

impl Own {
    /// An engine for a scenario, which begins with what was learned before.
    pub fn new(scenario: &Scenario, learned: Learned) -> Self {
        let Scenario { wait, min, max, interval, profile, .. } = *scenario;
        let goal = Goal { wait, min, max, interval, profile };
        Self { engine: Engine::new(goal, learned), interval, target: min, review_at: None }
    }

    /// The whole decision; absent where nothing came of the broker, so that nobody was asked.
    pub fn decision(&mut self, tick: &Tick<'_>) -> Option<Decision> {
        match (tick.occasion, tick.reading) {
            (Occasion::Rhythm, Some(reading)) => self.engine.observe(observation(reading, tick.now)),
            (Occasion::Rhythm, None) | (Occasion::Message, _) => return None,
            (Occasion::Review, _) => {}
        }
        let decision = self.engine.decide(&fleet(tick), tick.now);
        self.target = decision.target;
        self.review_at = decision.review_at;
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
        Removal::Youngest
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

fn fleet(tick: &Tick<'_>) -> Fleet {
    let consumers = tick.consumers;
    Fleet {
        running: consumers.running(),
        starting: consumers.starting_since(),
        draining: consumers.draining(),
        oldest_running: consumers.oldest_running(),
    }
}
