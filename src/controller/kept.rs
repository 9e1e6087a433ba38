//! What the keeper holds for the controllers: the running configuration, the listening sockets, the locks.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::settings::Settings;
use crate::core::spec::ProgramSpec;

/// The key of the running configuration.
pub(crate) const CONFIGURATION: &str = "configuration";
/// The key of the page's listening socket.
pub(crate) const TCP: &str = "tcp";
/// The key of the command line's listening socket.
pub(crate) const UNIX: &str = "unix";
/// The key of the lock on the state directory.
pub(crate) const STATE_LOCK: &str = "lock.state";
/// The key of the lock on the runtime directory.
pub(crate) const RUNTIME_LOCK: &str = "lock.runtime";
/// The key of what processes said of themselves.
pub(crate) const HEARD: &str = "heard";
/// The key of who has printed what was waited for.
pub(crate) const PRINTED: &str = "printed";
/// The key of the change token.
pub(crate) const TOKEN: &str = "token";

/// The running configuration, with programs that were removed from it and are still ending.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    /// As the file said when it was last read.
    pub(crate) settings: Settings,
    /// Removed programs of which something lives.
    pub(crate) retiring: Vec<ProgramSpec>,
}

/// Puts bytes into memory that lives as long as a descriptor of it: no disk, no name, no other reader.
pub(crate) fn memory_file(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let descriptor = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
    File::from(descriptor.try_clone()?).write_all(bytes)?;
    Ok(descriptor)
}

/// The bytes of a [`memory_file`].
pub(crate) fn read_memory_file(descriptor: impl AsFd) -> io::Result<Vec<u8>> {
    let file = File::from(descriptor.as_fd().try_clone_to_owned()?);
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address of the page.
    #[error(
        "cannot listen on {address} (is another program there? `listen` in the configuration chooses another address)"
    )]
    Tcp {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The socket of the command line.
    #[error("cannot listen on {path} (`runtime_dir` in the configuration chooses another place)")]
    Unix {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The group that should own the socket.
    #[error("cannot give {path} to the group {group}: {reason}")]
    Group {
        /// The socket.
        path: PathBuf,
        /// The group.
        group: String,
        /// Why.
        reason: String,
    },
}

/// Where the command line's socket is.
pub(crate) fn unix_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("leveret.sock")
}

/// Opens the page's socket.
pub(crate) fn listen_tcp(settings: &Settings) -> Result<TcpListener, ListenError> {
    let address = settings.listen;
    TcpListener::bind(address).map_err(|source| ListenError::Tcp { address, source })
}

/// Opens the command line's socket. A socket that an earlier Leveret left is replaced: the lock on the directory says that
/// nobody serves it.
pub(crate) fn listen_unix(settings: &Settings) -> Result<UnixListener, ListenError> {
    let path = unix_path(&settings.runtime_dir);
    let fail = |source| ListenError::Unix { path: path.clone(), source };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path).map_err(fail)?;
    if let Some(group) = &settings.socket.group {
        give_to_group(&path, group)?;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(settings.socket.mode)).map_err(fail)?;
    Ok(listener)
}

fn give_to_group(path: &Path, group: &str) -> Result<(), ListenError> {
    let fail = |reason: String| ListenError::Group { path: path.to_owned(), group: group.to_owned(), reason };
    let found = match group.parse::<u32>() {
        Ok(number) => Some(number),
        Err(_) => nix::unistd::Group::from_name(group)
            .map_err(|error| fail(crate::sys::cause::plain(error)))?
            .map(|group| group.gid.as_raw()),
    };
    let number = found.ok_or_else(|| fail("no such group".to_owned()))?;
    std::os::unix::fs::chown(path, None, Some(number)).map_err(|error| fail(crate::sys::cause::plain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_file_can_be_read_again_and_again() {
        let descriptor = memory_file("test", b"some bytes").unwrap();
        for _ in 0..2 {
            assert_eq!(read_memory_file(&descriptor).unwrap(), b"some bytes");
        }
    }

    #[test]
    fn the_configuration_that_an_earlier_version_keeps_is_understood() {
        for (place, text) in crate::formats::each("configuration.json") {
            let running: Running = crate::formats::read(&place, &text);
            assert_eq!(running.settings.programs.len(), 6, "{place}");
        }
    }
}
