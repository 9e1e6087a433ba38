//! Laravel Horizon (AutoScaler.php, ProcessPool.php) with one queue: while anything is ready, towards the maximum, else
//! towards the minimum, by `balanceMaxShift` every `balanceCooldown`. The oldest process goes first.

use std::time::Duration;

use crate::simulation::policy::{Policy, Reading, Removal, Rhythm, Tick};

/// `balanceCooldown`.
const COOLDOWN: Duration = Duration::from_secs(3);

/// One supervisor with one pool.
#[derive(Debug)]
pub struct Horizon {
    min: u32,
    max: u32,
    shift: u32,
}

impl Horizon {
    /// With `balanceMaxShift`. The least that Horizon can do is one process.
    pub fn new(min: u32, max: u32, shift: u32) -> Self {
        let min = min.max(1);
        Self { min, max: max.max(min), shift }
    }

    /// What the pool is scaled to; `live` without those that are terminating.
    fn scale(&self, ready: u64, live: u32, terminating: u32) -> u32 {
        let total = live + terminating;
        let desired = if ready > 0 { self.max } else { self.min };
        if desired > total {
            let up = self.max.saturating_sub(total).min(self.shift);
            (total + up).min(self.max).min(desired)
        } else if desired < total {
            let down = total.saturating_sub(self.min).min(self.shift);
            (total - down).max(self.min).max(desired)
        } else {
            live
        }
    }
}

impl Policy for Horizon {
    fn rhythm(&self) -> Rhythm {
        Rhythm { first: Duration::ZERO, every: COOLDOWN }
    }

    fn removal(&self) -> Removal {
        Removal::Oldest
    }

    fn decide(&mut self, tick: &Tick<'_>) -> u32 {
        let (live, terminating) = (tick.consumers.live(), tick.consumers.draining());
        match tick.reading.and_then(Reading::ready) {
            Some(ready) => self.scale(ready, live, terminating),
            None => live.max(self.min),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_to_the_maximum_and_back() {
        let horizon = Horizon::new(1, 4, 1);
        assert_eq!(horizon.scale(9, 1, 0), 2);
        assert_eq!(horizon.scale(1, 3, 0), 4);
        assert_eq!(horizon.scale(1, 4, 0), 4);
        assert_eq!(horizon.scale(0, 4, 0), 3);
        assert_eq!(horizon.scale(0, 1, 0), 1);
    }

    #[test]
    fn a_larger_shift_stops_at_the_bounds() {
        let horizon = Horizon::new(2, 25, 10);
        assert_eq!((horizon.scale(9, 2, 0), horizon.scale(9, 22, 0)), (12, 25));
        assert_eq!((horizon.scale(0, 25, 0), horizon.scale(0, 7, 0)), (15, 2));
    }

    #[test]
    fn those_that_are_terminating_count() {
        let horizon = Horizon::new(1, 10, 1);
        assert_eq!(horizon.scale(5, 4, 6), 4, "at the maximum with them");
        assert_eq!(
            horizon.scale(0, 2, 3),
            4,
            "the shift is taken from the sum, so a pool can grow while idle"
        );
        assert_eq!(horizon.scale(5, 4, 2), 7);
    }

    #[test]
    fn none_is_never_allowed() {
        assert_eq!(Horizon::new(0, 4, 1).scale(0, 0, 0), 1);
    }
}
