//! Hears what processes say of themselves: a thread that empties their sockets, so that no process ever waits for the loop,
//! and tells the loop what is new, ten times a second at most unless somebody has become ready.
//!
//! What was said is written into memory that the keeper holds before it is taken out of a socket, so that a controller that
//! is killed at any moment is followed by one that knows it. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::net::{RecvFlags, recv};

use super::remembered::Remembered;
use crate::core::ids::Incarnation;
use crate::core::readiness::{Extension, Voice};
use crate::core::time::Time;
use crate::sys::clock;
use crate::sys::notify::{MESSAGE_BYTES_MAX, Message, parse};

/// How many sockets are reported by one wait.
const EVENTS_MAX: usize = 64;

/// How many messages of one process are taken before the others have their turn.
const MESSAGES_AT_ONCE: usize = 64;

/// How long what can wait is gathered before it is told.
const GATHERED: Duration = Duration::from_millis(100);

/// The token by which the thread is woken; no life has this number.
const WAKE: u64 = 0;

/// What several processes have said so far.
pub(crate) type Heard = Vec<(Incarnation, Voice)>;

/// A handle to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Hearing {
    /// Gone only when this is dropped.
    commands: Option<Sender<Command>>,
    waker: Arc<OwnedFd>,
}

#[derive(Debug)]
enum Command {
    Listen(Incarnation, OwnedFd),
    Forget(Incarnation),
    Watch(Incarnation, Duration),
}

impl Hearing {
    /// Begins to listen to `sockets`, and returns what has been said so far: what `memory` knows and what waits in the
    /// sockets. Whatever is said later goes to `tell`, which must not wait.
    ///
    /// # Errors
    /// The system gives no thread or no descriptors, or the memory cannot be read.
    pub(crate) fn start(
        memory: OwnedFd,
        sockets: Vec<(Incarnation, OwnedFd)>,
        tell: impl Fn(Heard) + Send + 'static,
    ) -> io::Result<(Self, Heard)> {
        let (commands, receiver) = channel();
        let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &waker, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let (remembered, voices) = Remembered::open(memory)?;
        let mut ears = Ears {
            epoll,
            waker: Arc::clone(&waker),
            commands: receiver,
            sockets: BTreeMap::new(),
            voices,
            watched: BTreeMap::new(),
            remembered,
            news: BTreeSet::new(),
            is_urgent: false,
            told_at: Time::default(),
            has_complained: false,
            tell: Box::new(tell),
        };
        let known: BTreeSet<Incarnation> = sockets.iter().map(|(incarnation, _)| *incarnation).collect();
        for (incarnation, socket) in sockets {
            ears.listen(incarnation, socket);
            while ears.take(incarnation) {}
        }
        // Of the others nothing is left.
        let gone: Vec<Incarnation> =
            ears.voices.keys().filter(|incarnation| !known.contains(incarnation)).copied().collect();
        gone.into_iter().for_each(|incarnation| ears.forget(incarnation));
        ears.news.clear();
        ears.is_urgent = false;
        let heard = ears.voices.iter().map(|(incarnation, voice)| (*incarnation, voice.clone())).collect();
        thread::Builder::new().name("leveret-hearing".to_owned()).spawn(move || ears.run())?;
        Ok((Self { commands: Some(commands), waker }, heard))
    }

    /// Listens to a process from now on.
    pub(crate) fn listen(&self, incarnation: Incarnation, socket: OwnedFd) {
        self.send(Command::Listen(incarnation, socket));
    }

    /// From now on a process has to say this often that it does not hang. Only the first word counts.
    pub(crate) fn watch(&self, incarnation: Incarnation, watchdog: Duration) {
        self.send(Command::Watch(incarnation, watchdog));
    }

    /// Nothing is left of this life.
    pub(crate) fn forget(&self, incarnation: Incarnation) {
        self.send(Command::Forget(incarnation));
    }

    fn send(&self, command: Command) {
        // The thread has ended only if it panicked, which has said so; the rest goes on.
        if self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok()) {
            wake(&self.waker);
        }
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.commands = None;
        wake(&self.waker);
    }
}

fn wake(waker: &OwnedFd) {
    if let Err(error) = retry_on_intr(|| write(waker, &1u64.to_ne_bytes())) {
        // A counter that is at its limit has not been read yet: the thread is awake.
        debug_assert_eq!(error, Errno::AGAIN);
    }
}

struct Ears {
    epoll: OwnedFd,
    waker: Arc<OwnedFd>,
    commands: Receiver<Command>,
    sockets: BTreeMap<Incarnation, OwnedFd>,
    voices: BTreeMap<Incarnation, Voice>,
    /// Those that are watched: how often they have to say something, and until when.
    watched: BTreeMap<Incarnation, (Duration, Time)>,
    remembered: Remembered,
    /// Who has said something that was not told.
    news: BTreeSet<Incarnation>,
    /// Whether somebody waits for it.
    is_urgent: bool,
    told_at: Time,
    has_complained: bool,
    tell: Box<dyn Fn(Heard) + Send>,
}

impl Ears {
    fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.wait(&mut events);
            for event in events.drain(..) {
                match event.data.u64() {
                    WAKE => self.clear_wake(),
                    number => drop(self.take(Incarnation(number))),
                }
            }
            if !self.obey() {
                return;
            }
            self.find_hung();
            self.tell_if_due();
        }
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) {
        let tells_at = (!self.news.is_empty()).then(|| self.told_at + GATHERED);
        let hangs_at = self.watched.values().map(|(_, until)| *until).min();
        let timeout = [tells_at, hangs_at].into_iter().flatten().min().map(|at| {
            let wait = at.since(clock::now());
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() }
        });
        if let Err(error) = epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref())
            && error != Errno::INTR
        {
            self.complain("wait for what processes say", error.into());
        }
    }

    fn clear_wake(&self) {
        let mut count = [0; 8];
        // Whoever was woken for nothing goes on waiting.
        let _ = retry_on_intr(|| read(&*self.waker, &mut count));
    }

    /// Says whether it goes on.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Listen(incarnation, socket)) => self.listen(incarnation, socket),
                Ok(Command::Forget(incarnation)) => self.forget(incarnation),
                Ok(Command::Watch(incarnation, watchdog)) => {
                    self.watched.entry(incarnation).or_insert((watchdog, clock::now() + watchdog));
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn listen(&mut self, incarnation: Incarnation, socket: OwnedFd) {
        let data = epoll::EventData::new_u64(incarnation.0);
        match epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN) {
            Ok(()) => drop(self.sockets.insert(incarnation, socket)),
            Err(error) => self.complain("listen to a process", error.into()),
        }
    }

    fn forget(&mut self, incarnation: Incarnation) {
        // The keeper has a copy, so that closing this one alone would not take it out of what is waited for.
        if let Some(socket) = self.sockets.remove(&incarnation) {
            let deleted = epoll::delete(&self.epoll, &socket);
            deleted.unwrap_or_else(|error| self.complain("stop listening to a process", error.into()));
        }
        self.voices.remove(&incarnation);
        self.watched.remove(&incarnation);
        self.news.remove(&incarnation);
        let forgotten = self.remembered.forget(incarnation);
        forgotten.unwrap_or_else(|error| self.complain("forget what a process said", error));
    }

    /// Takes what a process has to say, and says whether there may be more.
    fn take(&mut self, incarnation: Incarnation) -> bool {
        for _ in 0..MESSAGES_AT_ONCE {
            match self.take_one(incarnation) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    self.complain("hear a process", error);
                    return false;
                }
            }
        }
        true
    }

    /// Remembers a message and only then takes it out of the socket. Says whether there was one.
    fn take_one(&mut self, incarnation: Incarnation) -> io::Result<bool> {
        let Some(socket) = self.sockets.get(&incarnation) else { return Ok(false) };
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let look = retry_on_intr(|| recv(socket, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT));
        let length = match look {
            Ok((length, _)) => length,
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let message = parse(&bytes[..length]);
        if let Some((watchdog, until)) = self.watched.get_mut(&incarnation).filter(|_| message.alive) {
            *until = clock::now() + *watchdog;
        }
        let voice = self.voices.entry(incarnation).or_default();
        let (is_new, is_urgent) = add(voice, message, clock::now());
        let remembered = if is_new { self.remembered.write(incarnation, voice) } else { Ok(()) };
        if is_new {
            self.news.insert(incarnation);
            self.is_urgent |= is_urgent;
        }
        retry_on_intr(|| recv(socket, &mut [0; 1][..], RecvFlags::DONTWAIT))?;
        remembered.map(|()| true)
    }

    /// Those that have said nothing for too long. What they said while this thread was halted is heard before.
    fn find_hung(&mut self) {
        let now = clock::now();
        let late = |watched: &BTreeMap<Incarnation, (Duration, Time)>| -> Vec<Incarnation> {
            let late = watched.iter().filter(|(_, (_, until))| *until <= now);
            late.map(|(incarnation, _)| *incarnation).collect()
        };
        for incarnation in late(&self.watched) {
            while self.take(incarnation) {}
        }
        for incarnation in late(&self.watched) {
            self.watched.remove(&incarnation);
            let voice = self.voices.entry(incarnation).or_default();
            voice.hung = true;
            let remembered = self.remembered.write(incarnation, voice);
            remembered.unwrap_or_else(|error| self.complain("remember that a process hangs", error));
            self.news.insert(incarnation);
            self.is_urgent = true;
        }
    }

    fn tell_if_due(&mut self) {
        let now = clock::now();
        if self.news.is_empty() || !(self.is_urgent || self.told_at + GATHERED <= now) {
            return;
        }
        let news = std::mem::take(&mut self.news);
        let said = |incarnation: Incarnation| Some((incarnation, self.voices.get(&incarnation)?.clone()));
        (self.tell)(news.into_iter().filter_map(said).collect());
        self.told_at = now;
        self.is_urgent = false;
    }

    /// Once: whatever it is, it would be said for every message.
    fn complain(&mut self, what: &str, error: io::Error) {
        if !std::mem::replace(&mut self.has_complained, true) {
            tracing::error!("cannot {what}: {}", crate::sys::cause::plain(error));
        }
    }
}

/// Adds a message to what a process has said; says whether that changed anything, and whether somebody waits for it.
fn add(voice: &mut Voice, message: Message, now: Time) -> (bool, bool) {
    let before = voice.clone();
    voice.ready |= message.ready;
    voice.stopping |= message.stopping;
    voice.busy = message.busy.or(voice.busy);
    voice.hung |= message.hung;
    if let Some(extend) = message.extend {
        voice.extension = Some(Extension { at: now, until: now + extend });
    }
    if let Some(status) = message.status {
        voice.status = (!status.is_empty()).then_some(status);
    }
    let urgent = |voice: &Voice| (voice.ready, voice.stopping, voice.hung);
    (*voice != before, urgent(voice) != urgent(&before))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;
    use std::sync::mpsc::{Receiver as Told, channel as told};

    use super::*;
    use crate::controller::kept::memory_file;
    use crate::sys::notify;

    const LIFE: Incarnation = Incarnation(7);

    fn start(memory: &OwnedFd, socket: &OwnedFd) -> (Hearing, Heard, Told<Heard>) {
        let (tell, heard) = told();
        let sockets = vec![(LIFE, socket.try_clone().unwrap())];
        let (hearing, said) =
            Hearing::start(memory.try_clone().unwrap(), sockets, move |heard| tell.send(heard).unwrap())
                .unwrap();
        (hearing, said, heard)
    }

    fn say(path: &Path, text: &str) {
        UnixDatagram::unbound().unwrap().send_to(text.as_bytes(), path).unwrap();
    }

    fn voice(ready: bool, status: &str) -> Voice {
        Voice { ready, status: Some(status.to_owned()), ..Voice::default() }
    }

    #[test]
    fn what_is_said_is_told_and_known_to_the_next_one_whatever_became_of_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("7");
        let (socket, memory) = (notify::listen(&path).unwrap(), memory_file("test", b"").unwrap());
        say(&path, "STATUS=before");
        let (hearing, said, heard) = start(&memory, &socket);
        assert_eq!(said, [(LIFE, voice(false, "before"))]);
        say(&path, "STATUS=loaded\nREADY=1");
        assert_eq!(heard.recv().unwrap(), [(LIFE, voice(true, "loaded"))]);
        drop(hearing);
        assert!(heard.recv().is_err(), "the thread has ended");

        say(&path, "STATUS=meanwhile");
        let (hearing, said, heard) = start(&memory, &socket);
        assert_eq!(said, [(LIFE, voice(true, "meanwhile"))]);
        hearing.forget(LIFE);
        drop(hearing);
        assert!(heard.recv().is_err());
        let (_hearing, said, _) = start(&memory, &socket);
        assert_eq!(said, []);
    }

    #[test]
    fn one_that_feeds_its_watchdog_lives_and_one_that_stops_hangs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("7");
        let (socket, memory) = (notify::listen(&path).unwrap(), memory_file("test", b"").unwrap());
        let (hearing, _, heard) = start(&memory, &socket);
        hearing.watch(LIFE, Duration::from_secs(3_600));
        say(&path, "WATCHDOG=1");
        say(&path, "STATUS=here");
        assert_eq!(heard.recv().unwrap(), [(LIFE, voice(false, "here"))]);
        say(&path, "WATCHDOG=trigger");
        assert!(heard.recv().unwrap()[0].1.hung);

        let other = directory.path().join("8");
        let (silent, life) = (notify::listen(&other).unwrap(), Incarnation(8));
        hearing.listen(life, silent);
        hearing.watch(life, Duration::from_millis(50));
        let hung = Voice { hung: true, ..Voice::default() };
        assert_eq!(heard.recv().unwrap(), [(life, hung)]);
    }

    #[test]
    fn nobody_who_says_a_lot_waits_and_the_last_word_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("7");
        let (socket, memory) = (notify::listen(&path).unwrap(), memory_file("test", b"").unwrap());
        let (_hearing, _, heard) = start(&memory, &socket);
        let sender = UnixDatagram::unbound().unwrap();
        for number in 1..=5_000 {
            sender.send_to(format!("STATUS={number}").as_bytes(), &path).unwrap();
        }
        let mut times = 0;
        loop {
            times += 1;
            if heard.recv().unwrap() == [(LIFE, voice(false, "5000"))] {
                break;
            }
        }
        assert!(times < 2_500, "told {times} times");
    }
}
