//! One connection from its first byte to its last: frames in, frames out, heartbeats, and an orderly end.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::frame::{AMQPFrame, ProtocolVersion};
use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until};

use super::codec::{FrameReader, encode};
use super::content::{self, Incoming};
use super::handshake;
use super::refusal::Refusal;
use super::state::{ChannelKey, Content, Outgoing};
use super::{Faults, Shared};

/// The largest frame that the broker offers, as RabbitMQ does.
pub(super) const FRAME_BYTES_MAX: u32 = 131_072;
/// The smallest that a client may ask for. Source: AMQP 0-9-1, frame-min-size.
const FRAME_BYTES_MIN: u32 = 4_096;
/// The most channels of a connection, as with RabbitMQ.
const CHANNELS_MAX: u16 = 2_047;
/// The heartbeat that the broker offers, in seconds.
const HEARTBEAT_SECONDS: u16 = 60;
/// How long a client may take to log in, and to confirm a close.
const PATIENCE: Duration = Duration::from_secs(10);
/// Unsent bytes beyond which deliveries wait, and beyond which nothing more is read.
const UNSENT_DELIVERIES: usize = 256 * 1024;
const UNSENT_MAX: usize = 4 * 1024 * 1024;
/// Frames that wait behind a hanging declaration on one channel.
const HUNG_FRAMES_MAX: usize = 10_000;

/// A connection and what it has open.
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) user: String,
    phase: Phase,
    channels: BTreeMap<u16, ChannelPhase>,
    outbox: UnboundedSender<Outgoing>,
    outgoing: UnboundedReceiver<Outgoing>,
    unsent: Vec<u8>,
    frame_max: u32,
    heartbeat: Duration,
    wants_cancel_notices: bool,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Header,
    Login,
    Tuning,
    Opening,
    Open,
    /// A close is sent; only its answer counts.
    Closing,
    /// Over, once what is unsent is sent.
    Over,
}

enum ChannelPhase {
    Open(Box<OpenChannel>),
    /// A close is sent; only its answer counts.
    Closing,
}

/// An open channel: what has arrived in part, and what has to wait.
pub(super) struct OpenChannel {
    serial: u64,
    pub(super) incoming: Option<Incoming>,
    /// The number of the last confirmed message, once confirms are on.
    pub(super) confirms: Option<u64>,
    hung: VecDeque<AMQPFrame>,
}

impl Session {
    pub(super) fn new(id: u64, shared: Arc<Shared>) -> Self {
        let (outbox, outgoing) = unbounded_channel();
        Self {
            id,
            shared,
            user: String::new(),
            phase: Phase::Header,
            channels: BTreeMap::new(),
            outbox,
            outgoing,
            unsent: Vec::new(),
            frame_max: FRAME_BYTES_MAX,
            heartbeat: Duration::ZERO,
            wants_cancel_notices: false,
        }
    }

    /// Serves the connection until either side ends it.
    ///
    /// # Errors
    /// When the socket fails or the client falls silent.
    pub(super) async fn run(mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut input, mut output) = stream.into_split();
        let shared = Arc::clone(&self.shared);
        let mut faults = shared.faults.subscribe();
        let mut reader = FrameReader::new(FRAME_BYTES_MAX as usize);
        let mut buffer = vec![0; 16 * 1024];
        let mut deadline = Instant::now() + PATIENCE;
        let mut beat = interval(PATIENCE);
        let mut silent_beats = 0_u32;
        while self.phase != Phase::Over || !self.unsent.is_empty() {
            let before = self.phase;
            tokio::select! {
                read = input.read(&mut buffer), if self.unsent.len() < UNSENT_MAX => {
                    let bytes = read?;
                    if bytes == 0 {
                        return Ok(());
                    }
                    silent_beats = 0;
                    reader.feed(&buffer[..bytes]);
                    self.take_frames(&mut reader);
                }
                written = output.write(&self.unsent), if !self.unsent.is_empty() => {
                    self.unsent.drain(..written?);
                }
                Some(outgoing) = self.outgoing.recv(), if self.unsent.len() < UNSENT_DELIVERIES => {
                    self.deliver(outgoing);
                }
                Ok(()) = faults.changed() => self.resume_hung(),
                _ = beat.tick(), if !self.heartbeat.is_zero() => {
                    silent_beats += 1;
                    if silent_beats > 4 {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    self.send(&AMQPFrame::Heartbeat);
                }
                () = shared.stopping.cancelled(), if !self.is_closing() => {
                    self.refuse_connection(320, "CONNECTION_FORCED - the broker is shutting down");
                }
                () = sleep_until(deadline), if self.phase != Phase::Open => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            if self.phase != before {
                deadline = Instant::now() + PATIENCE;
                reader.limit(self.frame_max as usize);
                if !self.heartbeat.is_zero() {
                    beat = interval_at(Instant::now() + self.heartbeat / 2, self.heartbeat / 2);
                    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                }
            }
        }
        output.shutdown().await
    }

    fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Over)
    }

    fn take_frames(&mut self, reader: &mut FrameReader) {
        while self.phase != Phase::Over {
            match reader.next() {
                Ok(Some(frame)) => self.take(frame),
                Ok(None) => return,
                Err(error) if self.phase == Phase::Header || self.is_closing() => {
                    tracing::debug!(%error, "a client of the demo broker speaks something else");
                    self.phase = Phase::Over;
                }
                Err(error) => {
                    self.refuse_connection(501, &format!("FRAME_ERROR - {error}"));
                    // What follows cannot be told apart any more.
                    self.phase = Phase::Over;
                }
            }
        }
    }

    fn take(&mut self, frame: AMQPFrame) {
        let channel = frame.channel_id();
        let taken = if channel == 0 { self.take_for_connection(frame) } else { self.take_for_channel(frame) };
        match taken {
            Ok(()) => {}
            Err(Refusal::Channel(code, text)) => self.refuse_channel(channel, code, &text),
            Err(Refusal::Connection(code, text)) => self.refuse_connection(code, &text),
        }
    }

    fn take_for_connection(&mut self, frame: AMQPFrame) -> Result<(), Refusal> {
        use connection::AMQPMethod as Method;
        match (self.phase, frame) {
            (_, AMQPFrame::Heartbeat) => {}
            (Phase::Header, AMQPFrame::ProtocolHeader(version)) => {
                let ours = ProtocolVersion::amqp_0_9_1();
                if version == ours {
                    self.send_connection(Method::Start(handshake::start()));
                    self.phase = Phase::Login;
                } else {
                    self.send(&AMQPFrame::ProtocolHeader(ours));
                    self.phase = Phase::Over;
                }
            }
            (Phase::Login, AMQPFrame::Method(_, AMQPClass::Connection(Method::StartOk(answer)))) => {
                let refuse = self.shared.faults.borrow().refuse_login;
                self.user = handshake::log_in(&answer, &self.shared.options, refuse)?;
                self.wants_cancel_notices = handshake::wants_cancel_notices(&answer);
                self.send_connection(Method::Tune(connection::Tune {
                    channel_max: CHANNELS_MAX,
                    frame_max: FRAME_BYTES_MAX,
                    heartbeat: HEARTBEAT_SECONDS,
                }));
                self.phase = Phase::Tuning;
            }
            (Phase::Tuning, AMQPFrame::Method(_, AMQPClass::Connection(Method::TuneOk(answer)))) => {
                if answer.frame_max != 0 {
                    self.frame_max = answer.frame_max.clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX);
                }
                self.heartbeat = Duration::from_secs(u64::from(answer.heartbeat));
                self.phase = Phase::Opening;
            }
            (Phase::Opening, AMQPFrame::Method(_, AMQPClass::Connection(Method::Open(open)))) => {
                if open.virtual_host.as_str() != self.shared.options.vhost {
                    return Err(Refusal::no_vhost(open.virtual_host.as_str()));
                }
                self.send_connection(Method::OpenOk(connection::OpenOk {}));
                self.phase = Phase::Open;
            }
            (_, AMQPFrame::Method(_, AMQPClass::Connection(Method::Close(_)))) => {
                self.send_connection(Method::CloseOk(connection::CloseOk {}));
                self.phase = Phase::Over;
            }
            (Phase::Closing, AMQPFrame::Method(_, AMQPClass::Connection(Method::CloseOk(_)))) => {
                self.phase = Phase::Over;
            }
            (Phase::Open, AMQPFrame::Method(_, AMQPClass::Connection(Method::UpdateSecret(_)))) => {
                self.send_connection(Method::UpdateSecretOk(connection::UpdateSecretOk {}));
            }
            (Phase::Closing | Phase::Over, _) => {}
            (phase, frame) => {
                return Err(Refusal::command_invalid(format!("{frame} in state {phase:?}")));
            }
        }
        Ok(())
    }

    fn take_for_channel(&mut self, frame: AMQPFrame) -> Result<(), Refusal> {
        use channel::AMQPMethod as Method;
        if self.is_closing() {
            return Ok(());
        }
        if self.phase != Phase::Open {
            return Err(Refusal::command_invalid(format!("{frame} before the connection is open")));
        }
        let number = frame.channel_id();
        match (self.channels.get_mut(&number), frame) {
            (None, AMQPFrame::Method(_, AMQPClass::Channel(Method::Open(_)))) => {
                if number > CHANNELS_MAX {
                    return Err(Refusal::channel_error(format!("there are at most {CHANNELS_MAX} channels")));
                }
                let serial = self.shared.state().open_channel(self.key(number), self.outbox.clone());
                let open = OpenChannel { serial, incoming: None, confirms: None, hung: VecDeque::new() };
                self.channels.insert(number, ChannelPhase::Open(Box::new(open)));
                self.send_channel(number, Method::OpenOk(channel::OpenOk {}));
            }
            (None, frame) => {
                return Err(Refusal::channel_error(format!(
                    "{frame} on channel {number}, which is not open"
                )));
            }
            (Some(ChannelPhase::Closing), AMQPFrame::Method(_, AMQPClass::Channel(Method::CloseOk(_)))) => {
                self.channels.remove(&number);
            }
            (Some(ChannelPhase::Closing), AMQPFrame::Method(_, AMQPClass::Channel(Method::Close(_)))) => {
                self.send_channel(number, Method::CloseOk(channel::CloseOk {}));
            }
            (Some(ChannelPhase::Closing), _) => {}
            (Some(ChannelPhase::Open(open)), frame) => {
                if open.hung.len() >= HUNG_FRAMES_MAX {
                    return Err(Refusal::channel_error("too much waits on a hanging queue"));
                }
                if !open.hung.is_empty() || hangs(&frame, &self.shared.faults.borrow()) {
                    open.hung.push_back(frame);
                    return Ok(());
                }
                return self.process(number, frame);
            }
        }
        Ok(())
    }

    /// Goes on where a queue no longer hangs.
    fn resume_hung(&mut self) {
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            while let Some(frame) = self.next_resumed(number) {
                match self.process(number, frame) {
                    Ok(()) => {}
                    Err(Refusal::Channel(code, text)) => self.refuse_channel(number, code, &text),
                    Err(Refusal::Connection(code, text)) => self.refuse_connection(code, &text),
                }
            }
        }
    }

    fn next_resumed(&mut self, number: u16) -> Option<AMQPFrame> {
        let ChannelPhase::Open(open) = self.channels.get_mut(&number)? else {
            return None;
        };
        if hangs(open.hung.front()?, &self.shared.faults.borrow()) {
            return None;
        }
        open.hung.pop_front()
    }

    /// The channel while it is open.
    pub(super) fn open_channel(&mut self, number: u16) -> Option<&mut OpenChannel> {
        match self.channels.get_mut(&number) {
            Some(ChannelPhase::Open(open)) => Some(open),
            Some(ChannelPhase::Closing) | None => None,
        }
    }

    /// Ends a channel as its client asked.
    pub(super) fn end_channel(&mut self, number: u16) {
        self.shared.state().close_channel(self.key(number));
        self.channels.remove(&number);
        self.send_channel(number, channel::AMQPMethod::CloseOk(channel::CloseOk {}));
    }

    pub(super) fn key(&self, channel: u16) -> ChannelKey {
        ChannelKey { connection: self.id, channel }
    }

    /// Sends what consumers have been given so far, so that what is sent next comes after it.
    pub(super) fn flush_deliveries(&mut self) {
        while let Ok(outgoing) = self.outgoing.try_recv() {
            self.deliver(outgoing);
        }
    }

    fn deliver(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Deliver { channel, serial, consumer, delivery } if self.is_current(channel, serial) => {
                let deliver = basic::AMQPMethod::Deliver(basic::Deliver {
                    consumer_tag: consumer.into(),
                    delivery_tag: delivery.tag,
                    redelivered: delivery.redelivered,
                    exchange: delivery.content.exchange.as_str().into(),
                    routing_key: delivery.content.routing_key.as_str().into(),
                });
                self.send_content(channel, deliver, &delivery.content);
            }
            Outgoing::Cancelled { channel, serial, consumer }
                if self.wants_cancel_notices && self.is_current(channel, serial) =>
            {
                let cancel = basic::Cancel { consumer_tag: consumer.into(), nowait: true };
                self.send_basic(channel, basic::AMQPMethod::Cancel(cancel));
            }
            // For a channel that is closed: what it had has gone back already.
            Outgoing::Deliver { .. } | Outgoing::Cancelled { .. } => {}
        }
    }

    fn is_current(&self, channel: u16, serial: u64) -> bool {
        matches!(self.channels.get(&channel), Some(ChannelPhase::Open(open)) if open.serial == serial)
    }

    fn refuse_channel(&mut self, number: u16, code: u16, text: &str) {
        if self.is_closing() || self.open_channel(number).is_none() {
            return;
        }
        self.shared.state().close_channel(self.key(number));
        self.channels.insert(number, ChannelPhase::Closing);
        let reply_text = short(text);
        let close =
            channel::Close { reply_code: code, reply_text: reply_text.into(), class_id: 0, method_id: 0 };
        self.send_channel(number, channel::AMQPMethod::Close(close));
    }

    fn refuse_connection(&mut self, code: u16, text: &str) {
        if self.is_closing() {
            return;
        }
        if self.phase == Phase::Header {
            self.phase = Phase::Over;
            return;
        }
        self.shared.state().close_connection(self.id);
        self.channels.clear();
        let reply_text = short(text);
        let close =
            connection::Close { reply_code: code, reply_text: reply_text.into(), class_id: 0, method_id: 0 };
        self.send_connection(connection::AMQPMethod::Close(close));
        self.phase = Phase::Closing;
    }

    pub(super) fn send_content(&mut self, channel: u16, method: basic::AMQPMethod, content: &Content) {
        for frame in content::frames(channel, method, content, self.frame_max) {
            self.send(&frame);
        }
    }

    pub(super) fn send_basic(&mut self, channel: u16, method: basic::AMQPMethod) {
        self.send(&AMQPFrame::Method(channel, AMQPClass::Basic(method)));
    }

    pub(super) fn send_channel(&mut self, channel: u16, method: channel::AMQPMethod) {
        self.send(&AMQPFrame::Method(channel, AMQPClass::Channel(method)));
    }

    fn send_connection(&mut self, method: connection::AMQPMethod) {
        self.send(&AMQPFrame::Method(0, AMQPClass::Connection(method)));
    }

    pub(super) fn send(&mut self, frame: &AMQPFrame) {
        encode(frame, &mut self.unsent);
    }
}

/// Whether this is the declaration of a queue that hangs.
fn hangs(frame: &AMQPFrame, faults: &Faults) -> bool {
    use amq_protocol::protocol::queue::AMQPMethod as Method;
    if let AMQPFrame::Method(_, AMQPClass::Queue(Method::Declare(declare))) = frame {
        faults.hung.contains(declare.queue.as_str())
    } else {
        false
    }
}

/// At most 255 bytes, which is all that the protocol has room for.
fn short(text: &str) -> &str {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
