//! Leveret's own output, which may be a terminal that somebody has halted: a thread of its own writes to it.
//!
//! What waits for that thread is bounded and is only a copy: the pump takes lines out of a pipe when they have been
//! written, so a slow reader holds up the processes that print to it and nothing else. The descriptor is shared with
//! whoever started Leveret, and its flags are therefore left alone.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr, write};

/// How many bytes may wait to be written; one line more is let in.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// The writer's end of a chunk: whether it was written.
pub(super) type Report = Box<dyn Fn(Written) + Send>;

/// A chunk that the writer is done with.
#[derive(Debug)]
pub(super) struct Written {
    /// Whose it was.
    pub(super) token: u64,
    /// Its length in bytes.
    pub(super) bytes: usize,
    /// Whether all of it was written.
    pub(super) result: io::Result<()>,
}

/// The pump's side.
#[derive(Debug)]
pub(super) struct Stdout {
    chunks: Sender<(u64, Vec<u8>)>,
    waiting_bytes: usize,
}

impl Stdout {
    /// Starts the thread, which ends when this value is gone and the last chunk is written.
    pub(super) fn start(output: OwnedFd, report: Report) -> io::Result<Self> {
        let (chunks, receiver) = channel();
        thread::Builder::new()
            .name("leveret-stdout".to_owned())
            .spawn(move || write_chunks(&output, &receiver, &report))?;
        Ok(Self { chunks, waiting_bytes: 0 })
    }

    /// How many bytes may be given to [`Stdout::write`] now.
    pub(super) fn room(&self) -> usize {
        WAITING_BYTES_MAX.saturating_sub(self.waiting_bytes)
    }

    /// Gives whole lines to the thread, which will report on them by `token`.
    pub(super) fn write(&mut self, token: u64, text: Vec<u8>) -> io::Result<()> {
        let bytes = text.len();
        let sent = self.chunks.send((token, text));
        sent.map_err(|_| io::Error::other("the thread that writes has ended"))?;
        self.waiting_bytes += bytes;
        Ok(())
    }

    /// Takes note of a report.
    pub(super) fn written(&mut self, bytes: usize) {
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
    }
}

fn write_chunks(output: &OwnedFd, chunks: &Receiver<(u64, Vec<u8>)>, report: &Report) {
    for (token, text) in chunks {
        let result = write_all(output, &text);
        report(Written { token, bytes: text.len(), result });
    }
}

fn write_all(output: &OwnedFd, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match retry_on_intr(|| write(output, text)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => text = &text[bytes..],
            // Somebody else who holds this terminal or pipe has made it non-blocking.
            Err(Errno::AGAIN) => wait_for_room(output)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait_for_room(output: &OwnedFd) -> io::Result<()> {
    let mut room = [PollFd::new(output, PollFlags::OUT)];
    retry_on_intr(|| poll(&mut room, None))?;
    Ok(())
}
