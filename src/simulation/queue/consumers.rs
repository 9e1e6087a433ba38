//! The consumers: what each one does, what it has in its hand, and which of them goes first.

use std::collections::VecDeque;

use crate::core::random::Random;
use crate::core::time::Time;
use crate::simulation::policy::Removal;

/// A consumer: its place, which is used again, and its number, which is not. A higher number is younger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) place: u32,
    pub(super) number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The place is free.
    Gone,
    Starting,
    Idle,
    Busy,
}

#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) number: u32,
    pub(super) state: State,
    pub(super) ordered: Time,
    pub(super) draining: bool,
    /// Whether the broker has it in the row of those with room.
    pub(super) in_row: bool,
    /// Messages that it has fetched; it works on the first.
    pub(super) hand: VecDeque<u32>,
}

/// All consumers.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    places: Vec<Consumer>,
    free: Vec<u32>,
    ordered: u32,
    starting: u32,
    idle: u32,
    busy: u32,
    draining: u32,
}

impl Consumers {
    /// Running and starting, but not ending.
    pub fn live(&self) -> u32 {
        self.starting + self.running()
    }

    /// Past their start-up and not ending.
    pub fn running(&self) -> u32 {
        self.idle + self.busy
    }

    /// On their way up.
    pub fn starting(&self) -> u32 {
        self.starting
    }

    /// Running, without a message.
    pub fn idle(&self) -> u32 {
        self.idle
    }

    /// Asked to end and still finishing their last message.
    pub fn draining(&self) -> u32 {
        self.draining
    }

    /// Everyone, those that are ending included.
    pub fn all(&self) -> u32 {
        self.live() + self.draining
    }

    /// Consumers that work on a message, those that are ending included.
    pub fn working(&self) -> u32 {
        self.busy + self.draining
    }

    /// How many were ever started.
    pub fn ever_started(&self) -> u32 {
        self.ordered
    }

    /// When each one that is still starting was ordered, oldest first.
    pub fn starting_since(&self) -> Vec<Time> {
        if self.starting == 0 {
            return Vec::new();
        }
        let starting = self.places.iter().filter(|one| one.state == State::Starting);
        let mut since: Vec<Time> = starting.map(|one| one.ordered).collect();
        since.sort_unstable();
        since
    }

    /// When the oldest of those that run was ordered.
    pub fn oldest_running(&self) -> Option<Time> {
        let running = self.places.iter().filter(|one| is_up(one) && !one.draining);
        running.map(|one| one.ordered).min()
    }

    pub(super) fn start(&mut self, now: Time) -> Id {
        let number = self.ordered;
        self.ordered += 1;
        self.starting += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Consumer {
                number,
                state: State::Gone,
                ordered: now,
                draining: false,
                in_row: false,
                hand: VecDeque::new(),
            });
            self.places.len() as u32 - 1
        });
        let consumer = &mut self.places[place as usize];
        consumer.number = number;
        consumer.state = State::Starting;
        consumer.ordered = now;
        consumer.draining = false;
        consumer.in_row = false;
        Id { place, number }
    }

    /// The consumer, unless it is gone.
    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Consumer> {
        let consumer = &mut self.places[id.place as usize];
        (consumer.number == id.number && consumer.state != State::Gone).then_some(consumer)
    }

    /// Changes what a consumer does, and the counts with it.
    pub(super) fn set(&mut self, id: Id, state: State) {
        let consumer = &mut self.places[id.place as usize];
        debug_assert_eq!(consumer.number, id.number, "a consumer that is there");
        let (before, draining) = (consumer.state, consumer.draining);
        consumer.state = state;
        if draining {
            self.draining -= u32::from(state == State::Gone);
        } else {
            *self.count(before) -= 1;
            if state != State::Gone {
                *self.count(state) += 1;
            }
        }
        if state == State::Gone {
            self.free.push(id.place);
        }
    }

    fn count(&mut self, state: State) -> &mut u32 {
        match state {
            State::Starting => &mut self.starting,
            State::Idle => &mut self.idle,
            State::Busy => &mut self.busy,
            State::Gone => unreachable!("nobody who is gone does anything"),
        }
    }

    /// A busy consumer is asked to end.
    pub(super) fn drain(&mut self, id: Id) {
        let consumer = &mut self.places[id.place as usize];
        debug_assert!(
            consumer.state == State::Busy && !consumer.draining,
            "only busy ones have what to finish"
        );
        consumer.draining = true;
        self.busy -= 1;
        self.draining += 1;
    }

    /// Who goes next, and what it does.
    pub(super) fn next_to_go(&self, removal: Removal, random: &mut Random) -> Option<(Id, State)> {
        let live =
            || (0_u32..).zip(&self.places).filter(|(_, one)| one.state != State::Gone && !one.draining);
        let youngest =
            |state: State| live().filter(|(_, one)| one.state == state).max_by_key(|(_, one)| one.number);
        let starting = || if self.starting > 0 { youngest(State::Starting) } else { None };
        let chosen = match removal {
            Removal::Oldest => live().min_by_key(|(_, one)| one.number),
            Removal::Youngest => starting().or_else(|| live().max_by_key(|(_, one)| one.number)),
            Removal::IdleNow | Removal::WhenIdle => starting().or_else(|| youngest(State::Idle)),
            Removal::Any => starting().or_else(|| {
                let among = (f64::from(self.running()) * random.unit()) as usize;
                live().nth(among)
            }),
        };
        chosen.map(|(place, one)| (Id { place, number: one.number }, one.state))
    }
}

fn is_up(consumer: &Consumer) -> bool {
    match consumer.state {
        State::Idle | State::Busy => true,
        State::Gone | State::Starting => false,
    }
}
