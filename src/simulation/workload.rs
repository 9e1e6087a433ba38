//! What arrives at the queue: moments and the work of each message, both in seconds.

use crate::core::random::Random;
use crate::simulation::queue::Fault;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message {
    /// When it arrives, seconds from the begin.
    pub arrival: f64,
    /// How long a consumer works on it, seconds.
    pub service: f64,
}

/// Everything that arrives.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Ordered by arrival.
    pub messages: Vec<Message>,
    /// Length in seconds; a run ends when it is over and everything is consumed.
    pub length: f64,
    /// So many messages can be worked on at one time without slowing each other down; absent where any number can.
    pub downstream: Option<u32>,
    /// What goes wrong with readings, and when.
    pub faults: Vec<Fault>,
    /// The queues that it is made of, where there are several; `messages` are those of all of them then.
    pub queues: Vec<Lane>,
    /// The most consumers of all queues together, those that are finishing included; absent where there is no limit.
    pub budget: Option<u32>,
}

/// One of several queues.
#[derive(Clone, Debug)]
pub struct Lane {
    /// What arrives there.
    pub workload: Workload,
    /// Higher ones come first.
    pub priority: i32,
}

/// How long messages take.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Mean, seconds.
    pub mean: f64,
    /// Standard deviation over mean; 0 for equal ones.
    pub variation: f64,
}

impl Workload {
    /// Random arrivals (Poisson) at a rate that follows time, at most `highest` a second, by thinning.
    pub fn poisson(seed: u64, length: f64, highest: f64, work: Work, rate: impl Fn(f64) -> f64) -> Self {
        let mut random = Random::new(seed);
        let mut messages = Vec::new();
        let mut now = random.exponential(1.0 / highest);
        while now < length {
            let kept = random.unit() * highest < rate(now);
            let service = random.log_normal(work.mean, work.variation);
            if kept {
                messages.push(Message { arrival: now, service });
            }
            now += random.exponential(1.0 / highest);
        }
        Self { messages, length, ..Self::default() }
    }

    /// `count` messages at once at `at`, in a run of `length` seconds.
    pub fn at_once(seed: u64, at: f64, count: usize, length: f64, work: Work) -> Self {
        let mut random = Random::new(seed);
        let messages = (0..count)
            .map(|_| Message { arrival: at, service: random.log_normal(work.mean, work.variation) })
            .collect();
        Self { messages, length, ..Self::default() }
    }

    /// Both, one beside the other.
    pub fn and(mut self, other: Self) -> Self {
        self.messages.extend(other.messages);
        self.messages.sort_by(|left, right| left.arrival.total_cmp(&right.arrival));
        self.length = self.length.max(other.length);
        self
    }

    /// Several queues whose consumers share a budget.
    pub fn on_one_budget(queues: Vec<Lane>, budget: u32) -> Self {
        let all = queues.iter().fold(Self::default(), |all, lane| all.and(lane.workload.clone()));
        Self { queues, budget: Some(budget), ..all }
    }

    /// How many times longer work takes while so many consumers work.
    pub fn slowdown(&self, working: u32) -> f64 {
        self.downstream.map_or(1.0, |most| (f64::from(working) / f64::from(most)).max(1.0))
    }

    /// Mean work of a message in seconds; 0 where there are no messages.
    pub fn mean_service(&self) -> f64 {
        if self.messages.is_empty() { 0.0 } else { self.work() / self.messages.len() as f64 }
    }

    /// Work in all messages together, in consumer-seconds: less cannot be spent.
    pub fn work(&self) -> f64 {
        self.messages.iter().map(|message| message.service).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_followed() {
        let work = Work { mean: 0.1, variation: 1.0 };
        let workload = Workload::poisson(3, 1_000.0, 40.0, work, |now| if now < 500.0 { 4.0 } else { 40.0 });
        let early = workload.messages.iter().filter(|message| message.arrival < 500.0).count();
        let late = workload.messages.len() - early;
        assert!((1_800..2_200).contains(&early), "{early}");
        assert!((19_400..20_600).contains(&late), "{late}");
        assert!((workload.work() / workload.messages.len() as f64 - 0.1).abs() < 0.005);
    }
}
