//! A minimal blocking HTTP/1.1 client, so that tests can send exactly what they mean to, over TCP or a Unix socket.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long one read or write may take.
const IO_LIMIT: Duration = Duration::from_secs(20);

/// An answer. Names of headers are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The first header of this name (lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; panics with the whole answer if it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// One request. `Connection: close` is always sent; `Host` only if it is among the headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
}

/// Sends over the Unix socket at `socket` and reads the whole answer.
pub(crate) fn send_unix(socket: &Path, request: Request<'_>) -> io::Result<Response> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(IO_LIMIT))?;
    stream.set_write_timeout(Some(IO_LIMIT))?;
    exchange(stream, request)
}

/// Sends to 127.0.0.1 and reads the whole answer.
pub(crate) fn send_tcp(port: u16, request: Request<'_>) -> io::Result<Response> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(IO_LIMIT))?;
    stream.set_write_timeout(Some(IO_LIMIT))?;
    exchange(stream, request)
}

fn exchange(mut stream: impl Read + Write, request: Request<'_>) -> io::Result<Response> {
    let Request { method, path, headers, body } = request;
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    stream.write_all(text.as_bytes())?;
    let answer = read_answer(stream, method != "HEAD")?;
    // The answer to HEAD tells the length of a body that it does not have.
    let answer = if method == "HEAD" { without_length(&answer) } else { answer };
    parse(&answer).ok_or_else(|| {
        let text = String::from_utf8_lossy(&answer).into_owned();
        io::Error::new(io::ErrorKind::InvalidData, format!("not a whole HTTP answer: {text:?}"))
    })
}

/// Up to where the answer says that it ends: not everybody closes the connection because he was asked to.
fn read_answer(mut stream: impl Read, has_body: bool) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(answer),
            bytes => answer.extend_from_slice(&piece[..bytes]),
        }
        let tells_its_end = |found: &Response| {
            found.header("content-length").is_some() || found.header("transfer-encoding").is_some()
        };
        if has_body && parse(&answer).as_ref().is_some_and(tells_its_end) {
            return Ok(answer);
        }
    }
}

fn without_length(answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answer);
    let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
    text.split_inclusive("\r\n").filter(|line| !is_length(line)).collect::<String>().into_bytes()
}

fn parse(answer: &[u8]) -> Option<Response> {
    let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())))
        .collect::<Option<_>>()?;
    let rest = &answer[head_end + 4..];
    let find = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let body = match (find("transfer-encoding"), find("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => unchunked(rest)?,
        (_, Some(length)) => rest.get(..length.parse().ok()?)?.to_vec(),
        (_, None) => rest.to_vec(),
    };
    Some(Response { status, headers, body: String::from_utf8(body).ok()? })
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = rest.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..line_end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line_end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_a_length_in_chunks_and_to_its_end() {
        for (head, body) in [
            ("Content-Length: 5\r\n", "hello and more"),
            ("Transfer-Encoding: chunked\r\n", "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"),
            ("Connection: close\r\n", "hello"),
        ] {
            let answer = parse(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").as_bytes()).expect(head);
            assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_none() {
        for text in ["HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"] {
            assert_eq!(parse(text.as_bytes()), None);
        }
    }
}
