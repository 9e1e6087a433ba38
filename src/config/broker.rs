//! Brokers: from an address, or from its parts, to an address that a client takes and one that people may see.

use amq_protocol::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo};

use super::{endpoint, raw};
use crate::core::secret::Secret;
use crate::core::spec::BrokerSpec;

/// Why a broker is refused. The address itself is never part of it, since it contains the password.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BrokerError {
    /// The key that is wrong; none for the broker as a whole.
    pub(super) key: Option<&'static str>,
    /// What is wrong.
    pub(super) message: String,
    /// What to try.
    pub(super) suggestion: Option<&'static str>,
}

/// How an address is written.
const ADDRESS: &str =
    "write amqp://user:password@host:5672/vhost, special characters percent-encoded: %40 for @, %2f for /";

/// Makes a broker of what the file says.
pub(super) fn broker(name: &str, raw: &raw::Broker) -> Result<BrokerSpec, BrokerError> {
    let parts = [
        ("host", raw.host.is_some()),
        ("port", raw.port.is_some()),
        ("user", raw.user.is_some()),
        ("password", raw.password.is_some()),
        ("vhost", raw.vhost.is_some()),
        ("tls", raw.tls.is_some()),
    ];
    let uri = match (&raw.url, &raw.host) {
        (Some(url), _) => {
            if let Some((key, _)) = parts.iter().find(|(_, given)| *given) {
                let message = format!("`{key}` is a part of `url`, and both are given");
                return Err(BrokerError {
                    key: Some(key),
                    message,
                    suggestion: Some("leave one of them out"),
                });
            }
            parse(url.reveal())?
        }
        (None, Some(host)) => assemble(host, raw)?,
        (None, None) => {
            let message = "this broker has no address".to_owned();
            let suggestion = Some("add `url: amqp://user:password@host:5672/vhost`");
            return Err(BrokerError { key: None, message, suggestion });
        }
    };
    // A query has the client's own settings, so the address of the file is kept as it is.
    let url = raw.url.clone().unwrap_or_else(|| Secret::new(uri.to_string()));
    // `management: ${RABBITMQ_API:-}` asks for nothing where the variable is not set.
    let given = |address: &Option<Secret>| address.clone().filter(|address| !address.reveal().is_empty());
    let management = given(&raw.management)
        .map(|address| endpoint::management(address.reveal(), &uri.authority.userinfo))
        .transpose()?;
    let metrics = given(&raw.metrics).map(|address| endpoint::metrics(address.reveal())).transpose()?;
    if management.is_some() && metrics.is_some() {
        return Err(BrokerError {
            key: Some("metrics"),
            message: "`management` tells all that `metrics` does, and both are given".to_owned(),
            suggestion: Some("leave one of them out: `management` also tells which process is idle"),
        });
    }
    Ok(BrokerSpec { name: name.to_owned(), url, shown: shown(&uri), management, metrics })
}

/// What is allowed but hardly meant, as a sentence.
pub(super) fn doubt(broker: &BrokerSpec) -> Option<String> {
    let uri: AMQPUri = broker.url.reveal().parse().ok()?;
    uri.vhost.is_empty().then(|| {
        format!(
            "broker {}: the address ends in a slash, which means the virtual host with the empty name; \
             leave the slash out or write %2f for the usual one",
            broker.name
        )
    })
}

fn parse(url: &str) -> Result<AMQPUri, BrokerError> {
    let refused = |message: &str, suggestion| BrokerError {
        key: Some("url"),
        message: message.to_owned(),
        suggestion: Some(suggestion),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(refused("this is not the address of a broker", ADDRESS));
    };
    match scheme {
        "amqp" | "amqps" => {}
        "http" | "https" => {
            return Err(refused(
                "this is the address of a management page; the broker itself speaks AMQP",
                ADDRESS,
            ));
        }
        _ => return Err(refused("the address of a broker begins with amqp:// or amqps://", ADDRESS)),
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    if host.starts_with('[') {
        return Err(refused(
            "the broker's host is an IPv6 address, which is not supported yet",
            "write a host name",
        ));
    }
    if host.is_empty() || host.starts_with(':') {
        return Err(refused("this address has no host", ADDRESS));
    }
    url.parse().map_err(|_| refused("this is not the address of a broker", ADDRESS))
}

fn assemble(host: &str, raw: &raw::Broker) -> Result<AMQPUri, BrokerError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !host.chars().all(plain) {
        return Err(BrokerError {
            key: Some("host"),
            message: "`host` is a host name or an IPv4 address alone".to_owned(),
            suggestion: Some("write user, port and the rest under their own keys"),
        });
    }
    let scheme = if raw.tls == Some(true) { AMQPScheme::AMQPS } else { AMQPScheme::AMQP };
    let port = raw.port.unwrap_or_else(|| scheme.default_port());
    let username = raw.user.clone().unwrap_or_else(|| "guest".to_owned());
    let password = raw.password.as_ref().map_or("guest", Secret::reveal).to_owned();
    let vhost = raw.vhost.clone().unwrap_or_else(|| "/".to_owned());
    Ok(AMQPUri {
        scheme,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username, password },
            host: host.to_owned(),
            port,
        },
        vhost,
        ..AMQPUri::default()
    })
}

/// The address without the password and the query.
fn shown(uri: &AMQPUri) -> String {
    let AMQPAuthority { userinfo, host, port } = &uri.authority;
    let [user, vhost] = [&userinfo.username, &uri.vhost].map(|text| encode(text));
    format!("{}://{user}@{host}:{port}/{vhost}", uri.scheme)
}

/// Percent-encodes what would be mistaken for a part of the address.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02x}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_url(url: &str) -> Result<BrokerSpec, BrokerError> {
        broker("b", &raw::Broker { url: Some(Secret::new(url)), ..raw::Broker::default() })
    }

    #[test]
    fn an_address_is_kept_and_shown_without_its_password() {
        for (url, shown) in [
            ("amqp://me:hunter2@host:5673/v", "amqp://me@host:5673/v"),
            ("amqps://me:hunter2@host/a%2Fb?heartbeat=10", "amqps://me@host:5671/a%2fb"),
            ("amqp://host", "amqp://guest@host:5672/%2f"),
            ("amqp://u%40x:p%40ss@127.0.0.1/%2f", "amqp://u%40x@127.0.0.1:5672/%2f"),
        ] {
            let broker = from_url(url).unwrap();
            assert_eq!((broker.url.reveal(), broker.shown.as_str()), (url, shown));
        }
    }

    #[test]
    fn parts_are_put_together_with_everything_special_encoded() {
        let raw = raw::Broker {
            host: Some("rabbit".to_owned()),
            user: Some("me@home".to_owned()),
            password: Some(Secret::new("p:@/%ü")),
            vhost: Some("a/b".to_owned()),
            tls: Some(true),
            ..raw::Broker::default()
        };
        let broker = broker("b", &raw).unwrap();
        let uri: AMQPUri = broker.url.reveal().parse().unwrap();
        assert_eq!(uri.scheme, AMQPScheme::AMQPS);
        assert_eq!((uri.authority.host.as_str(), uri.authority.port), ("rabbit", 5671));
        assert_eq!(uri.authority.userinfo.username, "me@home");
        assert_eq!(uri.authority.userinfo.password, "p:@/%ü");
        assert_eq!(uri.vhost, "a/b");
        assert_eq!(broker.shown, "amqps://me%40home@rabbit:5671/a%2fb");
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for url in [
            "hunter2",
            "hunter2://h",
            "http://me:hunter2@h:15672",
            "amqp://me:hunter2@",
            "amqp://me:hunter2@:5672/v",
            "amqp://me:hunter2@[::1]:5672",
            "amqp://me:hunter2@h:port",
            "amqp://me:hunter2@h?auth_mechanism=hunter2",
        ] {
            let error = from_url(url).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
            assert_eq!(error.key, Some("url"), "{url}");
        }
    }

    #[test]
    fn an_address_and_its_parts_exclude_each_other_and_one_is_needed() {
        let url = Some(Secret::new("amqp://h"));
        let both = raw::Broker { url, port: Some(1), ..raw::Broker::default() };
        assert_eq!(broker("b", &both).unwrap_err().key, Some("port"));
        let none = raw::Broker { user: Some("me".to_owned()), ..raw::Broker::default() };
        assert_eq!(broker("b", &none).unwrap_err().key, None);
        let odd = raw::Broker { host: Some("amqp://h".to_owned()), ..raw::Broker::default() };
        assert_eq!(broker("b", &odd).unwrap_err().key, Some("host"));
    }

    #[test]
    fn management_and_metrics_exclude_each_other_unless_one_is_empty() {
        let with = |management: &str, metrics: &str| {
            let [management, metrics] = [management, metrics].map(|address| Some(Secret::new(address)));
            let url = Some(Secret::new("amqp://h"));
            broker("b", &raw::Broker { url, management, metrics, ..raw::Broker::default() })
        };
        let error = with("http://me:hunter2@h:15672", "http://me:hunter2@h:15692").unwrap_err();
        assert_eq!(error.key, Some("metrics"));
        assert!(error.message.ends_with("both are given") && !format!("{error:?}").contains("hunter2"));
        let one = with("", "http://h:15692").unwrap();
        assert!(one.management.is_none() && one.metrics.is_some_and(|metrics| metrics.login.is_none()));
        let other = with("http://h:15672", "").unwrap();
        assert!(other.management.is_some() && other.metrics.is_none());
    }

    #[test]
    fn an_address_that_ends_in_a_slash_is_doubted() {
        assert!(doubt(&from_url("amqp://h/").unwrap()).unwrap().contains("empty name"));
        assert_eq!(doubt(&from_url("amqp://h/%2f").unwrap()), None);
        assert_eq!(doubt(&from_url("amqp://h").unwrap()), None);
    }
}
