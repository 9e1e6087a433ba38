//! The thread that empties every named pipe into its sink.
//!
//! One thread waits for all pipes with epoll, edge-triggered, because a line that is not finished stays in its pipe
//! and must not wake anybody all the time. Pipes with something to move take turns. It never waits for anything else: Leveret's
//! own output has a thread of its own ([`super::stdout`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{fcntl_dupfd_cloexec, read, retry_on_intr, write};

use super::file::{Files, IDLE_MAX};
use super::plumbing::{Plumbing, open_pipe};
use super::reason::reason;
use super::refusals::{Dropped, Refusals};
use super::remarks::remark;
use super::source::{PumpEvent, Sink, Source};
use super::stdout::{Stdout, Written};
use super::stream::{Equipment, Flow, Stream};
use super::waiting::Waiting;
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::sys::{clock, shortage};

/// How many pipes are reported by one wait.
const EVENTS_MAX: usize = 256;

/// How long [`Pump::stop`] waits for Leveret's own output; what is not written by then stays in its pipe.
const STDOUT_GRACE: Duration = Duration::from_secs(1);

/// The number of turns each pipe gets from [`Pump::stop`]: more than fits into the largest pipe, 1 MiB.
const LAST_TURNS: usize = 17;

/// How soon a line that is not finished is looked at again if no event comes; twice as long each time.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(1);

/// The longest that [`LOOK_AGAIN_MIN`] becomes.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);

/// The token by which the thread is woken; pipes have those above it.
const WAKE: u64 = 0;

/// A handle to the thread that moves output; dropping it ends the thread as [`Pump::stop`] does, without waiting.
pub struct Pump {
    commands: Sender<Command>,
    waker: Arc<OwnedFd>,
    dropped: Dropped,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Open(Source),
    Finish(Incarnation),
    Configure(Source),
    Reopen,
    Say(Source, String),
    Written(Written),
    Stop,
}

impl Pump {
    /// Starts the thread, which calls `events` for whatever there is to tell; `events` must not wait.
    ///
    /// # Errors
    /// The system gives no thread or no descriptors.
    pub fn start(events: impl Fn(PumpEvent) + Send + Sync + 'static) -> io::Result<Self> {
        let stdout = fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        Self::start_with(stdout, events)
    }

    /// As [`Pump::start`], with `stdout` as Leveret's own output.
    ///
    /// # Errors
    /// As for [`Pump::start`].
    pub fn start_with(
        stdout: OwnedFd,
        events: impl Fn(PumpEvent) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (commands, receiver) = channel();
        let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &waker, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let report = {
            let (commands, waker) = (commands.clone(), Arc::clone(&waker));
            move |written| send(&commands, &waker, Command::Written(written))
        };
        let events = Arc::new(events);
        let complain = {
            let events = Arc::clone(&events);
            move |sentence| events(PumpEvent::Trouble(sentence))
        };
        let equipment = Equipment {
            plumbing: Plumbing::new()?,
            files: Files::new(Box::new(complain))?,
            stdout: Stdout::start(stdout, Box::new(report))?,
            refusals: Refusals::default(),
            events: Box::new(move |event| events(event)),
        };
        let dropped = equipment.refusals.dropped.clone();
        let engine = Engine {
            epoll,
            waker: Arc::clone(&waker),
            commands: receiver,
            equipment,
            streams: BTreeMap::new(),
            tokens: BTreeSet::new(),
            last_token: WAKE,
            ready: VecDeque::new(),
            blocked: BTreeSet::new(),
            look_again: BTreeSet::new(),
            waiting: Waiting::default(),
            sweep_at: None,
        };
        let builder = thread::Builder::new().name("leveret-logs".to_owned());
        let thread = builder.spawn(move || engine.run())?;
        Ok(Self { commands, waker, dropped, thread: Some(thread) })
    }

    /// Begins to empty a pipe. What is wrong with it is told as [`PumpEvent::Trouble`].
    pub fn open(&self, source: Source) {
        self.send(Command::Open(source));
    }

    /// Says that `incarnation` and all that it left are gone: what is still in its pipe is moved, the pipe is closed,
    /// and [`PumpEvent::Drained`] follows, at once if the incarnation is not known here.
    pub fn finish(&self, incarnation: Incarnation) {
        self.send(Command::Finish(incarnation));
    }

    /// Changes where the output of a pipe that is open goes, and how: what is in the pipe by then goes there, too.
    pub fn configure(&self, source: Source) {
        self.send(Command::Configure(source));
    }

    /// Opens all files anew at their paths, from the next line on: somebody has moved them.
    pub fn reopen(&self) {
        self.send(Command::Reopen);
    }

    /// Writes a line of Leveret's own about a process where its output goes, after what the process has printed so far;
    /// only where lines have a format that tells the two apart.
    pub fn say(&self, source: Source, text: String) {
        self.send(Command::Say(source, text));
    }

    /// How many bytes of each program were dropped since this pump began.
    pub fn dropped_bytes(&self) -> BTreeMap<String, u64> {
        self.dropped.by_program()
    }

    /// Moves what is in the pipes now, and ends the thread. What is printed later stays in the pipes; Leveret's own
    /// output is waited for for a second at most.
    pub fn stop(mut self) {
        let thread = self.thread.take();
        drop(self);
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the thread that moves output has panicked; what processes printed is in their pipes"
            );
        }
    }

    fn send(&self, command: Command) {
        send(&self.commands, &self.waker, command);
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.send(Command::Stop);
    }
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").finish_non_exhaustive()
    }
}

fn send(commands: &Sender<Command>, waker: &OwnedFd, command: Command) {
    if commands.send(command).is_err() {
        // The thread has ended, at the end of the program or by a panic that has said so.
        return;
    }
    if let Err(error) = retry_on_intr(|| write(waker, &1u64.to_ne_bytes())) {
        // A counter that is at its limit has not been read yet: the thread is awake.
        debug_assert_eq!(error, rustix::io::Errno::AGAIN);
    }
}

struct Engine {
    epoll: OwnedFd,
    waker: Arc<OwnedFd>,
    commands: Receiver<Command>,
    equipment: Equipment,
    streams: BTreeMap<u64, Stream>,
    /// The tokens of each incarnation's streams.
    tokens: BTreeSet<(Incarnation, u64)>,
    last_token: u64,
    /// Those whose turn is to come, in order.
    ready: VecDeque<u64>,
    /// Those that wait for Leveret's own output.
    blocked: BTreeSet<u64>,
    /// When unfinished lines are looked at again, and whose they are.
    look_again: BTreeSet<(Time, u64)>,
    /// Those whose pipes cannot be opened yet.
    waiting: Waiting,
    /// When idle files are looked for; `None` while none is open.
    sweep_at: Option<Time>,
}

impl Engine {
    fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.wait(&mut events);
            for event in events.drain(..) {
                match event.data.u64() {
                    WAKE => self.clear_wake(),
                    token => self.enqueue(token),
                }
            }
            if !self.obey() {
                return self.end();
            }
            let now = clock::now();
            self.open_waiting(now);
            self.enqueue_unfinished(now);
            self.take_turns(now);
            self.sweep(now);
            for event in self.equipment.refusals.over(now) {
                (self.equipment.events)(event);
            }
        }
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) {
        let look_again_at = self.look_again.first().map(|(at, _)| *at);
        let calm_at = self.equipment.refusals.next_at();
        let next =
            [self.sweep_at, look_again_at, calm_at, self.waiting.retry_at()].into_iter().flatten().min();
        let timeout =
            if self.ready.is_empty() { next.map(|at| at.since(clock::now())) } else { Some(Duration::ZERO) };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref()))
            .expect("waiting on an epoll of our own fails only for a wrong argument");
    }

    fn clear_wake(&self) {
        let mut count = [0; 8];
        if let Err(error) = retry_on_intr(|| read(&*self.waker, &mut count)) {
            debug_assert_eq!(error, rustix::io::Errno::AGAIN, "it was reported to be readable");
        }
    }

    /// Does what it was told; false at the end.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Open(source)) => self.open(source),
                Ok(Command::Finish(incarnation)) => self.finish(incarnation),
                Ok(Command::Configure(source)) => self.configure(source),
                Ok(Command::Reopen) => self.equipment.files.reopen(),
                Ok(Command::Say(source, text)) => self.say(&source, text),
                Ok(Command::Written(written)) => self.written(&written),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn open(&mut self, source: Source) {
        let opened = self.tokens_of(source.incarnation);
        if opened
            .iter()
            .filter_map(|token| self.streams.get(token))
            .any(|stream| stream.source.pipe == source.pipe)
        {
            return;
        }
        let token = self.last_token + 1;
        let opened = self.equipment.files.with_room(|| open_pipe(&source.pipe)).and_then(|pipe| {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &pipe, epoll::EventData::new_u64(token), flags)?;
            Ok(pipe)
        });
        match opened {
            Ok(pipe) => {
                self.last_token = token;
                if let Some(path) = file_of(&source) {
                    self.equipment.files.attach(path, source.keeping);
                }
                self.tokens.insert((source.incarnation, token));
                self.streams.insert(token, Stream::new(source, pipe));
            }
            Err(error) if shortage::is_of_descriptors(&error) => {
                if let Some(event) = self.waiting.add(source, error, clock::now()) {
                    (self.equipment.events)(event);
                }
            }
            // A life from before its program had it so, or one that an older keeper has started.
            Err(error) if source.is_errors && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.tell_unreadable(&source, &error),
        }
    }

    /// Tries again where there were no descriptors.
    fn open_waiting(&mut self, now: Time) {
        let due = self.waiting.take_due(now);
        if due.is_empty() {
            return;
        }
        for (source, is_over) in due {
            let incarnation = source.incarnation;
            self.open(source);
            if is_over {
                self.finish(incarnation);
            }
        }
        if let Some(event) = self.waiting.over() {
            (self.equipment.events)(event);
        }
    }

    fn configure(&mut self, source: Source) {
        self.waiting.configure(&source);
        let of_pipe = |stream: &Stream| stream.source.pipe == source.pipe;
        for token in self.tokens_of(source.incarnation) {
            let Some(stream) = self.streams.get_mut(&token).filter(|stream| of_pipe(stream)) else {
                continue;
            };
            if stream.source == source {
                continue;
            }
            if let Some(path) = file_of(&source) {
                self.equipment.files.attach(path, source.keeping);
            }
            if let Some(path) = file_of(&stream.source) {
                self.equipment.files.detach(path);
            }
            if stream.source.sink != source.sink {
                stream.leave_place(&mut self.equipment, clock::now());
            }
            stream.change(source.clone());
            // A part of a line that waits in the pipe may go at once now.
            self.enqueue(token);
        }
    }

    fn say(&mut self, source: &Source, text: String) {
        let of_process = |stream: &Stream| {
            stream.source.label == source.label && !stream.source.is_errors && stream.has_more()
        };
        match self.streams.iter_mut().rev().find(|(_, stream)| of_process(stream)) {
            Some((token, stream)) => {
                let token = *token;
                stream.say_later(text);
                self.enqueue(token);
            }
            None => remark(source, &text, &mut self.equipment, clock::now()),
        }
    }

    fn finish(&mut self, incarnation: Incarnation) {
        let tokens = self.tokens_of(incarnation);
        if !self.waiting.finish(incarnation) && tokens.is_empty() {
            (self.equipment.events)(PumpEvent::Drained(incarnation));
        }
        for token in tokens {
            if let Some(stream) = self.streams.get_mut(&token) {
                stream.finishing = true;
            }
            self.enqueue(token);
        }
    }

    fn written(&mut self, written: &Written) {
        self.equipment.stdout.written(written.bytes);
        let done = match self.streams.get_mut(&written.token) {
            Some(stream) => stream.written(&written.result, &mut self.equipment, clock::now()),
            None => Ok(()),
        };
        if let Err(error) = done {
            self.give_up(written.token, &error);
        }
        for token in std::mem::take(&mut self.blocked) {
            self.enqueue(token);
        }
    }

    fn enqueue(&mut self, token: u64) {
        if let Some(stream) = self.streams.get_mut(&token).filter(|stream| !stream.queued) {
            stream.queued = true;
            self.ready.push_back(token);
        }
    }

    fn enqueue_unfinished(&mut self, now: Time) {
        while let Some((at, token)) = self.look_again.first().copied().filter(|(at, _)| *at <= now) {
            self.look_again.remove(&(at, token));
            self.enqueue(token);
        }
    }

    /// One turn for each that has one.
    fn take_turns(&mut self, now: Time) {
        for token in std::mem::take(&mut self.ready) {
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            stream.queued = false;
            let looked_after = stream.look_again.take().map(|(at, after)| {
                self.look_again.remove(&(at, token));
                after
            });
            match stream.turn(token, &mut self.equipment, now) {
                Ok(Flow::More) => self.enqueue(token),
                Ok(Flow::Unfinished) => {
                    let after = looked_after.map_or(LOOK_AGAIN_MIN, |after| after * 2).min(LOOK_AGAIN_MAX);
                    stream.look_again = Some((now + after, after));
                    self.look_again.insert((now + after, token));
                }
                Ok(Flow::Blocked) => {
                    self.blocked.insert(token);
                }
                Ok(Flow::Quiet) if stream.finishing => self.close(token, now),
                Ok(Flow::Quiet) => (),
                Err(error) => self.give_up(token, &error),
            }
        }
    }

    /// Closes a pipe of which all is written.
    fn close(&mut self, token: u64, now: Time) {
        let Some(mut stream) = self.remove(token) else { return };
        stream.end_last_line(&mut self.equipment, now);
        stream.say_all(&mut self.equipment, now);
        stream.tell_last_line(&mut self.equipment);
        stream.close(&mut self.equipment, now);
        self.forget(stream);
    }

    fn tokens_of(&self, incarnation: Incarnation) -> Vec<u64> {
        self.tokens.range((incarnation, 0)..=(incarnation, u64::MAX)).map(|(_, token)| *token).collect()
    }

    fn remove(&mut self, token: u64) -> Option<Stream> {
        let stream = self.streams.remove(&token)?;
        self.tokens.remove(&(stream.source.incarnation, token));
        Some(stream)
    }

    /// Leaves a pipe alone that cannot be read.
    fn give_up(&mut self, token: u64, error: &io::Error) {
        let Some(stream) = self.remove(token) else { return };
        self.tell_unreadable(&stream.source, error);
        stream.close(&mut self.equipment, clock::now());
        if stream.finishing {
            self.forget(stream);
        } else if let Some(path) = file_of(&stream.source) {
            self.equipment.files.detach(path);
        }
    }

    fn tell_unreadable(&self, source: &Source, error: &io::Error) {
        let sentence = format!(
            "the output of {} cannot be read from {}: {}; it is lost until the process is restarted",
            source.label,
            source.pipe.display(),
            reason(error)
        );
        (self.equipment.events)(PumpEvent::Trouble(sentence));
    }

    /// Closes the pipe of a finished incarnation, and tells so if it was the last.
    fn forget(&mut self, stream: Stream) {
        if let Some(path) = file_of(&stream.source) {
            self.equipment.files.detach(path);
        }
        let incarnation = stream.source.incarnation;
        // The pipe must be closed on this side before anybody hears of it. That ends its epoll membership, too.
        drop(stream);
        if self.tokens_of(incarnation).is_empty() && !self.waiting.has(incarnation) {
            (self.equipment.events)(PumpEvent::Drained(incarnation));
        }
    }

    fn sweep(&mut self, now: Time) {
        if self.sweep_at.is_some_and(|at| now >= at) {
            self.equipment.files.close_idle(now);
            self.sweep_at = None;
        }
        if self.sweep_at.is_none() && self.equipment.files.open_count() > 0 {
            self.sweep_at = Some(now + IDLE_MAX);
        }
    }

    /// Moves what is in the pipes, a bounded number of turns each.
    fn end(mut self) {
        let tokens: Vec<u64> = self.streams.keys().copied().collect();
        for _ in 0..LAST_TURNS {
            for token in &tokens {
                self.enqueue(*token);
            }
            self.take_turns(clock::now());
        }
        let deadline = clock::now() + STDOUT_GRACE;
        while !self.blocked.is_empty() {
            match self.commands.recv_timeout(deadline.since(clock::now())) {
                Ok(Command::Written(written)) => {
                    self.written(&written);
                    self.take_turns(clock::now());
                }
                Ok(
                    Command::Open(_)
                    | Command::Finish(_)
                    | Command::Configure(_)
                    | Command::Reopen
                    | Command::Say(..)
                    | Command::Stop,
                ) => (),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }
}

/// The file that a source's output goes to.
fn file_of(source: &Source) -> Option<&std::path::Path> {
    match &source.sink {
        Sink::Own(path) | Sink::Lines(path) => Some(path),
        Sink::Stdout | Sink::LastLine => None,
    }
}
