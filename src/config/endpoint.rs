//! Where a broker tells more over HTTP, its management API or the metrics that it exports: from an address as people write
//! it to its parts, the password apart.

use amq_protocol::uri::AMQPUserInfo;

use super::broker::BrokerError;
use crate::core::secret::Secret;
use crate::core::spec::{LoginSpec, ManagementSpec, MetricsSpec};

/// What is configured, in the words of its mistakes.
struct Kind {
    key: &'static str,
    name: &'static str,
    /// How an address is written.
    example: &'static str,
    /// What people may well write at the end of an address, and is asked for anyway.
    tail: &'static str,
}

const MANAGEMENT: Kind = Kind {
    key: "management",
    name: "management API",
    example: "write http://user:password@host:15672, special characters percent-encoded: %40 for @, %2f for /",
    tail: "/api",
};

const METRICS: Kind = Kind {
    key: "metrics",
    name: "metrics endpoint",
    example: "write http://host:15692, or http://user:password@host:15692, special characters percent-encoded: %40 for @",
    tail: "/metrics",
};

/// The management API at `address`, with the broker's own `login` where there is none in it.
pub(super) fn management(address: &str, login: &AMQPUserInfo) -> Result<ManagementSpec, BrokerError> {
    let (address, given) = parts(&MANAGEMENT, address)?;
    let own = || LoginSpec { user: login.username.clone(), password: Secret::new(login.password.clone()) };
    let LoginSpec { user, password } = given.unwrap_or_else(own);
    Ok(ManagementSpec { address, user, password })
}

/// The management API at an address that is written outside of a configuration, with the login of a new RabbitMQ, guest, where
/// there is none in it.
///
/// # Errors
/// What is wrong with it, and how one is written. The address is not repeated, since it may hold a password.
pub fn management_address(address: &str) -> Result<ManagementSpec, String> {
    let login = AMQPUserInfo { username: "guest".to_owned(), password: "guest".to_owned() };
    management(address, &login).map_err(|error| match error.suggestion {
        Some(suggestion) => format!("{}; {suggestion}", error.message),
        None => error.message,
    })
}

/// What is exported at `address`. The broker's own login is given to nobody who does not ask.
pub(super) fn metrics(address: &str) -> Result<MetricsSpec, BrokerError> {
    let whole = address.trim_end_matches('/');
    let (address, login) = parts(&METRICS, whole.strip_suffix("/detailed").unwrap_or(whole))?;
    Ok(MetricsSpec { address, login })
}

/// The address without a login and without what is asked for anyway, and the login.
fn parts(kind: &Kind, address: &str) -> Result<(String, Option<LoginSpec>), BrokerError> {
    let refused = |message: &str, suggestion| BrokerError {
        key: Some(kind.key),
        message: message.to_owned(),
        suggestion: Some(suggestion),
    };
    let example = kind.example;
    let not_an_address = || refused(&format!("this is not the address of a {}", kind.name), example);
    let (scheme, rest) = address.split_once("://").ok_or_else(not_an_address)?;
    match scheme {
        "http" | "https" => {}
        "amqp" | "amqps" => {
            let message = format!("this is the address of the broker itself; its {} speaks HTTP", kind.name);
            return Err(refused(&message, example));
        }
        _ => {
            let message = format!("the address of a {} begins with http:// or https://", kind.name);
            return Err(refused(&message, example));
        }
    }
    if rest.contains(['?', '#']) {
        let message =
            format!("this is the address of a page; that of the {} ends before `#` and `?`", kind.name);
        return Err(refused(&message, example));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (given, host) = match authority.rsplit_once('@') {
        Some((given, host)) => (Some(given), host),
        None => (None, authority),
    };
    if host.starts_with('[') {
        let message = format!("the host of the {} is an IPv6 address, which is not supported yet", kind.name);
        return Err(refused(&message, "write a host name"));
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if name.is_empty() {
        return Err(refused("this address has no host", example));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if !name.chars().all(is_plain) || !port.is_none_or(is_port) {
        return Err(not_an_address());
    }
    let is_of_path =
        |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    if !path.chars().all(is_of_path) {
        return Err(not_an_address());
    }
    let login = match given {
        Some(given) => {
            let (user, password) = given.split_once(':').unwrap_or((given, ""));
            let [user, password] = [user, password].map(decode);
            let user = user.ok_or_else(not_an_address)?;
            Some(LoginSpec { user, password: Secret::new(password.ok_or_else(not_an_address)?) })
        }
        None => None,
    };
    let prefix = path.trim_end_matches('/');
    let prefix = prefix.strip_suffix(kind.tail).unwrap_or(prefix).trim_end_matches('/');
    Ok((format!("{scheme}://{host}{prefix}"), login))
}

/// Percent-decodes; `None` where what comes out is no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        rest = behind;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        bytes.push(u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Result<ManagementSpec, BrokerError> {
        let login = AMQPUserInfo { username: "shop".to_owned(), password: "of the broker".to_owned() };
        management(address, &login)
    }

    #[test]
    fn an_address_is_taken_apart_and_what_is_shown_has_no_login() {
        for (address, shown, user, password) in [
            ("http://me:secret@mq:15672", "http://mq:15672", "me", "secret"),
            ("http://mq:15672/", "http://mq:15672", "shop", "of the broker"),
            ("https://m%40e:p%3a%2F%25@mq.example/rabbit/", "https://mq.example/rabbit", "m@e", "p:/%"),
            ("http://me:secret@127.0.0.1:15672/api/", "http://127.0.0.1:15672", "me", "secret"),
            ("https://me:p@ss@mq/x/api", "https://mq/x", "me", "p@ss"),
            ("http://me@mq", "http://mq", "me", ""),
        ] {
            let spec = read(address).unwrap();
            assert_eq!(
                (spec.address.as_str(), spec.user.as_str(), spec.password.reveal()),
                (shown, user, password),
                "{address}"
            );
        }
    }

    #[test]
    fn an_address_outside_of_a_configuration_has_the_login_of_a_new_broker_unless_it_says_another() {
        let login =
            |address| management_address(address).map(|spec| (spec.user, spec.password.reveal().to_owned()));
        assert_eq!(login("http://mq:15672"), Ok(("guest".to_owned(), "guest".to_owned())));
        assert_eq!(login("http://me:hunter2@mq"), Ok(("me".to_owned(), "hunter2".to_owned())));
        let refused = login("me:hunter2@mq").unwrap_err();
        assert!(
            refused.starts_with("this is not the address of a management API; write http://"),
            "{refused}"
        );
        assert!(!refused.contains("hunter2"));
    }

    #[test]
    fn where_metrics_are_is_taken_with_and_without_a_login_and_with_what_is_asked_for_anyway() {
        for (address, shown, login) in [
            ("http://mq:15692", "http://mq:15692", None),
            ("http://mq:15692/metrics/", "http://mq:15692", None),
            ("https://mq/rabbit/metrics/detailed", "https://mq/rabbit", None),
            ("http://m%40e:p%3a@mq:15692", "http://mq:15692", Some(("m@e", "p:"))),
        ] {
            let spec = metrics(address).unwrap();
            let found = spec.login.as_ref().map(|login| (login.user.as_str(), login.password.reveal()));
            assert_eq!((spec.address.as_str(), found), (shown, login), "{address}");
        }
        for (address, said) in [
            ("mq:15692", "this is not the address of a metrics endpoint"),
            ("amqp://me:secret@mq", "its metrics endpoint speaks HTTP"),
            ("http://me:secret@mq/metrics?family=x", "that of the metrics endpoint ends before `#` and `?`"),
        ] {
            let error = metrics(address).unwrap_err();
            assert!(error.message.contains(said), "{address}: {error:?}");
            assert_eq!((error.key, error.suggestion.is_some()), (Some("metrics"), true));
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write_instead() {
        for (address, said) in [
            ("mq:15672", "this is not the address"),
            ("amqp://me:secret@mq", "this is the address of the broker itself"),
            ("ftp://mq", "begins with http:// or https://"),
            ("http://me:secret@mq:15672/#/queues", "ends before `#`"),
            ("http://mq?x=y", "ends before `#`"),
            ("http://me:secret@", "no host"),
            ("http://:15672", "no host"),
            ("http://[::1]:15672", "IPv6"),
            ("http://mq:port", "this is not the address"),
            ("http://mq:0", "this is not the address"),
            ("http://mq two", "this is not the address"),
            ("http://mq/a b", "this is not the address"),
            ("http://m%zze:x@mq", "this is not the address"),
            ("http://me:%ff@mq", "this is not the address"),
            ("http://me:%f@mq", "this is not the address"),
        ] {
            let error = read(address).unwrap_err();
            assert!(error.message.contains(said), "{address}: {error:?}");
            assert_eq!((error.key, error.suggestion.is_some()), (Some("management"), true));
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
