//! Where Leveret is: from what the user says, or from the places where its socket may be. Pure but for asking
//! whether a file exists, which is an argument.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// The name of the Unix socket in the runtime directory.
pub(crate) const SOCKET: &str = "leveret.sock";

/// Where a client connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and port.
    Tcp {
        /// A name or an address, an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Address {
    /// The value of the Host header.
    pub(crate) fn host_header(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }

    /// Reads what a user gave as `--server` or LEVERET_SERVER.
    ///
    /// # Errors
    /// Says how an address is written.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::Usage(format!(
                "\"{text}\" is not an address of Leveret: {why}; write http://HOST:PORT or unix:/PATH"
            ))
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(wrong("the path of a Unix socket begins with a slash"));
            }
            return Ok(Self::Unix(path.into()));
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        if text.starts_with("https:") {
            return Err(wrong("https is not supported"));
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(wrong("it does not begin with http:// or unix:"));
        };
        if rest.contains('@') {
            // The text is not repeated: it may hold a password.
            return Err(Failure::Usage("an address of Leveret has no user and no password".to_owned()));
        }
        let uri: hyper::Uri = text.parse().map_err(|_| wrong("it is not a URL"))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("a path cannot be given"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("the host is missing"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self::Tcp { host, port: uri.port_u16().unwrap_or(80) })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { .. } => write!(f, "http://{}", self.host_header()),
        }
    }
}

/// What a client knows about where it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// The environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// Whether the user is root.
    pub(crate) is_root: bool,
}

impl Surroundings {
    /// The value of a variable that is set to something.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The address that LEVERET_SERVER gives.
    pub(crate) fn server(&self) -> Option<&str> {
        self.variable("LEVERET_SERVER")
    }

    /// The sockets to try, in this order: those that exist; or, where none exists, the one that should be there.
    pub(crate) fn sockets(&self, exists: impl Fn(&Path) -> bool) -> Vec<Address> {
        let places = self.places();
        let there: Vec<_> =
            places.iter().filter(|place| exists(&place.path)).map(|place| place.path.clone()).collect();
        let expected = || places.iter().find(|place| place.expected).map(|place| place.path.clone());
        let paths = if there.is_empty() { expected().into_iter().collect() } else { there };
        paths.into_iter().map(Address::Unix).collect()
    }

    fn places(&self) -> Vec<Place> {
        let state = match (self.variable("XDG_STATE_HOME"), self.variable("HOME")) {
            (Some(state), _) => Some(Path::new(state).join("leveret")),
            (None, Some(home)) => Some(Path::new(home).join(".local/state/leveret")),
            (None, None) => None,
        };
        let xdg = self.variable("XDG_RUNTIME_DIR").map(|xdg| Path::new(xdg).join("leveret"));
        let own = xdg.is_some() || state.is_some();
        let systemd = self.variable("RUNTIME_DIRECTORY").map(PathBuf::from);
        let place = |directory: PathBuf, expected| Place { path: directory.join(SOCKET), expected };
        let mut places = Vec::new();
        places.extend(systemd.map(|directory| place(directory, true)));
        places.push(place("/run/leveret".into(), self.is_root || !own));
        places.extend(xdg.map(|directory| place(directory, true)));
        places.extend(state.map(|directory| place(directory, true)));
        places
    }
}

/// A place where a socket may be.
struct Place {
    path: PathBuf,
    /// Whether a Leveret that this user starts would have its socket here.
    expected: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(variables: &[(&str, &str)], is_root: bool) -> Surroundings {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Surroundings { environment, is_root }
    }

    fn found(surroundings: &Surroundings, existing: &[&str]) -> Vec<String> {
        let exists = |path: &Path| existing.iter().any(|known| Path::new(known) == path);
        surroundings.sockets(exists).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_is_read_as_people_write_it() {
        let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
        assert_eq!(Address::parse("unix:/run/x.sock").unwrap(), Address::Unix("/run/x.sock".into()));
        assert_eq!(Address::parse("unix:///run/x.sock").unwrap(), Address::Unix("/run/x.sock".into()));
        assert_eq!(Address::parse("/run/x.sock").unwrap(), Address::Unix("/run/x.sock".into()));
        assert_eq!(Address::parse("http://web3:7865").unwrap(), tcp("web3", 7865));
        assert_eq!(Address::parse("http://web3:7865/").unwrap(), tcp("web3", 7865));
        assert_eq!(Address::parse("http://web3").unwrap(), tcp("web3", 80));
        assert_eq!(Address::parse("http://[::1]:7865").unwrap(), tcp("::1", 7865));
        assert_eq!(tcp("::1", 7865).to_string(), "http://[::1]:7865");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_a_password() {
        for text in ["", "web3:7865", "https://web3", "unix:x.sock", "http://", "http://a/b", "http://a b"] {
            assert!(matches!(Address::parse(text), Err(Failure::Usage(_))), "{text}");
        }
        let error = Address::parse("http://me:hunter2@web3:7865").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn the_sockets_that_exist_are_tried_in_order() {
        let user = surroundings(
            &[("RUNTIME_DIRECTORY", "/run/unit"), ("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/home/me")],
            false,
        );
        let all = [
            "/run/unit/leveret.sock",
            "/run/leveret/leveret.sock",
            "/run/user/7/leveret/leveret.sock",
            "/home/me/.local/state/leveret/leveret.sock",
        ];
        assert_eq!(found(&user, &all), all);
        assert_eq!(found(&user, &all[2..]), &all[2..]);
    }

    #[test]
    fn without_any_socket_the_one_that_should_be_there_is_named() {
        let home = [("HOME", "/home/me"), ("XDG_STATE_HOME", "")];
        assert_eq!(found(&surroundings(&home, true), &[]), ["/run/leveret/leveret.sock"]);
        assert_eq!(found(&surroundings(&home, false), &[]), ["/home/me/.local/state/leveret/leveret.sock"]);
        let session = [("HOME", "/home/me"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        assert_eq!(found(&surroundings(&session, false), &[]), ["/run/user/7/leveret/leveret.sock"]);
        assert_eq!(found(&surroundings(&[], false), &[]), ["/run/leveret/leveret.sock"]);
        let state = [("XDG_STATE_HOME", "/var/me")];
        assert_eq!(found(&surroundings(&state, false), &[]), ["/var/me/leveret/leveret.sock"]);
    }
}
