//! One look at a process from outside: a request over HTTP, or a connection. Whoever calls sets the limit of time.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::pin;
use std::sync::Arc;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::control::with_causes;
use crate::sys::cause::plain;

/// A place among the looks that are taken at one time; free when all copies are dropped.
pub(super) type Place = Arc<OwnedSemaphorePermit>;

/// The size of the longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Connects to a host and a port.
///
/// # Errors
/// What is wrong, as a sentence without an end: `127.0.0.1:5432: Connection refused`.
pub(super) async fn tcp(address: &str, place: &Place) -> Result<(), String> {
    match connect(address, place).await {
        Ok(_stream) => Ok(()),
        Err(error) => Err(format!("{address}: {}", plain(error))),
    }
}

/// Asks an address over HTTP.
///
/// # Errors
/// What is wrong, as a sentence without an end: `http://127.0.0.1:8080/health answered 503 Service Unavailable`.
pub(super) async fn http(url: &str, place: &Place) -> Result<(), String> {
    let wrong = |error: &dyn std::error::Error| format!("{url}: {}", with_causes(error));
    let uri: Uri = url.parse().map_err(|error| wrong(&error))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let with_port = if uri.port().is_some() { authority.to_owned() } else { format!("{authority}:80") };
    let stream = connect(&with_port, place).await.map_err(|error| wrong(&error))?;
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        client.handshake(TokioIo::new(stream)).await.map_err(|error| wrong(&error))?;
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, authority)
        .header(USER_AGENT, "leveret")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| wrong(&error))?;
    let (mut answer, connection) = (pin!(sender.send_request(request)), pin!(connection));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may have ended with the answer.
        _ = connection => answer.await,
    };
    let status = answer.map_err(|error| wrong(&error))?.status();
    let is_well = status.is_success() || status.is_redirection();
    if is_well { Ok(()) } else { Err(format!("{url} answered {status}")) }
}

/// A connection to a host and a port, over whichever of its addresses takes one.
async fn connect(address: &str, place: &Place) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in resolve(address, place).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn resolve(address: &str, place: &Place) -> io::Result<Vec<SocketAddr>> {
    if let Some((host, port)) = address.rsplit_once(':')
        && let (Ok(ip), Ok(port)) = (host.trim_matches(['[', ']']).parse::<IpAddr>(), port.parse())
    {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    // A name server that does not answer holds a thread, and so it keeps the place until it has given up.
    let (address, place) = (address.to_owned(), Arc::clone(place));
    let found = spawn_blocking(move || {
        let found = address.to_socket_addrs().map(Vec::from_iter);
        drop(place);
        found
    });
    found.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;

    async fn place() -> Place {
        Arc::new(Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap())
    }

    /// What a look says about an answer.
    async fn about(answer: String, host: &str) -> Result<(), String> {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let url = format!("http://{host}:{}/", listener.local_addr().unwrap().port());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 1_024];
            assert!(stream.read(&mut bytes).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let place = place().await;
        let (result, ()) = tokio::join!(http(&url, &place), serve);
        result.map_err(|said| said.replace(&url, "URL"))
    }

    #[tokio::test]
    async fn a_status_from_200_to_399_is_well_and_no_other() {
        for (status, is_well) in
            [(200, true), (204, true), (302, true), (399, true), (404, false), (500, false)]
        {
            let answer = format!("HTTP/1.1 {status} Some\r\nContent-Length: 100\r\n\r\nno more than this");
            assert_eq!(about(answer, "127.0.0.1").await.is_ok(), is_well, "{status}");
        }
        let not_found = about("HTTP/1.0 404 Not Found\r\n\r\n".to_owned(), "localhost").await;
        assert_eq!(not_found, Err("URL answered 404 Not Found".to_owned()));
    }

    #[tokio::test]
    async fn what_is_no_answer_is_said() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
        for (answer, said) in [("", "URL: connection closed"), ("hello\r\n", "URL: "), (&endless, "URL: ")] {
            let error = about(answer.to_owned(), "127.0.0.1").await.unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[tokio::test]
    async fn a_connection_is_taken_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let place = place().await;
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(tcp(&format!("{host}:{port}"), &place).await, Ok(()));
        }
        drop(listener);
        let refused = tcp(&format!("127.0.0.1:{port}"), &place).await;
        assert_eq!(refused, Err(format!("127.0.0.1:{port}: Connection refused")));
    }
}
