//! How long to wait between two attempts to connect.

use std::time::Duration;

use crate::core::random::Random;

const FIRST: Duration = Duration::from_millis(250);
/// Below two seconds by more than a handshake, so that reading goes on within two seconds of the broker's return.
const LONGEST: Duration = Duration::from_millis(1_700);

/// Doubling waits, each shortened by up to half by chance, so that many machines do not come back at one moment.
#[derive(Debug)]
pub(super) struct Backoff {
    random: Random,
    attempts: u32,
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// The waits of the probe. Different seeds wait differently.
    pub(super) fn new(seed: u64) -> Self {
        Self::between(FIRST, LONGEST, seed)
    }

    /// Waits that grow from `first` to `longest`.
    pub(super) fn between(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { random: Random::new(seed), attempts: 0, first, longest }
    }

    /// The wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.attempts.min(8)).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        full.mul_f64(0.5 + self.random.unit() / 2.0)
    }

    /// Begins again with short waits.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_a_quarter_of_a_second_and_stay_below_two() {
        let mut backoff = Backoff::new(1);
        let waits: Vec<_> = (0..50).map(|_| backoff.next()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits[10..].iter().all(|wait| *wait >= LONGEST / 2 && *wait <= LONGEST));
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn two_seeds_do_not_wait_alike() {
        let (mut one, mut two) = (Backoff::new(1), Backoff::new(2));
        assert!((0..10).any(|_| one.next() != two.next()));
    }
}
