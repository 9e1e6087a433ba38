//! What the keeper tells of processes, and the end of a life: its output is read to the end, then what became of it is
//! written down, and only then may the keeper forget it.

use std::os::fd::OwnedFd;

use tracing::error;

use super::checks::Found;
use super::control::Control;
use super::hearing::Heard;
use super::takeover;
use crate::core::event::Fact;
use crate::core::ids::{Incarnation, ProcessId};
use crate::keeper::protocol::{self, Order};
use crate::sys::clock;

impl Control {
    /// What the keeper tells, with the descriptor that came with it.
    pub(super) fn told(&mut self, fact: protocol::Fact, descriptor: Option<OwnedFd>) {
        let socket = if let protocol::Fact::Kept { key } = &fact { protocol::notified(key) } else { None };
        match socket.zip(descriptor) {
            Some((incarnation, socket)) => self.hearing.listen(incarnation, socket),
            None => self.keeper_fact(fact),
        }
    }

    /// What processes have said of themselves.
    pub(super) fn heard(&mut self, heard: Heard) {
        let at = clock::now();
        for (incarnation, voice) in heard {
            self.machine.observe(Fact::Said { incarnation, voice, at });
        }
        self.save_soon();
    }

    /// A process has printed what is waited for.
    pub(super) fn printed(&mut self, incarnation: Incarnation, pattern: String) {
        self.machine.observe(Fact::Printed { incarnation, pattern, at: clock::now() });
        self.save_soon();
        // Nothing is looked for any more, also where an earlier controller had found it.
        if let Some(process) = self.machine.process_of(incarnation)
            && let Some(program) = self.machine.world().programs.get(&process.program)
        {
            for source in self.executor.sources(program, process.slot, incarnation) {
                self.pump.configure(source);
            }
        }
    }

    /// What a look at a process found.
    pub(super) fn found(&mut self, found: Found) {
        let Found { incarnation, purpose, check, result } = found;
        self.machine.observe(Fact::Checked { incarnation, purpose, check, result, at: clock::now() });
        self.save_soon();
    }

    pub(super) fn keeper_fact(&mut self, fact: protocol::Fact) {
        if let protocol::Fact::Exited { incarnation, .. } = &fact {
            self.checks.end(*incarnation);
        }
        if let protocol::Fact::Spawned { incarnation, .. } = &fact {
            self.read_check_command(*incarnation);
            if let Some(process) = self.machine.hook_of(*incarnation) {
                self.read_output(&process, *incarnation);
            }
        }
        if let protocol::Fact::Spawned { incarnation, pid, .. } = &fact
            && let Some(process) = self.machine.process_of(*incarnation)
        {
            self.remark(&process, format!("started as pid {pid}"));
            self.read_output(&process, *incarnation);
        }
        if let Some(told) = takeover::told(&fact) {
            self.machine.observe(told);
            self.save_soon();
        }
        match fact {
            protocol::Fact::CouldNotSpawn { incarnation, .. }
            | protocol::Fact::Left { incarnation, left: 0, .. } => self.release(incarnation),
            protocol::Fact::Spawned { .. } | protocol::Fact::Exited { .. } | protocol::Fact::Left { .. } => {}
            protocol::Fact::Signalled { signal } => self.signalled(signal),
            protocol::Fact::Leave => self.leave(),
            protocol::Fact::Upgrade(upgrade) => self.upgrade = Some(upgrade),
            protocol::Fact::Inventory(_) | protocol::Fact::Kept { .. } => {
                error!("the keeper repeated its inventory; it is ignored");
            }
        }
    }

    pub(super) fn read_output(&mut self, process: &ProcessId, incarnation: Incarnation) {
        if let Some(program) = self.machine.world().programs.get(&process.program)
            && self.reading.insert(incarnation)
        {
            for source in self.executor.sources(program, process.slot, incarnation) {
                self.pump.open(source);
            }
        }
    }

    /// Nothing of this life is left: when its output has been read to its end, the keeper may forget it.
    fn release(&mut self, incarnation: Incarnation) {
        if !self.releasing.insert(incarnation) {
            return;
        }
        if self.reading.contains(&incarnation) {
            self.pump.finish(incarnation);
        } else {
            self.release_if_done(incarnation);
        }
    }

    /// What became of an auxiliary process need not be written down.
    pub(super) fn release_at_once(&mut self, incarnation: Incarnation) {
        if self.releasing.remove(&incarnation) {
            self.order(&Order::Release { incarnation });
        }
    }

    pub(super) fn release_if_done(&mut self, incarnation: Incarnation) {
        if self.releasing.remove(&incarnation) {
            self.saver.forget_after(incarnation, clock::now());
        }
    }
}
