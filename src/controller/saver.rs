//! Writes down what the next controller, or the next Leveret, should know: on a thread that may wait for the disk, one
//! file at a time, and with what must not happen before it is written. The loop itself never waits for a disk.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::handle::{Accepted, Refusal};
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::store::state::{self, Saved, StateError};

/// How long a change that nobody asked for may wait before it is written down.
const DELAY: Duration = Duration::from_millis(200);

/// Answers a person's request once it cannot be forgotten any more.
type Reply = oneshot::Sender<Result<Accepted, Refusal>>;

/// The writer of the state.
#[derive(Debug)]
pub(super) struct Saver {
    directory: PathBuf,
    /// When the next file is to be written.
    due: Option<Time>,
    /// What waits for the next file.
    next: Cargo,
    running: Option<(JoinHandle<Result<(), StateError>>, Cargo)>,
}

/// What may happen only when the file is written.
#[derive(Debug, Default)]
struct Cargo {
    /// Lives that the keeper may forget: until then its memory is the only one that the next controller would have.
    forgettable: Vec<Incarnation>,
    /// Answers to people: what they set must not be forgotten, whatever happens to the machine.
    answers: Vec<(Reply, Accepted)>,
    is_last: bool,
}

/// A file that was written, or could not be.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) result: Result<(), StateError>,
    /// Lives that the keeper may forget now.
    pub(super) forgettable: Vec<Incarnation>,
    /// Whether it is one that was asked for by [`Saver::last`].
    pub(super) is_last: bool,
}

impl Saver {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), due: None, next: Cargo::default(), running: None }
    }

    /// Something changed that nobody asked for.
    pub(super) fn soon(&mut self, now: Time) {
        self.due.get_or_insert(now + DELAY);
    }

    /// Something changed that is to be written without delay.
    pub(super) fn at_once(&mut self, now: Time) {
        self.due = Some(now);
    }

    /// The keeper may forget this life when what became of it is written.
    pub(super) fn forget_after(&mut self, incarnation: Incarnation, now: Time) {
        self.next.forgettable.push(incarnation);
        self.soon(now);
    }

    /// A person is answered when what was asked for is on the disk.
    pub(super) fn answer_after(&mut self, reply: Reply, accepted: Accepted, now: Time) {
        self.next.answers.push((reply, accepted));
        self.at_once(now);
    }

    /// Everything is to be on the disk.
    pub(super) fn last(&mut self, now: Time) {
        self.next.is_last = true;
        self.at_once(now);
    }

    /// When the next file can be written; nothing while one is being written.
    pub(super) fn due(&self) -> Option<Time> {
        self.due.filter(|_| self.running.is_none())
    }

    /// Whether nothing is being written or waits to be.
    pub(super) fn is_at_rest(&self) -> bool {
        self.due.is_none() && self.running.is_none()
    }

    /// Begins to write what is true now. None must be under way.
    pub(super) fn begin(&mut self, saved: Saved) {
        self.due = None;
        let cargo = std::mem::take(&mut self.next);
        let is_durable = cargo.is_last || !cargo.answers.is_empty();
        let directory = self.directory.clone();
        let task = spawn_blocking(move || state::save(&directory, &saved, is_durable));
        self.running = Some((task, cargo));
    }

    /// Waits for the file that is being written, for ever if there is none, and answers those who waited for it. Nothing
    /// is lost when it is dropped before its end.
    pub(super) async fn written(&mut self) -> Written {
        let Some((task, _)) = &mut self.running else { return pending().await };
        let joined = task.await;
        let result = joined.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        let cargo = self.running.take().map(|(_, cargo)| cargo).unwrap_or_default();
        for (reply, accepted) in cargo.answers {
            // Whoever asked may have gone away meanwhile; then nobody misses the answer.
            let _ = reply.send(Ok(accepted));
        }
        Written { result, forgettable: cargo.forgettable, is_last: cargo.is_last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::memory::Memory;
    use crate::store::state::KeeperIdentity;

    const NOW: Time = Time::from_millis(1_000);

    fn saved() -> Saved {
        let keeper = KeeperIdentity { pid: 12, started_at: Time::default() };
        Saved { version: state::VERSION, keeper, at: NOW, wall_seconds: 1_000.0, memory: Memory::default() }
    }

    fn accepted(message: &str) -> Accepted {
        Accepted { message: message.to_owned(), ..Accepted::default() }
    }

    #[tokio::test]
    async fn a_person_is_answered_when_the_file_is_there_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut saver = Saver::new(directory.path());
        let (reply, mut answer) = oneshot::channel();
        saver.answer_after(reply, accepted("stopping"), NOW);
        assert_eq!(saver.due(), Some(NOW));
        saver.begin(saved());
        assert!(answer.try_recv().is_err());
        saver.written().await.result.unwrap();
        assert!(state::load(directory.path()).unwrap().is_some());
        assert_eq!(answer.try_recv().unwrap(), Ok(accepted("stopping")));
        assert!(saver.is_at_rest());
    }

    #[tokio::test]
    async fn what_comes_while_a_file_is_written_waits_for_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut saver = Saver::new(directory.path());
        saver.forget_after(Incarnation(1), NOW);
        assert_eq!(saver.due(), Some(NOW + DELAY));
        saver.begin(saved());
        saver.forget_after(Incarnation(2), NOW);
        let (reply, mut answer) = oneshot::channel();
        saver.answer_after(reply, accepted("starting"), NOW);
        assert_eq!(saver.due(), None, "one file at a time");
        assert_eq!(saver.written().await.forgettable, [Incarnation(1)]);
        assert!(answer.try_recv().is_err());
        assert_eq!(saver.due(), Some(NOW), "it waits no longer than it must");
        saver.begin(saved());
        assert_eq!(saver.written().await.forgettable, [Incarnation(2)]);
        assert_eq!(answer.try_recv().unwrap(), Ok(accepted("starting")));
    }

    #[tokio::test]
    async fn where_nothing_can_be_written_nobody_waits_for_ever() {
        let mut saver = Saver::new(Path::new("/nonexistent/leveret"));
        let (reply, mut answer) = oneshot::channel();
        saver.answer_after(reply, accepted("starting"), NOW);
        saver.forget_after(Incarnation(1), NOW);
        saver.begin(saved());
        let written = saver.written().await;
        assert!(written.result.is_err());
        assert_eq!(written.forgettable, [Incarnation(1)]);
        assert!(answer.try_recv().unwrap().is_ok());
    }
}
