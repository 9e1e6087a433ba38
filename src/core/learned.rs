//! What the engine of a program learned, by queue, so that it outlives a restart and a reload that adds a queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spec::ScaleSpec;
use super::world::{Limits, goal, queue_goals};
use crate::scaling::engine::Engine;
use crate::scaling::hands::Hands;
use crate::scaling::input::{Goal, Learned};

/// What was learned, by queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnedOfQueues {
    /// Of the only queue, or the first one.
    #[serde(flatten)]
    pub first: Learned,
    /// Of the others, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more: BTreeMap<String, Learned>,
}

impl LearnedOfQueues {
    /// What `engine` learned of the queues of `scale`.
    pub fn of(engine: &Engine, scale: &ScaleSpec) -> Self {
        let more = scale.more.iter().enumerate();
        let more = more.map(|(index, queue)| (queue.name.clone(), engine.learned_of(index + 1)));
        Self { first: engine.learned(), more: more.collect() }
    }

    /// The same for other queues: what is known of those that stay. Without any there is nothing to be known.
    pub fn moved(mut self, before: &ScaleSpec, after: &ScaleSpec) -> Self {
        let startup_seconds = self.first.startup_seconds;
        if before.broker != after.broker || !after.queues().any(|(name, _)| before.place_of(name).is_some()) {
            return Self::default();
        }
        self.more.insert(before.queue.clone(), self.first);
        let fresh = Learned { startup_seconds, ..Learned::default() };
        let first = self.more.remove(&after.queue).unwrap_or(fresh);
        Self { first: Learned { startup_seconds, ..first }, more: self.more }
    }

    /// An engine for `scale` that begins with this.
    pub fn engine(&self, scale: &ScaleSpec, limits: &Limits) -> Engine {
        let goal = goal(scale, limits);
        let mut engine = self.engine_of_queues(scale, goal);
        engine.set_rate(scale.rate_per_hour);
        engine.set_hands(Hands::new(scale.concurrency, scale.prefetch, None));
        engine.set_delayed(&scale.delays());
        engine
    }

    fn engine_of_queues(&self, scale: &ScaleSpec, goal: Goal) -> Engine {
        if scale.more.is_empty() {
            return Engine::new(goal, self.first);
        }
        let more = scale.more.iter().map(|queue| self.more.get(&queue.name).copied().unwrap_or_default());
        let learned: Vec<Learned> = std::iter::once(self.first).chain(more).collect();
        Engine::of_several(goal, queue_goals(scale), scale.order, &learned, self.first.startup_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::scenario::scaled;
    use crate::core::spec::QueueSpec;
    use std::time::Duration;

    fn scale(queues: [&str; 2]) -> ScaleSpec {
        let mut scale = scaled(queues[0], 1, 4).scale().expect("it is scaled").clone();
        scale.more = vec![QueueSpec { name: queues[1].to_owned(), wait: Duration::from_secs(60) }];
        scale
    }

    #[test]
    fn what_is_known_of_a_queue_goes_with_it() {
        let of =
            |seconds| Learned { service_seconds: Some(seconds), startup_seconds: Some(3.0), polling: false };
        let known = LearnedOfQueues { first: of(1.0), more: [("low".to_owned(), of(2.0))].into() };
        let moved = known.clone().moved(&scale(["high", "low"]), &scale(["low", "other"]));
        assert_eq!(moved.first, of(2.0));
        let limits = Limits::default();
        let engine = moved.engine(&scale(["low", "other"]), &limits);
        assert_eq!(
            (engine.learned_of(0).service_seconds, engine.learned_of(1).service_seconds),
            (Some(2.0), None)
        );
        assert_eq!(engine.learned().startup_seconds, Some(3.0));
        assert_eq!(known.moved(&scale(["high", "low"]), &scale(["a", "b"])), LearnedOfQueues::default());
    }

    #[test]
    fn what_was_written_down_for_one_queue_is_read() {
        let json = r#"{"service_seconds":0.5,"startup_seconds":2.0,"polling":true}"#;
        let known: LearnedOfQueues = serde_json::from_str(json).expect("it is what was written before");
        assert_eq!(known.first.service_seconds, Some(0.5));
        assert_eq!(serde_json::to_string(&known).expect("it is JSON"), json);
    }
}
