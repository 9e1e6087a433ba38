//! The socket over which a process says how it is, and the form of what it says (sd_notify(3)). No policy: what a word
//! means is not known here.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, chmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};

/// The longest path that an address of a Unix socket takes, in bytes (unix(7)).
pub const PATH_BYTES_MAX: usize = 107;

/// The longest message that is looked at, in bytes; what is longer is cut.
pub const MESSAGE_BYTES_MAX: usize = 4_096;

/// The longest status that is kept, in bytes.
pub const STATUS_BYTES_MAX: usize = 256;

/// The environment variable that names the socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// The environment variable that says how often a process has to say that it does not hang, in microseconds.
pub const WATCHDOG_VARIABLE: &str = "WATCHDOG_USEC";

/// The environment variable that says which process that is.
pub const WATCHDOG_PID_VARIABLE: &str = "WATCHDOG_PID";

/// The longest time that one message may ask for.
const EXTENSION_MOST: Duration = Duration::from_hours(24);

/// What one message says; what it does not mention is absent or false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `READY=1`.
    pub ready: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `BUSY=1` or `BUSY=0`.
    pub busy: Option<bool>,
    /// `WATCHDOG=1`.
    pub alive: bool,
    /// `WATCHDOG=trigger`.
    pub hung: bool,
    /// `EXTEND_TIMEOUT_USEC=`: so long what it is at just now may take at least, from this message on.
    pub extend: Option<Duration>,
    /// `STATUS=`, one line without control characters; empty where it takes back what it said.
    pub status: Option<String>,
}

/// Understands a message. Lines that mean nothing to Leveret are passed over, as sd_notify(3) asks for.
pub fn parse(bytes: &[u8]) -> Message {
    let mut message = Message::default();
    for line in String::from_utf8_lossy(bytes).lines() {
        match line.split_once('=') {
            Some(("READY", "1")) => message.ready = true,
            Some(("STOPPING", "1")) => message.stopping = true,
            Some(("BUSY", busy @ ("0" | "1"))) => message.busy = Some(busy == "1"),
            Some(("WATCHDOG", "1")) => message.alive = true,
            Some(("WATCHDOG", "trigger")) => message.hung = true,
            Some(("EXTEND_TIMEOUT_USEC", text)) => message.extend = extension(text),
            Some(("STATUS", text)) => message.status = Some(one_line(text)),
            Some(_) | None => {}
        }
    }
    message
}

/// A time in microseconds, where it is one; nothing and for ever mean nothing, as for systemd.
fn extension(text: &str) -> Option<Duration> {
    let micros = text.trim().parse().ok().filter(|micros| ![0, u64::MAX].contains(micros))?;
    Some(Duration::from_micros(micros).min(EXTENSION_MOST))
}

fn one_line(text: &str) -> String {
    let mut line: String = text.chars().filter(|c| !c.is_control()).collect();
    line.truncate(line.floor_char_boundary(STATUS_BYTES_MAX));
    line.trim().to_owned()
}

/// Where the sockets are in Leveret's own directory.
pub fn directory(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("notify")
}

/// Whether the path of every socket there fits into an address.
pub fn fit(runtime_dir: &Path) -> bool {
    let longest = directory(runtime_dir).join(u64::MAX.to_string());
    longest.as_os_str().len() <= PATH_BYTES_MAX
}

/// Makes the socket that a process will find at `path`, readable and writable for Leveret's own user alone. What another
/// Leveret left there is replaced.
///
/// # Errors
/// As the system says: the path is too long, the directory is missing.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    let address = SocketAddrUnix::new(path)?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            std::fs::remove_file(path)?;
            bind(&socket, &address)?;
        }
        bound => bound?,
    }
    chmod(path, Mode::from_raw_mode(0o600))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_any_of_the_known_words_and_the_rest_is_passed_over() {
        assert_eq!(parse(b"READY=1"), Message { ready: true, ..Message::default() });
        let said =
            parse(b"STATUS= loading\x1b[31m 3 of 7 \nMAINPID=12\nREADY=0\nnonsense\nSTOPPING=1\nBUSY=2\n");
        let status = Some("loading[31m 3 of 7".to_owned());
        assert_eq!(said, Message { stopping: true, status, ..Message::default() });
        assert_eq!(
            ["BUSY=1", "BUSY=0\nBUSY=1", "BUSY=0"].map(|text| parse(text.as_bytes()).busy),
            [Some(true), Some(true), Some(false)]
        );
        assert_eq!(parse(b"\xff\xfe=1\n\n=\n"), Message::default());
    }

    #[test]
    fn an_extension_is_a_number_of_microseconds_and_never_for_ever() {
        let of = |text: &str| parse(format!("EXTEND_TIMEOUT_USEC={text}").as_bytes()).extend;
        assert_eq!(of("1500000"), Some(Duration::from_millis(1_500)));
        assert_eq!(of("18446744073709551614"), Some(EXTENSION_MOST));
        for nothing in ["0", "18446744073709551615", "infinity", "-1", "5s", ""] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_status_is_cut_at_a_character() {
        let long = format!("STATUS={}", "ä".repeat(1_000));
        let status = parse(long.as_bytes()).status.unwrap();
        assert!(status.len() <= STATUS_BYTES_MAX && status.chars().all(|c| c == 'ä'), "{status}");
    }

    #[test]
    fn what_another_left_at_the_path_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("7");
        drop(listen(&path).unwrap());
        let socket = listen(&path).unwrap();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.send_to(b"READY=1", &path).unwrap();
        let mut bytes = [0; 16];
        let (read, _) = rustix::net::recv(&socket, &mut bytes, rustix::net::RecvFlags::empty()).unwrap();
        assert_eq!(&bytes[..read], b"READY=1");
        let long = directory.path().join("x".repeat(120));
        assert!(listen(&long).is_err());
    }
}
