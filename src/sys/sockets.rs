//! Which process holds which TCP connection, as `/proc` tells. It only reads; what is gone by now is left out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::process::{all, children};

/// The number of an open socket, unique on the machine while it is open.
pub type Inode = u64;

/// The state of a connection that is open on both sides. Source: proc_pid_net(5).
const ESTABLISHED: &str = "01";

/// Open TCP connections of this network namespace, by the address of their end on this machine.
///
/// # Errors
/// `/proc/net` cannot be read.
pub fn connections() -> io::Result<BTreeMap<SocketAddr, Inode>> {
    let mut all = BTreeMap::new();
    for file in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        match std::fs::read_to_string(file) {
            Ok(table) => all.extend(table.lines().skip(1).filter_map(connection)),
            // A kernel without IPv6 has no second one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// The sockets that a process and all that descends from it have open. What is gone, or may not be looked at, is left
/// out.
pub fn of_tree(pid: i32) -> Vec<Inode> {
    let mut inodes = Vec::new();
    let mut waiting = vec![pid];
    while let Some(pid) = waiting.pop() {
        // Of one that cannot be read nothing is known, as of one that has no connection.
        inodes.extend(of_process(pid).unwrap_or_default());
        waiting.extend(children(pid).unwrap_or_default());
    }
    inodes
}

/// The process that has each open socket: of several, which a fork has left with it, the first.
///
/// # Errors
/// `/proc` cannot be read. Processes that may not be looked at are left out.
pub fn holders() -> io::Result<BTreeMap<Inode, i32>> {
    let mut holders = BTreeMap::new();
    let mut pids = all()?;
    pids.sort_unstable();
    for pid in pids {
        for inode in of_process(pid).unwrap_or_default() {
            holders.entry(inode).or_insert(pid);
        }
    }
    Ok(holders)
}

fn of_process(pid: i32) -> io::Result<Vec<Inode>> {
    let mut inodes = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that was closed since the directory was listed is none.
        let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
        let number = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
        inodes.extend(number.and_then(|number| number.parse::<Inode>().ok()));
    }
    Ok(inodes)
}

fn connection(line: &str) -> Option<(SocketAddr, Inode)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    (*state == ESTABLISHED).then_some(())?;
    Some((address(local)?, inode.parse().ok()?))
}

/// `0100007F:1F90`: words of four bytes as the machine holds them, and a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for word in host.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match *bytes.as_slice() {
        [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        ref long => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(long).ok()?)),
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_found_at_the_process_that_holds_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let here = stream.local_addr().unwrap();
        let inode = connections().unwrap()[&here];
        assert!(of_tree(std::process::id() as i32).contains(&inode));
        drop(stream);
        assert!(!of_process(std::process::id() as i32).unwrap().contains(&inode));
        assert!(!connections().unwrap().contains_key(&listener.local_addr().unwrap()), "it listens only");
        // Above the largest pid_max that the kernel allows.
        assert!(of_tree(5_000_000).is_empty());
    }

    #[test]
    fn lines_of_both_families_are_read() {
        let line = "   3: 0100007F:8DB8 0100007F:644A 01 00000000:00000000 00:00000000 00000000  33  0 71422 1 0 20 4 30 10 -1";
        assert_eq!(connection(line), Some(("127.0.0.1:36280".parse().unwrap(), 71_422)));
        assert_eq!(connection(&line.replace(" 01 ", " 0A ")), None);
        let mapped = "0000000000000000FFFF00000100007F:8DB8";
        assert_eq!(address(mapped), "127.0.0.1:36280".parse().ok());
        assert_eq!(address("00000000000000000000000001000000:0050"), "[::1]:80".parse().ok());
        assert_eq!(address("01:50:60"), None);
        assert_eq!(connection("  sl  local_address rem_address   st"), None);
    }
}
