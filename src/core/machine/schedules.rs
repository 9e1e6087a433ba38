//! Runs of schedules: when one is due, what becomes of it while another goes on, when it has taken too long, and its end.

use std::time::Duration;

use super::Machine;
use crate::core::event::Notice;
use crate::core::exit::ExitStatus;
use crate::core::ids::{ProcessId, ProgramName};
use crate::core::observed::{Phase, StopCause};
use crate::core::restart::{Ending, after_ending, how_it_ended};
use crate::core::runs::{LATE, Next, Origin, Run, RunResult, Runs, SET_BACK, next_after};
use crate::core::schedule::Wall;
use crate::core::spec::{Missed, Overlap, RestartPolicy, ScheduleSpec};
use crate::core::time::{Time, human};
use crate::core::world::{Program, World};

/// A wall clock that is off by more than this between two looks was set.
const CLOCK_SET_MICROS: u64 = 2_000_000;

impl Machine {
    /// How the wall clock stands. One that was set is told where it matters.
    pub(super) fn wall(&mut self, wall: Wall) {
        let before = self.world.wall.replace(wall);
        let Some(before) = before else { return };
        let has_schedules = self.world.programs.values().any(|program| program.runs.is_some());
        if has_schedules && wall.ahead_micros.abs_diff(before.ahead_micros) > CLOCK_SET_MICROS {
            self.notices.push(Notice::ClockSet((wall.ahead_micros - before.ahead_micros) / 1_000_000));
        }
    }

    /// A process of a program with a schedule ended by itself, or could not be started.
    pub(super) fn settle_run(&mut self, process: &ProcessId, ending: Ending<'_>) {
        let wall = self.world.wall;
        let halted = is_halted(&self.world, process);
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let (Some(runs), Some(slot)) = (&mut program.runs, program.slots.get_mut(&process.slot)) else {
            return;
        };
        let how = match ending.status {
            Some(status) => status.to_string(),
            None => format!("cannot start: {}", slot.trouble.as_deref().unwrap_or("unknown")),
        };
        let failed = !ending.status.is_some_and(ExitStatus::is_clean);
        let may_try_again = ending.policy == RestartPolicy::OnFailure && runs.cut.is_none() && !halted;
        if failed && may_try_again && runs.current.is_some() {
            let sentence = after_ending(slot, ending);
            if matches!(slot.phase, Phase::Backoff { .. }) {
                self.notices.push(Notice::Ended(process.clone(), sentence));
                return;
            }
        }
        // What comes next is the next run, however many attempts this one had.
        slot.again = None;
        slot.failures = 0;
        slot.phase = Phase::Exited { at: ending.at };
        if runs.current.is_none() {
            self.notices
                .push(Notice::Ended(process.clone(), how_it_ended(slot, ending.status, ending.lived)));
            return;
        }
        let result = if failed { RunResult::Failed } else { RunResult::Succeeded };
        self.end_run(process, result, how, ending.at, wall);
    }

    /// A process of a program with a schedule is gone after it was asked to end.
    pub(super) fn settle_stopped_run(&mut self, process: &ProcessId, cause: StopCause, at: Time) {
        let wall = self.world.wall;
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let timeout = program.spec.schedule().and_then(|schedule| schedule.timeout);
        let is_run = program.runs.as_ref().is_some_and(|runs| runs.current.is_some());
        if process.slot == 0 && is_run {
            let (result, how) = cut_words(cause, timeout);
            self.end_run(process, result, how, at, wall);
        }
    }

    fn end_run(&mut self, process: &ProcessId, result: RunResult, how: String, at: Time, wall: Option<Wall>) {
        let Some(program) = self.world.programs.get_mut(&process.program) else { return };
        let Some(runs) = &mut program.runs else { return };
        end(runs, program.spec.name.clone(), (result, how), at, wall, &mut self.notices);
    }
}

/// Whether nothing of it should run at present.
fn is_halted(world: &World, process: &ProcessId) -> bool {
    let program = world.programs.get(&process.program);
    world.shutdown.is_some() || program.is_none_or(|program| program.retiring || program.is_stopped())
}

fn end(
    runs: &mut Runs,
    name: ProgramName,
    (result, how): (RunResult, String),
    at: Time,
    wall: Option<Wall>,
    notices: &mut Vec<Notice>,
) {
    runs.end(result, how, at, wall);
    if let Some(last) = &runs.last {
        let words = last.words();
        let sentence = words.strip_prefix("the last run ").unwrap_or(&words);
        notices.push(Notice::RunEnded(name, result == RunResult::Succeeded, format!("the run {sentence}")));
    }
}

/// What the end of a run means that was asked to end.
fn cut_words(cause: StopCause, timeout: Option<Duration>) -> (RunResult, String) {
    let stopped = |how: &str| (RunResult::Stopped, how.to_owned());
    match cause {
        StopCause::Timeout => {
            let limit = timeout.map_or_else(|| "it may".to_owned(), human);
            (RunResult::Failed, format!("took longer than {limit}"))
        }
        StopCause::Replaced => stopped("the next run took its place"),
        StopCause::Operator => stopped("by an operator"),
        StopCause::Restart => stopped("for a run by hand"),
        StopCause::Removed => stopped("its program was removed"),
        StopCause::Shutdown => stopped("Leveret shut down"),
        StopCause::Changed | StopCause::ScaleIn | StopCause::Rollout | StopCause::Recycle => {
            stopped("its configuration changed")
        }
        StopCause::LeaderEnded => stopped("its main process ended"),
        StopCause::Unfit(unfit) => (RunResult::Failed, unfit.words().to_owned()),
    }
}

/// What time alone does to a program with a schedule: runs end, are due, and begin.
pub(super) fn advance(
    program: &mut Program,
    wall: Option<Wall>,
    (now, seed): (Time, u64),
    shutting_down: bool,
    notices: &mut Vec<Notice>,
) {
    let occupied = program.is_occupied();
    let stopped = program.is_stopped();
    let halted = match (shutting_down, program.retiring, stopped) {
        (true, _, _) => Some(StopCause::Shutdown),
        (false, true, _) => Some(StopCause::Removed),
        (false, false, true) => Some(StopCause::Operator),
        (false, false, false) => None,
    };
    let Some(spec) = program.spec.schedule() else { return };
    let Some(runs) = &mut program.runs else { return };
    if let Some(run) = runs.current {
        let is_over = spec.timeout.is_some_and(|timeout| run.began_at + timeout <= now);
        if is_over && runs.cut.is_none() && halted.is_none() {
            runs.cut = Some(StopCause::Timeout);
        }
        // Between two attempts there is nothing that could be stopped.
        let ends = runs.cut.or(halted);
        if let Some(cause) = ends.filter(|_| !occupied) {
            let words = cut_words(cause, spec.timeout);
            end(runs, program.spec.name.clone(), words, now, wall, notices);
            settle_slot(program);
            return advance(program, wall, (now, seed), shutting_down, notices);
        }
    }
    if halted.is_some() {
        runs.waiting = None;
        // What comes due while it rests is not missed; what comes due while Leveret is away is.
        if stopped {
            runs.deal_with(None);
        }
        return;
    }
    let Some(wall) = wall else { return };
    look_at_the_clock(program, wall, (now, seed), occupied, notices);
    // The run that waits for its next attempt gives way at once.
    let gives_way = program.runs.as_ref().is_some_and(|runs| runs.current.is_some() && runs.cut.is_some());
    if gives_way && !occupied {
        return advance(program, Some(wall), (now, seed), shutting_down, notices);
    }
    begin(program, wall, now, occupied, notices);
}

/// Nothing of the run that is over stands in the way of the next one.
fn settle_slot(program: &mut Program) {
    if let Some(slot) = program.slots.get_mut(&0)
        && slot.phase.life().is_none()
    {
        slot.phase = Phase::Empty;
        slot.failures = 0;
        slot.again = None;
    }
}

fn look_at_the_clock(
    program: &mut Program,
    wall: Wall,
    (now, seed): (Time, u64),
    occupied: bool,
    notices: &mut Vec<Notice>,
) {
    let name = program.spec.name.clone();
    let Some(spec) = program.spec.schedule() else { return };
    let Some(runs) = &mut program.runs else { return };
    let (shown, shown_micros) = (wall.seconds_at(now), wall.micros_at(now));
    if runs.dealt_with.is_none_or(|moment| moment.saturating_sub(shown) > SET_BACK) {
        runs.deal_with(Some(shown));
    }
    let Some(next) = runs.next(spec, &name, seed).filter(|next| next.start_micros <= shown_micros) else {
        return;
    };
    let seed = runs.seed(seed);
    let recent =
        |after| next_after(spec, after, &name, seed).filter(|next| next.start_micros <= shown_micros);
    let is_late = shown_micros - next.start_micros > LATE * 1_000_000;
    let found = if is_late { recent(shown - LATE) } else { Some(next) };
    match (found, spec.missed) {
        // Of several the newest counts: a schedule of every second does not run sixty times for a minute's wait.
        (Some(found), _) => {
            let newest =
                std::iter::successors(Some(found), |next: &Next| recent(next.due)).last().unwrap_or(found);
            runs.deal_with(Some(newest.due));
            due(spec, runs, Origin::Due(newest.due), occupied, (&name, shown), notices);
        }
        (None, Missed::Once) => {
            runs.deal_with(Some(shown));
            due(spec, runs, Origin::Missed(next.due), occupied, (&name, shown), notices);
        }
        (None, Missed::Skip) => {
            runs.deal_with(Some(shown));
            runs.count(RunResult::Missed);
            let when = spec.timezone.words(next.due, shown).unwrap_or_default();
            let sentence = format!("what was due {when} was missed and is left out, as configured");
            notices.push(Notice::RunLeftOut(name.clone(), sentence));
        }
    }
    // For the wake and for the page.
    runs.next(spec, &name, seed);
}

/// A run is due: it begins, waits, takes the place of another, or is left out.
fn due(
    spec: &ScheduleSpec,
    runs: &mut Runs,
    origin: Origin,
    occupied: bool,
    (name, shown): (&ProgramName, i64),
    notices: &mut Vec<Notice>,
) {
    let (Origin::Due(moment) | Origin::Missed(moment)) = origin else { return };
    let is_free = runs.current.is_none() && !occupied;
    match spec.overlap {
        _ if is_free && runs.waiting.is_none() => runs.waiting = Some(origin),
        Overlap::Replace => {
            runs.waiting = Some(origin);
            if runs.current.is_some() {
                runs.cut.get_or_insert(StopCause::Replaced);
            }
        }
        Overlap::Queue if runs.waiting.is_none() => runs.waiting = Some(origin),
        Overlap::Skip | Overlap::Queue => {
            runs.count(RunResult::Skipped);
            let when = spec.timezone.words(moment, shown).unwrap_or_default();
            let why = match spec.overlap {
                Overlap::Queue => "another one waits already",
                Overlap::Skip | Overlap::Replace => "the one before goes on",
            };
            let sentence = format!("the run due {when} is left out, because {why}");
            notices.push(Notice::RunLeftOut(name.clone(), sentence));
        }
    }
}

fn begin(program: &mut Program, wall: Wall, now: Time, occupied: bool, notices: &mut Vec<Notice>) {
    let name = program.spec.name.clone();
    let Some(spec) = program.spec.schedule() else { return };
    let Some(runs) = program.runs.as_mut().filter(|runs| runs.current.is_none() && !occupied) else { return };
    let Some(origin) = runs.waiting.take() else { return };
    runs.current = Some(Run { origin, began_at: now });
    runs.cut = None;
    let words = |moment| spec.timezone.words(moment, wall.seconds_at(now)).unwrap_or_default();
    let why = match origin {
        Origin::Due(moment) => format!("due {}", words(moment)),
        Origin::Missed(moment) => format!("makes up for what was missed {}", words(moment)),
        Origin::Hand => "by hand".to_owned(),
    };
    notices.push(Notice::RunBegan(name, why));
    settle_slot(program);
}
