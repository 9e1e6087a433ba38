//! Looking at trees: signals that need to know the whole tree, kills that go on until nothing is left, and counting what
//! dead leaders left behind. One look serves all of it, after everything that somebody waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};

use super::children::{Child, Phase};
use super::protocol::Fact;
use super::run::Keeper;
use super::say::say;
use super::signals;
use super::standby::Standby;
use super::tree::{self, Members, Orphan, Tree};
use super::upgrade::Upgrading;
use crate::core::command::Scope;
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::sys::{cgroup, clock, shortage};

/// The shortest time between two looks.
const SWEEP_SPACING: Duration = Duration::from_millis(10);

/// How often is looked while a dead leader's tree lives, beside every SIGCHLD.
const SWEEP_INTERVAL: Duration = Duration::from_millis(200);

/// How often a tree that is being killed is looked through in one go for processes that it forked meanwhile.
const KILL_ROUNDS_MAX: usize = 16;

/// Who may belong to a life: orphans to one of this keeper's, and anybody to one that an earlier keeper started, because
/// what that one's processes leave behind is inherited by somebody else.
#[derive(Debug, Default)]
struct Look {
    orphans: Vec<Orphan>,
    /// Empty where nothing is looked for.
    everyone: Vec<Orphan>,
}

impl Look {
    fn of(&self, is_adopted: bool) -> &[Orphan] {
        if is_adopted { &self.everyone } else { &self.orphans }
    }
}

impl Keeper {
    /// Asks for a look after this delay, or earlier if one was asked for.
    pub(super) fn request_sweep(&mut self, delay: Duration) {
        let at = (clock::now() + delay).max(self.swept_at + SWEEP_SPACING);
        self.sweep_at = Some(self.sweep_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Everybody who may belong to a life of which something is looked for.
    fn look(&self) -> io::Result<Look> {
        let asked = self.upgrading.as_ref().and_then(Upgrading::child);
        let own = [self.controller.pid(), self.standby.as_ref().map(Standby::pid), asked];
        let is_known = |pid| own.contains(&Some(pid)) || self.children.by_pid(pid).is_some();
        let keeper = rustix::process::getpid().as_raw_nonzero().get();
        let is_sought = |incarnation: &Incarnation, child: &Child| {
            let is_signalled = self.tree_signals.iter().any(|(signalled, ..)| signalled == incarnation);
            child.is_killed || child.is_left_to_count() || is_signalled
        };
        let any_adopted = self.children.iter().any(|(incarnation, child)| {
            child.is_adopted() && !child.is_gone() && is_sought(incarnation, child)
        });
        let everyone = match any_adopted {
            true => tree::everyone(|pid| pid == keeper || is_known(pid))?,
            false => Vec::new(),
        };
        Ok(Look { orphans: tree::orphans(is_known)?, everyone })
    }

    /// One look at the orphans for everything that needs it: signals to trees, kills that go on, and counting what dead
    /// leaders left behind.
    pub(super) fn sweep(&mut self, now: Time) {
        self.sweep_at = None;
        self.swept_at = now;
        let look = match self.look() {
            Ok(look) => look,
            Err(error) => {
                // Once: it is tried again and again, until it works.
                if !std::mem::replace(&mut self.has_said_unseen, true) {
                    let cause = shortage::cause(error);
                    say(&format!(
                        "failed to look for processes that were left behind, trying again: {cause}"
                    ));
                }
                return self.request_sweep(SWEEP_INTERVAL);
            }
        };
        self.has_said_unseen = false;
        for (incarnation, scope, signal) in std::mem::take(&mut self.tree_signals) {
            if let Some(child) = self.children.get_mut(incarnation) {
                signal_tree(child, &look, scope, signal);
            }
        }
        let killed: Vec<Incarnation> = self
            .children
            .iter()
            .filter(|(_, child)| child.is_killed && !child.is_gone())
            .map(|(incarnation, _)| *incarnation)
            .collect();
        for incarnation in killed {
            self.kill_tree(incarnation, &look);
        }
        self.count_left(&look);
    }

    /// Kills a tree again and again until nothing new is found, because it may fork while it is being killed.
    fn kill_tree(&mut self, incarnation: Incarnation, look: &Look) {
        let Some(child) = self.children.get_mut(incarnation) else { return };
        let is_adopted = child.is_adopted();
        let mut tree: Tree = std::mem::take(&mut child.tree);
        if let Some(life) = tree.cgroup() {
            cgroup::kill(life);
        }
        let mut struck = BTreeMap::new();
        let mut sessions = BTreeSet::new();
        let mut later = Look::default();
        for round in 0..KILL_ROUNDS_MAX {
            let members = tree.members(if round == 0 { look } else { &later }.of(is_adopted), &sessions);
            tree.observe(&members);
            let mut is_over = true;
            for (pid, member) in &members {
                if struck.insert(*pid, member.start_time_ticks) != Some(member.start_time_ticks) {
                    is_over = false;
                    signals::to_exactly(*pid, member.start_time_ticks, Signal::KILL);
                }
            }
            if is_over {
                break;
            }
            sessions.extend(tree::sessions_of(&members, tree.leader()));
            later = self.look().unwrap_or_default();
        }
        if let Some(child) = self.children.get_mut(incarnation) {
            child.tree = tree;
        }
    }

    fn count_left(&mut self, look: &Look) {
        let at = clock::now();
        let mut facts = Vec::new();
        let mut is_any_left = false;
        // An orphan that ended during this look has passed its children on to the keeper, unseen.
        let has_no_zombie = !has_zombie();
        let mut is_sure = true;
        for (incarnation, child) in self.children.iter_mut().filter(|(_, child)| child.is_left_to_count()) {
            let members: Members = child.tree.members(look.of(child.is_adopted()), &BTreeSet::new());
            child.tree.observe(&members);
            let is_certain = match &mut child.adopted {
                // What forks while all processes are listed may be missed by one look, but not by the next as well.
                Some(adopted) => {
                    adopted.empty_looks = if members.is_empty() { adopted.empty_looks + 1 } else { 0 };
                    adopted.empty_looks > 1 || !members.is_empty()
                }
                None => has_no_zombie,
            };
            is_sure &= is_certain;
            let Phase::Exited { left, is_gone, .. } = &mut child.phase else { continue };
            let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
            *is_gone = count == 0 && is_certain;
            is_any_left |= !*is_gone;
            if *is_gone || (count > 0 && count != *left) {
                *left = count;
                facts.push((*incarnation, count));
            }
        }
        for (incarnation, left) in facts {
            self.tell(&Fact::Left { incarnation, left, at });
            if left == 0 && self.children.get_mut(incarnation).is_some_and(|child| child.is_released) {
                self.children.release(incarnation);
            }
        }
        if is_any_left {
            self.request_sweep(if is_sure { SWEEP_INTERVAL } else { Duration::ZERO });
        }
    }
}

/// Signals everybody that is proven, or with [`Scope::Group`] the leader's group if somebody in it is.
fn signal_tree(child: &mut Child, look: &Look, scope: Scope, signal: Signal) {
    let members = child.tree.members(look.of(child.is_adopted()), &BTreeSet::new());
    child.tree.observe(&members);
    match (scope, &child.phase) {
        // Nothing keeps the number of an adopted leader's group from being used again but its members, so each is proven.
        (Scope::Group, Phase::Running { pid, .. } | Phase::Exited { pid, .. }) if child.is_adopted() => {
            for (member_pid, member) in members.iter().filter(|(_, member)| member.group == *pid) {
                signals::to_exactly(*member_pid, member.start_time_ticks, signal);
            }
        }
        (Scope::Group, Phase::Exited { pid, .. }) => {
            if members.values().any(|member| member.group == *pid) {
                signals::to_group(*pid, signal);
            }
        }
        (Scope::Tree, _) if signal == Signal::KILL => child.is_killed = true,
        (Scope::Main | Scope::Tree | Scope::Group, _) => {
            for (pid, member) in &members {
                signals::to_exactly(*pid, member.start_time_ticks, signal);
            }
        }
    }
}

/// Whether a child has ended and was not reaped yet.
fn has_zombie() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Ok(Some(_)))
}
