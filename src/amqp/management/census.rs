//! Looks on at a whole broker: who takes messages from which queue, in all virtual hosts, and how chosen queues stand. For whoever
//! observes a broker for a while; a running Leveret asks for less. It only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::channels::{list, peer};
use super::figures::{self, PAGES_MAX};
use crate::amqp::fact::{Figures, Trap};
use crate::amqp::http::trouble::Trouble;
use crate::amqp::http::{Conversation, Target, encode};
use crate::amqp::ledger::Ledger;
use crate::core::spec::ManagementSpec;

/// The longest time that one request may take.
const LIMIT: Duration = Duration::from_secs(10);

const CHANNEL_COLUMNS: &str = "vhost,user,connection_details,consumer_count,message_stats.get,\
                               message_stats.get_no_ack,message_stats.get_empty";
const POLLED_COLUMNS: &str = "name,message_stats.get,message_stats.get_no_ack,message_stats.get_empty";

/// A queue of a broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueName {
    /// Its virtual host.
    pub vhost: String,
    /// Its name there.
    pub queue: String,
}

/// Somebody who takes messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taker {
    /// Where the connection comes from, as the broker sees it.
    pub peer: Option<SocketAddr>,
    /// The virtual host.
    pub vhost: String,
    /// The user of the broker.
    pub user: Option<String>,
    /// The address and port at which the broker was called.
    pub endpoint: Option<String>,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
    /// How it takes them.
    pub takes: Takes,
}

/// How somebody takes messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// As a consumer of a queue.
    Consumes {
        /// The queue.
        queue: String,
        /// How many messages it takes ahead; 0 is without a limit.
        prefetch: Option<u64>,
        /// Whether it says when a message is done.
        acknowledges: bool,
    },
    /// One by one (`basic.get`), from a queue that the broker does not name.
    Polls,
}

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The broker's version, where it is RabbitMQ's.
    pub version: Option<String>,
    /// Everybody who takes messages.
    pub takers: Vec<Taker>,
    /// The queues that are polled by anybody; looked for only where somebody polls.
    pub polled: BTreeSet<QueueName>,
}

/// How a queue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its figures; a new queue has none for some seconds.
    pub figures: Option<Figures>,
    /// Why more consumers would not empty it sooner.
    pub trap: Option<Trap>,
}

/// Asks one management API.
pub struct Census {
    target: Target,
    /// Whether the broker counts messages; absent until it was asked.
    counts: Option<bool>,
    ledgers: BTreeMap<QueueName, Ledger>,
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Census {
    /// `None` where the address cannot be one.
    pub fn new(spec: &ManagementSpec) -> Option<Self> {
        Some(Self { target: Target::management(spec, "/")?, counts: None, ledgers: BTreeMap::new() })
    }

    /// Everybody who takes messages now, as far as the login may see.
    ///
    /// # Errors
    /// Why it does not tell, as a sentence without the password.
    pub async fn look(&mut self) -> Result<Found, String> {
        self.look_once().await.map_err(|trouble| trouble.to_string())
    }

    /// How these queues stand. One that is gone is left out.
    ///
    /// # Errors
    /// As for [`Census::look`].
    pub async fn standings(
        &mut self,
        queues: &BTreeSet<QueueName>,
    ) -> Result<BTreeMap<QueueName, Standing>, String> {
        self.standings_once(queues).await.map_err(|trouble| trouble.to_string())
    }

    async fn look_once(&mut self) -> Result<Found, Trouble> {
        let mut conversation = Conversation::begin(&self.target, LIMIT).await?;
        let overview =
            conversation.read("/overview?columns=rabbitmq_version,rates_mode,disable_stats").await?;
        self.counts = Some(overview["rates_mode"] != "none" && overview["disable_stats"] != true);
        let version = overview["rabbitmq_version"].as_str().map(str::to_owned);
        let consumers = conversation.read("/consumers").await?;
        let connections = conversation.read("/connections?columns=name,ssl").await?;
        let channels = conversation.read(&format!("/channels?columns={CHANNEL_COLUMNS}")).await?;
        let encrypted = encrypted(&connections);
        let consuming = takers(&consumers, &encrypted, consumer);
        let polling = takers(&channels, &encrypted, poller);
        let (Some(mut takers), Some(polling)) = (consuming, polling) else {
            return Err(self.target.is_another("it sends no list of consumers and channels"));
        };
        let mut polled = BTreeSet::new();
        for vhost in polling.iter().map(|taker| taker.vhost.as_str()).collect::<BTreeSet<_>>() {
            let path = format!("/queues/{}?columns={POLLED_COLUMNS}", encode(vhost));
            let answer = conversation.read(&path).await?;
            let queues = list(&answer).into_iter().flatten().filter(|item| has_polls(item));
            let names = queues.filter_map(|item| item["name"].as_str());
            polled.extend(names.map(|name| QueueName { vhost: vhost.to_owned(), queue: name.to_owned() }));
        }
        takers.extend(polling);
        Ok(Found { version, takers, polled })
    }

    async fn standings_once(
        &mut self,
        queues: &BTreeSet<QueueName>,
    ) -> Result<BTreeMap<QueueName, Standing>, Trouble> {
        let mut by_vhost: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for name in queues {
            by_vhost.entry(&name.vhost).or_default().insert(name.queue.clone());
        }
        let mut conversation = Conversation::begin(&self.target, LIMIT).await?;
        let counts = self.counts.unwrap_or(true);
        let mut standings = BTreeMap::new();
        for (vhost, names) in by_vhost {
            let mut number = 1;
            loop {
                let answer = conversation.read(&figures::path(vhost, &names, number)).await?;
                let Some((page, pages)) = figures::page(&answer) else {
                    return Err(self.target.is_another("it sends no list of queues"));
                };
                for (queue, listed) in page.into_iter().filter(|(queue, _)| names.contains(*queue)) {
                    let name = QueueName { vhost: vhost.to_owned(), queue: queue.to_owned() };
                    let ledger = self.ledgers.entry(name.clone()).or_default();
                    let figures = listed.told.map(|told| ledger.note(told, counts));
                    standings.insert(name, Standing { figures, trap: listed.trap });
                }
                if number >= pages.min(PAGES_MAX) {
                    break;
                }
                number += 1;
            }
        }
        Ok(standings)
    }
}

/// The names of connections that are encrypted.
fn encrypted(connections: &Value) -> BTreeSet<&str> {
    let connections = list(connections).into_iter().flatten();
    connections.filter(|item| item["ssl"] == true).filter_map(|item| item["name"].as_str()).collect()
}

/// Everybody in an answer; `None` where it is no list.
fn takers(
    answer: &Value,
    encrypted: &BTreeSet<&str>,
    one: fn(&Value) -> Option<(&Value, String, Takes)>,
) -> Option<Vec<Taker>> {
    let taker = |item| {
        let (connection, vhost, takes) = one(item)?;
        // A channel names its connection in one way, a consumer in another.
        let name = connection["connection_name"].as_str().or_else(|| connection["name"].as_str());
        let user = connection["user"].as_str().or_else(|| item["user"].as_str());
        Some(Taker {
            peer: peer(connection),
            vhost,
            user: user.map(str::to_owned),
            endpoint: name.and_then(endpoint),
            is_encrypted: name.is_some_and(|name| encrypted.contains(name)),
            takes,
        })
    };
    Some(list(answer)?.iter().filter_map(taker).collect())
}

fn consumer(item: &Value) -> Option<(&Value, String, Takes)> {
    let takes = Takes::Consumes {
        queue: item["queue"]["name"].as_str()?.to_owned(),
        prefetch: item["prefetch_count"].as_u64(),
        acknowledges: item["ack_required"] != false,
    };
    Some((&item["channel_details"], item["queue"]["vhost"].as_str()?.to_owned(), takes))
}

fn poller(item: &Value) -> Option<(&Value, String, Takes)> {
    let is_consumer = item["consumer_count"].as_u64() > Some(0);
    if is_consumer || !has_polls(item) {
        return None;
    }
    Some((&item["connection_details"], item["vhost"].as_str()?.to_owned(), Takes::Polls))
}

/// Whether messages were taken one by one by a channel or from a queue, or were looked for in vain.
fn has_polls(item: &Value) -> bool {
    let stats = &item["message_stats"];
    ["get", "get_no_ack", "get_empty"].iter().any(|name| stats[name].as_u64() > Some(0))
}

/// The end of the broker in the name that it gives a connection: `127.0.0.1:40000 -> 127.0.0.1:5672`.
fn endpoint(connection: &str) -> Option<String> {
    let (_, endpoint) = connection.split_once(" -> ")?;
    let endpoint = endpoint.split(' ').next()?;
    (!endpoint.is_empty()).then(|| endpoint.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn consumers_come_with_their_virtual_host_and_where_they_called_the_broker() {
        let consumers = json!([
            {"queue": {"name": "q", "vhost": "shop"}, "prefetch_count": 5, "ack_required": true, "channel_details":
                {"peer_host": "127.0.0.1", "peer_port": 4_000, "user": "me",
                 "connection_name": "127.0.0.1:4000 -> 127.0.0.1:5671"}},
            {"queue": {"name": "q", "vhost": "shop"}, "ack_required": false, "channel_details": []},
            {"queue": []},
        ]);
        let connections = json!([{"name": "127.0.0.1:4000 -> 127.0.0.1:5671", "ssl": true}, {"ssl": true}]);
        let told = takers(&consumers, &encrypted(&connections), consumer).unwrap();
        let expected = Taker {
            peer: "127.0.0.1:4000".parse().ok(),
            vhost: "shop".to_owned(),
            user: Some("me".to_owned()),
            endpoint: Some("127.0.0.1:5671".to_owned()),
            is_encrypted: true,
            takes: Takes::Consumes { queue: "q".to_owned(), prefetch: Some(5), acknowledges: true },
        };
        assert_eq!(told[0], expected);
        assert_eq!((told.len(), told[1].peer, &told[1].endpoint), (2, None, &None));
        assert!(matches!(told[1].takes, Takes::Consumes { prefetch: None, acknowledges: false, .. }));
        assert_eq!(takers(&json!({"error": "x"}), &BTreeSet::new(), consumer), None);
    }

    #[test]
    fn a_channel_polls_that_has_no_consumer_and_has_asked_for_a_message() {
        let channel = |consumers: u64, stats: Value| {
            let connection =
                json!({"name": "127.0.0.1:4001 -> mq:5672", "peer_host": "127.0.0.1", "peer_port": 4_001});
            json!([{"vhost": "/", "user": "me", "consumer_count": consumers, "message_stats": stats,
                "connection_details": connection}])
        };
        let polling = |answer: Value| takers(&answer, &BTreeSet::new(), poller).unwrap();
        let found = polling(channel(0, json!({"get_empty": 3})));
        assert_eq!((found[0].takes.clone(), found[0].endpoint.as_deref()), (Takes::Polls, Some("mq:5672")));
        assert_eq!((found[0].user.as_deref(), found[0].vhost.as_str()), (Some("me"), "/"));
        assert_eq!(polling(channel(1, json!({"get": 3}))), []);
        assert_eq!(polling(channel(0, json!({"ack": 3, "get": 0}))), []);
        assert_eq!(polling(channel(0, json!([]))), []);
    }
}
