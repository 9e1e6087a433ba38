//! Frames on a stream socket, with a file descriptor on some of them; used by both sides. Nothing here blocks: a socket
//! that is empty or full is [`io::ErrorKind::WouldBlock`], and what could not be written yet is kept, up to a bound.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::{Fact, Order};

/// The most bytes that may wait for a peer that does not read.
pub const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most that one [`FrameReader::fill`] takes from the socket, in bytes.
const FILL_BYTES: usize = 64 * 1024;

const LENGTH_BYTES: usize = 4;

/// A value that travels in a frame.
pub trait Frame: Serialize + DeserializeOwned {
    /// Whether a file descriptor comes with it.
    fn carries_descriptor(&self) -> bool;
}

impl Frame for Order {
    fn carries_descriptor(&self) -> bool {
        matches!(self, Self::Keep { .. })
    }
}

impl Frame for Fact {
    fn carries_descriptor(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }
}

/// Why a frame could not be read or queued. After any of these the connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announced a body that is longer than the bound.
    #[error("a frame of {bytes} bytes is longer than the {max} that are allowed")]
    TooLong {
        /// The announced length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The body is not what this side understands.
    #[error("a frame could not be understood")]
    Malformed(#[source] serde_json::Error),
    /// A frame that needs a file descriptor has none, or the other way round.
    #[error("a frame and its file descriptor do not belong together")]
    Descriptor,
    /// The peer does not read.
    #[error("the other side has not read {0} bytes")]
    Full(usize),
}

/// The reading half.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    /// Descriptors in the order of their frames: each arrives no later than the first byte of its frame.
    descriptors: VecDeque<OwnedFd>,
    body_bytes_max: usize,
}

impl FrameReader {
    /// A reader that refuses a body longer than `body_bytes_max`.
    pub fn new(body_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, descriptors: VecDeque::new(), body_bytes_max }
    }

    /// Takes what the socket has, up to 64 KiB; returns the number of bytes, 0 when the peer has closed.
    pub fn fill(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let end = self.buffer.len();
        self.buffer.resize(end + FILL_BYTES, 0);
        let received = self.receive(&socket, end);
        self.buffer.truncate(end + received.as_ref().map_or(0, |bytes| *bytes));
        received
    }

    fn receive(&mut self, socket: &impl AsFd, end: usize) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut self.buffer[end..])];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = rustix::io::retry_on_intr(|| recvmsg(socket, &mut parts, &mut control, flags))?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                self.descriptors.extend(descriptors);
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("a file descriptor could not be received: too many open files"));
        }
        Ok(message.bytes)
    }

    /// The next whole frame of those that were taken from the socket.
    pub fn take<F: Frame>(&mut self) -> Result<Option<(F, Option<OwnedFd>)>, FrameError> {
        let waiting = &self.buffer[self.start..];
        let Some((length, rest)) = waiting.split_first_chunk::<LENGTH_BYTES>() else {
            self.compact();
            return Ok(None);
        };
        let bytes = u32::from_le_bytes(*length) as usize;
        if bytes > self.body_bytes_max {
            return Err(FrameError::TooLong { bytes, max: self.body_bytes_max });
        }
        let Some(body) = rest.get(..bytes) else {
            self.compact();
            return Ok(None);
        };
        let frame: F = serde_json::from_slice(body).map_err(FrameError::Malformed)?;
        self.start += LENGTH_BYTES + bytes;
        if !frame.carries_descriptor() {
            return Ok(Some((frame, None)));
        }
        let descriptor = self.descriptors.pop_front().ok_or(FrameError::Descriptor)?;
        Ok(Some((frame, Some(descriptor))))
    }

    /// Whether nothing was taken from the socket that is not handed out yet.
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len() && self.descriptors.is_empty()
    }

    /// Moves the incomplete rest to the front, once for each batch of frames.
    fn compact(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.is_empty() {
            self.buffer.shrink_to(FILL_BYTES);
        }
    }
}

/// The writing half.
#[derive(Debug)]
pub struct FrameWriter {
    buffer: Vec<u8>,
    start: usize,
    /// Descriptors and where in `buffer` their frames begin.
    descriptors: VecDeque<(usize, Arc<OwnedFd>)>,
    waiting_bytes_max: usize,
}

impl FrameWriter {
    /// A writer that refuses to let more than `waiting_bytes_max` wait for the peer.
    pub fn new(waiting_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, descriptors: VecDeque::new(), waiting_bytes_max }
    }

    /// Queues a frame.
    pub fn push<F: Frame>(&mut self, frame: &F, descriptor: Option<Arc<OwnedFd>>) -> Result<(), FrameError> {
        if frame.carries_descriptor() != descriptor.is_some() {
            return Err(FrameError::Descriptor);
        }
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(&[0; LENGTH_BYTES]);
        serde_json::to_writer(&mut self.buffer, frame).map_err(FrameError::Malformed)?;
        let waiting = self.buffer.len() - self.start;
        if waiting > self.waiting_bytes_max {
            return Err(FrameError::Full(waiting));
        }
        // It fits: the bound above is far below 4 GiB.
        let length = (self.buffer.len() - begin - LENGTH_BYTES) as u32;
        self.buffer[begin..begin + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        self.descriptors.extend(descriptor.map(|descriptor| (begin, descriptor)));
        Ok(())
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// Writes until everything is written or the socket is full.
    pub fn flush(&mut self, socket: impl AsFd) -> io::Result<()> {
        let result = loop {
            if self.is_empty() {
                break Ok(());
            }
            match self.send(&socket) {
                Ok(sent) => self.start += sent,
                Err(error) => break Err(error),
            }
        };
        self.compact();
        result
    }

    /// Frees what was sent, unless moving the rest would cost more than it gives back.
    fn compact(&mut self) {
        if self.start < self.buffer.len() - self.start {
            return;
        }
        self.buffer.drain(..self.start);
        self.buffer.shrink_to(FILL_BYTES);
        for (begin, _) in &mut self.descriptors {
            *begin -= self.start;
        }
        self.start = 0;
    }

    /// Sends up to the next frame that carries a descriptor, so that this one begins a message of its own.
    fn send(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        let begins_here = self.descriptors.front().is_some_and(|(begin, _)| *begin == self.start);
        let end =
            self.descriptors.get(usize::from(begins_here)).map_or(self.buffer.len(), |(begin, _)| *begin);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let attached = self.descriptors.front().filter(|_| begins_here).map(|(_, fd)| [fd.as_fd()]);
        if let Some(attached) = &attached {
            control.push(SendAncillaryMessage::ScmRights(attached));
        }
        let parts = [IoSlice::new(&self.buffer[self.start..end])];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::io::retry_on_intr(|| sendmsg(socket, &parts, &mut control, flags))?;
        if begins_here {
            self.descriptors.pop_front();
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::core::ids::Incarnation;
    use crate::keeper::protocol::{FRAME_BYTES_MAX, SpawnOrder};

    fn file_saying(text: &str) -> Arc<OwnedFd> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        Arc::new(file.into())
    }

    fn text_of(descriptor: OwnedFd) -> String {
        let mut text = String::new();
        std::fs::File::from(descriptor).read_to_string(&mut text).unwrap();
        text
    }

    fn release(number: u64) -> Order {
        Order::Release { incarnation: Incarnation(number) }
    }

    /// Moves everything that is queued, as two loops would, and returns the frames.
    fn transfer(writer: &mut FrameWriter, reader: &mut FrameReader) -> Vec<(Order, Option<OwnedFd>)> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut frames = Vec::new();
        loop {
            let flushed = writer.flush(&ours);
            match reader.fill(&theirs) {
                Ok(_) => {
                    while let Some(frame) = reader.take().unwrap() {
                        frames.push(frame);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && flushed.is_ok() => return frames,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
            }
        }
    }

    #[test]
    fn each_descriptor_arrives_with_its_own_frame() {
        let mut writer = FrameWriter::new(WAITING_BYTES_MAX);
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        writer.push(&release(1), None).unwrap();
        for key in ["lock", "http"] {
            writer.push(&Order::Keep { key: key.to_owned() }, Some(file_saying(key))).unwrap();
            writer.push(&release(2), None).unwrap();
        }
        let frames = transfer(&mut writer, &mut reader);
        assert_eq!(frames.len(), 5);
        for (order, descriptor) in frames {
            if let Order::Keep { key } = order {
                assert_eq!(text_of(descriptor.unwrap()), key);
            } else {
                assert!(descriptor.is_none());
            }
        }
    }

    #[test]
    fn a_frame_larger_than_the_socket_arrives_whole_and_so_does_the_next() {
        let mut writer = FrameWriter::new(WAITING_BYTES_MAX);
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        let large = SpawnOrder { argv: vec!["x".repeat(3_000_000)], ..SpawnOrder::default() };
        writer.push(&Order::Spawn(Box::new(large.clone())), None).unwrap();
        writer.push(&Order::Keep { key: "after".to_owned() }, Some(file_saying("after"))).unwrap();
        let mut frames = transfer(&mut writer, &mut reader);
        assert_eq!(frames.remove(0).0, Order::Spawn(Box::new(large)));
        assert_eq!(text_of(frames.remove(0).1.unwrap()), "after");
        assert!(writer.is_empty());
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_the_body_is_read() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&u32::MAX.to_le_bytes()).unwrap();
        let mut reader = FrameReader::new(1_000);
        reader.fill(&theirs).unwrap();
        assert!(matches!(reader.take::<Order>(), Err(FrameError::TooLong { max: 1_000, .. })));
    }

    #[test]
    fn what_is_not_an_order_is_refused() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"\x02\0\0\0{}").unwrap();
        let mut reader = FrameReader::new(1_000);
        reader.fill(&theirs).unwrap();
        assert!(matches!(reader.take::<Order>(), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn a_keep_without_its_descriptor_is_refused_on_both_sides() {
        let mut writer = FrameWriter::new(WAITING_BYTES_MAX);
        let keep = Order::Keep { key: "lock".to_owned() };
        assert!(matches!(writer.push(&keep, None), Err(FrameError::Descriptor)));

        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let body = serde_json::to_vec(&keep).unwrap();
        ours.write_all(&(body.len() as u32).to_le_bytes()).unwrap();
        ours.write_all(&body).unwrap();
        let mut reader = FrameReader::new(1_000);
        reader.fill(&theirs).unwrap();
        assert!(matches!(reader.take::<Order>(), Err(FrameError::Descriptor)));
    }

    #[test]
    fn a_peer_that_does_not_read_fills_the_queue_and_no_more() {
        let mut writer = FrameWriter::new(10_000);
        let order = Order::Keep { key: "x".repeat(1_000) };
        let descriptor = file_saying("");
        let error = (0..).find_map(|_| writer.push(&order, Some(Arc::clone(&descriptor))).err()).unwrap();
        assert!(matches!(error, FrameError::Full(bytes) if (10_000..12_000).contains(&bytes)), "{error}");
    }

    #[test]
    fn a_closed_peer_reads_as_zero_bytes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert_eq!(FrameReader::new(1_000).fill(&theirs).unwrap(), 0);
    }
}
