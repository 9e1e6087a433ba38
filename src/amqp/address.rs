//! A broker's address, taken apart.

use lapin::uri::AMQPUri;

/// The longest virtual host, user or queue name, in bytes. Source: AMQP 0-9-1, short strings.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Reads an `amqp://` or `amqps://` address, `None` where it is not one.
///
/// There is no cause to tell: the parser's own errors repeat the address, and with it the password.
pub(super) fn parse(url: &str) -> Option<AMQPUri> {
    let mut uri: AMQPUri = url.parse().ok()?;
    // The parser takes "localhost" for every IPv6 address.
    if let Some(host) = ipv6_host(url) {
        uri.authority.host = host.to_owned();
    }
    (uri.vhost.len() <= NAME_BYTES_MAX).then_some(uri)
}

/// The address between the brackets, where the host is written so.
fn ipv6_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (address, _) = host.strip_prefix('[')?.split_once(']')?;
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let uri = parse("amqps://shop:p%40ss@rabbit.example:5673/orders%2Feu").unwrap();
        assert_eq!(uri.authority.host, "rabbit.example");
        assert_eq!(uri.authority.port, 5673);
        assert_eq!(uri.authority.userinfo.password, "p@ss");
        assert_eq!(uri.vhost, "orders/eu");
    }

    #[test]
    fn an_ipv6_host_is_itself_and_not_localhost() {
        for (url, host) in [
            ("amqp://[::1]:5672/%2f", "::1"),
            ("amqp://a:b@[fe80::1]/x", "fe80::1"),
            ("amqp://a:[::1]@example/x", "example"),
        ] {
            if let Some(uri) = parse(url) {
                assert_eq!(uri.authority.host, host, "{url}");
            }
        }
        assert!(parse("amqp://[::1]:5672/%2f").is_some());
    }

    #[test]
    fn what_is_no_address_of_a_broker_is_none() {
        for url in ["", "rabbit", "http://rabbit/", "amqp:rabbit"] {
            assert!(parse(url).is_none(), "{url}");
        }
        assert!(parse(&format!("amqp://rabbit/{}", "v".repeat(256))).is_none());
    }
}
