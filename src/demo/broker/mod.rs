//! A demo and test broker, never for production: AMQP 0-9-1 on loopback, in this process, in memory.
//!
//! It speaks what lapin, php-amqplib and pika need to declare, publish, consume, get, acknowledge and cancel, and
//! answers errors in RabbitMQ's words, so that the demo needs no other program and tests can break a broker on
//! command ([`Fault`]). It keeps nothing on disk, knows one virtual host, and leaves out topic and headers
//! exchanges, transactions, TTLs, limits of users and TLS. Everything that a client can make it hold is bounded.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::secret::Secret;

mod codec;
mod content;
mod handshake;
mod methods;
mod refusal;
mod session;
mod state;

use session::Session;
use state::State;

/// How the broker is to be.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The only virtual host.
    pub vhost: String,
    /// The only user and password that may log in; anybody may when absent.
    pub login: Option<(String, Secret)>,
    /// The most connections at one time; more are closed at once.
    pub connections_max: usize,
    /// The most queues and the most exchanges.
    pub queues_max: usize,
    /// The most ready messages in a queue; more are refused, with a negative confirm where confirms are on.
    pub queue_messages_max: usize,
    /// The largest body of a message.
    pub message_bytes_max: usize,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            port: 0,
            vhost: "/".to_owned(),
            login: None,
            connections_max: 1_000,
            queues_max: 10_000,
            queue_messages_max: 100_000,
            message_bytes_max: 1024 * 1024,
        }
    }
}

/// What a queue holds and what went through it since it was declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages ready for delivery.
    pub ready: u64,
    /// Messages delivered and not yet settled.
    pub unacked: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages that the queue has accepted.
    pub published: u64,
    /// Messages acknowledged, or delivered where none is asked for.
    pub acked: u64,
    /// Deliveries of a message that had been delivered before.
    pub redelivered: u64,
    /// Messages not accepted because the queue was full.
    pub refused: u64,
}

/// A way to misbehave. Those with a switch last until they are switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Close every new connection before a byte is exchanged.
    RefuseConnections(bool),
    /// Break all connections, once, without a word.
    DropAllConnections,
    /// Refuse every login.
    RefuseLogin(bool),
    /// Do not answer a declaration of this queue, nor anything after it on the same channel, until switched off.
    HangQueue(String, bool),
    /// Refuse a declaration of this queue for want of permission.
    RefuseQueue(String, bool),
    /// Answer a passive declaration of this queue with no messages and no consumers, as a quorum queue without a
    /// leader does.
    ZeroZero(String, bool),
}

/// The faults that are switched on.
#[derive(Clone, Debug, Default)]
struct Faults {
    refuse_connections: bool,
    refuse_login: bool,
    hung: BTreeSet<String>,
    refused: BTreeSet<String>,
    zeroed: BTreeSet<String>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    options: BrokerOptions,
    state: Mutex<State>,
    faults: watch::Sender<Faults>,
    /// Cancelled and replaced to break all connections.
    unbroken: Mutex<CancellationToken>,
    /// Cancelled to end them in good order.
    stopping: CancellationToken,
    connections: AtomicUsize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unbroken(&self) -> MutexGuard<'_, CancellationToken> {
        self.unbroken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running broker. Dropping it ends it at once; [`Broker::stop`] says goodbye first.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: TaskTracker,
}

impl Broker {
    /// Starts a broker on the current tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be listened on.
    pub async fn start(options: BrokerOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let state = State::new(&options.vhost, options.queue_messages_max, options.queues_max);
        let shared = Arc::new(Shared {
            options,
            state: Mutex::new(state),
            faults: watch::Sender::default(),
            unbroken: Mutex::default(),
            stopping: CancellationToken::new(),
            connections: AtomicUsize::new(0),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, Arc::clone(&shared), tasks.clone()));
        Ok(Self { shared, address, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address for clients, with the configured password, else with `guest:guest`, and its virtual host.
    pub fn url(&self) -> String {
        let (user, password) = match &self.shared.options.login {
            Some((user, password)) => (user.as_str(), password.reveal()),
            None => ("guest", "guest"),
        };
        let (user, password) = (percent_encode(user), percent_encode(password));
        format!("amqp://{user}:{password}@{}/{}", self.address, percent_encode(&self.shared.options.vhost))
    }

    /// What a queue holds, `None` where there is no such queue.
    pub fn depth(&self, queue: &str) -> Option<QueueCounts> {
        self.shared.state().counts(queue)
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many channels all connections together have open.
    pub fn channel_count(&self) -> usize {
        self.shared.state().channel_count()
    }

    /// Misbehaves, or stops misbehaving.
    pub fn set_fault(&self, fault: Fault) {
        let switch = |set: &mut BTreeSet<String>, name: String, on: bool| {
            if on { set.insert(name) } else { set.remove(&name) }
        };
        self.shared.faults.send_modify(|faults| match fault {
            Fault::RefuseConnections(on) => faults.refuse_connections = on,
            Fault::RefuseLogin(on) => faults.refuse_login = on,
            Fault::HangQueue(name, on) => {
                switch(&mut faults.hung, name, on);
            }
            Fault::RefuseQueue(name, on) => {
                switch(&mut faults.refused, name, on);
            }
            Fault::ZeroZero(name, on) => {
                switch(&mut faults.zeroed, name, on);
            }
            Fault::DropAllConnections => {
                std::mem::take(&mut *self.shared.unbroken()).cancel();
            }
        });
    }

    /// Closes all connections in good order and returns when the port is free.
    pub async fn stop(self) {
        self.shared.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.shared.unbroken().cancel();
    }
}

/// Takes connections until the broker stops.
async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker) {
    let mut last_connection = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stopping.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: they come back as connections end.
                tracing::warn!(%error, "the demo broker cannot take a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let full = shared.connections.load(Ordering::SeqCst) >= shared.options.connections_max;
        if full || shared.faults.borrow().refuse_connections {
            continue;
        }
        last_connection += 1;
        shared.connections.fetch_add(1, Ordering::SeqCst);
        tasks.spawn(serve(last_connection, stream, Arc::clone(&shared)));
    }
}

/// Serves one connection to its end and takes back what it had.
async fn serve(id: u64, stream: TcpStream, shared: Arc<Shared>) {
    let broken = shared.unbroken().clone();
    let session = Session::new(id, Arc::clone(&shared));
    tokio::select! {
        ended = session.run(stream) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the demo broker ended early");
            }
        }
        () = broken.cancelled() => {}
    }
    shared.state().close_connection(id);
    shared.connections.fetch_sub(1, Ordering::SeqCst);
}

/// How long to wait when no connection can be taken.
const ACCEPT_RETRY: std::time::Duration = std::time::Duration::from_millis(50);

/// Escapes everything but letters and digits, for the parts of an address.
fn percent_encode(text: &str) -> String {
    let escape = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests;
