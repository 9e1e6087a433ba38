//! A keeper without an operating system. It is the truth about which processes exist: what the machine believes is held
//! against it. It takes the real orders and tells the real facts, late, and never twice of its own accord.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::Value;

use super::configuration::LOOKED_AT;
use super::dice::Dice;
use crate::core::command::Scope;
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::readiness::Voice;
use crate::core::time::Time;
use crate::keeper::protocol::{Fact, Inventory, InventoryProcess, InventoryState, Order, Recording, VERSION};

const KILL: i32 = 9;

/// A trouble ends after so many failures.
const FAILURES_MAX: u32 = 40;

/// Facts that are remembered to be told a second time.
const HISTORY: usize = 64;

/// The keeper and all its processes.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) children: BTreeMap<Incarnation, Child>,
    pub(super) last_incarnation: Incarnation,
    pub(super) pid: i32,
    pub(super) started_at: Time,
    pub(super) controllers: u32,
    /// How likely a start is to fail.
    pub(super) trouble: f64,
    failures: u32,
    /// Processes behave, and everything is quick.
    pub(super) is_quiet: bool,
    /// Requests to end that Leveret got as signals; they are told to every controller.
    pub(super) signals: Vec<i32>,
    /// On the way to the controller, oldest first.
    on_the_way: VecDeque<(Time, Fact)>,
    history: VecDeque<Fact>,
    happenings: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    /// What processes say, and those whose new words wait for the controller.
    voices: Dice,
    said: BTreeSet<Incarnation>,
}

/// One incarnation, from its order until it is released.
#[derive(Clone, Debug)]
pub(super) struct Child {
    /// Nothing for an auxiliary process.
    pub(super) process: Option<ProcessId>,
    pub(super) state: State,
    /// When the main process first got a signal that asks it to end.
    pub(super) asked_at: Option<Time>,
    /// Living processes beside the main one that outlive it.
    members: u32,
    /// What the controller was told last of `members`.
    told: Option<u32>,
    note: Value,
    manner: Manner,
    is_released: bool,
    /// An earlier keeper started it.
    pub(super) is_adopted: bool,
    /// Whether it has a socket to say something over.
    pub(super) has_socket: bool,
    /// What it has said so far.
    pub(super) voice: Voice,
    /// Whether it is of those that a look tells of.
    is_looked_at: bool,
    /// Whether it is the hook of a process.
    is_hook: bool,
    /// Whether a look from outside would find it well.
    pub(super) is_well: bool,
    /// What of that the controller has been told.
    pub(super) heard: Voice,
}

/// How far an incarnation got.
#[derive(Clone, Debug)]
pub(super) enum State {
    Ordered,
    Running { pid: i32, at: Time },
    CouldNotSpawn { at: Time },
    Exited { pid: i32, started_at: Time, status: ExitStatus, at: Time, is_gone: bool },
}

/// What a process does when it is asked to end.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// Nothing for one that ignores the stop signal.
    obeys_after: Option<Duration>,
    status: ExitStatus,
    /// Processes that outlive the main one.
    leaves: u32,
    /// Whether they are seen at once.
    seen_at_once: bool,
    /// How long they go on; nothing for ever.
    members_go_on: Option<Duration>,
    /// Kills that it takes: a process in the kernel does not die at once.
    kills_needed: u32,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Answer(Incarnation),
    Ends(Incarnation, ExitStatus),
    MembersEnd(Incarnation),
    Count(Incarnation),
    SaysReady(Incarnation),
}

impl Child {
    /// Whether the main process lives, or is about to.
    pub(super) fn lives(&self) -> bool {
        matches!(self.state, State::Ordered | State::Running { .. })
    }

    pub(super) fn is_hook(&self) -> bool {
        self.is_hook
    }

    pub(super) fn is_gone(&self) -> bool {
        match self.state {
            State::Ordered | State::Running { .. } => false,
            State::CouldNotSpawn { .. } => true,
            State::Exited { is_gone, .. } => is_gone,
        }
    }

    /// The fingerprint of what it was made from, as its note says.
    pub(super) fn made_from(&self) -> Option<u64> {
        self.note.get("fingerprint")?.as_u64()
    }

    pub(super) fn runs_since(&self) -> Option<Time> {
        match self.state {
            State::Running { at, .. } => Some(at),
            State::Ordered | State::CouldNotSpawn { .. } | State::Exited { .. } => None,
        }
    }

    /// When its main process ended.
    pub(super) fn ended_at(&self) -> Option<Time> {
        match self.state {
            State::Exited { at, .. } => Some(at),
            State::Ordered | State::CouldNotSpawn { .. } | State::Running { .. } => None,
        }
    }

    /// When its main process began, also if that has ended.
    pub(super) fn began_at(&self) -> Option<Time> {
        match self.state {
            State::Running { at, .. } | State::Exited { started_at: at, .. } => Some(at),
            State::Ordered | State::CouldNotSpawn { .. } => None,
        }
    }
}

impl Keeper {
    pub(super) fn new(pid: i32, started_at: Time) -> Self {
        Self {
            children: BTreeMap::new(),
            last_incarnation: Incarnation(0),
            pid,
            started_at,
            controllers: 0,
            trouble: 0.0,
            failures: 0,
            is_quiet: false,
            signals: Vec::new(),
            on_the_way: VecDeque::new(),
            history: VecDeque::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            voices: Dice::new(started_at.as_micros()),
            said: BTreeSet::new(),
        }
    }

    /// The memory of every main process: it grows by 1 MiB a second.
    pub(super) fn memory(&self, now: Time) -> Vec<(Incarnation, u64)> {
        let of = |(incarnation, child): (&Incarnation, &Child)| {
            let seconds = now.since(child.runs_since()?).as_secs();
            Some((*incarnation, seconds << 20))
        };
        self.children.iter().filter_map(of).collect()
    }

    /// The keeper of the next start of Leveret, in the same troubled world.
    pub(super) fn successor(&self, now: Time) -> Self {
        Self { trouble: self.trouble, is_quiet: self.is_quiet, ..Self::new(self.pid + 1, now) }
    }

    /// The keeper of the next start, which takes over what this one, killed, has left: what had to be told is not known.
    pub(super) fn heir(&self, now: Time, dice: &mut Dice) -> Self {
        let mut heir = self.successor(now);
        for (incarnation, child) in &self.children {
            let state = match child.state {
                // Its shim looked whether its keeper lives, or was just about to.
                State::Ordered if dice.chance(0.5) => continue,
                State::Ordered => State::Running { pid: pid_of(*incarnation), at: now },
                State::CouldNotSpawn { .. } => continue,
                State::Running { pid, at } => State::Running { pid, at },
                State::Exited { pid, started_at, at, .. } => {
                    heir.schedule(now + dice.millis(10, 50), Happening::Count(*incarnation));
                    let status = ExitStatus::Unknown;
                    State::Exited { pid, started_at, status, at, is_gone: false }
                }
            };
            let known = Child { state, told: None, is_released: false, ..child.clone() };
            let (voice, heard) = (Voice::default(), Voice::default());
            let heirloom = Child { is_adopted: true, voice, heard, ..known };
            heir.children.insert(*incarnation, heirloom);
            heir.last_incarnation = *incarnation;
        }
        for ((at, _), happening) in &self.happenings {
            match happening {
                Happening::Ends(..) | Happening::MembersEnd(_) | Happening::SaysReady(_) => {
                    heir.schedule(*at, *happening);
                }
                Happening::Answer(_) | Happening::Count(_) => {}
            }
        }
        heir
    }

    /// A controller is there: what was on the way to the one before is lost, and the inventory says it all.
    pub(super) fn connect(&mut self) -> Inventory {
        self.on_the_way.clear();
        // What was said is remembered beside the controller.
        self.said = self.children.keys().copied().collect();
        let controllers_before = self.controllers;
        self.controllers += 1;
        Inventory {
            version: VERSION,
            keeper_pid: self.pid,
            started_at: self.started_at,
            controllers_before,
            last_incarnation: self.last_incarnation,
            processes: self
                .children
                .iter()
                .map(|(incarnation, child)| described(*incarnation, child))
                .collect(),
            kept: Vec::new(),
            signals: self.signals.clone(),
            recording: Recording::Yes,
            predecessors: Vec::new(),
            can_upgrade: true,
            notifies: false,
            upgrade: None,
        }
    }

    /// The next moment at which something happens or arrives.
    pub(super) fn next_at(&self) -> Option<Time> {
        let happens = self.happenings.keys().next().map(|(at, _)| *at);
        let arrives = self.on_the_way.front().map(|(at, _)| *at);
        [happens, arrives].into_iter().flatten().min()
    }

    /// Whether a fact about one of these lives is on its way.
    pub(super) fn has_news_of(&self, process: &ProcessId) -> bool {
        self.on_the_way.iter().any(|(_, fact)| {
            let child = incarnation_of(fact).and_then(|incarnation| self.children.get(&incarnation));
            child.is_some_and(|child| child.process.as_ref() == Some(process))
        })
    }

    /// Whether a fact about a life is on its way.
    pub(super) fn has_news_of_life(&self, incarnation: Incarnation) -> bool {
        self.on_the_way.iter().any(|(_, fact)| incarnation_of(fact) == Some(incarnation))
    }

    /// Whether there is anything that a controller has not been told: a fact on its way, or a word that nobody heard.
    pub(super) fn has_news(&self) -> bool {
        !self.on_the_way.is_empty() || !self.said.is_empty()
    }

    /// Lets everything happen that is due, and returns the facts that have arrived.
    pub(super) fn advance(&mut self, now: Time, dice: &mut Dice) -> Vec<Fact> {
        while let Some(((at, _), happening)) = self.happenings.first_key_value() {
            if *at > now {
                break;
            }
            let (at, happening) = (*at, *happening);
            self.happenings.pop_first();
            self.happen(happening, at, dice);
        }
        let mut arrived = Vec::new();
        while self.on_the_way.front().is_some_and(|(at, _)| *at <= now) {
            arrived.extend(self.on_the_way.pop_front().map(|(_, fact)| fact));
        }
        for fact in &arrived {
            self.history.push_back(fact.clone());
        }
        while self.history.len() > HISTORY {
            self.history.pop_front();
        }
        arrived
    }

    /// A fact that was told before.
    pub(super) fn old_news(&mut self, dice: &mut Dice) -> Option<Fact> {
        let history: Vec<_> = self.history.iter().cloned().collect();
        dice.pick_any(&history)
    }

    /// Carries out an order.
    pub(super) fn obey(&mut self, order: &Order, process: Option<&ProcessId>, now: Time, dice: &mut Dice) {
        match order {
            Order::Spawn(order) => {
                self.last_incarnation = order.incarnation;
                let child = Child {
                    process: process.cloned(),
                    state: State::Ordered,
                    asked_at: None,
                    members: 0,
                    told: None,
                    note: order.note.clone(),
                    manner: manner(dice, self.is_quiet),
                    is_released: false,
                    is_adopted: false,
                    has_socket: order.notify.is_some(),
                    voice: Voice::default(),
                    heard: Voice::default(),
                    is_well: false,
                    is_hook: order.environment.contains_key("LEVERET_HOOK"),
                    is_looked_at: order.argv.last().is_some_and(|argument| argument == LOOKED_AT),
                };
                self.children.insert(order.incarnation, child);
                let slow = dice.chance(0.05) && !self.is_quiet;
                let delay = if slow { dice.seconds(1, 3) } else { dice.millis(1, 30) };
                self.schedule(now + delay, Happening::Answer(order.incarnation));
            }
            Order::Signal { incarnation, signal, scope } => {
                self.signal(*incarnation, *signal, *scope, now, dice);
            }
            Order::Note { incarnation, note } => {
                if let Some(child) = self.children.get_mut(incarnation) {
                    child.note = note.clone();
                }
            }
            Order::Release { incarnation } => self.release(*incarnation),
            Order::Keep { .. }
            | Order::Drop { .. }
            | Order::Adopt { .. }
            | Order::Notify { .. }
            | Order::Up
            | Order::Upgrade
            | Order::Exit { .. } => {}
        }
    }

    /// The main process of a life ends by itself.
    pub(super) fn end(&mut self, incarnation: Incarnation, status: ExitStatus, at: Time) {
        self.schedule(at, Happening::Ends(incarnation, status));
    }

    /// Whoever goes on although it was asked to end, ends now.
    pub(super) fn end_stubborn(&mut self, now: Time, dice: &mut Dice) {
        let asked: Vec<(Incarnation, bool)> = self
            .children
            .iter()
            .filter(|(_, child)| !child.is_gone() && (child.asked_at.is_some() || !child.lives()))
            .map(|(incarnation, child)| (*incarnation, child.lives()))
            .collect();
        for (incarnation, lives) in asked {
            let at = now + dice.millis(1, 3_000);
            let happening = match lives {
                true => Happening::Ends(incarnation, ExitStatus::Code(0)),
                false => Happening::MembersEnd(incarnation),
            };
            self.schedule(at, happening);
        }
        for child in self.children.values_mut() {
            let manner = Manner { leaves: 0, ..child.manner };
            child.manner = Manner { obeys_after: Some(Duration::from_millis(50)), ..manner };
        }
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.happenings.insert((at, self.sequence), happening);
    }

    fn tell(&mut self, fact: Fact, now: Time, dice: &mut Dice) {
        let late = dice.chance(0.03) && !self.is_quiet;
        let delay = if late { dice.millis(100, 2_000) } else { dice.millis(0, 5) };
        let behind = self.on_the_way.back().map_or(now, |(at, _)| *at);
        self.on_the_way.push_back(((now + delay).max(behind), fact));
    }

    fn signal(&mut self, incarnation: Incarnation, signal: i32, scope: Scope, now: Time, dice: &mut Dice) {
        let Some(child) = self.children.get_mut(&incarnation).filter(|child| !child.is_gone()) else {
            return;
        };
        let lives = child.lives();
        if signal == KILL && scope == Scope::Tree {
            child.manner.kills_needed = child.manner.kills_needed.saturating_sub(1);
            if child.manner.kills_needed > 0 {
                return;
            }
            child.manner.leaves = 0;
            let happening = match lives {
                true => Happening::Ends(incarnation, ExitStatus::Signal(KILL)),
                false => Happening::MembersEnd(incarnation),
            };
            return self.schedule(now + dice.millis(1, 30), happening);
        }
        child.asked_at.get_or_insert(now);
        let manner = child.manner;
        match (lives, manner.obeys_after, manner.members_go_on) {
            (true, Some(after), _) => {
                let status = match manner.status {
                    ExitStatus::Signal(_) => ExitStatus::Signal(signal),
                    status @ (ExitStatus::Code(_) | ExitStatus::Unknown) => status,
                };
                self.schedule(now + after, Happening::Ends(incarnation, status));
            }
            (false, _, Some(after)) => self.schedule(now + after, Happening::MembersEnd(incarnation)),
            (true, None, _) | (false, _, None) => {}
        }
    }

    fn release(&mut self, incarnation: Incarnation) {
        let Some(child) = self.children.get_mut(&incarnation) else { return };
        if child.lives() {
            return;
        }
        child.is_released = true;
        if child.is_gone() {
            self.children.remove(&incarnation);
        }
    }

    fn happen(&mut self, happening: Happening, at: Time, dice: &mut Dice) {
        match happening {
            Happening::Answer(incarnation) => self.answer(incarnation, at, dice),
            Happening::Ends(incarnation, status) => self.ends(incarnation, status, at, dice),
            Happening::MembersEnd(incarnation) => {
                if let Some(child) = self.children.get_mut(&incarnation) {
                    child.members = 0;
                }
                self.schedule(at + dice.millis(0, 200), Happening::Count(incarnation));
            }
            Happening::Count(incarnation) => self.count(incarnation, at, dice),
            Happening::SaysReady(incarnation) => {
                if let Some(child) = self.children.get_mut(&incarnation) {
                    child.is_well = true;
                }
                self.say(incarnation, |voice| voice.ready = true);
            }
        }
    }

    fn answer(&mut self, incarnation: Incarnation, at: Time, dice: &mut Dice) {
        let fails = dice.chance(self.trouble) && !self.is_quiet;
        if fails {
            // Without a backoff a lasting trouble would fill hours with starts and nothing else.
            self.failures += 1;
            if self.failures >= FAILURES_MAX {
                (self.trouble, self.failures) = (0.0, 0);
            }
        }
        let Some(child) = self.children.get_mut(&incarnation) else { return };
        if fails {
            child.state = State::CouldNotSpawn { at };
            let (step, cause) = failure();
            return self.tell(Fact::CouldNotSpawn { incarnation, step, cause, at }, at, dice);
        }
        let pid = pid_of(incarnation);
        child.state = State::Running { pid, at };
        let is_hook = child.is_hook;
        let becomes_ready = child.has_socket || child.is_looked_at;
        self.tell(Fact::Spawned { incarnation, pid, at }, at, dice);
        if is_hook {
            self.will_end_as_a_hook(incarnation, at);
        }
        if becomes_ready {
            self.will_say_ready(incarnation, at);
        }
        if dice.chance(0.1) && !self.is_quiet {
            let lives = dice.millis(0, 15_000);
            let status = dice.pick(&[ExitStatus::Code(0), ExitStatus::Code(1), ExitStatus::Signal(11)]);
            self.end(incarnation, status, at + lives);
        }
    }

    /// Most hooks succeed, some fail, and some hang.
    fn will_end_as_a_hook(&mut self, incarnation: Incarnation, at: Time) {
        let status = match self.voices.below(20) {
            0 | 1 if !self.is_quiet => return,
            2..=4 if !self.is_quiet => ExitStatus::Code(1),
            _ => ExitStatus::Code(0),
        };
        let after = self.voices.millis(0, 3_000);
        self.end(incarnation, status, at + after);
    }

    /// Most are ready soon, some late, and some never.
    fn will_say_ready(&mut self, incarnation: Incarnation, at: Time) {
        let after = match self.voices.below(20) {
            0 if !self.is_quiet => return,
            1 | 2 if !self.is_quiet => self.voices.seconds(5, 40),
            _ => self.voices.millis(0, 3_000),
        };
        self.schedule(at + after, Happening::SaysReady(incarnation));
    }

    /// A process that runs says something.
    pub(super) fn say(&mut self, incarnation: Incarnation, words: impl FnOnce(&mut Voice)) {
        let running = self.children.get_mut(&incarnation).filter(|child| child.runs_since().is_some());
        if let Some(child) = running.filter(|child| child.has_socket) {
            words(&mut child.voice);
            self.said.insert(incarnation);
        }
    }

    /// Who has said something new, and all that they said so far.
    pub(super) fn take_said(&mut self) -> Vec<(Incarnation, Voice)> {
        let said = std::mem::take(&mut self.said);
        let hear = |incarnation| {
            let child = self.children.get_mut(&incarnation)?;
            child.heard = child.voice.clone();
            Some((incarnation, child.heard.clone()))
        };
        said.into_iter().filter_map(hear).collect()
    }

    fn ends(&mut self, incarnation: Incarnation, status: ExitStatus, at: Time, dice: &mut Dice) {
        let Some(child) = self.children.get_mut(&incarnation) else { return };
        let State::Running { pid, at: started_at } = child.state else { return };
        let status = if child.is_adopted { ExitStatus::Unknown } else { status };
        child.state = State::Exited { pid, started_at, status, at, is_gone: false };
        child.members = child.manner.leaves;
        let left = if child.manner.seen_at_once { child.members } else { 0 };
        child.told = Some(left);
        self.tell(Fact::Exited { incarnation, status, left, at }, at, dice);
        self.schedule(at + dice.millis(1, 400), Happening::Count(incarnation));
    }

    /// Looks for what a dead main process left behind, as the keeper does: a change is told, and the end of it.
    fn count(&mut self, incarnation: Incarnation, at: Time, dice: &mut Dice) {
        let Some(child) = self.children.get_mut(&incarnation) else { return };
        let State::Exited { is_gone, .. } = &mut child.state else { return };
        if *is_gone {
            return;
        }
        let left = child.members;
        *is_gone = left == 0;
        if left > 0 && child.told == Some(left) {
            return;
        }
        child.told = Some(left);
        let is_over = left == 0 && child.is_released;
        self.tell(Fact::Left { incarnation, left, at }, at, dice);
        if is_over {
            self.children.remove(&incarnation);
        }
    }
}

fn pid_of(incarnation: Incarnation) -> i32 {
    10_000 + incarnation.0 as i32
}

fn failure() -> (String, String) {
    ("exec run".to_owned(), "No such file or directory".to_owned())
}

fn described(incarnation: Incarnation, child: &Child) -> InventoryProcess {
    let state = match &child.state {
        State::Ordered => InventoryState::Spawning,
        State::Running { pid, at } => InventoryState::Running { pid: *pid, at: *at },
        State::CouldNotSpawn { at } => {
            let (step, cause) = failure();
            InventoryState::CouldNotSpawn { step, cause, at: *at }
        }
        State::Exited { pid, started_at, status, at, is_gone } => InventoryState::Exited {
            pid: *pid,
            started_at: *started_at,
            status: *status,
            left: if *is_gone { 0 } else { child.told.unwrap_or(0).max(1) },
            at: *at,
        },
    };
    let output = std::path::PathBuf::from("pipe");
    InventoryProcess {
        incarnation,
        output,
        errors: None,
        note: child.note.clone(),
        state,
        adopted: child.is_adopted,
    }
}

/// Whose life a fact is about.
pub(super) fn incarnation_of(fact: &Fact) -> Option<Incarnation> {
    match fact {
        Fact::Spawned { incarnation, .. }
        | Fact::CouldNotSpawn { incarnation, .. }
        | Fact::Exited { incarnation, .. }
        | Fact::Left { incarnation, .. } => Some(*incarnation),
        Fact::Inventory(_) | Fact::Kept { .. } | Fact::Leave | Fact::Upgrade(_) | Fact::Signalled { .. } => {
            None
        }
    }
}

fn manner(dice: &mut Dice, is_quiet: bool) -> Manner {
    let good = Manner {
        obeys_after: Some(dice.millis(1, 300)),
        status: ExitStatus::Code(0),
        leaves: 0,
        seen_at_once: true,
        members_go_on: Some(Duration::from_millis(10)),
        kills_needed: 1,
    };
    if is_quiet {
        return good;
    }
    let obeys_after = match dice.below(10) {
        0 => None,
        1 => Some(dice.seconds(60, 7_200)),
        2 | 3 => Some(dice.seconds(1, 40)),
        _ => good.obeys_after,
    };
    let status = match dice.below(8) {
        0 => ExitStatus::Signal(15),
        1 => ExitStatus::Code(143),
        _ => ExitStatus::Code(0),
    };
    let leaves = if dice.chance(0.12) { 1 + dice.below(3) } else { 0 };
    let members_go_on = if dice.chance(0.3) { None } else { Some(dice.millis(1, 60_000)) };
    let kills_needed = if dice.chance(0.05) { 2 } else { 1 };
    Manner { obeys_after, status, leaves, seen_at_once: dice.chance(0.5), members_go_on, kills_needed }
}
