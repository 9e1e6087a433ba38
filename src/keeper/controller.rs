//! The keeper's view of its controller: one process at a time, connected, leaving, or waiting to be started again.
//! Nothing that a controller does or fails to do may block the keeper or outlive the controller here.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::frame::{FrameReader, FrameWriter, WAITING_BYTES_MAX};
use super::handover::{Arrived, Row};
use super::protocol::{FRAME_BYTES_MAX, Fact, Order};
use super::signals;
use crate::core::exit::{ExitStatus, signal_name};
use crate::core::time::Time;

/// A controller that lived this long was healthy: the next one is started at once, as it is after a kill from outside.
const HEALTHY_LIFE: Duration = Duration::from_secs(2);

/// The wait after the second short life in a row; it doubles with each further one.
const BACKOFF_INITIAL: Duration = Duration::from_millis(50);

/// The longest wait before a controller is started again.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long a controller whose connection was closed may take to end by itself.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// After so many lives in a row that ended before an order came, the keeper no longer counts on a controller.
const SILENT_LIVES_MAX: u32 = 3;

/// The most reads from the socket of a controller that has ended.
const DRAIN_READS_MAX: usize = 1024;

/// An order with the file descriptor that came with it.
pub(super) type Received = (Order, Option<OwnedFd>);

#[derive(Debug)]
pub(super) struct Controller {
    program: PathBuf,
    /// Another program, while it is tried.
    replacement: Option<PathBuf>,
    arguments: Vec<OsString>,
    state: State,
    /// How many were started.
    started: u32,
    /// Whether any controller ever sent an order; until then the keeper has nothing to keep and ends with it.
    was_heard: bool,
    short_lives: u32,
    silent_lives: u32,
    /// How the last one ended, for the line that says that it was started again.
    last_end: Option<String>,
}

#[derive(Debug)]
enum State {
    /// None lives; one is started at this moment.
    Waiting { start_at: Time },
    /// One lives and speaks.
    Connected(Connection),
    /// One lives, but its connection was closed; it is killed at this moment, if it was not killed already.
    Leaving { life: Life, kill_at: Option<Time> },
}

#[derive(Clone, Copy, Debug)]
struct Life {
    pid: i32,
    started_at: Time,
    was_heard: bool,
    /// Whether it was told to end.
    is_to_end: bool,
}

#[derive(Debug)]
struct Connection {
    life: Life,
    socket: OwnedFd,
    reader: FrameReader,
    writer: FrameWriter,
}

/// What follows the end of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one is started when its time has come.
    Again,
    /// It was the first start and the controller ended by itself: the keeper ends with this exit code.
    End(u8),
}

impl Controller {
    pub(super) fn new(program: PathBuf, arguments: Vec<OsString>, start_at: Time) -> Self {
        Self {
            program,
            replacement: None,
            arguments,
            state: State::Waiting { start_at },
            started: 0,
            was_heard: false,
            short_lives: 0,
            silent_lives: 0,
            last_end: None,
        }
    }

    /// Starts a controller; the returned socket is to be watched. The first fact must be the inventory.
    pub(super) fn start(&mut self, now: Time) -> io::Result<RawFd> {
        let result = self.launch(now);
        match &result {
            Ok(_) => self.started += 1,
            Err(_) => {
                self.silent_lives += 1;
                self.state = State::Waiting { start_at: now + self.next_wait() };
            }
        }
        result
    }

    fn launch(&mut self, now: Time) -> io::Result<RawFd> {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let spawned = Command::new(self.replacement.as_ref().unwrap_or(&self.program))
            .arg0("leveret: controller")
            .args(&self.arguments)
            .stdin(Stdio::from(theirs))
            .spawn()?;
        let descriptor = socket.as_raw_fd();
        self.state = State::Connected(Connection {
            life: Life { pid: spawned.id() as i32, started_at: now, was_heard: false, is_to_end: false },
            socket,
            reader: FrameReader::new(FRAME_BYTES_MAX),
            writer: FrameWriter::new(WAITING_BYTES_MAX),
        });
        Ok(descriptor)
    }

    /// Has the next ones be of another program, or again of the first; returns whether that changes anything.
    pub(super) fn use_program(&mut self, replacement: Option<PathBuf>) -> bool {
        std::mem::replace(&mut self.replacement, replacement) != self.replacement
    }

    pub(super) fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// It was told to end: the next one is started at once, however long this one has lived.
    pub(super) fn expect_end(&mut self) {
        match &mut self.state {
            State::Waiting { .. } => {}
            State::Connected(Connection { life, .. }) | State::Leaving { life, .. } => life.is_to_end = true,
        }
    }

    /// Whether any controller ever sent an order.
    pub(super) fn was_heard(&self) -> bool {
        self.was_heard
    }

    /// Whether nothing that was said to or by a controller is only half written or half read.
    pub(super) fn is_quiet(&self) -> bool {
        match &self.state {
            State::Waiting { .. } => true,
            State::Connected(connection) => connection.writer.is_empty() && connection.reader.is_empty(),
            State::Leaving { .. } => false,
        }
    }

    /// How many controllers there were before the one that lives.
    pub(super) fn before(&self) -> u32 {
        self.started.saturating_sub(1)
    }

    /// How the one before this one ended.
    pub(super) fn last_end(&self) -> Option<&str> {
        self.last_end.as_deref()
    }

    /// How the one before this one ended, once.
    pub(super) fn take_last_end(&mut self) -> Option<String> {
        self.last_end.take()
    }

    pub(super) fn pid(&self) -> Option<i32> {
        match &self.state {
            State::Waiting { .. } => None,
            State::Connected(connection) => Some(connection.life.pid),
            State::Leaving { life, .. } => Some(life.pid),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// The connected socket.
    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        match &self.state {
            State::Connected(connection) => Some(&connection.socket),
            State::Waiting { .. } | State::Leaving { .. } => None,
        }
    }

    /// Whether facts wait for the socket to take them.
    pub(super) fn has_unwritten(&self) -> bool {
        matches!(&self.state, State::Connected(connection) if !connection.writer.is_empty())
    }

    /// Whether starting one has failed so often that the keeper must act alone.
    pub(super) fn is_hopeless(&self) -> bool {
        !self.is_connected() && self.silent_lives >= SILENT_LIVES_MAX
    }

    /// When something is to be done: a start or a kill.
    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Waiting { start_at } => Some(*start_at),
            State::Connected(_) => None,
            State::Leaving { kill_at, .. } => *kill_at,
        }
    }

    pub(super) fn is_due_to_start(&self, now: Time) -> bool {
        matches!(self.state, State::Waiting { start_at } if start_at <= now)
    }

    /// Queues a fact; without a connected controller it is dropped, because the inventory will tell.
    pub(super) fn tell(
        &mut self,
        fact: &Fact,
        descriptor: Option<Arc<OwnedFd>>,
        now: Time,
    ) -> Result<(), String> {
        let State::Connected(connection) = &mut self.state else { return Ok(()) };
        let result = connection.writer.push(fact, descriptor);
        result.map_err(|error| self.lose(&error, now))
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self, now: Time) -> Result<(), String> {
        let State::Connected(connection) = &mut self.state else { return Ok(()) };
        match connection.writer.flush(&connection.socket) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            // It has closed or ended; what it said before that is read first, and the end of it ends the connection.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(self.lose(&error, now)),
        }
    }

    /// One read from the socket and the whole orders that it completed.
    pub(super) fn read(&mut self, now: Time) -> (Vec<Received>, Result<(), String>) {
        let mut orders = Vec::new();
        let State::Connected(connection) = &mut self.state else { return (orders, Ok(())) };
        let lost: Box<dyn std::error::Error> = match connection.reader.fill(connection.socket.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (orders, Ok(())),
            Ok(0) => {
                self.leave(now);
                return (orders, Ok(()));
            }
            // It has ended without reading all facts.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.leave(now);
                return (orders, Ok(()));
            }
            Err(error) => error.into(),
            Ok(_) => loop {
                match connection.reader.take() {
                    Ok(Some(received)) => orders.push(received),
                    Ok(None) => {
                        self.heard(!orders.is_empty());
                        return (orders, Ok(()));
                    }
                    Err(error) => break error.into(),
                }
            },
        };
        self.heard(!orders.is_empty());
        let text = self.lose(lost.as_ref(), now);
        (orders, Err(text))
    }

    fn heard(&mut self, is_heard: bool) {
        if let State::Connected(connection) = &mut self.state
            && is_heard
        {
            connection.life.was_heard = true;
            self.was_heard = true;
            self.silent_lives = 0;
        }
    }

    /// What a controller that has ended said before.
    pub(super) fn drain(&mut self, now: Time) -> Vec<Received> {
        let mut orders = Vec::new();
        for _ in 0..DRAIN_READS_MAX {
            let State::Connected(connection) = &mut self.state else { break };
            // Only a look whether there is more: reading below reports errors.
            match rustix::io::ioctl_fionread(&connection.socket) {
                Ok(bytes) if bytes > 0 => {}
                Ok(_) | Err(_) => break,
            }
            orders.extend(self.read(now).0);
        }
        orders
    }

    /// Closes the connection. The controller is expected to end, and killed if it does not.
    pub(super) fn leave(&mut self, now: Time) {
        if let State::Connected(connection) = &self.state {
            self.state = State::Leaving { life: connection.life, kill_at: Some(now + LEAVE_TIME) };
        }
    }

    fn lose(&mut self, error: &dyn std::error::Error, now: Time) -> String {
        self.leave(now);
        let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        format!("the connection to the controller was closed: {error}{cause}")
    }

    /// Kills a controller that was to end by itself and did not.
    pub(super) fn kill_if_due(&mut self, now: Time) {
        if let State::Leaving { life, kill_at } = &mut self.state
            && kill_at.is_some_and(|at| at <= now)
        {
            *kill_at = None;
            signals::to_child(life.pid, Signal::KILL, false);
        }
    }

    /// Kills it, if one lives.
    pub(super) fn kill(&self) {
        if let Some(pid) = self.pid() {
            signals::to_child(pid, Signal::KILL, false);
        }
    }

    /// It was reaped.
    pub(super) fn ended(&mut self, status: ExitStatus, now: Time) -> Next {
        let life = match &self.state {
            State::Waiting { .. } => return Next::Again,
            State::Connected(connection) => connection.life,
            State::Leaving { life, .. } => *life,
        };
        // One that was at work and was killed from outside has done nothing that the next one would do again.
        let was_killed = life.was_heard && status == ExitStatus::Signal(Signal::KILL.as_raw());
        if now.since(life.started_at) >= HEALTHY_LIFE || life.is_to_end || was_killed {
            self.short_lives = 0;
        }
        if !life.was_heard && !life.is_to_end {
            self.silent_lives += 1;
        }
        self.last_end = Some(match status {
            ExitStatus::Signal(number) => match signal_name(number) {
                Some(name) => format!("was killed by {name}"),
                None => format!("was killed by signal {number}"),
            },
            ExitStatus::Code(code) => format!("ended with exit code {code}"),
            ExitStatus::Unknown => "ended".to_owned(),
        });
        let wait = if life.is_to_end { Duration::ZERO } else { self.next_wait() };
        self.state = State::Waiting { start_at: now + wait };
        match status {
            ExitStatus::Code(code) if !self.was_heard => Next::End(u8::try_from(code).unwrap_or(1)),
            ExitStatus::Code(_) | ExitStatus::Signal(_) | ExitStatus::Unknown => Next::Again,
        }
    }

    /// None after a healthy life, then longer with each short one.
    fn next_wait(&mut self) -> Duration {
        let short_lives = self.short_lives;
        self.short_lives += 1;
        match short_lives.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                BACKOFF_INITIAL.saturating_mul(2u32.saturating_pow(doublings)).min(BACKOFF_MAX)
            }
        }
    }
}

/// What the next keeper in this process is told of the controller.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackedController {
    started: u32,
    was_heard: bool,
    short_lives: u32,
    silent_lives: u32,
    state: PackedState,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PackedState {
    Waiting { start_at: Time },
    Connected { pid: i32, started_at: Time, was_heard: bool, socket: usize },
}

impl Controller {
    /// For the next keeper in this process. It must be quiet; one that is leaving is as good as gone.
    pub(super) fn pack<'a>(&'a self, row: &mut Row<'a>) -> PackedController {
        let state = match &self.state {
            State::Waiting { start_at } => PackedState::Waiting { start_at: *start_at },
            State::Leaving { life, .. } => PackedState::Waiting { start_at: life.started_at },
            State::Connected(Connection { life, socket, .. }) => PackedState::Connected {
                pid: life.pid,
                started_at: life.started_at,
                was_heard: life.was_heard,
                socket: row.add(socket),
            },
        };
        PackedController {
            started: self.started,
            was_heard: self.was_heard,
            short_lives: self.short_lives,
            silent_lives: self.silent_lives,
            state,
        }
    }

    /// As the keeper before knew it.
    pub(super) fn unpack(
        packed: PackedController,
        program: PathBuf,
        arguments: Vec<OsString>,
        arrived: &mut Arrived,
    ) -> io::Result<Self> {
        let state = match packed.state {
            PackedState::Waiting { start_at } => State::Waiting { start_at },
            PackedState::Connected { pid, started_at, was_heard, socket } => State::Connected(Connection {
                life: Life { pid, started_at, was_heard, is_to_end: false },
                socket: arrived.take(socket)?,
                reader: FrameReader::new(FRAME_BYTES_MAX),
                writer: FrameWriter::new(WAITING_BYTES_MAX),
            }),
        };
        Ok(Self {
            program,
            replacement: None,
            arguments,
            state,
            started: packed.started,
            was_heard: packed.was_heard,
            short_lives: packed.short_lives,
            silent_lives: packed.silent_lives,
            last_end: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller() -> Controller {
        Controller::new("/bin/true".into(), Vec::new(), Time::default())
    }

    /// How long is waited after each of several lives, all ended by this signal.
    fn waits_after_lives_of(life: Duration, count: usize, signal: i32) -> Vec<u128> {
        let mut controller = controller();
        let mut now = Time::from_millis(1);
        let mut one = || {
            let life_now = Life { pid: 1, started_at: now, was_heard: true, is_to_end: false };
            controller.state = State::Leaving { life: life_now, kill_at: None };
            now = now + life;
            assert_eq!(controller.ended(ExitStatus::Signal(signal), now), Next::Again);
            controller.deadline().unwrap().since(now).as_millis()
        };
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn the_first_one_that_dies_is_replaced_at_once_and_later_ones_ever_later() {
        let waits = waits_after_lives_of(Duration::from_millis(10), 10, 6);
        assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    }

    #[test]
    fn one_that_dies_every_three_seconds_is_replaced_at_once_each_time() {
        assert_eq!(waits_after_lives_of(Duration::from_secs(3), 20, 6), [0; 20]);
    }

    #[test]
    fn one_that_is_killed_from_outside_is_replaced_at_once_each_time() {
        assert_eq!(waits_after_lives_of(Duration::from_millis(10), 20, 9), [0; 20]);
    }

    #[test]
    fn an_exit_code_ends_the_keeper_only_while_no_order_was_ever_heard() {
        let mut controller = controller();
        let life = Life { pid: 1, started_at: Time::default(), was_heard: false, is_to_end: false };
        controller.state = State::Leaving { life, kill_at: None };
        assert_eq!(controller.ended(ExitStatus::Code(2), Time::default()), Next::End(2));

        controller.was_heard = true;
        controller.state = State::Leaving { life, kill_at: None };
        assert_eq!(controller.ended(ExitStatus::Code(2), Time::default()), Next::Again);
    }

    #[test]
    fn three_lives_without_an_order_are_hopeless() {
        let mut controller = controller();
        for _ in 0..3 {
            assert!(!controller.is_hopeless());
            let life = Life { pid: 1, started_at: Time::default(), was_heard: false, is_to_end: false };
            controller.state = State::Leaving { life, kill_at: None };
            controller.ended(ExitStatus::Signal(11), Time::default());
        }
        assert!(controller.is_hopeless());
    }
}
