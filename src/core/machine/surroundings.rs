//! What is told about brokers and queues, and what it means for the consumers that hang on them.

use std::time::Duration;

use super::Machine;
use crate::core::observed::{BrokerHealth, Phase, Slot};
use crate::core::random::Random;
use crate::core::spec::ScaleSpec;
use crate::core::time::Time;
use crate::core::world::Program;
use crate::scaling::input::Observation;

/// A consumer that failed this shortly before its broker was found to be gone, failed because of that: consumers often
/// notice first.
const SIGN_OF_LOSS: Duration = Duration::from_secs(5);

/// When a broker is back, its consumers start again within this time, spread evenly.
const BROKER_RETURN_SPREAD: Duration = Duration::from_secs(1);

impl Machine {
    /// The failures that the absence of a broker causes do not count. When it is back, or begins to answer, its consumers
    /// start again one by one.
    pub(super) fn broker(&mut self, broker: String, health: BrokerHealth, at: Time) {
        let before = self.world.brokers.insert(broker.clone(), health).unwrap_or_default();
        let consumers = self
            .world
            .programs
            .values_mut()
            .filter(|program| program.spec.scale().is_some_and(|scale| scale.broker == broker));
        let seed = self.world.limits.seed ^ at.as_micros();
        match (before, health) {
            (BrokerHealth::Unknown | BrokerHealth::Refused | BrokerHealth::Up, BrokerHealth::Unreachable) => {
                consumers.flat_map(|program| program.slots.values_mut()).for_each(|slot| excuse(slot, at));
            }
            (BrokerHealth::Unreachable, BrokerHealth::Unknown | BrokerHealth::Refused | BrokerHealth::Up)
            | (BrokerHealth::Refused, BrokerHealth::Unknown | BrokerHealth::Up) => {
                for program in consumers {
                    for (number, slot) in &mut program.slots {
                        let chance = Random::new(seed ^ u64::from(*number)).unit();
                        forgive(slot, at + BROKER_RETURN_SPREAD.mul_f64(chance));
                    }
                }
            }
            (BrokerHealth::Unreachable, BrokerHealth::Unreachable)
            | (BrokerHealth::Refused, BrokerHealth::Refused)
            | (
                BrokerHealth::Unknown | BrokerHealth::Up,
                BrokerHealth::Unknown | BrokerHealth::Refused | BrokerHealth::Up,
            ) => {}
        }
    }

    pub(super) fn queue(&mut self, broker: &str, queue: &str, observation: Observation) {
        for program in self.world.programs.values_mut() {
            if let Some(place) = scale_of(program, broker).and_then(|scale| scale.place_of(queue)) {
                observe_queue(program, place, observation);
            }
            let delayed = scale_of(program, broker)
                .and_then(|scale| scale.delayed.iter().position(|delayed| delayed.queue == queue));
            if let (Some(place), Some(scaler)) = (delayed, &mut program.scaler) {
                scaler.engine.observe_delayed(place, observation);
            }
        }
    }
}

fn scale_of<'a>(program: &'a Program, broker: &str) -> Option<&'a ScaleSpec> {
    program.spec.scale().filter(|scale| scale.broker == broker)
}

/// Its broker was found to be gone `at`: a failure of shortly before was the first sign of that.
fn excuse(slot: &mut Slot, at: Time) {
    if let Phase::Backoff { since, .. } | Phase::Failed { at: since } = slot.phase
        && at.since(since) <= SIGN_OF_LOSS
    {
        slot.failures = slot.failures.saturating_sub(1);
        slot.phase = Phase::Backoff { since, until: since };
    }
}

/// Its broker is back: it starts again at `until` and has never failed.
fn forgive(slot: &mut Slot, until: Time) {
    slot.failures = 0;
    if let Phase::Backoff { since, .. } = slot.phase {
        slot.phase = Phase::Backoff { since, until };
    }
}

/// A rise of the visible consumers is the oldest starting ones having begun to consume. Where each consumes several queues, the
/// first one shows it.
fn observe_queue(program: &mut Program, place: usize, observation: Observation) {
    let Some(scaler) = &mut program.scaler else { return };
    scaler.engine.observe_queue(place, observation);
    let Observation::Sample { at, consumers, .. } = observation else { return };
    if place > 0 {
        return;
    }
    let before = scaler.consumers.replace(consumers);
    // Where the file says what tells, nothing else does.
    if program.spec.ready.is_some() {
        return;
    }
    let Some(mut risen) = before.map(|before| consumers.saturating_sub(before)) else { return };
    let mut starting: Vec<(Time, u32)> = program
        .slots
        .iter()
        .filter_map(|(number, slot)| match &slot.phase {
            Phase::Starting(life, _) => Some((life.ordered_at, *number)),
            Phase::Empty
            | Phase::Preparing(..)
            | Phase::Spawning(_)
            | Phase::Running(..)
            | Phase::Stopping(..)
            | Phase::LeaderGone(..)
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Failed { .. } => None,
        })
        .collect();
    starting.sort_unstable();
    for (ordered_at, number) in starting {
        if risen == 0 {
            break;
        }
        risen -= 1;
        scaler.engine.observe_started(at.since(ordered_at));
        if let Some(slot) = program.slots.get_mut(&number)
            && let Phase::Starting(life, main) = slot.phase.clone()
        {
            slot.phase = Phase::Running(life, main);
        }
    }
}
