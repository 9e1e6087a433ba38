//! Brokers and queues that can be away, missing, refuse, or say what is not so.

use std::collections::BTreeMap;

use super::configuration::{BROKERS, QUEUES};
use super::dice::Dice;
use crate::core::observed::BrokerHealth;
use crate::core::time::Time;
use crate::scaling::input::Observation;

/// Everything that a probe could read.
#[derive(Debug)]
pub(super) struct Brokers {
    pub(super) health: BTreeMap<String, BrokerHealth>,
    queues: BTreeMap<(String, String), Queue>,
}

/// One queue.
#[derive(Clone, Debug)]
struct Queue {
    ready: f64,
    arrivals_per_second: f64,
    /// What one consumer takes in a second.
    consumed_per_second: f64,
    answer: Answer,
    /// Its workers poll and are never visible as consumers.
    polled: bool,
    read_at: Option<Time>,
}

/// What the broker answers about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Truth,
    NoQueue,
    Nothing,
    /// 0 ready, 0 consumers: a queue without a leader.
    Zero,
}

impl Brokers {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let health = BROKERS.iter().map(|name| ((*name).to_owned(), BrokerHealth::Up)).collect();
        let mut queues = BTreeMap::new();
        for broker in BROKERS {
            for queue in QUEUES {
                let state = Queue {
                    ready: 0.0,
                    arrivals_per_second: 0.0,
                    consumed_per_second: dice.pick(&[0.5, 2.0, 20.0]),
                    answer: Answer::Truth,
                    polled: dice.chance(0.3),
                    read_at: None,
                };
                queues.insert((broker.to_owned(), queue.to_owned()), state);
            }
        }
        Self { health, queues }
    }

    /// A broker comes or goes; says which and how it is then.
    pub(super) fn change_broker(&mut self, dice: &mut Dice) -> (String, BrokerHealth) {
        let broker = dice.pick(&BROKERS).to_owned();
        let (up, refused, away) = (BrokerHealth::Up, BrokerHealth::Refused, BrokerHealth::Unreachable);
        let health = dice.pick(&[up, up, refused, away]);
        self.health.insert(broker.clone(), health);
        (broker, health)
    }

    /// Load rises or falls, or the answers change; says what.
    pub(super) fn change_queue(&mut self, dice: &mut Dice) -> String {
        let key = (dice.pick(&BROKERS).to_owned(), dice.pick(&QUEUES).to_owned());
        let Some(queue) = self.queues.get_mut(&key) else { return String::new() };
        match dice.below(6) {
            0 => queue.ready += f64::from(dice.below(2_000)),
            1 => queue.answer = dice.pick(&[Answer::NoQueue, Answer::Nothing, Answer::Zero]),
            2 => queue.arrivals_per_second = 0.0,
            3 => queue.arrivals_per_second = f64::from(dice.below(60)),
            _ => queue.answer = Answer::Truth,
        }
        format!("queue {}/{} is now {queue:?}", key.0, key.1)
    }

    /// All is well and nothing waits.
    pub(super) fn calm(&mut self) {
        for health in self.health.values_mut() {
            *health = BrokerHealth::Up;
        }
        for queue in self.queues.values_mut() {
            *queue = Queue { ready: 0.0, arrivals_per_second: 0.0, answer: Answer::Truth, ..queue.clone() };
        }
    }

    /// What a probe sees while `consumers` of ours run.
    pub(super) fn read(&mut self, broker: &str, queue: &str, consumers: u32, at: Time) -> Observation {
        let is_reachable = self.health.get(broker) == Some(&BrokerHealth::Up);
        let Some(queue) =
            self.queues.get_mut(&(broker.to_owned(), queue.to_owned())).filter(|_| is_reachable)
        else {
            return Observation::Lost { at, why: "the broker is unreachable" };
        };
        let seconds = queue.read_at.map_or(0.0, |before| at.since(before).as_secs_f64());
        queue.read_at = Some(at);
        let change = queue.arrivals_per_second - f64::from(consumers) * queue.consumed_per_second;
        queue.ready = (queue.ready + seconds * change).clamp(0.0, 100_000.0);
        let (ready, visible) = (queue.ready as u64, if queue.polled { 0 } else { u64::from(consumers) });
        match queue.answer {
            Answer::Truth => Observation::Sample { at, ready, consumers: visible },
            Answer::NoQueue => Observation::NoQueue { at },
            Answer::Nothing => Observation::Lost { at, why: "the broker did not answer in time" },
            Answer::Zero => Observation::Sample { at, ready: 0, consumers: 0 },
        }
    }
}
