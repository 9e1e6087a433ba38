//! Ports asked from the system that stay ours.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};

/// A port on 127.0.0.1 that nobody else is given while this value lives.
///
/// The socket behind it is bound with SO_REUSEADDR and never listens: a server that sets SO_REUSEADDR as well (all of
/// ours do) can listen on the port, a connection is refused while none does, and the system neither hands the port out
/// again nor uses it for an outgoing connection. So a server can stop and come back on the same port.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    number: u16,
    _socket: OwnedFd,
}

impl ReservedPort {
    /// Asks the system for a free port and keeps it.
    pub(crate) fn reserve() -> Self {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .expect("a socket can be made");
        sockopt::set_socket_reuseaddr(&socket, true).expect("SO_REUSEADDR can be set");
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
        let address = getsockname(&socket).expect("a bound socket has an address");
        let address = SocketAddr::try_from(address).expect("an IPv4 socket has an IPv4 address");
        Self { number: address.port(), _socket: socket }
    }

    /// The port number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_refuses_until_a_server_listens_and_again_after_it() {
        let port = ReservedPort::reserve();
        let address = (Ipv4Addr::LOCALHOST, port.number());
        for _ in 0..2 {
            let refused = TcpStream::connect(address).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let server = TcpListener::bind(address).expect("a server can listen on the reserved port");
            TcpStream::connect(address).expect("the server is reached");
            drop(server);
        }
    }
}
