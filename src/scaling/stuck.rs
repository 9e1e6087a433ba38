//! Whether a queue moves at all, before anything is known of its work.
//!
//! A queue that only grows by a message now and then looks like quick work that just keeps up, until the messages that
//! came first have waited for too long: with work of a minute, one consumer, and nothing learned, that is when it is too
//! late. So where the depth has not fallen once for the time that is planned for a wait, while the number of consumers
//! was the same, there are to be twice as many, and again after a quarter of it each time, until it falls.

use std::time::Duration;

use crate::core::time::Time;

/// After the first time, how much sooner the next one comes.
const SOONER: u32 = 4;

/// Since when the depth has not fallen.
#[derive(Clone, Debug, Default)]
pub(super) struct Stuck {
    still: Option<Still>,
}

#[derive(Clone, Copy, Debug)]
struct Still {
    since: Time,
    ready: f64,
    working: f64,
    /// Whether consumers were added since it last moved.
    grown: bool,
}

impl Stuck {
    /// Takes a reading: messages that surely wait, and consumers at work. What new consumers took at once is no movement.
    pub(super) fn note(&mut self, at: Time, ready: f64, working: f64) {
        if ready <= 0.0 {
            self.still = None;
            return;
        }
        let afresh = Still { since: at, ready, working, grown: false };
        self.still = Some(match self.still {
            None => afresh,
            Some(still) => {
                let new = working - still.working;
                if new > 0.0 {
                    let grown = ready >= still.ready - new;
                    Still { grown, ..afresh }
                } else if ready < still.ready || new < 0.0 {
                    afresh
                } else {
                    Still { ready, ..still }
                }
            }
        });
    }

    /// No reading, or none that follows the last one.
    pub(super) fn interrupt(&mut self) {
        self.still = None;
    }

    /// Whether it has not moved for `patience`, or a quarter of that after a rise that did not help.
    pub(super) fn is_overdue(&self, at: Time, patience: Duration) -> bool {
        self.still.is_some_and(|still| {
            let patience = if still.grown { patience / SOONER } else { patience };
            at.since(still.since) >= patience
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(8);

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1_000)
    }

    #[test]
    fn a_depth_that_never_falls_is_overdue_after_the_planned_wait_and_sooner_once_a_rise_did_not_help() {
        let mut stuck = Stuck::default();
        for second in 0..=8 {
            stuck.note(at(second), 1.0 + second as f64 / 4.0, 1.0);
            assert!(second == 8 || !stuck.is_overdue(at(second), PATIENCE));
        }
        assert!(stuck.is_overdue(at(8), PATIENCE));
        // The second one took a message without having done one.
        stuck.note(at(9), 2.0, 2.0);
        assert!(!stuck.is_overdue(at(10), PATIENCE));
        stuck.note(at(11), 2.0, 2.0);
        assert!(stuck.is_overdue(at(11), PATIENCE));
    }

    #[test]
    fn a_depth_that_falls_or_is_not_read_is_not_overdue() {
        let mut stuck = Stuck::default();
        for (second, ready) in [(0, 5.0), (4, 6.0), (7, 5.0), (10, 9.0)] {
            stuck.note(at(second), ready, 1.0);
        }
        assert!(!stuck.is_overdue(at(14), PATIENCE) && stuck.is_overdue(at(15), PATIENCE));
        stuck.interrupt();
        assert!(!stuck.is_overdue(at(100), PATIENCE));
        stuck.note(at(20), 5.0, 1.0);
        stuck.note(at(21), 0.0, 1.0);
        assert!(!stuck.is_overdue(at(100), PATIENCE));
    }
}
