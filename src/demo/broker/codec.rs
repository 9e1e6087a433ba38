//! Bytes to frames and back. Knows no connection and keeps no more than one frame's worth of unread bytes.

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};

/// What a frame costs beside its payload: type, channel, size and the end mark. Source: AMQP 0-9-1, 2.3.5.
pub(super) const FRAME_OVERHEAD: usize = 8;

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub(super) struct FrameReader {
    bytes: Vec<u8>,
    used: usize,
    frame_bytes_max: usize,
}

/// Why bytes are not frames.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// A frame announces more bytes than were agreed.
    #[error("a frame is larger than the agreed {0} bytes")]
    TooLarge(usize),
    /// The bytes are no AMQP 0-9-1.
    #[error("the bytes are not AMQP 0-9-1")]
    Malformed,
}

impl FrameReader {
    pub(super) fn new(frame_bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), used: 0, frame_bytes_max }
    }

    /// Changes the limit after both sides have agreed on one.
    pub(super) fn limit(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Adds bytes as they arrived.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` until more bytes arrive.
    pub(super) fn next(&mut self) -> Result<Option<AMQPFrame>, FrameError> {
        if let Some(announced) = self.announced_bytes()
            && announced > self.frame_bytes_max
        {
            return Err(FrameError::TooLarge(self.frame_bytes_max));
        }
        match parse_frame(&self.bytes[self.used..]) {
            Ok((rest, frame)) => {
                self.used = self.bytes.len() - rest.len();
                Ok(Some(frame))
            }
            Err(error) if error.is_incomplete() => Ok(None),
            Err(_) => Err(FrameError::Malformed),
        }
    }

    /// The size that the frame at the front says it has. A protocol header (`AMQP...`) announces none.
    fn announced_bytes(&self) -> Option<usize> {
        let unread = &self.bytes[self.used..];
        let size: [u8; 4] = unread.get(3..7)?.try_into().ok()?;
        (unread[0] != b'A').then(|| u32::from_be_bytes(size) as usize + FRAME_OVERHEAD)
    }
}

/// Appends `frame` to `out`.
pub(super) fn encode(frame: &AMQPFrame, out: &mut Vec<u8>) {
    let context = WriteContext::from(std::mem::take(out));
    let written = gen_frame(frame)(context).expect("a vector takes every frame that we make");
    *out = written.into_inner().0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(frame: &AMQPFrame) -> Vec<u8> {
        let mut out = Vec::new();
        encode(frame, &mut out);
        out
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let frames = [AMQPFrame::Heartbeat, AMQPFrame::Body(3, b"hello".to_vec()), AMQPFrame::Heartbeat];
        let stream: Vec<u8> = frames.iter().flat_map(bytes).collect();
        for size in 1..stream.len() {
            let mut reader = FrameReader::new(4096);
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                reader.feed(piece);
                while let Some(frame) = reader.next().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames, "cut into pieces of {size}");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_has_arrived() {
        let mut reader = FrameReader::new(64);
        reader.feed(&bytes(&AMQPFrame::Body(1, vec![0; 100]))[..7]);
        assert_eq!(reader.next(), Err(FrameError::TooLarge(64)));
    }

    #[test]
    fn another_protocol_is_recognised() {
        let mut reader = FrameReader::new(4096);
        reader.feed(b"GET / HTTP/1.1\r\n\r\n");
        assert!(reader.next().is_err());
    }
}
