//! Messages as frames: a method, a header with the size, and the body in pieces. Source: AMQP 0-9-1, 2.3.5.2.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic};

use super::codec::FRAME_OVERHEAD;
use super::refusal::Refusal;
use super::state::Content;

/// The number of the class of all messages.
const BASIC_CLASS: u16 = 60;

/// A message whose frames are still arriving.
#[derive(Debug)]
pub(super) struct Incoming {
    publish: basic::Publish,
    header: Option<(u64, BasicProperties)>,
    body: Vec<u8>,
}

impl Incoming {
    pub(super) fn new(publish: basic::Publish) -> Self {
        Self { publish, header: None, body: Vec::new() }
    }

    /// Takes the next frame of the message and tells whether it was the last.
    pub(super) fn take(&mut self, frame: AMQPFrame, message_bytes_max: usize) -> Result<bool, Refusal> {
        match (frame, &self.header) {
            (AMQPFrame::Header(_, header), None) => {
                if header.body_size > message_bytes_max as u64 {
                    return Err(Refusal::precondition(format!(
                        "message size {} is larger than configured max size {message_bytes_max}",
                        header.body_size
                    )));
                }
                self.header = Some((header.body_size, header.properties));
            }
            (AMQPFrame::Body(_, piece), Some((size, _))) => {
                if (self.body.len() + piece.len()) as u64 > *size {
                    return Err(Refusal::frame("a body is longer than its header says"));
                }
                self.body.extend_from_slice(&piece);
            }
            (frame, _) => return Err(Refusal::unexpected_frame(format!("{frame} inside a message"))),
        }
        Ok(self.header.as_ref().is_some_and(|(size, _)| *size == self.body.len() as u64))
    }

    /// The message, and whether its sender wants it back when no queue is meant.
    pub(super) fn finish(self) -> (Content, bool) {
        let content = Content {
            exchange: self.publish.exchange.into(),
            routing_key: self.publish.routing_key.into(),
            properties: self.header.map(|(_, properties)| properties).unwrap_or_default(),
            body: self.body,
        };
        (content, self.publish.mandatory)
    }
}

/// The frames of a message that follow `method`.
pub(super) fn frames(
    channel: u16,
    method: basic::AMQPMethod,
    content: &Content,
    frame_max: u32,
) -> Vec<AMQPFrame> {
    let header = AMQPContentHeader {
        class_id: BASIC_CLASS,
        body_size: content.body.len() as u64,
        properties: content.properties.clone(),
    };
    let piece = (frame_max as usize).saturating_sub(FRAME_OVERHEAD).max(1);
    let mut frames =
        vec![AMQPFrame::Method(channel, AMQPClass::Basic(method)), AMQPFrame::Header(channel, header)];
    frames.extend(content.body.chunks(piece).map(|body| AMQPFrame::Body(channel, body.to_vec())));
    frames
}
