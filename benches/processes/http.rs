//! One request over a Unix socket, read to its end.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long one read may take. supervisord answers a stop of everything when everything has stopped.
const LIMIT: Duration = Duration::from_secs(60);

/// Sends a request and returns the whole answer, head and body, if it is a success.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, kind: &str, body: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).context("an answer without a status")?;
    if !status.starts_with('2') {
        bail!("{method} {path}: {}", answer.lines().next().unwrap_or_default());
    }
    Ok(answer)
}
