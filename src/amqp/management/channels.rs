//! What an answer about channels says: who holds messages, and where it sits.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::Names;
use crate::amqp::fact::Channel;
use crate::amqp::http::trouble::Trouble;
use crate::amqp::http::{Conversation, encode};

const COLUMNS: &str =
    "messages_unacknowledged,connection_details,consumer_count,prefetch_count,global_prefetch_count";

/// Reads all channels of a virtual host, and with names all its connections.
///
/// # Errors
/// As for any request.
pub(super) async fn read(
    conversation: &mut Conversation<'_>,
    vhost: &str,
    names: Names,
) -> Result<Vec<Channel>, Trouble> {
    let vhost = encode(vhost);
    let path = format!("/vhosts/{vhost}/channels?columns={COLUMNS}");
    let channels = conversation.read(&path).await?;
    let connections = match names {
        Names::Asked => {
            let columns = "name,user_provided_name,client_properties.connection_name";
            conversation.read(&format!("/vhosts/{vhost}/connections?columns={columns}")).await?
        }
        Names::NotAsked => Value::Null,
    };
    all(&channels, &connections)
        .ok_or_else(|| conversation.target().is_another("it sends no list of channels"))
}

/// `None` where the first is no list of channels.
fn all(channels: &Value, connections: &Value) -> Option<Vec<Channel>> {
    let names = connection_names(connections);
    let channel = |channel: &Value| {
        let connection = &channel["connection_details"];
        let count = |key: &str| Some(u32::try_from(channel[key].as_u64()?).unwrap_or(u32::MAX));
        let consumers = count("consumer_count").unwrap_or_default();
        let each = count("prefetch_count").filter(|_| consumers > 0);
        let name = connection["name"].as_str().and_then(|name| names.get(name));
        Channel {
            peer: peer(connection),
            connection_name: name.map(|name| (*name).to_owned()),
            unacknowledged: channel["messages_unacknowledged"].as_u64(),
            consumers,
            prefetch: each.map(|each| {
                held_at_most(consumers, each, count("global_prefetch_count").unwrap_or_default())
            }),
        }
    };
    Some(list(channels)?.iter().map(channel).collect())
}

/// How many messages the consumers of a channel hold together, by the limit of each and that of the channel, where 0 is none.
fn held_at_most(consumers: u32, each: u32, together: u32) -> u32 {
    match (consumers.saturating_mul(each), together) {
        (0, together) => together,
        (all, 0) => all,
        (all, together) => all.min(together),
    }
}

/// The names that clients gave their connections, by those that the broker gives them.
pub(super) fn connection_names(connections: &Value) -> BTreeMap<&str, &str> {
    let mut names = BTreeMap::new();
    for connection in list(connections).into_iter().flatten() {
        let given = [&connection["user_provided_name"], &connection["client_properties"]["connection_name"]];
        if let (Some(name), Some(given)) =
            (connection["name"].as_str(), given.into_iter().find_map(Value::as_str))
        {
            names.insert(name, given);
        }
    }
    names
}

/// The entries, whether or not they come in pages.
pub(super) fn list(answer: &Value) -> Option<&Vec<Value>> {
    answer.as_array().or_else(|| answer["items"].as_array())
}

/// Where the connection of a channel comes from.
pub(super) fn peer(connection: &Value) -> Option<SocketAddr> {
    let host: IpAddr = connection["peer_host"].as_str()?.parse().ok()?;
    let port = u16::try_from(connection["peer_port"].as_u64()?).ok()?;
    Some(SocketAddr::new(host.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn channels_come_with_their_peer_and_the_name_of_their_connection() {
        let channel = |host: &str, port: Value, held: Value| {
            let name = format!("{host}:{port} -> broker");
            json!({"messages_unacknowledged": held,
                   "connection_details": {"name": name, "peer_host": host, "peer_port": port}})
        };
        let channels = json!([
            channel("127.0.0.1", json!(40_000), json!(2)),
            channel("::ffff:10.0.0.9", json!(40_001), json!(0)),
            channel("undefined", json!("undefined"), json!(null)),
        ]);
        let connections = json!([
            {"name": "127.0.0.1:40000 -> broker", "user_provided_name": "shop orders:3"},
            {"name": "::ffff:10.0.0.9:40001 -> broker", "client_properties": {"connection_name": "orders:4"}},
        ]);
        let told = |peer: Option<&str>, name: Option<&str>, unacknowledged| Channel {
            peer: peer.map(|peer| peer.parse().unwrap()),
            connection_name: name.map(str::to_owned),
            unacknowledged,
            consumers: 0,
            prefetch: None,
        };
        let expected = [
            told(Some("127.0.0.1:40000"), Some("shop orders:3"), Some(2)),
            told(Some("10.0.0.9:40001"), Some("orders:4"), Some(0)),
            told(None, None, None),
        ];
        assert_eq!(all(&channels, &connections).unwrap(), expected);
        assert_eq!(all(&json!({"items": channels}), &Value::Null).unwrap().len(), 3);
        assert_eq!(all(&json!({"error": "x"}), &Value::Null), None);

        let prefetch = |consumers: u64, prefetch: u64, together: u64| {
            let channel = json!({"consumer_count": consumers, "prefetch_count": prefetch,
                "global_prefetch_count": together});
            all(&json!([channel]), &Value::Null).unwrap()[0].prefetch
        };
        assert_eq!([prefetch(1, 0, 0), prefetch(0, 0, 0)], [Some(0), None]);
        assert_eq!(
            [prefetch(3, 2, 0), prefetch(3, 0, 10), prefetch(3, 20, 10)],
            [Some(6), Some(10), Some(10)]
        );
    }
}
