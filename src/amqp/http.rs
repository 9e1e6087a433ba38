//! One conversation over HTTP, with a management API or with what exports metrics: a connection, and requests on it one after
//! the other. Everything has a limit of time and size.

#[cfg(test)]
pub(super) mod rig;
pub(super) mod trouble;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lapin::tcp::{AsyncTcpStream, TLSConfig};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use self::trouble::{At, Service, Trouble};
use crate::amqp::refusal::scrub;
use crate::core::secret::Secret;
use crate::core::spec::{ManagementSpec, MetricsSpec};

/// The longest answer. A page of 500 queues has about 200 KiB.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The longest text of somebody else that is repeated to people, in characters.
const FOREIGN_CHARS_MAX: usize = 120;

/// Whom to ask, taken apart once.
#[derive(Debug)]
pub(in crate::amqp) struct Target {
    at: At,
    /// Absent where none is given.
    user: Option<String>,
    password: Option<Secret>,
    /// The virtual host as people know it.
    vhost: String,
    is_encrypted: bool,
    /// Host and port as the address has them.
    authority: String,
    host: String,
    port: u16,
    /// What stands before `/api` or `/metrics`.
    prefix: String,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// A management API. `None` where the address cannot be one; the configuration lets no such through.
    pub(super) fn management(spec: &ManagementSpec, vhost: &str) -> Option<Self> {
        let login = (spec.user.clone(), spec.password.clone());
        Self::new(At { service: Service::Management, address: spec.address.clone() }, Some(login), vhost)
    }

    /// What is exported for Prometheus. `None` as for a management API.
    pub(super) fn metrics(spec: &MetricsSpec, vhost: &str) -> Option<Self> {
        let login = spec.login.as_ref().map(|login| (login.user.clone(), login.password.clone()));
        Self::new(At { service: Service::Metrics, address: spec.address.clone() }, login, vhost)
    }

    fn new(at: At, login: Option<(String, Secret)>, vhost: &str) -> Option<Self> {
        let (scheme, rest) = at.address.split_once("://")?;
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_encrypted = scheme == "https";
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, if is_encrypted { 443 } else { 80 }),
        };
        let authorization = match &login {
            Some((user, password)) => {
                let login = base64(format!("{user}:{}", password.reveal()).as_bytes());
                let mut authorization = HeaderValue::try_from(format!("Basic {login}")).ok()?;
                authorization.set_sensitive(true);
                Some(authorization)
            }
            None => None,
        };
        let (authority, host, prefix) = (authority.to_owned(), host.to_owned(), prefix.to_owned());
        let (user, password) = login.unzip();
        let vhost = vhost.to_owned();
        Some(Self { at, user, password, vhost, is_encrypted, authority, host, port, prefix, authorization })
    }

    /// The virtual host as people know it.
    pub(super) fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Who it is.
    pub(super) fn at(&self) -> At {
        self.at.clone()
    }

    /// What was sent is not what was asked for.
    pub(super) fn is_another(&self, what: impl Into<String>) -> Trouble {
        Trouble::Another { at: self.at(), what: what.into() }
    }
}

/// A connection on which requests can be made.
pub(in crate::amqp) struct Conversation<'a> {
    target: &'a Target,
    sender: SendRequest<Empty<Bytes>>,
    limit: Duration,
}

impl<'a> Conversation<'a> {
    /// Connects. Each step, like each request after it, may take `limit`.
    ///
    /// # Errors
    /// Says which step failed.
    pub(super) async fn begin(target: &'a Target, limit: Duration) -> Result<Self, Trouble> {
        let late = |_| Trouble::TimedOut { at: target.at(), after: limit };
        let stream = timeout(limit, connect(target)).await.map_err(late)??;
        let mut client = http1::Builder::new();
        client.max_buf_size(HEAD_BYTES_MAX);
        let shaken = timeout(limit, client.handshake(TokioIo::new(stream))).await.map_err(late)?;
        let (sender, connection) = shaken.map_err(|error| broken(target, &error))?;
        // It ends with the sender. An error of the connection reaches the request on it; nobody else waits for it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { target, sender, limit })
    }

    /// Whom it is with.
    pub(super) fn target(&self) -> &'a Target {
        self.target
    }

    /// Reads `path`, which begins after `/api`.
    ///
    /// # Errors
    /// There was no answer in time, or another one than JSON.
    pub(super) async fn read(&mut self, path: &str) -> Result<Value, Trouble> {
        let body = self.fetch(&format!("/api{path}"), "application/json").await?;
        serde_json::from_slice(&body).map_err(|_| self.target.is_another("it sends no JSON"))
    }

    /// Reads the text at `path`.
    ///
    /// # Errors
    /// There was no answer in time.
    pub(super) async fn read_text(&mut self, path: &str) -> Result<String, Trouble> {
        let body = self.fetch(path, "text/plain").await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn fetch(&mut self, path: &str, accepted: &'static str) -> Result<Bytes, Trouble> {
        let (target, limit) = (self.target, self.limit);
        match timeout(limit, self.fetch_in_time(path, accepted)).await {
            Ok(read) => read,
            Err(_) => Err(Trouble::TimedOut { at: target.at(), after: limit }),
        }
    }

    async fn fetch_in_time(&mut self, path: &str, accepted: &'static str) -> Result<Bytes, Trouble> {
        let target = self.target;
        let mut request = Request::get(format!("{}{path}", target.prefix))
            .header(HOST, &target.authority)
            .header(ACCEPT, accepted)
            .header(USER_AGENT, "leveret");
        if let Some(authorization) = &target.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::new()).map_err(|error| target.is_another(error.to_string()))?;
        let ready = self.sender.ready().await;
        let answer = match ready {
            Ok(()) => self.sender.send_request(request).await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| broken(target, &error))?;
        let status = answer.status();
        let body = collect(target, answer).await?;
        if !status.is_success() {
            return Err(refusal(target, status, &body));
        }
        Ok(body)
    }
}

async fn collect(target: &Target, answer: Response<Incoming>) -> Result<Bytes, Trouble> {
    if answer.body().size_hint().lower() > ANSWER_BYTES_MAX as u64 {
        return Err(Trouble::TooLarge { at: target.at(), limit_bytes: ANSWER_BYTES_MAX });
    }
    match Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Trouble::TooLarge { at: target.at(), limit_bytes: ANSWER_BYTES_MAX })
        }
        Err(error) => Err(Trouble::Broken { at: target.at(), what: error.to_string() }),
    }
}

fn broken(target: &Target, error: &hyper::Error) -> Trouble {
    Trouble::Broken { at: target.at(), what: error.to_string() }
}

/// What an answer means that is no success.
fn refusal(target: &Target, status: StatusCode, body: &[u8]) -> Trouble {
    let at = target.at();
    // RabbitMQ's own refusals are JSON with a reason.
    let said: Option<Value> =
        serde_json::from_slice(body).ok().filter(|said: &Value| said.get("error").is_some());
    let reason = said.as_ref().and_then(|said| said["reason"].as_str()).unwrap_or_default();
    let password = target.password.as_ref().map_or("", Secret::reveal);
    let reason = plain(&scrub(reason, password));
    let is_management = at.service == Service::Management;
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => match (at.service, target.user.clone()) {
            (Service::Management, Some(user)) => {
                Trouble::Refused { at, user, vhost: target.vhost.clone(), reason }
            }
            (Service::Management | Service::Metrics, user) => Trouble::NoEntry { at, user },
        },
        StatusCode::NOT_FOUND if is_management && said.is_some() => {
            Trouble::NoVhost { at, vhost: target.vhost.clone() }
        }
        status if status.is_server_error() => Trouble::Status { at, status, reason },
        status => target.is_another(format!("it answers {status}")),
    }
}

/// Somebody else's text, fit for one line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(FOREIGN_CHARS_MAX).collect()
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(target: &Target) -> Result<Box<dyn Stream>, Trouble> {
    let at = || target.at();
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|source| Trouble::Resolve { at: at(), source })?.collect();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        if !target.is_encrypted {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => failure = error,
            }
            continue;
        }
        // Encryption as for AMQP: lapin's streams trust the system's authorities, or those that the environment variables
        // SSL_CERT_FILE and SSL_CERT_DIR name instead.
        let runtime = lapin::runtime::default_runtime()
            .map_err(|error| Trouble::Broken { at: at(), what: error.to_string() })?;
        match AsyncTcpStream::connect(&runtime, address).await {
            Ok(stream) => {
                let stream = stream.into_tls(&target.host, TLSConfig::default()).await;
                let stream = stream.map_err(|source| Trouble::Tls { at: at(), source })?;
                return Ok(Box::new(stream.compat()));
            }
            Err(error) => failure = error,
        }
    }
    Err(Trouble::Connect { at: at(), source: failure })
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Percent-encodes all that has a meaning in an address.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_written_as_the_standard_says() {
        for (text, written) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("ü:\u{3ff}?", "w7w6z78/"),
        ] {
            assert_eq!(base64(text.as_bytes()), written, "{text}");
        }
    }
}
