//! Which process of this machine holds which connection, and of which program it is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;

use crate::sys::process;
use crate::sys::sockets::{self, Inode};

/// Who has which socket open at one moment.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    connections: BTreeMap<SocketAddr, Inode>,
    by_socket: BTreeMap<Inode, i32>,
}

/// Where the other end of a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A process of this machine.
    Process {
        pid: i32,
        /// Its program, if a Leveret started it or one of those that it descends from.
        program: Option<String>,
        /// What it was started as, for people; without its arguments, of which one may be a password.
        command: String,
    },
    /// This machine, and nobody that can be looked at.
    Unseen,
    /// Another machine, a container, or something in between.
    Elsewhere,
}

impl Holders {
    /// As it is now.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(crate) fn now() -> io::Result<Self> {
        Ok(Self { connections: sockets::connections()?, by_socket: sockets::holders()? })
    }

    /// Who is at the end of a connection that a broker sees at this address.
    pub(crate) fn of(&self, peer: SocketAddr) -> Holder {
        let Some(socket) = self.connections.get(&peer) else { return Holder::Elsewhere };
        let Some(pid) = self.by_socket.get(socket).copied() else { return Holder::Unseen };
        let program = process::environ_value(pid, "LEVERET_PROGRAM").ok().flatten();
        // One that has ended since has none.
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(words.split(|byte| *byte == 0).next().unwrap_or_default());
        Holder::Process {
            pid,
            program: program.and_then(|program| program.into_string().ok()),
            command: command.chars().filter(|c| !c.is_control()).take(COMMAND_CHARACTERS_MAX).collect(),
        }
    }
}

/// How much of a command is shown.
const COMMAND_CHARACTERS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_that_of_the_process_that_holds_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let holders = Holders::now().unwrap();
        let Holder::Process { pid, command, .. } = holders.of(stream.local_addr().unwrap()) else {
            panic!("it is ours");
        };
        assert_eq!(pid, std::process::id() as i32);
        assert!(!command.is_empty());
        assert_eq!(holders.of("192.0.2.1:5".parse().unwrap()), Holder::Elsewhere);
    }
}
