//! Which names this server goes by. A name that is not ours means that somebody made a browser believe that
//! another web site lives at our address (DNS rebinding).

use std::net::{IpAddr, SocketAddr};

/// The names for one connection.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    /// As configured.
    listen: SocketAddr,
    /// The address that the connection came to: never one that an attacker's name could hide behind,
    /// because a browser sends the name, not the address that it stands for.
    local: SocketAddr,
    /// As configured, in lower case.
    allowed: Vec<String>,
}

impl Hosts {
    pub(super) fn new(listen: SocketAddr, local: SocketAddr, allowed: &[String]) -> Self {
        let allowed = allowed.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { listen, local, allowed }
    }

    /// Whether `authority` (`name`, `name:port`, `[address]:port`) is one of our names.
    pub(super) fn contains(&self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        let (name, port) = split(&authority);
        if self.allowed.iter().any(|allowed| *allowed == authority || *allowed == name) {
            return true;
        }
        let Some(port) = port.map_or(Some(80), |digits| digits.parse::<u16>().ok()) else {
            return false;
        };
        if port != self.local.port() {
            return false;
        }
        if name == "localhost" {
            return true;
        }
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok_and(|address| {
            address.is_loopback() || address == self.listen.ip() || address == self.local.ip()
        })
    }
}

/// The name and the digits after the colon. The colons of an address in brackets belong to the name.
fn split(authority: &str) -> (&str, Option<&str>) {
    let after_brackets = authority.rfind(']').unwrap_or(0);
    match authority[after_brackets..].rfind(':') {
        Some(at) => (&authority[..after_brackets + at], Some(&authority[after_brackets + at + 1..])),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str, local: &str, allowed: &[&str]) -> Hosts {
        let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        Hosts::new(listen.parse().unwrap(), local.parse().unwrap(), &allowed)
    }

    #[test]
    fn the_address_itself_and_localhost_are_ours_with_our_port_only() {
        let ours = hosts("127.0.0.1:7865", "127.0.0.1:7865", &[]);
        for host in ["127.0.0.1:7865", "localhost:7865", "LOCALHOST:7865", "[::1]:7865"] {
            assert!(ours.contains(host), "{host}");
        }
        for host in ["127.0.0.1", "127.0.0.1:80", "localhost", "localhost:7866", "localhost:", "", ":7865"] {
            assert!(!ours.contains(host), "{host}");
        }
    }

    #[test]
    fn a_foreign_name_is_not_ours_whatever_it_looks_like() {
        let ours = hosts("127.0.0.1:7865", "127.0.0.1:7865", &["leveret.example.com"]);
        for host in [
            "evil.example:7865",
            "localhost.evil.example:7865",
            "127.0.0.1.evil.example:7865",
            "leveret.example.com.evil.example",
            "evil.example:7865@localhost:7865",
            "192.168.1.5:7865",
        ] {
            assert!(!ours.contains(host), "{host}");
        }
    }

    #[test]
    fn an_allowed_name_is_ours_with_any_port_unless_it_names_one() {
        let ours = hosts("127.0.0.1:7865", "127.0.0.1:7865", &["Leveret.example.com", "other.example:8443"]);
        for host in ["leveret.example.com", "leveret.example.com:443", "LEVERET.example.com:7865"] {
            assert!(ours.contains(host), "{host}");
        }
        assert!(ours.contains("other.example:8443"));
        assert!(!ours.contains("other.example"));
        assert!(!ours.contains("other.example:443"));
    }

    #[test]
    fn where_every_address_is_listened_on_the_one_that_was_reached_is_ours() {
        let ours = hosts("0.0.0.0:7865", "192.168.1.5:7865", &[]);
        assert!(ours.contains("192.168.1.5:7865"));
        assert!(!ours.contains("192.168.1.6:7865"));
    }
}
