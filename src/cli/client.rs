//! The HTTP client: one connection a request, over the Unix socket or TCP, bounded in time and size.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::address::Address;
use super::failure::Failure;

/// How long it may take to connect. Shorter than a request, so that what was not sent is known not to be.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a plain request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer, in bytes. A status of 10,000 processes has about 4 MiB.
const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The longest text of an answer that is not Leveret's that is repeated to the user, in characters.
const FOREIGN_CHARS_MAX: usize = 200;

/// A way to ask one Leveret.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: Address,
}

impl Client {
    /// A client of the Leveret at `address`.
    pub(crate) fn new(address: Address) -> Self {
        Self { address }
    }

    /// The first of `candidates` that can be connected to; the first one where none can, so that the next request
    /// tells why.
    pub(crate) async fn first_of(candidates: Vec<Address>) -> Option<Self> {
        if candidates.len() > 1 {
            for candidate in &candidates {
                let client = Self::new(candidate.clone());
                if client.connect().await.is_ok() {
                    return Some(client);
                }
            }
        }
        candidates.into_iter().next().map(Self::new)
    }

    /// Where this client connects to.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Reads `path` as JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let bytes = self.read_bytes(path).await?;
        self.decode(&bytes)
    }

    /// Reads `path` as it is.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn read_bytes(&self, path: &str) -> Result<Bytes, Failure> {
        self.whole(Method::GET, path, None).await
    }

    /// Posts to `path` and reads the answer as JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<T, Failure> {
        match self.whole(Method::POST, path, body).await {
            Ok(bytes) => self.decode(&bytes),
            Err(Failure::Unreachable { server, sent: true, source }) => {
                Err(Failure::Unanswered { server, source })
            }
            Err(failure) => Err(failure),
        }
    }

    /// Opens `path` as a stream of server-sent events. Only the beginning is bounded in time.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn stream(&self, path: &str, last_event_id: Option<&str>) -> Result<Incoming, Failure> {
        let mut request = self.request(Method::GET, path, None)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event_id
            && let Ok(id) = HeaderValue::from_str(id)
        {
            request.headers_mut().insert("last-event-id", id);
        }
        let response = self.in_time(self.send(request)).await?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            let body = self.in_time(self.collect(response)).await?;
            return Err(self.refusal(status, &body));
        }
        Ok(response.into_body())
    }

    /// Fails the way a request does when the connection ended early.
    pub(crate) fn lost(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        self.unreachable(true, source)
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Bytes, Failure> {
        let request = self.request(method, path, body)?;
        self.in_time(async {
            let response = self.send(request).await?;
            let status = response.status();
            let body = self.collect(response).await?;
            if status.is_success() { Ok(body) } else { Err(self.refusal(status.as_u16(), &body)) }
        })
        .await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.host_header())
            .header(ACCEPT, "application/json");
        if body.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(serde_json::Value::to_string).unwrap_or_default();
        builder
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::Usage(format!("cannot ask {} for {path}: {error}", self.address)))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let stream = self.connect().await.map_err(|error| self.unreachable(false, error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(false, error))?;
        tokio::spawn(async move {
            // An error of the connection reaches the one request on it; nobody else waits for it.
            drop(connection.await);
        });
        sender.send_request(request).await.map_err(|error| self.broken(error))
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let connecting = async {
            match &self.address {
                Address::Unix(path) => {
                    UnixStream::connect(path).await.map(|stream| Box::new(stream) as Box<dyn Stream>)
                }
                Address::Tcp { host, port } => TcpStream::connect((host.as_str(), *port))
                    .await
                    .map(|stream| Box::new(stream) as Box<dyn Stream>),
            }
        };
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        match Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::NotLeveret {
                server: self.address.to_string(),
                what: "the answer has more than 64 MiB".to_owned(),
            }),
            Err(error) => Err(self.lost(error)),
        }
    }

    async fn in_time<T>(&self, request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match timeout(REQUEST_TIMEOUT, request).await {
            Ok(answer) => answer,
            Err(_) => Err(self.lost(no_answer())),
        }
    }

    /// A connection that ended is a Leveret that went away; bytes that are not HTTP are somebody else.
    fn broken(&self, error: hyper::Error) -> Failure {
        if error.is_parse() {
            Failure::NotLeveret { server: self.address.to_string(), what: error.to_string() }
        } else {
            self.lost(error)
        }
    }

    fn unreachable(
        &self,
        sent: bool,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Failure {
        Failure::Unreachable { server: self.address.to_string(), sent, source: source.into() }
    }

    /// Reads an answer that came as it is.
    ///
    /// # Errors
    /// It is not what Leveret says.
    pub(crate) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(bytes).map_err(|error| Failure::NotLeveret {
            server: self.address.to_string(),
            what: error.to_string(),
        })
    }

    /// Leveret's own sentence; or what another server said.
    fn refusal(&self, status: u16, body: &[u8]) -> Failure {
        #[derive(serde::Deserialize)]
        struct Sentence {
            error: String,
        }
        match serde_json::from_slice::<Sentence>(body) {
            Ok(Sentence { error }) => Failure::Refused { status, sentence: error },
            // A Leveret that is ending may have nobody left to write a sentence.
            Err(_) if status == 503 => {
                Failure::Refused { status, sentence: "Leveret is ending or not ready yet".to_owned() }
            }
            Err(_) => {
                let text: String = String::from_utf8_lossy(body)
                    .chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .take(FOREIGN_CHARS_MAX)
                    .collect();
                Failure::NotLeveret {
                    server: self.address.to_string(),
                    what: format!("status {status} {}", text.trim()).trim_end().to_owned(),
                }
            }
        }
    }
}

/// What the system would say if it told of an answer that does not come.
pub(crate) fn no_answer() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no answer within {}", crate::core::time::human(REQUEST_TIMEOUT)),
    )
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use crate::cli::fixture::{self, Answer, FakeServer};

    #[tokio::test]
    async fn an_order_whose_answer_is_lost_is_not_given_twice() {
        let server = FakeServer::start(|_, _| Answer::HangUp);
        let outcome = fixture::run(&server.socket(), "scale orders 3 --no-wait").await;
        assert_eq!(outcome.exit, Exit::Unreachable);
        assert!(outcome.err.contains("the order may have been carried out"), "{}", outcome.err);
        assert_eq!(server.posts().len(), 1);
    }

    #[tokio::test]
    async fn a_reading_whose_answer_is_lost_is_repeated() {
        let server = FakeServer::start(|_, before| match before {
            0 => Answer::HangUp,
            _ => Answer::Json(200, serde_json::to_value(fixture::snapshot()).unwrap_or_default()),
        });
        assert_eq!(fixture::run(&server.socket(), "status").await.exit, Exit::Done);
        assert_eq!(server.seen().len(), 2);
    }

    #[tokio::test]
    async fn the_client_speaks_over_tcp_as_well() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let client = Client::new(Address::parse(&format!("http://{address}")).unwrap());
        assert_eq!(client.read_bytes("/api/v1/status").await.unwrap(), "{}");
        let request = answering.await.unwrap();
        assert!(request.starts_with("GET /api/v1/status HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_refused() {
        let server = FakeServer::start(|_, _| Answer::Text(200, "x".repeat(RESPONSE_BYTES_MAX + 1)));
        let failure = server.client().read_bytes("/api/v1/status").await.unwrap_err();
        assert!(failure.to_string().contains("more than 64 MiB"), "{failure}");
    }
}
