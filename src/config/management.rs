//! The management API of a broker: from an address as people write it to its parts, the password apart.

use amq_protocol::uri::AMQPUserInfo;

use super::broker::BrokerError;
use crate::core::secret::Secret;
use crate::core::spec::ManagementSpec;

/// How an address is written.
const ADDRESS: &str =
    "write http://user:password@host:15672, special characters percent-encoded: %40 for @, %2f for /";

/// What stands behind a login in `address`, written outside of a configuration; the login of a new RabbitMQ, guest, where there
/// is none.
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

/// What stands behind a login in `address`; the broker's own `login` where there is none.
pub(super) fn management(address: &str, login: &AMQPUserInfo) -> Result<ManagementSpec, BrokerError> {
    let refused = |message: &str, suggestion| BrokerError {
        key: Some("management"),
        message: message.to_owned(),
        suggestion: Some(suggestion),
    };
    let not_an_address = || refused("this is not the address of a management API", ADDRESS);
    let (scheme, rest) = address.split_once("://").ok_or_else(not_an_address)?;
    match scheme {
        "http" | "https" => {}
        "amqp" | "amqps" => {
            return Err(refused(
                "this is the address of the broker itself; its management API speaks HTTP",
                ADDRESS,
            ));
        }
        _ => return Err(refused("the address of a management API begins with http:// or https://", ADDRESS)),
    }
    if rest.contains(['?', '#']) {
        let message = "this is the address of a page; that of the management API ends before `#` and `?`";
        return Err(refused(message, ADDRESS));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (given, host) = match authority.rsplit_once('@') {
        Some((given, host)) => (Some(given), host),
        None => (None, authority),
    };
    if host.starts_with('[') {
        let message = "the host of the management API is an IPv6 address, which is not supported yet";
        return Err(refused(message, "write a host name"));
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if name.is_empty() {
        return Err(refused("this address has no host", ADDRESS));
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
    let (user, password) = match given {
        Some(given) => {
            let (user, password) = given.split_once(':').unwrap_or((given, ""));
            (decode(user).ok_or_else(not_an_address)?, decode(password).ok_or_else(not_an_address)?)
        }
        None => (login.username.clone(), login.password.clone()),
    };
    // Whoever writes down where the API is may well end it with /api.
    let prefix = path.trim_end_matches('/');
    let prefix = prefix.strip_suffix("/api").unwrap_or(prefix).trim_end_matches('/');
    Ok(ManagementSpec {
        address: format!("{scheme}://{host}{prefix}"),
        user,
        password: Secret::new(password),
    })
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
