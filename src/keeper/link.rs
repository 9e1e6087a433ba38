//! The controller's end of the connection to its keeper. It never blocks the controller's loop: orders are queued and
//! written when the socket takes them, and facts are awaited.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::frame::{FrameError, FrameReader, FrameWriter, WAITING_BYTES_MAX};
use super::protocol::{Fact, Order};

/// Why the connection to the keeper is of no more use. The controller should end; the keeper starts another.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Standard input is not the keeper's socket: this process was not started by a keeper.
    #[error("failed to connect to the keeper: standard input is not its socket")]
    Connect(#[source] io::Error),
    /// Reading or writing failed.
    #[error("failed to speak with the keeper")]
    Socket(#[source] io::Error),
    /// A frame could not be read or queued.
    #[error("failed to speak with the keeper")]
    Frame(#[from] FrameError),
}

/// The connection to the keeper: [`ControllerLink::send`] queues orders, [`ControllerLink::next`] awaits facts and
/// writes the queue on the way. One loop owns it; `next` may be dropped at any await (as in `select!`) without loss.
#[derive(Debug)]
pub struct ControllerLink {
    stream: UnixStream,
    reader: FrameReader,
    writer: FrameWriter,
    ready: VecDeque<(Fact, Option<OwnedFd>)>,
}

impl ControllerLink {
    /// Takes the keeper's socket from standard input, which becomes `/dev/null`, and names the process in `ps`.
    ///
    /// To be called on the main thread inside a tokio runtime. The controller inherits the keeper's signal mask and should
    /// leave it: signals for Leveret come as [`Fact::Signalled`], not a second time by themselves.
    pub fn from_stdin() -> Result<Self, LinkError> {
        let connect = |error: rustix::io::Errno| LinkError::Connect(error.into());
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(connect)?;
        let link = Self::from_socket(socket)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(connect)?;
        rustix::stdio::dup2_stdin(&null).map_err(connect)?;
        rustix::thread::set_name(c"leveret-control").map_err(connect)?;
        Ok(link)
    }

    /// Takes a connected stream socket; inside a tokio runtime.
    pub fn from_socket(socket: OwnedFd) -> Result<Self, LinkError> {
        rustix::net::sockopt::socket_type(&socket).map_err(|error| LinkError::Connect(error.into()))?;
        let stream = StdUnixStream::from(socket);
        stream.set_nonblocking(true).map_err(LinkError::Connect)?;
        let stream = UnixStream::from_std(stream).map_err(LinkError::Connect)?;
        Ok(Self {
            stream,
            // The inventory may be longer than any order: it is bounded by what the keeper lets wait.
            reader: FrameReader::new(WAITING_BYTES_MAX),
            writer: FrameWriter::new(WAITING_BYTES_MAX),
            ready: VecDeque::new(),
        })
    }

    /// Queues an order and writes what the socket takes at once; the rest goes out in [`ControllerLink::next`].
    ///
    /// The descriptor belongs to [`Order::Keep`] and to no other.
    pub fn send(&mut self, order: &Order, descriptor: Option<OwnedFd>) -> Result<(), LinkError> {
        self.writer.push(order, descriptor.map(Arc::new))?;
        self.flush()
    }

    /// Whether everything that was sent is on its way to the keeper.
    pub fn is_flushed(&self) -> bool {
        self.writer.is_empty()
    }

    /// The next fact, with the descriptor of a [`Fact::Kept`]; none once the keeper has closed the connection.
    pub async fn next(&mut self) -> Result<Option<(Fact, Option<OwnedFd>)>, LinkError> {
        loop {
            if let Some(fact) = self.ready.pop_front() {
                return Ok(Some(fact));
            }
            let wanted = match self.writer.is_empty() {
                true => Interest::READABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            let found = self.stream.ready(wanted).await.map_err(LinkError::Socket)?;
            if found.is_writable() {
                self.flush()?;
            }
            if found.is_readable() || found.is_read_closed() {
                let filled = self.stream.try_io(Interest::READABLE, || self.reader.fill(&self.stream));
                match filled {
                    Ok(0) => return Ok(None),
                    Ok(_) => {
                        while let Some(fact) = self.reader.take()? {
                            self.ready.push_back(fact);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                    Err(error) => return Err(LinkError::Socket(error)),
                }
            }
        }
    }

    /// A fact that has been read already, if there is one.
    pub fn take_ready(&mut self) -> Option<(Fact, Option<OwnedFd>)> {
        self.ready.pop_front()
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        if self.writer.is_empty() {
            return Ok(());
        }
        match self.stream.try_io(Interest::WRITABLE, || self.writer.flush(&self.stream)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(LinkError::Socket(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;
    use crate::core::ids::Incarnation;
    use crate::keeper::protocol::{FRAME_BYTES_MAX, SpawnOrder};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
    }

    #[test]
    fn kept_descriptors_arrive_with_their_facts_and_the_end_is_told() {
        runtime().block_on(async {
            let (keeper, ours) = StdUnixStream::pair().unwrap();
            let mut link = ControllerLink::from_socket(ours.into()).unwrap();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"kept").unwrap();
            file.rewind().unwrap();
            let mut writer = FrameWriter::new(WAITING_BYTES_MAX);
            writer.push(&Fact::Signalled { signal: 1 }, None).unwrap();
            writer.push(&Fact::Kept { key: "lock".to_owned() }, Some(Arc::new(file.into()))).unwrap();
            writer.flush(&keeper).unwrap();
            drop(keeper);

            assert_eq!(link.next().await.unwrap().unwrap().0, Fact::Signalled { signal: 1 });
            let (fact, descriptor) = link.next().await.unwrap().unwrap();
            assert_eq!(fact, Fact::Kept { key: "lock".to_owned() });
            let mut text = String::new();
            File::from(descriptor.unwrap()).read_to_string(&mut text).unwrap();
            assert_eq!(text, "kept");
            assert!(link.next().await.unwrap().is_none());
        });
    }

    #[test]
    fn orders_that_do_not_fit_the_socket_go_out_while_facts_are_awaited() {
        runtime().block_on(async {
            let (keeper, ours) = StdUnixStream::pair().unwrap();
            let mut link = ControllerLink::from_socket(ours.into()).unwrap();
            let order = |number| {
                let argv = vec!["x".repeat(50_000)];
                Order::Spawn(Box::new(SpawnOrder {
                    incarnation: Incarnation(number),
                    argv,
                    ..SpawnOrder::default()
                }))
            };
            for number in 1..=100 {
                link.send(&order(number), None).unwrap();
            }
            let reading = std::thread::spawn(move || {
                let mut reader = FrameReader::new(FRAME_BYTES_MAX);
                let mut orders = Vec::new();
                while orders.len() < 100 {
                    let mut wait = [rustix::event::PollFd::new(&keeper, rustix::event::PollFlags::IN)];
                    rustix::event::poll(&mut wait, None).unwrap();
                    reader.fill(&keeper).unwrap();
                    while let Some((order, _)) = reader.take::<Order>().unwrap() {
                        orders.push(order);
                    }
                }
                let mut writer = FrameWriter::new(WAITING_BYTES_MAX);
                writer.push(&Fact::Signalled { signal: 15 }, None).unwrap();
                writer.flush(&keeper).unwrap();
                orders
            });
            assert_eq!(link.next().await.unwrap().unwrap().0, Fact::Signalled { signal: 15 });
            let expected: Vec<Order> = (1..=100).map(order).collect();
            assert_eq!(reading.join().unwrap(), expected);
        });
    }

    #[test]
    fn a_standard_input_that_is_no_socket_is_refused() {
        runtime().block_on(async {
            let file = tempfile::tempfile().unwrap();
            assert!(matches!(ControllerLink::from_socket(file.into()), Err(LinkError::Connect(_))));
        });
    }
}
