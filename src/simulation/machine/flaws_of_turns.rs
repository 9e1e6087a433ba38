//! Defects in who is replaced and when: of rolling restarts, and of processes that are recycled.

use super::flaws::Flaw;
use super::run::Run;
use crate::core::command::{Command, Plan, Scope};
use crate::core::gap::Gap;
use crate::core::ids::ProcessId;
use crate::core::observed::{Life, Phase, Stop, StopCause};
use crate::core::rollout::Stage;
use crate::core::world::Program;

impl Run {
    /// Adds to a plan what a machine with the defect would do, or takes away what it would not.
    pub(super) fn spoil_turns(&self, flaw: Flaw, plan: &mut Plan) {
        if flaw == Flaw::SaysNothingOfTurns {
            plan.gaps.retain(|(_, _, gap)| {
                !matches!(gap, Gap::WaitsForRollout { .. } | Gap::RolloutHalted { .. })
            });
            return;
        }
        let due: Vec<ProcessId> = plan
            .gaps
            .iter()
            .filter(|(_, _, gap)| matches!(gap, Gap::ToRecycle { .. }))
            .filter_map(|(name, number, _)| Some(ProcessId::new(name.clone(), (*number)?)))
            .collect();
        let stopped: Vec<ProcessId> = plan.commands.iter().filter_map(stopped).cloned().collect();
        for (name, program) in &self.machine.world().programs {
            for (number, slot) in &program.slots {
                let Phase::Running(life, _) = &slot.phase else { continue };
                let process = ProcessId::new(name.clone(), *number);
                if stopped.contains(&process) {
                    continue;
                }
                if flaw == Flaw::RecyclesSeveral && due.contains(&process) {
                    return plan.commands.push(self.replace(process, life, StopCause::Recycle));
                }
                if self.is_wrong_turn(flaw, program, *number, life) {
                    return plan.commands.push(self.replace(process, life, StopCause::Rollout));
                }
            }
        }
    }

    fn is_wrong_turn(&self, flaw: Flaw, program: &Program, number: u32, life: &Life) -> bool {
        let asked = self.shadow.rollouts.get(&program.spec.name);
        let is_old = asked.is_some_and(|asked| life.incarnation <= asked.until);
        let is_changed = life.fingerprint != program.fingerprint;
        let rollout = program.rollout();
        if flaw == Flaw::RollsUnasked {
            return asked.is_none();
        }
        if flaw == Flaw::RollsTheNew {
            return asked.is_some() && !is_old && !is_changed;
        }
        if flaw == Flaw::RollsOnAfterTheEnd {
            return is_old && rollout.is_none();
        }
        flaw == Flaw::RollsBeforeTheCanary
            && is_old
            && rollout.is_some_and(|rollout| match &rollout.stage {
                Stage::Canary(canary) => canary.slot != Some(number) && !canary.passed,
                Stage::Rolling | Stage::Over(_) => false,
            })
    }

    fn replace(&self, process: ProcessId, life: &Life, cause: StopCause) -> Command {
        let since = self.now;
        let stop = Stop {
            cause,
            since,
            deadline: None,
            killed_at: None,
            left_asked: false,
            step: 0,
            step_due: None,
            waits_for_hook: false,
        };
        Command::Stop { process, incarnation: life.incarnation, stop, signal: 15, scope: Scope::Main }
    }
}

fn stopped(command: &Command) -> Option<&ProcessId> {
    if let Command::Stop { process, .. } = command { Some(process) } else { None }
}
