//! Choices from a seed.

use std::time::Duration;

use crate::core::random::Random;

/// Chooses.
#[derive(Clone, Debug)]
pub(super) struct Dice(Random);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// A number from 0 to `end` - 1.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        (self.0.next_u64() % u64::from(end.max(1))) as u32
    }

    /// Whether something of this probability happens.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.unit() < probability
    }

    /// One of them.
    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize].clone()
    }

    /// One of them, unless there is none.
    pub(super) fn pick_any<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| self.pick(from))
    }

    /// Milliseconds from `least` to `most`.
    pub(super) fn millis(&mut self, least: u32, most: u32) -> Duration {
        Duration::from_millis(u64::from(least + self.below(most - least + 1)))
    }

    pub(super) fn seconds(&mut self, least: u32, most: u32) -> Duration {
        self.millis(least * 1_000, most * 1_000)
    }
}
