//! Several servers on the same queues: each comes to the number that is right for all of them, and runs its part of it.

use serde::{Deserialize, Serialize};

use crate::scaling::decision::Decision;
use crate::scaling::input::Fleet;

/// Which part of the processes of all servers this one runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// From 1.
    pub part: u32,
    /// How many servers there are, one at least.
    pub of: u32,
    /// The fewest processes of all.
    pub min: u32,
    /// The most processes of all.
    pub max: u32,
}

impl Share {
    /// This server's part of `total`: those of all add up to it.
    pub fn part_of(&self, total: u32) -> u32 {
        total / self.of + u32::from(self.part <= total % self.of)
    }

    /// The least number of all with which this one's part is `count`.
    pub fn total_of(&self, count: u32) -> u32 {
        count.checked_sub(1).map_or(0, |before| before.saturating_mul(self.of).saturating_add(self.part))
    }

    /// The processes of all servers, as far as they can be known: consumers that the queue shows are all of them, and what it
    /// does not show is taken to be everywhere as it is here.
    pub fn fleet_of_all(&self, own: Fleet, visible: Option<u64>) -> Fleet {
        let everywhere = |count: u32| count.saturating_mul(self.of);
        let running = match visible.map(|visible| u32::try_from(visible).unwrap_or(u32::MAX)) {
            Some(visible) if visible > 0 => visible.min(self.max).max(own.running),
            Some(_) | None => everywhere(own.running),
        };
        let starting =
            own.starting.iter().flat_map(|at| std::iter::repeat_n(*at, self.of as usize)).collect();
        Fleet { running, starting, draining: everywhere(own.draining), ..own }
    }

    /// What a decision about all means here.
    pub fn decision(&self, of_all: Decision) -> Decision {
        let (part, total) = (self.part_of(of_all.target), of_all.target);
        let reason = format!(
            "{}; {part} of these {total} run here (part {} of {})",
            of_all.reason, self.part, self.of
        );
        let (before, wanted) = (self.part_of(of_all.before), self.part_of(of_all.wanted));
        Decision { target: part, before, wanted, reason, ..of_all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(part: u32, of: u32) -> Share {
        Share { part, of, min: 0, max: 100 }
    }

    #[test]
    fn the_parts_of_all_servers_add_up_to_the_number_exactly_and_differ_by_one_at_the_most() {
        for of in 1..8 {
            for total in 0..60 {
                let parts: Vec<u32> = (1..=of).map(|part| share(part, of).part_of(total)).collect();
                assert_eq!(parts.iter().sum::<u32>(), total, "{parts:?}");
                assert!(
                    parts.windows(2).all(|pair| pair[0] >= pair[1] && pair[0] - pair[1] <= 1),
                    "{parts:?}"
                );
            }
        }
    }

    #[test]
    fn a_part_leads_back_to_the_least_number_that_it_is_of() {
        for part in 1..=3 {
            let share = share(part, 3);
            for count in 0..20 {
                let total = share.total_of(count);
                assert_eq!(share.part_of(total), count);
                assert!(total == 0 || share.part_of(total - 1) < count);
            }
        }
    }

    #[test]
    fn what_the_queue_shows_are_the_processes_of_all_servers() {
        let own = Fleet { running: 2, draining: 1, ..Fleet::default() };
        let all = share(1, 3).fleet_of_all(own.clone(), Some(7));
        assert_eq!((all.running, all.draining), (7, 3));
        assert_eq!(
            share(1, 3).fleet_of_all(own.clone(), Some(0)).running,
            6,
            "workers that poll are not shown"
        );
        assert_eq!(share(1, 3).fleet_of_all(own, None).running, 6);
    }
}
