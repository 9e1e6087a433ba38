//! The live view of logs: lines as they come, from one process or from all of a program.
//!
//! It reads files and nothing else: a slow reader slows nobody down and costs no memory beyond one batch.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::sleep;

use super::context::Context;
use super::error::ApiError;
use super::logs::{self, LogFile, Logs, Printed};
use super::plain::plain;
use crate::controller::handle::Remark;
use crate::logs::tail::{Follower, Line, Position};
use crate::sys::clock;

/// How often the files are looked at.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// After so many looks without a line (15 s) a comment shows that the stream lives.
const POLLS_PER_HEARTBEAT: u32 = 150;
/// What is read of one file at one time.
const READ_BYTES_MAX: usize = 64 * 1024;
/// What is read of all files before it is sent.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// A client sends the id back in a header; one of many files that is longer is not given at all.
const ID_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FollowQuery {
    /// How many of the last lines come first.
    lines: Option<usize>,
    /// The id to go on from, for clients that cannot send `Last-Event-ID` at first.
    from: Option<String>,
    /// Without escape sequences and control characters.
    plain: Option<bool>,
    #[serde(default)]
    stream: Printed,
}

/// `GET /api/v1/logs/{process}/follow`
pub(super) async fn follow(
    State(context): State<Context>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<FollowQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let (Path(name), Query(query)) = (name?, query?);
    let lines = logs::line_count(query.lines, 0)?;
    let permit = context.stream_permit()?;
    let last =
        headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?")).filter(|id| !id.is_empty());
    let from = query.from.as_deref().filter(|id| !id.is_empty());
    let resume = last.or(from).map(Resume::parse).transpose()?;
    let changes = context.handle().changes();
    let remarks = context.handle().remarks();
    let found = logs::find(&*context.handle().snapshot().await?, &name, query.stream)?;
    let (single, files) = match found {
        Logs::One(file) => (true, vec![file]),
        Logs::Many(files) => (false, files),
    };
    let mut stream = Following {
        context,
        name,
        printed: query.stream,
        single,
        plain: query.plain == Some(true),
        changes,
        begun_at_seconds: clock::wall_seconds(),
        left: BTreeMap::new(),
        cursors: Vec::new(),
        ready: VecDeque::from([Event::default().retry(Duration::from_secs(1)).comment("following")]),
        quiet_polls: 0,
        remarks,
        due_remarks: Vec::new(),
        ended: false,
        _permit: permit,
    };
    let each = lines.min(logs::LINES_MAX / files.len().max(1));
    for file in files {
        stream.open(file, resume.as_ref(), each).await?;
    }
    Ok(Sse::new(unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok(event), stream))
    })))
}

/// Where a client was when it lost the stream.
#[derive(Debug, PartialEq, Eq)]
enum Resume {
    One(Position),
    BySlot(BTreeMap<u32, Position>),
}

impl Resume {
    fn parse(id: &str) -> Result<Self, ApiError> {
        let wrong =
            || ApiError::invalid("the event id is not one of this stream; leave it out to begin at the end");
        if !id.contains('=') {
            return id.parse().map(Self::One).map_err(|_| wrong());
        }
        let parts = id.split(',').map(|part| {
            let (slot, position) = part.split_once('=')?;
            Some((slot.parse().ok()?, position.parse().ok()?))
        });
        parts.collect::<Option<_>>().map(Self::BySlot).ok_or_else(wrong)
    }

    fn position(&self, file: &LogFile) -> Option<Position> {
        match self {
            Self::One(position) => Some(*position),
            Self::BySlot(positions) => positions.get(&file.slot).copied(),
        }
    }
}

struct Following {
    context: Context,
    name: String,
    printed: Printed,
    single: bool,
    plain: bool,
    changes: watch::Receiver<u64>,
    /// When the stream began, in seconds since 1970.
    begun_at_seconds: f64,
    /// How far files were read whose processes went: their slots may be filled again.
    left: BTreeMap<PathBuf, Position>,
    cursors: Vec<Cursor>,
    ready: VecDeque<Event>,
    quiet_polls: u32,
    /// What becomes of the processes.
    remarks: broadcast::Receiver<Remark>,
    /// Those that came before the last look at the files, which may be a moment behind.
    due_remarks: Vec<Remark>,
    /// There is nothing to wait for any more.
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// One file that is followed.
struct Cursor {
    file: LogFile,
    follower: Follower,
    position: Position,
    /// Its process is no more; what it wrote last is still read.
    gone: bool,
    said_trouble: bool,
}

impl Following {
    /// Follows `file` from where the client was, or from its end after its last `lines` lines.
    async fn open(&mut self, file: LogFile, resume: Option<&Resume>, lines: usize) -> Result<(), ApiError> {
        let resumed = resume.and_then(|resume| resume.position(&file));
        let (first, position) = match resumed {
            Some(position) => (Vec::new(), position),
            None => {
                let tail = logs::tail(file.path.clone(), lines).await?;
                (tail.lines, tail.position)
            }
        };
        self.add(file, position);
        self.queue(self.cursors.len() - 1, first);
        Ok(())
    }

    fn add(&mut self, file: LogFile, position: Position) {
        let follower = Follower::new(file.path.clone(), position);
        self.cursors.push(Cursor { file, follower, position, gone: false, said_trouble: false });
    }

    /// Follows the file of a process that came while the stream was open: from where it was left, from its beginning if it
    /// is newer than the stream, and else from its end, because the rest of it is older.
    async fn join(&mut self, file: LogFile) -> Result<(), ApiError> {
        let position = match self.left.remove(&file.path) {
            Some(position) => position,
            None => match beginning_if_born_since(file.path.clone(), self.begun_at_seconds).await {
                Some(position) => position,
                None => logs::tail(file.path.clone(), 0).await?.position,
            },
        };
        self.add(file, position);
        Ok(())
    }

    /// The next event; nothing when the server ends or the program is no more.
    async fn next(&mut self) -> Option<Event> {
        let shutdown = self.context.shutdown().clone();
        shutdown.run_until_cancelled(self.wait()).await?
    }

    async fn wait(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.quiet_polls = 0;
                return Some(event);
            }
            // What is here to be noticed is noticed before the files are read, so that a process's last lines are not missed.
            self.notice_processes().await;
            let due = std::mem::take(&mut self.due_remarks);
            self.read().await;
            self.queue_remarks(due);
            if !self.ready.is_empty() {
                continue;
            }
            for gone in self.cursors.extract_if(.., |cursor| cursor.gone) {
                self.left.insert(gone.file.path, gone.position);
            }
            if self.ended {
                return None;
            }
            self.quiet_polls += 1;
            if self.quiet_polls >= POLLS_PER_HEARTBEAT {
                self.quiet_polls = 0;
                return Some(Event::DEFAULT_KEEP_ALIVE);
            }
            sleep(POLL_EVERY).await;
        }
    }

    /// Follows the processes that have come and lets go of those that went.
    async fn notice_processes(&mut self) {
        match self.changes.has_changed() {
            Ok(false) => return,
            Ok(true) => self.changes.mark_unchanged(),
            Err(_) => self.ended = true,
        }
        // The slot of a single process may be empty for a while and be filled again; the file is the same.
        if self.single || self.ended {
            return;
        }
        let Ok(snapshot) = self.context.handle().snapshot().await else {
            self.ended = true;
            return;
        };
        let files = match logs::find(&snapshot, &self.name, self.printed) {
            Ok(Logs::Many(files)) => files,
            Ok(Logs::One(file)) => vec![file],
            Err(_) => {
                self.ended = true;
                return;
            }
        };
        for cursor in &mut self.cursors {
            cursor.gone = !files.iter().any(|file| file.path == cursor.file.path);
        }
        for file in files {
            if self.cursors.iter().all(|cursor| cursor.file.path != file.path)
                && let Err(error) = self.join(file).await
            {
                tracing::warn!(error = error.message, "a log cannot be followed");
            }
        }
    }

    /// Reads what has come, on a thread of its own, because a disk may be slow and the loop must not be. A file that
    /// the batch has no room for has its turn first the next time.
    async fn read(&mut self) {
        let mut cursors = std::mem::take(&mut self.cursors);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = 0;
            let mut read = Vec::new();
            for (index, cursor) in cursors.iter_mut().enumerate() {
                let outcome = cursor.follower.read(READ_BYTES_MAX);
                bytes += outcome.iter().flatten().map(|line| line.text.len()).sum::<usize>();
                read.push(outcome);
                if bytes >= BATCH_BYTES_MAX {
                    cursors.rotate_left(index + 1);
                    break;
                }
            }
            (cursors, read)
        });
        // The reading thread neither panics nor is it cancelled; were it so, there would be nothing left to follow.
        let Ok((cursors, read)) = read.await else {
            self.ended = true;
            return;
        };
        self.cursors = cursors;
        let first = self.cursors.len() - read.len();
        for (index, outcome) in (first..).zip(read) {
            match outcome {
                Ok(lines) => self.queue(index, lines),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.say_trouble(index, &error),
            }
        }
    }

    fn say_trouble(&mut self, index: usize, error: &io::Error) {
        let cursor = &mut self.cursors[index];
        if !cursor.said_trouble {
            cursor.said_trouble = true;
            tracing::warn!(path = %cursor.file.path.display(), %error, "a log cannot be read");
        }
    }

    /// Makes events of `lines`. With one file each event has an id of its own. With several the id is long, and only
    /// the last event of a batch has one: after a lost connection a line may come twice, but none is missed.
    fn queue(&mut self, index: usize, lines: Vec<Line>) {
        let count = lines.len();
        for (number, line) in lines.into_iter().enumerate() {
            let cursor = &mut self.cursors[index];
            cursor.position = line.position;
            let text = if self.plain { plain(&line.text) } else { line.text };
            let data = json!({ "process": cursor.file.label, "line": text });
            let mut event = Event::default().data(data.to_string());
            if self.single {
                event = event.id(line.position.to_string());
            } else if number + 1 == count
                && let Some(id) = self.id_of_all()
            {
                event = event.id(id);
            }
            self.ready.push_back(event);
        }
    }

    /// Lines of Leveret's own come after those that were printed before; they have no id, because they are in no file.
    fn queue_remarks(&mut self, due: Vec<Remark>) {
        for Remark { process, text, .. } in due {
            let data = json!({ "process": process, "line": text, "leveret": true });
            self.ready.push_back(Event::default().data(data.to_string()));
        }
        loop {
            match self.remarks.try_recv() {
                Ok(remark) => {
                    let is_followed = |cursor: &Cursor| cursor.file.label == remark.process;
                    if remark.program == self.name || self.cursors.iter().any(is_followed) {
                        self.due_remarks.push(remark);
                    }
                }
                // What a slow reader has missed is in Leveret's log.
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn id_of_all(&self) -> Option<String> {
        let parts: Vec<String> =
            self.cursors.iter().map(|cursor| format!("{}={}", cursor.file.slot, cursor.position)).collect();
        let id = parts.join(",");
        (id.len() <= ID_BYTES_MAX).then_some(id)
    }
}

/// The beginning of a file that was made since then; nothing where it is older or that cannot be known.
async fn beginning_if_born_since(path: PathBuf, seconds: f64) -> Option<Position> {
    // The kernel stamps files by a clock that is up to a tick behind.
    const TICK_SECONDS: f64 = 0.05;
    let metadata = tokio::task::spawn_blocking(move || std::fs::metadata(path)).await.ok()?.ok()?;
    let born = metadata.created().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let is_new = born.as_secs_f64() >= seconds - TICK_SECONDS;
    is_new.then(|| Position { inode: metadata.ino(), offset: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_several_files_tells_each_position() {
        let file = |slot| LogFile { label: String::new(), slot, path: "/a".into() };
        let resume = Resume::parse("0=7:100,12=8:5").unwrap();
        assert_eq!(resume.position(&file(0)), "7:100".parse().ok());
        assert_eq!(resume.position(&file(12)), "8:5".parse().ok());
        assert_eq!(resume.position(&file(1)), None);
    }

    #[test]
    fn an_id_that_is_none_is_refused() {
        for id in ["", "x", "7", "7:x", "0=", "a=7:1", "0=7:1,", "0=7:1;1=2:3"] {
            assert!(Resume::parse(id).is_err(), "{id}");
        }
    }
}
