//! As much of ZeroMQ's protocol (ZMTP 3.0, rfc.zeromq.org/spec/23) as it takes to ask one question over a Unix socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

/// How long one read may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// More frames of the message follow, its length has eight bytes, it is a command of the protocol.
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Sends a message of one frame as a DEALER does, and returns the frames of the answer, joined.
pub(crate) fn ask(socket: &Path, message: &str) -> Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    // Signature, version 3.0, no authentication, client, filler.
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting)?;
    let mut theirs = [0; 64];
    stream.read_exact(&mut theirs)?;
    ensure!(theirs[10] >= 3 && &theirs[12..16] == b"NULL", "the other side speaks another protocol");
    stream.write_all(&frame(COMMAND, b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"))?;
    stream.write_all(&frame(0, message.as_bytes()))?;
    let mut answer = Vec::new();
    loop {
        let (flags, body) = read_frame(&mut stream)?;
        if flags & COMMAND != 0 {
            continue;
        }
        answer.extend(body);
        if flags & MORE == 0 {
            return Ok(answer);
        }
    }
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![flags | LONG];
    frame.extend((body.len() as u64).to_be_bytes());
    frame.extend(body);
    // A command is always short here, and not everybody takes a long one.
    match u8::try_from(body.len()) {
        Ok(length) => [&[flags, length], body].concat(),
        Err(_) => frame,
    }
}

fn read_frame(stream: &mut UnixStream) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let [flags, first] = head;
    let length = if flags & LONG == 0 {
        u64::from(first)
    } else {
        let mut bytes = [0; 8];
        bytes[0] = first;
        stream.read_exact(&mut bytes[1..])?;
        u64::from_be_bytes(bytes)
    };
    if length > ANSWER_BYTES_MAX {
        bail!("an answer of {length} bytes");
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok((flags, body))
}
