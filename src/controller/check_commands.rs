//! Commands that look at processes: the core has them run beside the program's own processes, and what becomes of them is an
//! answer to whoever looks. It decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

use super::control::Control;
use crate::core::auxiliary::{AuxiliaryId, AuxiliaryOutcome, AuxiliaryResult, Purpose};
use crate::core::exit::ExitStatus;
use crate::core::ids::Incarnation;
use crate::core::time::human;

/// A command that is to look at a process.
#[derive(Debug)]
pub(super) struct Ask {
    /// The life that is looked at.
    pub(super) incarnation: Incarnation,
    /// What to run.
    pub(super) argv: Vec<String>,
    /// How long it may run.
    pub(super) timeout: Duration,
    /// What is wrong, if anything is. It is dropped where nobody will ever know.
    pub(super) answer: oneshot::Sender<Result<(), String>>,
}

/// The commands that somebody waits for, and those whose output is being read to its end.
#[derive(Debug, Default)]
pub(super) struct CheckCommands {
    asked: BTreeMap<AuxiliaryId, Asked>,
    lives: BTreeMap<Incarnation, Life>,
}

#[derive(Debug)]
struct Asked {
    timeout: Duration,
    answer: oneshot::Sender<Result<(), String>>,
}

#[derive(Debug)]
struct Life {
    id: AuxiliaryId,
    result: Option<AuxiliaryResult>,
    last_line: Option<String>,
}

impl CheckCommands {
    /// A command is ordered.
    pub(super) fn begun(&mut self, id: AuxiliaryId, incarnation: Incarnation) {
        if self.asked.contains_key(&id) {
            self.lives.insert(incarnation, Life { id, result: None, last_line: None });
        }
    }

    /// Whether a life is that of a command.
    pub(super) fn contains(&self, incarnation: Incarnation) -> bool {
        self.lives.contains_key(&incarnation)
    }

    /// What a command printed last.
    pub(super) fn printed(&mut self, incarnation: Incarnation, line: String) {
        if let Some(life) = self.lives.get_mut(&incarnation) {
            life.last_line = Some(line);
        }
    }

    /// How a command went. One that ran is answered for when its output was read.
    pub(super) fn ended(&mut self, id: AuxiliaryId, result: AuxiliaryResult) {
        match self.lives.values_mut().find(|life| life.id == id) {
            Some(life) if !matches!(result, AuxiliaryResult::CouldNotStart(_)) => life.result = Some(result),
            Some(_) | None => {
                self.lives.retain(|_, life| life.id != id);
                self.answer(id, &result, None);
            }
        }
    }

    /// All output of a life was read. Says whether it was that of a command.
    pub(super) fn drained(&mut self, incarnation: Incarnation) -> bool {
        let Some(Life { id, result, last_line }) = self.lives.remove(&incarnation) else { return false };
        match result {
            Some(result) => self.answer(id, &result, last_line),
            None => drop(self.asked.remove(&id)),
        }
        true
    }

    fn answer(&mut self, id: AuxiliaryId, result: &AuxiliaryResult, last_line: Option<String>) {
        let Some(Asked { timeout, answer }) = self.asked.remove(&id) else { return };
        let wrong = match result {
            AuxiliaryResult::Ended(status) if status.is_clean() => None,
            AuxiliaryResult::Ended(status @ ExitStatus::Signal(_)) => Some(format!("its check was {status}")),
            AuxiliaryResult::Ended(status @ (ExitStatus::Code(_) | ExitStatus::Unknown)) => {
                Some(format!("its check ended with {status}"))
            }
            AuxiliaryResult::TimedOut => Some(format!("its check did not end within {}", human(timeout))),
            AuxiliaryResult::CouldNotStart(why) => Some(format!("its check cannot be started: {why}")),
        };
        let result = match (wrong, last_line) {
            (None, _) => Ok(()),
            (Some(wrong), Some(line)) => Err(format!("{wrong}: {line}")),
            (Some(wrong), None) => Err(wrong),
        };
        // Nobody looks at the process any more where this fails.
        drop(answer.send(result));
    }
}

impl Control {
    /// Has a command look at a process, if that lives.
    pub(super) fn ask(&mut self, ask: Ask) {
        let Ask { incarnation, argv, timeout, answer } = ask;
        let Some(process) = self.machine.process_of(incarnation) else { return };
        let (program, about) = (process.program.clone(), Some((process, incarnation)));
        let id = self.machine.request_auxiliary(program, about, Purpose::Check, (argv, timeout));
        self.check_commands.asked.insert(id, Asked { timeout, answer });
    }

    /// An auxiliary process has ended, or never began.
    pub(super) fn auxiliary_ended(&mut self, outcome: AuxiliaryOutcome) {
        let AuxiliaryOutcome { id, program, purpose, result } = outcome;
        match purpose {
            Purpose::Check => self.check_commands.ended(id, result),
            Purpose::Preflight => {
                tracing::info!("{program}: {purpose:?} ended: {result:?}");
            }
        }
    }

    /// A command was started: its output is read from now on.
    pub(super) fn read_check_command(&mut self, incarnation: Incarnation) {
        if self.check_commands.contains(incarnation) && self.reading.insert(incarnation) {
            self.pump.open(self.executor.auxiliary_source(incarnation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Incarnation = Incarnation(7);
    const ID: AuxiliaryId = AuxiliaryId(1);

    fn asked() -> (CheckCommands, oneshot::Receiver<Result<(), String>>) {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { timeout: Duration::from_secs(5), answer };
        let commands = CheckCommands { asked: [(ID, asked)].into(), lives: BTreeMap::new() };
        (commands, answered)
    }

    #[test]
    fn a_command_is_answered_for_when_it_has_ended_and_its_output_was_read() {
        let cases = [
            (AuxiliaryResult::Ended(ExitStatus::Code(0)), Ok(())),
            (AuxiliaryResult::Ended(ExitStatus::Code(2)), Err("its check ended with exit code 2: no")),
            (AuxiliaryResult::Ended(ExitStatus::Signal(11)), Err("its check was killed by SIGSEGV: no")),
            (AuxiliaryResult::TimedOut, Err("its check did not end within 5s: no")),
        ];
        for (result, expected) in cases {
            let (mut commands, mut answered) = asked();
            commands.begun(ID, LIFE);
            commands.begun(AuxiliaryId(2), Incarnation(8));
            assert!(commands.contains(LIFE) && !commands.contains(Incarnation(8)));
            commands.ended(ID, result);
            commands.printed(LIFE, "no".to_owned());
            assert!(answered.try_recv().is_err());
            assert!(commands.drained(LIFE) && !commands.drained(LIFE));
            assert_eq!(answered.try_recv().unwrap(), expected.map_err(str::to_owned));
        }
    }

    #[test]
    fn one_that_cannot_be_started_is_answered_for_at_once() {
        for is_ordered in [false, true] {
            let (mut commands, mut answered) = asked();
            if is_ordered {
                commands.begun(ID, LIFE);
            }
            commands.ended(ID, AuxiliaryResult::CouldNotStart("exec x: Permission denied".to_owned()));
            let said = "its check cannot be started: exec x: Permission denied";
            assert_eq!(answered.try_recv().unwrap(), Err(said.to_owned()));
            assert!(!commands.contains(LIFE));
        }
    }
}
