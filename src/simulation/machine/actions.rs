//! What can happen next, and how often it does.

use std::time::Duration;

use super::configuration::{self, BROKERS, NAMES, PROJECTS};
use super::flaws::Flaw;
use super::invariants;
use super::run::{Check, Run};
use crate::core::auxiliary::Purpose;
use crate::core::event::Edit;
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProcessId, ProgramName, Target};
use crate::core::observed::BrokerHealth;
use crate::core::rollout::Rolling;
use crate::core::time::Time;

/// A kind of action.
#[derive(Clone, Copy, Debug)]
enum Action {
    Advance,
    ReadQueues,
    Exit,
    Edit,
    ChangeQueue,
    ChangeBroker,
    SpawnTrouble,
    Reload,
    OldNews,
    Auxiliary,
    SetClock,
    RestartController,
    DieWhileActing,
    RestartDaemon,
    KillKeeper,
    Shutdown,
}

const WEIGHTS: [(Action, u32); 16] = [
    (Action::Advance, 30),
    (Action::ReadQueues, 9),
    (Action::Exit, 12),
    (Action::Edit, 10),
    (Action::ChangeQueue, 6),
    (Action::ChangeBroker, 3),
    (Action::SpawnTrouble, 3),
    (Action::Reload, 5),
    (Action::OldNews, 4),
    (Action::Auxiliary, 1),
    (Action::SetClock, 1),
    (Action::RestartController, 3),
    (Action::DieWhileActing, 1),
    (Action::RestartDaemon, 1),
    (Action::KillKeeper, 1),
    (Action::Shutdown, 1),
];

impl Run {
    /// One random action with everything that follows from it at once.
    pub(super) fn act(&mut self) -> Check {
        if self.finished {
            self.tell("all has ended; Leveret is started anew".to_owned());
            return self.restart_daemon();
        }
        self.somebody_says_how_it_is();
        self.somebody_is_looked_at();
        let whole: u32 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.dice.below(whole);
        for (action, weight) in WEIGHTS {
            if drawn < weight {
                return self.perform(action);
            }
            drawn -= weight;
        }
        Ok(())
    }

    /// A consumer takes a message or has finished one. It has dice of its own.
    fn somebody_says_how_it_is(&mut self) {
        if !self.voices.chance(0.3) {
            return;
        }
        let running = |(incarnation, child): (&Incarnation, &super::keeper::Child)| {
            child.runs_since().map(|_| *incarnation)
        };
        let running: Vec<_> = self.keeper.children.iter().filter_map(running).collect();
        if let Some(incarnation) = self.voices.pick_any(&running) {
            let busy = Some(self.voices.chance(0.5));
            let hangs = self.voices.chance(0.05);
            self.keeper.say(incarnation, |voice| {
                voice.busy = busy;
                voice.hung |= hangs && voice.ready;
            });
        }
    }

    fn perform(&mut self, action: Action) -> Check {
        match action {
            Action::Advance => {
                let duration = self.some_duration();
                self.tell(format!("{duration:?} pass"));
                self.advance(duration)
            }
            Action::ReadQueues => {
                let rounds = if self.dice.chance(0.2) { 20 } else { 1 + self.dice.below(4) };
                self.tell(format!("the queues are read {rounds} times"));
                self.read_queues(rounds)
            }
            Action::Exit => self.exit(),
            Action::Edit => self.edit_something(),
            Action::ChangeQueue => {
                let told = self.brokers.change_queue(&mut self.dice);
                self.tell(told);
                Ok(())
            }
            Action::ChangeBroker => {
                let (broker, health) = self.brokers.change_broker(&mut self.dice);
                self.tell(format!("broker {broker} is {health:?}"));
                self.broker_fact(broker, health);
                self.settle()
            }
            Action::SpawnTrouble => {
                self.keeper.trouble = self.dice.pick(&[0.0, 0.0, 0.2, 1.0]);
                let trouble = self.keeper.trouble;
                self.tell(format!("starts fail with a probability of {trouble}"));
                Ok(())
            }
            Action::Reload => self.reload_something(),
            Action::OldNews => match self.keeper.old_news(&mut self.dice) {
                Some(fact) => {
                    self.tell(format!("told a second time: {fact:?}"));
                    self.keeper_fact(&fact);
                    self.settle()
                }
                None => Ok(()),
            },
            Action::Auxiliary => {
                let program = self.some_name();
                let limit = self.dice.seconds(1, 5);
                let about = self.somebody_to_ask_about();
                let program = about.as_ref().map_or(program, |(process, _)| process.program.clone());
                self.tell(format!("a check of {program} ({about:?}) within {limit:?}"));
                let command = (vec!["check".to_owned()], limit);
                self.machine.request_auxiliary(program, about, Purpose::Check, command);
                self.settle()
            }
            Action::SetClock => {
                let by = i64::from(self.dice.pick(&[1, 30, 400, 3_600, 40_000]));
                let by = if self.dice.chance(0.5) { by } else { -by };
                self.tell(format!("the clock is set by {by} s"));
                self.set_clock(by)
            }
            Action::RestartController => self.restart_controller_somehow(),
            Action::DieWhileActing => {
                let after = self.dice.below(4);
                self.tell(format!("the controller will die after {after} more orders"));
                self.dies_after = Some(after as usize);
                Ok(())
            }
            Action::RestartDaemon => {
                if self.dice.chance(0.5) {
                    self.save();
                }
                self.tell("Leveret is killed with everything, and started anew".to_owned());
                self.restart_daemon()
            }
            Action::KillKeeper => {
                let with_controller = self.dice.chance(0.3);
                self.tell(format!("the keeper is killed, its controller as well: {with_controller}"));
                self.kill_keeper(with_controller)
            }
            Action::Shutdown => {
                let by_signal = self.dice.chance(0.5);
                self.tell(format!("shutdown, by a signal: {by_signal}"));
                self.shut_down(by_signal)
            }
        }
    }

    pub(super) fn shut_down(&mut self, by_signal: bool) -> Check {
        let edit = if self.shadow.shutdown.is_some() { Edit::ShutdownNow } else { Edit::Shutdown };
        match self.edit(&edit, by_signal)? {
            Ok(()) => Ok(()),
            Err(refused) => Err(format!("a shutdown was refused: {refused}")),
        }
    }

    fn some_duration(&mut self) -> Duration {
        match self.dice.below(20) {
            0 => self.dice.seconds(600, 7_200),
            1..=4 => self.dice.seconds(5, 60),
            5..=10 => self.dice.millis(200, 5_000),
            _ => self.dice.millis(0, 300),
        }
    }

    fn exit(&mut self) -> Check {
        let running = |(incarnation, child): (&Incarnation, &super::keeper::Child)| {
            child.runs_since().map(|_| *incarnation)
        };
        let running: Vec<_> = self.keeper.children.iter().filter_map(running).collect();
        let Some(incarnation) = self.dice.pick_any(&running) else { return Ok(()) };
        let statuses = [ExitStatus::Code(0), ExitStatus::Code(1), ExitStatus::Signal(9), ExitStatus::Unknown];
        let status = self.dice.pick(&statuses);
        self.tell(format!("life {incarnation} ends with {status}"));
        self.keeper.end(incarnation, status, self.now);
        let soon = self.dice.millis(0, 10);
        self.advance(soon)
    }

    fn some_name(&mut self) -> ProgramName {
        let unknown = self.dice.chance(0.05);
        let name = if unknown { "nobody" } else { self.dice.pick(&NAMES) };
        ProgramName::new(name).expect("a constant that is a name")
    }

    fn some_target(&mut self) -> Target {
        match self.dice.below(20) {
            0 => Target::All,
            1 => Target::Project(self.dice.pick(&[PROJECTS[0], PROJECTS[1], "nothing"]).to_owned()),
            2..=9 => Target::Program(self.some_name()),
            _ => Target::Process(ProcessId::new(self.some_name(), self.dice.below(6))),
        }
    }

    fn edit_something(&mut self) -> Check {
        let target = self.some_target();
        let edit = match self.dice.below(14) {
            0..=2 => Edit::Start(target),
            3..=5 => Edit::Stop(target),
            6 => Edit::Restart(target),
            7 => self.some_rollout(target),
            8 => Edit::Copy(target),
            9 | 10 => {
                let until: Option<Time> = self.dice.chance(0.4).then(|| self.now + self.dice.seconds(1, 600));
                Edit::Scale(self.some_name(), self.dice.below(9), until)
            }
            11 | 12 => Edit::Auto(target),
            _ if self.dice.chance(0.3) => Edit::Pause(target),
            _ => Edit::Resume(target),
        };
        self.tell(format!("{edit:?}"));
        let index = self.actions.len() - 1;
        if let Err(refused) = self.edit(&edit, false)?
            && let Some(action) = self.actions.get_mut(index)
        {
            action.push_str(&format!(" is refused: {refused}"));
        }
        Ok(())
    }

    /// How follows from the moment, so that older seeds keep their worlds for longer.
    fn some_rollout(&self, target: Target) -> Edit {
        let target = match target {
            Target::Process(process) => Target::Program(process.program),
            Target::All | Target::Project(_) | Target::Program(_) => target,
        };
        let micros = self.now.as_micros();
        let canary = match micros / 3 % 3 {
            0 => None,
            1 => Some(Duration::ZERO),
            _ => Some(Duration::from_secs(micros % 40)),
        };
        Edit::Roll(target, Rolling { batch: 1 + (micros % 3) as u32, canary })
    }

    fn reload_something(&mut self) -> Check {
        let (mut programs, mut limits) = (self.programs.clone(), self.limits.clone());
        let is_equal = self.dice.chance(0.3);
        if !is_equal {
            configuration::change(&mut programs, &mut self.dice);
            if self.dice.chance(0.2) {
                limits = configuration::limits(&mut self.dice);
            }
        }
        let brief: Vec<String> = programs
            .iter()
            .map(|program| {
                let (name, argv, kind) = (&program.name, &program.run.argv, &program.kind);
                format!("{name} {argv:?} {kind:?} {:?} {:?}", program.stop, program.restart)
            })
            .collect();
        self.tell(format!("reload, equal: {is_equal}: {brief:#?}"));
        self.reload(programs, limits)
    }

    fn restart_controller_somehow(&mut self) -> Check {
        let is_saved = self.dice.chance(0.5);
        if is_saved {
            self.save();
        }
        let downtime = if self.dice.chance(0.5) { Duration::ZERO } else { self.dice.millis(0, 3_000) };
        self.tell(format!("the controller dies, just saved: {is_saved}, and is back after {downtime:?}"));
        self.restart_controller(downtime)
    }

    /// No more faults: everything must come to rest as it is wanted, and then end.
    pub(super) fn come_to_rest(&mut self) -> Check {
        if self.finished || self.shadow.shutdown.is_some() {
            if !self.finished {
                self.advance(Duration::from_secs(120))?;
            }
            self.tell("started anew for the end".to_owned());
            self.restart_daemon()?;
        }
        self.tell("all is well from here on".to_owned());
        self.dies_after = None;
        self.keeper.is_quiet = true;
        self.brokers.calm();
        for broker in BROKERS {
            self.broker_fact(broker.to_owned(), BrokerHealth::Up);
        }
        if self.has(Flaw::WaitsForTheCanaryForEver) {
            // Few worlds come to their end in the middle of a rolling restart, and without one this cannot show.
            let rolling = Rolling { batch: 1, canary: Some(Duration::ZERO) };
            for name in NAMES {
                let target = Target::Program(ProgramName::new(name).expect("a constant that is a name"));
                // Where there is nothing to replace it is refused, and nothing follows.
                drop(self.edit(&Edit::Roll(target, rolling), false)?);
            }
        }
        for _ in 0..3 {
            self.keeper.end_stubborn(self.now, &mut self.dice);
            self.read_queues(40)?;
        }
        for _ in 0..2 {
            self.keeper.end_stubborn(self.now, &mut self.dice);
            self.advance(Duration::from_secs(3_600))?;
        }
        invariants::converged(self)?;
        self.tell("shutdown at the end".to_owned());
        self.shut_down(false)?;
        if !self.finished {
            self.advance(Duration::from_secs(120))?;
        }
        if !self.finished {
            return Err("Leveret was told to shut down and goes on".to_owned());
        }
        Ok(())
    }
}
