//! Opens and ends connections to a broker. Every step has a deadline, and whatever happens to a connection, its
//! socket is shut down in the end: lapin's thread would otherwise wait for ever on a peer that has gone silent.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::time::timeout;

use super::address;
use super::fact::BrokerState;
use super::refusal;
use crate::core::secret::Secret;
use crate::sys::cause;

/// How long an end in good order may take before the socket is closed.
const GOODBYE: Duration = Duration::from_secs(1);

/// Whom to call, and how.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    /// The broker's `amqp://` or `amqps://` address.
    pub(crate) url: Secret,
    /// The name that the broker shows for the connection.
    pub(crate) name: String,
    /// The largest frame in bytes; lapin's buffers have 32 times this.
    pub(crate) frame_max: u32,
    /// How long name resolution, connection and encryption may take together, and then the login.
    pub(crate) timeout: Duration,
}

/// The heartbeat where the address sets none, in seconds. A silent broker is given up after twice this.
const HEARTBEAT_SECONDS: u16 = 10;

/// Why there is no connection. Never contains the password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The address cannot be read.
    #[error("the broker's address is not a valid amqp:// or amqps:// URL")]
    Address,
    /// The host has no address.
    #[error("cannot find the broker's host {host}: {}", plain(source))]
    Resolve { host: String, source: io::Error },
    /// Nobody listens there, or the way is blocked.
    #[error("cannot connect to the broker at {at}: {}", plain(source))]
    Connect { at: String, source: io::Error },
    /// There is no encryption, or the certificate is not trusted.
    #[error(
        "cannot agree on encryption with the broker at {at}: {}; a private authority's certificate goes into \
         SSL_CERT_FILE",
        plain(source)
    )]
    Tls { at: String, source: io::Error },
    /// A step took too long.
    #[error("the broker at {at} did not answer within {} s", after.as_secs_f64())]
    TimedOut { at: String, after: Duration },
    /// User or password is wrong.
    #[error("the broker refuses the login of user {user}")]
    Login { user: String },
    /// The virtual host is not there or not for this user.
    #[error("the broker has no virtual host {vhost}, or user {user} may not use it")]
    Vhost { vhost: String, user: String },
    /// The broker says no for another reason, in its own words.
    #[error("the broker refuses the connection: {text}")]
    Refused { text: String },
    /// The broker hung up in the middle of the login.
    #[error("the broker at {at} closed the connection during the login")]
    HungUp { at: String },
    /// Something else listens there.
    #[error("what listens at {at} does not speak AMQP 0-9-1")]
    NotAmqp { at: String },
    /// The broker or lapin says something that none of the above covers.
    #[error("cannot log in to the broker at {at}: {text}")]
    Other { at: String, text: String },
}

impl DialError {
    /// What this means for the state of the broker.
    pub(crate) fn state(&self) -> BrokerState {
        match self {
            Self::Login { .. } | Self::Vhost { .. } | Self::Refused { .. } => {
                BrokerState::Refused(self.to_string())
            }
            Self::Address
            | Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::TimedOut { .. }
            | Self::HungUp { .. }
            | Self::NotAmqp { .. }
            | Self::Other { .. } => BrokerState::Unreachable(self.to_string()),
        }
    }
}

/// An open connection. Dropping it cuts it; [`Link::close`] says goodbye first.
pub(crate) struct Link {
    connection: Connection,
    /// Every open channel. lapin closes one when its last handle goes, and a connection that is being closed at
    /// that moment fails, so the last handles are here.
    channels: Mutex<Vec<Channel>>,
    /// A second handle on the connection's socket.
    socket: TcpStream,
    at: String,
}

impl Link {
    /// Connects and logs in. Must be called on a tokio runtime, which drives the connection from then on.
    ///
    /// # Errors
    /// Says which step failed.
    pub(crate) async fn connect(dial: &Dial) -> Result<Self, DialError> {
        let mut uri = address::parse(dial.url.reveal()).ok_or(DialError::Address)?;
        uri.query.frame_max = Some(dial.frame_max);
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        let at = place(&uri);
        let late = |_| DialError::TimedOut { at: at.clone(), after: dial.timeout };
        let runtime = lapin::runtime::default_runtime()
            .map_err(|error| DialError::Other { at: at.clone(), text: error.to_string() })?;

        let (stream, socket) = timeout(dial.timeout, async {
            let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in resolve(&uri).await? {
                match AsyncTcpStream::connect(&runtime, address).await {
                    Ok(stream) => {
                        let handle = if let AsyncTcpStream::Plain(plain) = &stream {
                            plain.get_ref().as_fd().try_clone_to_owned()
                        } else {
                            // Nothing is encrypted before we ask for it.
                            Err(io::ErrorKind::Unsupported.into())
                        };
                        let socket = TcpStream::from(handle.map_err(|source| unconnected(&at, source))?);
                        let socket = ShutdownOnDrop(Some(socket));
                        let stream = match uri.scheme {
                            AMQPScheme::AMQP => stream,
                            // Trusts the system's authorities, or those that the environment variables
                            // SSL_CERT_FILE and SSL_CERT_DIR name instead.
                            AMQPScheme::AMQPS => stream
                                .into_tls(&uri.authority.host, TLSConfig::default())
                                .await
                                .map_err(|source| DialError::Tls { at: at.clone(), source })?,
                        };
                        return Ok((stream, socket));
                    }
                    Err(error) => failure = error,
                }
            }
            Err(unconnected(&at, failure))
        })
        .await
        .map_err(late)??;

        // lapin asks for a stream from a thread of its own, and asks again when one fails early: there is only one.
        let stream = Mutex::new(Some(stream));
        let give = async move |_: AMQPUri, _| {
            let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            taken.ok_or_else(|| lapin::Error::from(io::Error::from(io::ErrorKind::ConnectionAborted)))
        };
        let properties = ConnectionProperties::default().with_connection_name(dial.name.as_str().into());
        let connection = timeout(dial.timeout, Connection::connector(uri.clone(), runtime, give, properties))
            .await
            .map_err(late)?
            .map_err(|error| sort_login_error(&error, &uri))?;
        Ok(Self { connection, channels: Mutex::default(), socket: socket.disarm(), at })
    }

    /// The connection itself.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Opens a channel, which lives until it is closed or the connection ends.
    ///
    /// # Errors
    /// When the connection is lost or has no channels left.
    pub(crate) async fn open_channel(&self) -> lapin::Result<Channel> {
        let opened = self.connection.create_channel().await?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|channel| channel.status().connected());
        channels.push(opened.clone());
        Ok(opened)
    }

    /// Host and port, for people.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// Ends the connection in good order, within a second.
    pub(crate) async fn close(self) {
        // A connection that cannot be closed in good order is cut when this returns.
        let _ = timeout(GOODBYE, self.connection.close(200, "goodbye".into())).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        shut_down(&self.socket);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Shuts the socket down unless the login was completed.
struct ShutdownOnDrop(Option<TcpStream>);

impl ShutdownOnDrop {
    fn disarm(mut self) -> TcpStream {
        self.0.take().expect("disarm takes the guard itself, so it is called once")
    }
}

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            shut_down(socket);
        }
    }
}

fn shut_down(socket: &TcpStream) {
    // Fails only where the connection is gone already, which is what is wanted.
    let _ = socket.shutdown(Shutdown::Both);
}

async fn resolve(uri: &AMQPUri) -> Result<Vec<SocketAddr>, DialError> {
    let host = uri.authority.host.as_str();
    match tokio::net::lookup_host((host, uri.authority.port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(source) => Err(DialError::Resolve { host: host.to_owned(), source }),
    }
}

/// Sorts what went wrong between the first byte and the end of the login.
#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds are lapin's and may become more")]
fn sort_login_error(error: &lapin::Error, uri: &AMQPUri) -> DialError {
    let at = place(uri);
    let user = uri.authority.userinfo.username.clone();
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            let text = refusal::scrub(said.get_message().as_str(), &uri.authority.userinfo.password);
            match said.get_id() {
                ACCESS_REFUSED => DialError::Login { user },
                NOT_ALLOWED if is_about_vhost(&text) => DialError::Vhost { vhost: uri.vhost.clone(), user },
                _ => DialError::Refused { text },
            }
        }
        ErrorKind::InvalidProtocolVersion(_) | ErrorKind::ParsingError(_) => DialError::NotAmqp { at },
        ErrorKind::IOError(_) | ErrorKind::InvalidConnectionState(_) => DialError::HungUp { at },
        _ => {
            let text = refusal::scrub(&error.to_string(), &uri.authority.userinfo.password);
            DialError::Other { at, text }
        }
    }
}

/// Reply codes. Source: AMQP 0-9-1, constants.
const ACCESS_REFUSED: u16 = 403;
const NOT_ALLOWED: u16 = 530;

/// RabbitMQ uses the same code for limits on connections, which it words as "connection refused: ... limit".
fn is_about_vhost(text: &str) -> bool {
    !text.contains("limit")
}

/// Host and port, for people.
fn place(uri: &AMQPUri) -> String {
    let (host, port) = (uri.authority.host.as_str(), uri.authority.port);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn unconnected(at: &str, source: io::Error) -> DialError {
    DialError::Connect { at: at.to_owned(), source }
}

/// The system's words without its number.
fn plain(error: &io::Error) -> String {
    let (text, words) = (error.to_string(), cause::plain(error));
    // Only the system's own words begin with a capital for no reason.
    if words == text { text } else { words.to_lowercase() }
}
