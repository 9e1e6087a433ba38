//! The table of incarnations, and how a process is started: a named pipe, the order in a memory file, a pipe for the
//! shim's report, and the shim. Starting never waits for the program; the report pipe tells later how it went.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::Value;

use super::protocol::{InventoryProcess, InventoryState, NotifyOrder, SpawnOrder};
use super::records::{self, Place, Record};
use super::shim::{NOT_RECORDED, ShimOrder, ShimReport};
use super::standby::Standby;
use super::tree::Tree;
use crate::core::exit::ExitStatus;
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::sys::{cgroup, clock, notify, shortage};

/// File descriptors that spawns leave free: a quarter of all, within these bounds. A few are for a new controller's socket
/// and for reading `/proc`; most are for the controller, which has the same limit, holds as many for each process, and
/// must open files and connections besides.
const RESERVED_DESCRIPTORS: std::ops::RangeInclusive<u64> = 16..=512;

/// The longest report that is read from a shim, in bytes.
const REPORT_BYTES_MAX: u64 = 4096;

/// One incarnation, from its order until it is released.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) note: Note,
    pub(super) phase: Phase,
    pub(super) tree: Tree,
    /// Whether the whole tree is being killed.
    pub(super) is_killed: bool,
    /// Whether the controller has no more use for it.
    pub(super) is_released: bool,
    /// What holds a leader that an earlier keeper started.
    pub(super) adopted: Option<Adopted>,
    /// Where it is written down, if it is.
    pub(super) record: Option<PathBuf>,
    pub(super) output: Pipe,
    /// That of stderr, where it has one of its own.
    pub(super) errors: Option<Pipe>,
    /// The socket over which it says how it is, until it is held among what is kept.
    pub(super) notify: Option<OwnedFd>,
}

/// A named pipe that a life prints into.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) path: PathBuf,
    /// Held so that neither the program nor the controller ever finds the pipe without its other end.
    pub(super) held: Option<OwnedFd>,
}

impl Pipe {
    fn to_be(path: &Path) -> Self {
        Self { path: path.to_owned(), held: None }
    }

    /// Makes it, and holds it.
    fn make(&mut self, open_files_max: Option<u64>) -> Result<(), ShimReport> {
        let path = self.path.display().to_string();
        let failed =
            |step: String| move |error: io::Error| ShimReport { step, cause: shortage::cause(error) };
        rustix::fs::mkfifoat(CWD, &self.path, Mode::from_raw_mode(0o600))
            .map_err(|error| failed(format!("make pipe {path}"))(error.into()))?;
        match hold(&self.path, open_files_max) {
            Ok(held) => {
                self.held = Some(held);
                Ok(())
            }
            Err(error) => {
                self.remove();
                Err(failed(format!("open output {path}"))(error))
            }
        }
    }

    fn remove(&mut self) {
        self.held = None;
        // One that the controller or an administrator removed already is removed.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What is held of a life that an earlier keeper started: it is nobody's child here.
#[derive(Debug)]
pub(super) struct Adopted {
    /// The leader, while it lives; it becomes readable when that ends.
    pub(super) process: Option<OwnedFd>,
    /// How many looks in a row found nothing left.
    pub(super) empty_looks: u32,
}

/// What the controller wrote on an incarnation, as text: a tree of values takes ten times the memory.
#[derive(Debug, Default)]
pub(super) struct Note(pub(super) Option<Box<str>>);

impl Note {
    fn of(value: &Value) -> Self {
        Self((!value.is_null()).then(|| value.to_string().into_boxed_str()))
    }

    fn to_value(&self) -> Value {
        let parse = |text: &str| serde_json::from_str(text).expect("it was written from a value");
        self.0.as_deref().map_or(Value::Null, parse)
    }
}

/// How far an incarnation got.
#[derive(Debug)]
pub(super) enum Phase {
    /// The shim was started; its report has not ended yet.
    Spawning { pid: i32, report: File, said: Vec<u8> },
    /// The program was exec'd.
    Running { pid: i32, at: Time },
    /// It could not be.
    CouldNotSpawn { failure: ShimReport, at: Time },
    /// The leader was reaped.
    Exited { pid: i32, started_at: Time, status: ExitStatus, left: u32, is_gone: bool, at: Time },
}

impl Child {
    /// The leader's number while it was not reaped.
    pub(super) fn leader(&self) -> Option<i32> {
        match &self.phase {
            Phase::Spawning { pid, .. } | Phase::Running { pid, .. } => Some(*pid),
            Phase::CouldNotSpawn { .. } | Phase::Exited { .. } => None,
        }
    }

    /// Whether no process of it can be left.
    pub(super) fn is_gone(&self) -> bool {
        match &self.phase {
            Phase::Spawning { .. } | Phase::Running { .. } => false,
            Phase::CouldNotSpawn { .. } => true,
            Phase::Exited { is_gone, .. } => *is_gone,
        }
    }

    /// Whether its leader has ended and the rest is not known to be gone.
    pub(super) fn is_left_to_count(&self) -> bool {
        matches!(self.phase, Phase::Exited { is_gone: false, .. })
    }

    /// Whether an earlier keeper started it.
    pub(super) fn is_adopted(&self) -> bool {
        self.adopted.is_some()
    }

    /// Writes another note on it.
    ///
    /// # Errors
    /// It could not be written down; a keeper that follows this one would not know it.
    pub(super) fn note(&mut self, note: &Value) -> io::Result<()> {
        self.note = Note::of(note);
        self.record.as_deref().map_or(Ok(()), |record| records::write_note(record, note))
    }

    /// The socket that was made for it, once.
    pub(super) fn take_notify(&mut self) -> Option<OwnedFd> {
        self.notify.take()
    }

    /// Removes its record and its pipes.
    fn remove_traces(&mut self) {
        if let Some(record) = self.record.take() {
            records::remove(&record);
        }
        if let Some(life) = self.tree.cgroup() {
            cgroup::remove(life);
        }
        self.output.remove();
        if let Some(errors) = &mut self.errors {
            errors.remove();
        }
    }
}

/// Every incarnation that was not released.
#[derive(Debug, Default)]
pub(super) struct Children {
    table: BTreeMap<Incarnation, Child>,
    by_pid: BTreeMap<i32, Incarnation>,
    by_report: BTreeMap<RawFd, Incarnation>,
    /// Lives that an earlier keeper started, by what holds their leader. Their numbers are not kept from being used again, so
    /// they are not among `by_pid`.
    by_process: BTreeMap<RawFd, Incarnation>,
    pub(super) last_incarnation: Incarnation,
}

impl Children {
    /// Those that another keeper knew in this process.
    pub(super) fn restored(table: BTreeMap<Incarnation, Child>, last_incarnation: Incarnation) -> Self {
        let mut children = Self { last_incarnation, ..Self::default() };
        for (incarnation, child) in &table {
            if let Phase::Spawning { report, .. } = &child.phase {
                children.by_report.insert(report.as_raw_fd(), *incarnation);
            }
            match (&child.adopted, child.leader()) {
                (Some(Adopted { process: Some(process), .. }), Some(_)) => {
                    children.by_process.insert(process.as_raw_fd(), *incarnation);
                }
                (None, Some(pid)) => drop(children.by_pid.insert(pid, *incarnation)),
                (Some(_), _) | (None, None) => {}
            }
        }
        children.table = table;
        children
    }

    pub(super) fn get_mut(&mut self, incarnation: Incarnation) -> Option<&mut Child> {
        self.table.get_mut(&incarnation)
    }

    pub(super) fn phase(&self, incarnation: Incarnation) -> Option<&Phase> {
        self.table.get(&incarnation).map(|child| &child.phase)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Incarnation, &Child)> {
        self.table.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Incarnation, &mut Child)> {
        self.table.iter_mut()
    }

    pub(super) fn by_pid(&self, pid: i32) -> Option<Incarnation> {
        self.by_pid.get(&pid).copied()
    }

    pub(super) fn by_report(&self, report: RawFd) -> Option<Incarnation> {
        self.by_report.get(&report).copied()
    }

    pub(super) fn by_process(&self, process: RawFd) -> Option<Incarnation> {
        self.by_process.get(&process).copied()
    }

    /// How many leaders live.
    pub(super) fn living(&self) -> usize {
        self.by_pid.len() + self.by_process.len()
    }

    /// Whether no process of any incarnation is left.
    pub(super) fn are_gone(&self) -> bool {
        self.table.values().all(Child::is_gone)
    }

    pub(super) fn inventory(&self) -> Vec<InventoryProcess> {
        let describe = |(incarnation, child): (&Incarnation, &Child)| InventoryProcess {
            incarnation: *incarnation,
            output: child.output.path.clone(),
            errors: child.errors.as_ref().map(|pipe| pipe.path.clone()),
            note: child.note.to_value(),
            adopted: child.is_adopted(),
            state: match &child.phase {
                Phase::Spawning { .. } => InventoryState::Spawning,
                Phase::Running { pid, at } => InventoryState::Running { pid: *pid, at: *at },
                Phase::CouldNotSpawn { failure: ShimReport { step, cause }, at } => {
                    InventoryState::CouldNotSpawn { step: step.clone(), cause: cause.clone(), at: *at }
                }
                Phase::Exited { pid, started_at, status, left, is_gone, at } => InventoryState::Exited {
                    pid: *pid,
                    started_at: *started_at,
                    status: *status,
                    // 0 says that all are gone and no more will be told; until that is certain it is at least 1.
                    left: if *is_gone { 0 } else { (*left).max(1) },
                    at: *at,
                },
            },
        };
        self.table.iter().map(describe).collect()
    }

    /// Starts the shim for an order. The report pipe is to be watched; a failure is recorded like one of the shim's.
    ///
    /// A standby takes the order if it can. An order that is refused for its number is not recorded: the number belongs to another or is spent.
    pub(super) fn spawn(
        &mut self,
        order: SpawnOrder,
        shim: &Shim,
        standby: &mut Option<Standby>,
    ) -> Result<RawFd, ShimReport> {
        let incarnation = order.incarnation;
        if incarnation <= self.last_incarnation {
            let cause = format!("incarnation {incarnation} was ordered before");
            return Err(ShimReport { step: "order".to_owned(), cause });
        }
        self.last_incarnation = incarnation;
        let mut child = Child {
            note: Note::default(),
            phase: Phase::CouldNotSpawn { failure: ShimReport::default(), at: clock::now() },
            tree: Tree::new(incarnation, &order.environment),
            is_killed: false,
            is_released: false,
            adopted: None,
            record: shim.records.as_ref().map(|place| place.directory.join(incarnation.to_string())),
            output: Pipe::to_be(&order.output),
            errors: order.errors.as_deref().map(Pipe::to_be),
            notify: None,
        };
        let group = order.cgroup.as_ref().zip(shim.cgroup_base.as_ref());
        child.tree.set_cgroup(group.map(|(group, base)| {
            let keeper = rustix::process::getpid().as_raw_nonzero().get();
            cgroup::of_life(base, keeper, &group.name, incarnation.0)
        }));
        let started = start(&order, shim, standby, &mut child);
        child.note = Note::of(&order.note);
        let result = match started {
            Ok((pid, report)) => {
                let descriptor = report.as_raw_fd();
                child.tree.leader_started(pid);
                child.phase = Phase::Spawning { pid, report, said: Vec::new() };
                self.by_pid.insert(pid, incarnation);
                self.by_report.insert(descriptor, incarnation);
                Ok(descriptor)
            }
            Err(failure) => {
                child.phase = Phase::CouldNotSpawn { failure: failure.clone(), at: clock::now() };
                Err(failure)
            }
        };
        self.table.insert(incarnation, child);
        result
    }

    /// Takes over a life that an earlier keeper started. Without a `process` its leader is gone, nobody knows how.
    pub(super) fn adopt(
        &mut self,
        record: Record,
        path: PathBuf,
        process: Option<OwnedFd>,
        (output, errors): (Option<OwnedFd>, Option<OwnedFd>),
        now: Time,
    ) {
        let Record { incarnation, pid, start_time_ticks, started_at, marks, note, cgroup, .. } = record;
        let output = Pipe { path: record.output, held: output };
        let errors = record.errors.map(|path| Pipe { path, held: errors });
        let phase = match &process {
            Some(process) => {
                self.by_process.insert(process.as_raw_fd(), incarnation);
                Phase::Running { pid, at: started_at }
            }
            None => {
                let status = ExitStatus::Unknown;
                Phase::Exited { pid, started_at, status, left: 1, is_gone: false, at: now }
            }
        };
        let leader = process.is_some().then_some((pid, start_time_ticks));
        let mut tree = Tree::adopted(incarnation, marks, leader);
        tree.set_cgroup(cgroup);
        let child = Child {
            note: Note::of(&note),
            phase,
            tree,
            is_killed: false,
            is_released: false,
            adopted: Some(Adopted { process, empty_looks: 0 }),
            record: Some(path),
            output,
            errors,
            notify: None,
        };
        self.last_incarnation = self.last_incarnation.max(incarnation);
        self.table.insert(incarnation, child);
    }

    /// Looks whether the shim's report has ended: with nothing said the program was exec'd. A leader that was reaped,
    /// `is_reaped`, says no more.
    ///
    /// Returns the incarnation's outcome once: the leader's number and whether it should have been written down and was not,
    /// or what failed.
    pub(super) fn settle(
        &mut self,
        incarnation: Incarnation,
        is_reaped: bool,
    ) -> Option<Result<(i32, bool), ShimReport>> {
        let child = self.table.get_mut(&incarnation)?;
        let Phase::Spawning { pid, report, said } = &mut child.phase else { return None };
        // The pipe ends when the program is exec'd or the shim exits; until then there may be more.
        match report.take(REPORT_BYTES_MAX).read_to_end(said) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !is_reaped {
                    return None;
                }
            }
            Err(error) => said.extend_from_slice(error.to_string().as_bytes()),
        }
        self.by_report.remove(&report.as_raw_fd());
        let (pid, mut said, at) = (*pid, std::mem::take(said), clock::now());
        let is_unrecorded = said.first() == Some(&NOT_RECORDED);
        if is_unrecorded {
            said.remove(0);
        }
        if said.is_empty() {
            child.phase = Phase::Running { pid, at };
            return Some(Ok((pid, is_unrecorded)));
        }
        // Anything but a report is what the shim or its loader said on stderr before it could report.
        let failure: ShimReport = serde_json::from_slice(&said).unwrap_or_else(|_| ShimReport {
            step: "start".to_owned(),
            cause: String::from_utf8_lossy(&said).trim().to_owned(),
        });
        child.phase = Phase::CouldNotSpawn { failure: failure.clone(), at };
        child.tree.leader_ended();
        child.remove_traces();
        // The shim's own exit is nobody's business: it is reaped like an orphan.
        self.by_pid.remove(&pid);
        Some(Err(failure))
    }

    /// The leader was reaped. It must have been settled before.
    pub(super) fn exited(
        &mut self,
        incarnation: Incarnation,
        status: ExitStatus,
        left: u32,
        exited_at: Time,
    ) {
        let Some(child) = self.table.get_mut(&incarnation) else { return };
        let Phase::Running { pid, at } = child.phase else { return };
        match &mut child.adopted {
            Some(adopted) => {
                let process = adopted.process.take();
                self.by_process.retain(|held, _| process.as_ref().is_none_or(|own| own.as_raw_fd() != *held));
            }
            None => drop(self.by_pid.remove(&pid)),
        }
        child.tree.leader_ended();
        child.phase = Phase::Exited { pid, started_at: at, status, left, is_gone: false, at: exited_at };
    }

    /// Forgets an incarnation whose processes are gone, and removes its pipe; one that is not gone yet is forgotten then.
    pub(super) fn release(&mut self, incarnation: Incarnation) {
        let Some(child) = self.table.get_mut(&incarnation) else { return };
        if child.leader().is_some() {
            return;
        }
        child.is_released = true;
        if child.is_gone() {
            child.remove_traces();
            self.table.remove(&incarnation);
        }
    }

    /// Removes every pipe, at the end of everything.
    pub(super) fn remove_traces(&mut self) {
        for child in self.table.values_mut() {
            child.remove_traces();
        }
    }
}

/// What is the same for every spawn.
#[derive(Debug)]
pub(super) struct Shim {
    /// The binary that is the shim when its first argument says so.
    pub(super) binary: PathBuf,
    /// The soft limit on open files as Leveret found it, for the programs; none is unlimited.
    pub(super) open_files: Option<u64>,
    /// The keeper's own limit.
    pub(super) open_files_max: Option<u64>,
    /// Where lives are written down, once a controller has said where.
    pub(super) records: Option<Place>,
    /// The control group below which lives have theirs, if there are any here.
    pub(super) cgroup_base: Option<PathBuf>,
}

/// Makes the pipes, hands the order over and starts the shim; whatever fails, nothing is left of it.
fn start(
    order: &SpawnOrder,
    shim: &Shim,
    standby: &mut Option<Standby>,
    child: &mut Child,
) -> Result<(i32, File), ShimReport> {
    let failed = |step: String| move |error: io::Error| ShimReport { step, cause: shortage::cause(error) };
    if order.argv.is_empty() {
        return Err(ShimReport { step: "order".to_owned(), cause: "there is no command".to_owned() });
    }
    child.output.make(shim.open_files_max)?;
    let errors = child.errors.as_mut().map_or(Ok(()), |errors| errors.make(shim.open_files_max));
    let launched = errors.and_then(|()| {
        if let Some(NotifyOrder { path, .. }) = &order.notify {
            let step = || format!("make socket {}", path.display());
            child.notify = Some(notify::listen(path).map_err(failed(step()))?);
        }
        hand_over(order, child.tree.cgroup(), shim, standby).map_err(failed("start process".to_owned()))
    });
    if launched.is_err() {
        child.remove_traces();
        if let (Some(_), Some(NotifyOrder { path, .. })) = (child.notify.take(), &order.notify) {
            // It was made a moment ago.
            let _ = std::fs::remove_file(path);
        }
    }
    launched
}

pub(super) fn hold(output: &Path, open_files_max: Option<u64>) -> io::Result<OwnedFd> {
    let held = rustix::fs::open(output, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    // The kernel gives the lowest free number, so a high one means that few are free.
    let reserved = |max: u64| (max / 4).clamp(*RESERVED_DESCRIPTORS.start(), *RESERVED_DESCRIPTORS.end());
    if open_files_max.is_some_and(|max| held.as_raw_fd() as u64 + reserved(max) >= max) {
        return Err(Errno::MFILE.into());
    }
    Ok(held)
}

/// Has the standby take the order, or else a new shim.
fn hand_over(
    order: &SpawnOrder,
    cgroup: Option<&Path>,
    shim: &Shim,
    standby: &mut Option<Standby>,
) -> io::Result<(i32, File)> {
    let shim_order = ShimOrder {
        spawn: std::borrow::Cow::Borrowed(order),
        open_files: shim.open_files,
        records: shim.records.clone(),
        cgroup: cgroup.map(Path::to_owned),
    };
    let text = serde_json::to_vec(&shim_order)?;
    if let Some(taken) = standby.take().and_then(|standby| standby.take(&text)) {
        return Ok(taken);
    }
    let mut memory = File::from(rustix::fs::memfd_create("order", MemfdFlags::CLOEXEC)?);
    memory.write_all(&text)?;
    memory.rewind()?;
    launch(memory.into(), "leveret: starting", shim)
}

/// Starts a shim that reads its order from `order`; returns its number and the pipe of its report.
pub(super) fn launch(order: OwnedFd, name: &str, shim: &Shim) -> io::Result<(i32, File)> {
    let (report, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&report, true)?;
    let spawned = Command::new(&shim.binary)
        .arg0(name)
        .arg(super::shim::ARGUMENT)
        .env_clear()
        .stdin(Stdio::from(order))
        // On stderr as well: if the shim cannot even begin, its loader's or runtime's words become the cause.
        .stderr(Stdio::from(theirs.as_fd().try_clone_to_owned()?))
        .stdout(Stdio::from(theirs))
        .spawn()?;
    Ok((spawned.id() as i32, File::from(report)))
}
