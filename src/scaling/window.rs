//! The most that was needed within the window before a step down.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Time;

/// A rolling maximum. It keeps only what can still become the maximum, so recording a value twice changes nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// Moments with falling needs, oldest first.
    entries: VecDeque<(Time, u32)>,
}

impl Window {
    /// Records what is needed now and forgets what is older than `length`.
    pub(super) fn record(&mut self, now: Time, need: u32, length: Duration) {
        while self.entries.back().is_some_and(|&(_, older)| older <= need) {
            self.entries.pop_back();
        }
        self.entries.push_back((now, need));
        while self.entries.front().is_some_and(|&(at, _)| now.since(at) >= length) && self.entries.len() > 1 {
            self.entries.pop_front();
        }
    }

    /// The most that was recorded within the window.
    pub(super) fn peak(&self) -> u32 {
        self.entries.front().map_or(0, |&(_, need)| need)
    }

    /// The moment at which everything above `level` has left the window, absent where nothing is above it.
    pub(super) fn falls_to(&self, level: u32, length: Duration) -> Option<Time> {
        self.entries.iter().rev().find(|&&(_, need)| need > level).map(|&(at, _)| at + length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    #[test]
    fn a_peak_is_forgotten_when_the_window_has_passed() {
        let mut window = Window::default();
        window.record(Time::from_millis(0), 7, LENGTH);
        for second in 1..10 {
            window.record(Time::from_millis(second * 1_000), 2, LENGTH);
            assert_eq!(window.peak(), 7);
            assert_eq!(window.falls_to(2, LENGTH), Some(Time::from_millis(10_000)));
        }
        window.record(Time::from_millis(10_000), 2, LENGTH);
        assert_eq!(window.peak(), 2);
        assert_eq!(window.falls_to(2, LENGTH), None);
    }

    #[test]
    fn the_newest_need_counts_however_old_the_window_is() {
        let mut window = Window::default();
        window.record(Time::from_millis(0), 7, LENGTH);
        window.record(Time::from_millis(3_600_000), 1, LENGTH);
        assert_eq!(window.peak(), 1);
    }
}
