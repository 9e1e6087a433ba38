//! What a management API tells once to whoever looks at a configuration: the kinds of its queues, how long a message may be held
//! there, and who consumes from them. For a look by hand; a running Leveret asks for less.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::channels::{connection_names, list, peer};
use super::figures::{self, PAGES_MAX, trap};
use crate::amqp::address;
use crate::amqp::http::trouble::Trouble;
use crate::amqp::http::{Conversation, Target, encode};
use crate::amqp::survey::{Consumer, Kinds, QueueKind};
use crate::core::spec::BrokerSpec;

const COLUMNS: &str = "name,type,arguments,exclusive_consumer_tag,effective_policy_definition";

/// Asks about `queues` and their consumers. `None` where there is nobody to ask.
///
/// # Errors
/// Why it does not tell, as a sentence.
pub(in crate::amqp) async fn read(
    broker: &BrokerSpec,
    queues: &BTreeSet<String>,
    limit: Duration,
) -> Option<Result<Kinds, String>> {
    let spec = broker.management.as_ref()?;
    let vhost = address::parse(broker.url.reveal())?.vhost;
    let target = Target::management(spec, &vhost)?;
    Some(ask(&target, queues, limit).await.map_err(|trouble| trouble.to_string()))
}

async fn ask(target: &Target, queues: &BTreeSet<String>, limit: Duration) -> Result<Kinds, Trouble> {
    let mut conversation = Conversation::begin(target, limit).await?;
    let overview = conversation.read("/overview?columns=rabbitmq_version").await?;
    let mut kinds =
        Kinds { version: overview["rabbitmq_version"].as_str().map(str::to_owned), ..Kinds::default() };
    let mut number = 1;
    loop {
        let path = figures::path_with(COLUMNS, target.vhost(), queues, number);
        let answer = conversation.read(&path).await?;
        let items = answer["items"].as_array();
        let items = items.ok_or_else(|| target.is_another("it sends no list of queues"))?;
        kinds.queues.extend(items.iter().filter_map(queue).filter(|(name, _)| queues.contains(name)));
        if number >= answer["page_count"].as_u64().unwrap_or(1).min(PAGES_MAX) {
            break;
        }
        number += 1;
    }
    let vhost = encode(target.vhost());
    let consumers = conversation.read(&format!("/consumers/{vhost}")).await?;
    let columns = "name,user_provided_name,client_properties.connection_name";
    let connections = conversation.read(&format!("/vhosts/{vhost}/connections?columns={columns}")).await?;
    let all = all(&consumers, &connections);
    let all = all.ok_or_else(|| target.is_another("it sends no list of consumers"))?;
    kinds.consumers.extend(all.into_iter().filter(|consumer| queues.contains(&consumer.queue)));
    Ok(kinds)
}

fn queue(item: &Value) -> Option<(String, QueueKind)> {
    let milliseconds = |value: &Value| value.as_u64().map(Duration::from_millis);
    // What the queue was declared with stands over what a policy says.
    let held_most = milliseconds(&item["arguments"]["x-consumer-timeout"])
        .or_else(|| milliseconds(&item["effective_policy_definition"]["consumer-timeout"]));
    Some((item["name"].as_str()?.to_owned(), QueueKind { trap: trap(item), held_most }))
}

/// `None` where the first is no list of consumers.
fn all(consumers: &Value, connections: &Value) -> Option<Vec<Consumer>> {
    let names = connection_names(connections);
    let consumer = |consumer: &Value| {
        let channel = &consumer["channel_details"];
        let name = channel["connection_name"].as_str().and_then(|name| names.get(name));
        Some(Consumer {
            queue: consumer["queue"]["name"].as_str()?.to_owned(),
            peer: peer(channel),
            connection_name: name.map(|name| (*name).to_owned()),
            prefetch: consumer["prefetch_count"].as_u64(),
            acknowledges: consumer["ack_required"] != false,
        })
    };
    Some(list(consumers)?.iter().filter_map(consumer).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::amqp::fact::Trap;

    #[test]
    fn a_queue_says_what_kind_it_is_and_how_long_a_message_may_be_held() {
        let of = |item: Value| queue(&item).unwrap().1;
        let plain = of(json!({"name": "q", "type": "classic", "arguments": []}));
        assert_eq!(plain, QueueKind::default());
        let stream = of(json!({"name": "q", "type": "stream",
            "effective_policy_definition": {"consumer-timeout": 60_000}}));
        assert_eq!((stream.trap, stream.held_most), (Some(Trap::Stream), Some(Duration::from_secs(60))));
        let declared = of(json!({"name": "q", "arguments": {"x-consumer-timeout": 5_000},
            "effective_policy_definition": {"consumer-timeout": 60_000}}));
        assert_eq!(declared.held_most, Some(Duration::from_secs(5)));
        assert_eq!(queue(&json!({"type": "classic"})), None);
    }

    #[test]
    fn consumers_come_with_where_they_are_and_how_they_take_messages() {
        let consumers = json!([
            {"queue": {"name": "q"}, "prefetch_count": 0, "ack_required": true, "channel_details":
                {"peer_host": "127.0.0.1", "peer_port": 4_000, "connection_name": "127.0.0.1:4000 -> x"}},
            {"queue": {"name": "q"}, "prefetch_count": 5, "ack_required": false, "channel_details": []},
            {"queue": []},
        ]);
        let connections = json!([{"name": "127.0.0.1:4000 -> x", "user_provided_name": "orders:3"}]);
        let [first, second] = <[Consumer; 2]>::try_from(all(&consumers, &connections).unwrap()).unwrap();
        assert_eq!(first.peer, "127.0.0.1:4000".parse().ok());
        assert_eq!((first.connection_name.as_deref(), first.prefetch), (Some("orders:3"), Some(0)));
        assert_eq!((second.peer, second.acknowledges), (None, false));
        assert_eq!(all(&json!({"error": "x"}), &connections), None);
    }
}
