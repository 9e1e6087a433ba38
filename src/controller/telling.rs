//! What the machine notices, as lines of the log, numbers of the metrics and entries of the journal.

use std::time::Duration;

use tracing::{info, warn};

use super::control::Control;
use super::handle::{Histogram, Remark};
use super::snapshot::DecisionView;
use super::view;
use crate::core::event::Notice;
use crate::core::exit::ExitStatus;
use crate::core::ids::{Incarnation, ProcessId};
use crate::core::time::human;
use crate::core::words::processes;
use crate::logs::source::Format;
use crate::sys::clock;

/// Bounds of the histogram of stops, in seconds.
const STOP_BOUNDS: [f64; 10] = [0.05, 0.25, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0];

impl Control {
    pub(super) fn tell(&mut self, notice: Notice) {
        let world = self.machine.world();
        let label = |process: &ProcessId| view::label(world, process);
        match notice {
            Notice::Restarted(process, reason) => {
                info!("{} starts again ({})", label(&process), reason.as_str());
            }
            Notice::Ended(process, sentence) => {
                info!("{}: {sentence}", label(&process));
                self.remark(&process, sentence);
            }
            Notice::Stopped(process, status, took) => {
                let sentence = stopped(status, took);
                info!("{} {sentence}", label(&process));
                self.remark(&process, sentence);
                let histogram = self.stops.entry(process.program);
                histogram.or_insert_with(|| Histogram::new(&STOP_BOUNDS)).observe(took);
            }
            Notice::HookFailed(process, sentence) => {
                warn!("{}: {sentence}", label(&process));
                self.remark(&process, sentence);
            }
            Notice::Killed(process) => {
                warn!(
                    "{} did not end within its stop timeout and is killed with all it started",
                    label(&process)
                );
            }
            Notice::ShutdownOverdue(limit) => {
                warn!("the shutdown has taken {}: what is left is killed", human(limit));
                self.save_soon();
            }
            Notice::NoStopHandler(program, signal) => warn!(
                "{program}: its processes die of {signal} in the middle of work; from now on none is stopped that might be busy"
            ),
            Notice::Decided(program, decision) => {
                let Some(program) = world.programs.get(&program) else { return };
                let entry = view::decision(program, &decision, clock::wall_seconds());
                info!("{}: {}: {}", entry.program, entry.change(), entry.reason);
                self.write_down(entry);
                // The target and what it was made from: the next controller goes on from there.
                self.save_soon();
            }
            Notice::Recycled(process, why) => info!("{} is recycled: {why}", label(&process)),
            Notice::RolloutGoesOn(program) => {
                info!("{program}: the canary has proven itself, the rolling restart goes on");
                self.save_soon();
            }
            Notice::RolloutDone(program, total) => {
                info!("{program}: rolling restart done, {} replaced", processes(total));
                self.save_soon();
            }
            Notice::RolloutHalted(program, id, culprit, sentence) => {
                warn!("{program}: {sentence}");
                self.save_soon();
                if let Some(culprit) = culprit {
                    self.want_last_words(program, id, culprit);
                }
            }
            Notice::CriticalEnded(process, code) => {
                warn!(
                    "{} is critical and has ended for good: Leveret shuts down with exit code {code}",
                    label(&process)
                );
                self.save_soon();
            }
            Notice::HoldEnded(program) => info!("{program}: the hold has ended, scaling goes on"),
            Notice::RunBegan(program, why) => info!("{program}: a run begins, {why}"),
            Notice::RunEnded(program, true, sentence) => info!("{program}: {sentence}"),
            Notice::RunEnded(program, false, sentence) => warn!("{program}: {sentence}"),
            Notice::RunLeftOut(program, sentence) => {
                warn!("{program}: {sentence}");
                self.save_soon();
            }
            Notice::ClockSet(seconds) => {
                let how = if seconds < 0 { "back" } else { "forward" };
                let by = human(Duration::from_secs(seconds.unsigned_abs()));
                info!("the clock was set {how} by {by}; schedules go by the new time");
            }
            Notice::Unfit(process, unfit, detail) => {
                let detail = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
                warn!("{} {}{detail} and is stopped to be started again", label(&process), unfit.words());
            }
            Notice::Auxiliary(outcome) => self.auxiliary_ended(outcome),
        }
    }

    /// Tells those who follow a process's output what became of it: in the file itself where lines have a format that
    /// tells the two apart, else in the live view alone.
    pub(super) fn remark(&self, process: &ProcessId, text: String) {
        let Some(program) = self.machine.world().programs.get(&process.program) else { return };
        let source = self.executor.source(program, process.slot, Incarnation::default());
        match source.format {
            Format::Prefixed | Format::Json => self.pump.say(source, text),
            Format::Raw | Format::Labelled => {
                let remark = Remark { program: source.program, process: source.label, text };
                // It fails where nobody follows just now.
                drop(self.remarks.send(remark));
            }
        }
    }

    fn write_down(&mut self, entry: DecisionView) {
        match self.journal.append(entry) {
            Ok(()) => self.journal_failed = false,
            Err(trouble) => {
                if !std::mem::replace(&mut self.journal_failed, true) {
                    warn!("the journal of decisions cannot be written: {trouble}; it goes on in memory");
                }
            }
        }
    }
}

/// An exit code other than 0 is told: whoever was asked to end and failed at it may have left work undone.
fn stopped(status: ExitStatus, took: Duration) -> String {
    let how = match status {
        ExitStatus::Code(code) if code != 0 => format!(" with exit code {code}"),
        ExitStatus::Code(_) | ExitStatus::Signal(_) | ExitStatus::Unknown => String::new(),
    };
    format!("has stopped{how}, {} after it was asked to", human(took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_failed_while_it_stopped_is_told_with_its_exit_code() {
        let took = Duration::from_millis(2_800);
        assert_eq!(
            stopped(ExitStatus::Code(255), took),
            "has stopped with exit code 255, 2.8s after it was asked to"
        );
        for as_asked in [ExitStatus::Code(0), ExitStatus::Signal(15)] {
            assert_eq!(stopped(as_asked, took), "has stopped, 2.8s after it was asked to");
        }
    }
}
