//! What every request handler has at hand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Token;
use super::error::ApiError;
use super::host::Hosts;
use crate::controller::handle::Handle;
use crate::core::time::Time;
use crate::sys::{clock, shortage};

/// How much of everything there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at one time; more wait to be accepted.
    pub(super) connections: usize,
    /// Server-sent event streams at one time; more are refused.
    pub(super) streams: usize,
    /// For the whole head of a request, and for an idle connection.
    pub(super) header_timeout: Duration,
    /// For the body of a request, and again for its answer to begin.
    pub(super) request_timeout: Duration,
    /// For the first request of a connection to begin that was open when the server ends.
    pub(super) first_request_timeout: Duration,
    /// For open requests to end at a shutdown.
    pub(super) drain_timeout: Duration,
    /// Of a request's head.
    pub(super) header_bytes: usize,
    /// Of a request's body.
    pub(super) body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A sixteenth of the file descriptors that there may be, where these are few.
            connections: usize::try_from((shortage::descriptors_max() / 16).clamp(8, 256)).unwrap_or(256),
            streams: 32,
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            first_request_timeout: Duration::from_secs(1),
            // Longer than any answer may take.
            drain_timeout: Duration::from_secs(15),
            header_bytes: 16 * 1024,
            body_bytes: 64 * 1024,
        }
    }
}

/// The way by which a request came in.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// TCP, where browsers are.
    Tcp(Arc<Hosts>),
    /// The Unix socket, which its mode guards.
    Unix,
}

/// What every request handler has at hand.
#[derive(Clone, Debug)]
pub(super) struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: Handle,
    token: Option<Token>,
    shutdown: CancellationToken,
    limits: Limits,
    streams: Arc<Semaphore>,
    notes: Mutex<Notes>,
}

impl Context {
    /// `token` is absent on the Unix socket.
    pub(super) fn new(
        handle: Handle,
        token: Option<Token>,
        shutdown: CancellationToken,
        limits: Limits,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(limits.streams));
        Self(Arc::new(Inner { handle, token, shutdown, limits, streams, notes: Mutex::default() }))
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Whether `text` is the change token.
    pub(super) fn is_token(&self, text: &str) -> bool {
        self.0.token.as_ref().is_some_and(|token| token.is(text))
    }

    /// The change token as the page carries it.
    pub(super) fn token_hex(&self) -> String {
        self.0.token.as_ref().map(Token::to_hex).unwrap_or_default()
    }

    /// Done when the server ends; streams end with it.
    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    /// The right to one more stream, for as long as it is held.
    ///
    /// # Errors
    /// 503 when there are as many as there may be.
    pub(super) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.0.streams).try_acquire_owned().map_err(|_| {
            ApiError::unavailable(format!(
                "there are already {} live streams; close a page or a \"logs -f\" and try again",
                self.0.limits.streams
            ))
        })
    }

    /// Keeps a note for the page that follows a form; returns its number.
    pub(super) fn add_note(&self, note: Note) -> u64 {
        let mut notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.last += 1;
        let number = notes.last;
        notes.kept.push_back((number, clock::now(), note));
        while notes.kept.len() > NOTES_MAX {
            notes.kept.pop_front();
        }
        number
    }

    /// The note of that number, for a minute.
    pub(super) fn note(&self, number: u64) -> Option<Note> {
        let now: Time = clock::now();
        let notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = notes.kept.iter().find(|(kept, at, _)| *kept == number && now.since(*at) < NOTE_AGE_MAX);
        found.map(|(_, _, note)| note.clone())
    }
}

/// What came of a form of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// A sentence.
    pub(super) text: String,
    /// Whether it says why nothing was done.
    pub(super) is_error: bool,
}

const NOTES_MAX: usize = 64;
const NOTE_AGE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Notes {
    last: u64,
    kept: VecDeque<(u64, Time, Note)>,
}
