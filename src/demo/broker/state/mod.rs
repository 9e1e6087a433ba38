//! What the broker knows: queues, exchanges, channels, and who has which message. Values only: no socket, no clock.
//! Every message is in exactly one place, ready in a queue or unacknowledged on a channel, until it is settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use amq_protocol::protocol::BasicProperties;
use tokio::sync::mpsc::UnboundedSender;

use super::QueueCounts;
use super::refusal::Refusal;

mod delivery;

/// A channel of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChannelKey {
    pub(super) connection: u64,
    pub(super) channel: u16,
}

/// A message as it was published.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) properties: BasicProperties,
    pub(super) body: Vec<u8>,
}

/// What goes to a client without having been asked for just now.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A message for a consumer.
    Deliver { channel: u16, serial: u64, consumer: String, delivery: Delivery },
    /// The queue of a consumer is gone.
    Cancelled { channel: u16, serial: u64, consumer: String },
}

/// A message on its way to a client.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) tag: u64,
    pub(super) redelivered: bool,
    pub(super) content: Arc<Content>,
}

/// What a client asks of `queue.declare`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueKind {
    pub(super) passive: bool,
    pub(super) exclusive: bool,
    pub(super) auto_delete: bool,
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExchangeKind {
    Direct,
    Fanout,
}

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// At least one queue has it.
    Routed,
    /// No queue is bound for it.
    Unroutable,
    /// A queue that should have it is full.
    Full,
}

/// What a consumer says about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    Acknowledged,
    Requeued,
    Discarded,
}

/// Everything that the broker holds.
#[derive(Debug)]
pub(super) struct State {
    vhost: String,
    queue_messages_max: usize,
    queues_max: usize,
    queues: BTreeMap<String, Queue>,
    exchanges: BTreeMap<String, Exchange>,
    channels: BTreeMap<ChannelKey, Channel>,
    /// The last number given to a queue, a channel, a message or a generated name.
    last_serial: u64,
}

#[derive(Debug)]
struct Queue {
    serial: u64,
    owner: Option<u64>,
    auto_delete: bool,
    ready: VecDeque<Message>,
    unacked: u64,
    /// The front is next in turn.
    consumers: VecDeque<Consumer>,
    published: u64,
    acked: u64,
    redelivered: u64,
    refused: u64,
}

#[derive(Debug)]
struct Message {
    serial: u64,
    redelivered: bool,
    content: Arc<Content>,
}

#[derive(Debug)]
struct Consumer {
    key: ChannelKey,
    tag: String,
    no_ack: bool,
    exclusive: bool,
    /// The most unacknowledged messages, 0 for no limit.
    prefetch: u16,
    in_flight: u16,
}

#[derive(Debug)]
struct Exchange {
    kind: ExchangeKind,
    bindings: BTreeSet<(String, String)>,
}

#[derive(Debug)]
struct Channel {
    serial: u64,
    outbox: UnboundedSender<Outgoing>,
    /// For consumers that begin from now on.
    prefetch: u16,
    /// For the channel as a whole.
    prefetch_global: u16,
    last_delivery: u64,
    unacked: BTreeMap<u64, Unacked>,
    last_queue: String,
}

#[derive(Debug)]
struct Unacked {
    queue: String,
    queue_serial: u64,
    consumer: Option<String>,
    message: Message,
}

impl State {
    pub(super) fn new(vhost: &str, queue_messages_max: usize, queues_max: usize) -> Self {
        let exchange = |kind| Exchange { kind, bindings: BTreeSet::new() };
        Self {
            vhost: vhost.to_owned(),
            queue_messages_max,
            queues_max,
            queues: BTreeMap::new(),
            exchanges: BTreeMap::from([
                ("amq.direct".to_owned(), exchange(ExchangeKind::Direct)),
                ("amq.fanout".to_owned(), exchange(ExchangeKind::Fanout)),
            ]),
            channels: BTreeMap::new(),
            last_serial: 0,
        }
    }

    /// What the queue holds and what went through it, `None` where there is no such queue.
    pub(super) fn counts(&self, queue: &str) -> Option<QueueCounts> {
        let queue = self.queues.get(queue)?;
        Some(QueueCounts {
            ready: queue.ready.len() as u64,
            unacked: queue.unacked,
            consumers: queue.consumers.len() as u64,
            published: queue.published,
            acked: queue.acked,
            redelivered: queue.redelivered,
            refused: queue.refused,
        })
    }

    /// How many channels all clients together have open.
    pub(super) fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Opens a channel and says which life of its number this is.
    pub(super) fn open_channel(&mut self, key: ChannelKey, outbox: UnboundedSender<Outgoing>) -> u64 {
        let serial = self.next_serial();
        self.channels.insert(
            key,
            Channel {
                serial,
                outbox,
                prefetch: 0,
                prefetch_global: 0,
                last_delivery: 0,
                unacked: BTreeMap::new(),
                last_queue: String::new(),
            },
        );
        serial
    }

    /// Ends a channel: its consumers go, its unacknowledged messages return to their queues.
    pub(super) fn close_channel(&mut self, key: ChannelKey) {
        let mut touched = self.remove_consumers(|consumer| consumer.key == key);
        if let Some(channel) = self.channels.remove(&key) {
            for (_, unacked) in channel.unacked {
                touched.insert(unacked.queue.clone());
                self.put_back(unacked);
            }
        }
        self.deliver_all(touched);
    }

    /// Ends a connection with all its channels and its exclusive queues.
    pub(super) fn close_connection(&mut self, connection: u64) {
        let channels: Vec<_> =
            self.channels.keys().filter(|key| key.connection == connection).copied().collect();
        for key in channels {
            self.close_channel(key);
        }
        let owned: Vec<_> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.owner == Some(connection))
            .map(|(name, _)| name.clone())
            .collect();
        for name in owned {
            self.drop_queue(&name);
        }
    }

    /// Declares a queue; an empty name asks for a generated one. Tells its name, ready messages and consumers.
    pub(super) fn declare_queue(
        &mut self,
        key: ChannelKey,
        name: &str,
        kind: QueueKind,
    ) -> Result<(String, u64, u64), Refusal> {
        let name = match (name, kind.passive) {
            ("", true) => self.queue_name(key, name),
            ("", false) => format!("amq.gen-{}", self.next_serial()),
            (named, _) => named.to_owned(),
        };
        if self.queues.contains_key(&name) {
            self.check_access(key, &name)?;
        } else if kind.passive {
            return Err(Refusal::no_queue(&name, &self.vhost));
        } else if self.queues.len() >= self.queues_max {
            return Err(Refusal::precondition(format!("there are {} queues already", self.queues_max)));
        } else {
            let serial = self.next_serial();
            self.queues.insert(
                name.clone(),
                Queue {
                    serial,
                    owner: kind.exclusive.then_some(key.connection),
                    auto_delete: kind.auto_delete,
                    ready: VecDeque::new(),
                    unacked: 0,
                    consumers: VecDeque::new(),
                    published: 0,
                    acked: 0,
                    redelivered: 0,
                    refused: 0,
                },
            );
        }
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.last_queue.clone_from(&name);
        }
        let queue = &self.queues[&name];
        let (ready, consumers) = (queue.ready.len() as u64, queue.consumers.len() as u64);
        Ok((name, ready, consumers))
    }

    /// Deletes a queue with its messages and tells how many were ready.
    pub(super) fn delete_queue(
        &mut self,
        key: ChannelKey,
        name: &str,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<u64, Refusal> {
        let name = self.queue_name(key, name);
        let Some(queue) = self.queues.get(&name) else {
            return Ok(0);
        };
        let (ready, used) = (queue.ready.len() as u64, !queue.consumers.is_empty());
        self.check_access(key, &name)?;
        if if_unused && used {
            return Err(Refusal::precondition(format!("queue '{name}' in vhost '{}' in use", self.vhost)));
        }
        if if_empty && ready > 0 {
            return Err(Refusal::precondition(format!("queue '{name}' in vhost '{}' not empty", self.vhost)));
        }
        self.drop_queue(&name);
        Ok(ready)
    }

    /// Drops the ready messages of a queue and tells how many there were.
    pub(super) fn purge_queue(&mut self, key: ChannelKey, name: &str) -> Result<u64, Refusal> {
        let name = self.queue_name(key, name);
        let queue = self.accessible(key, &name)?;
        let ready = queue.ready.len() as u64;
        queue.ready.clear();
        Ok(ready)
    }

    /// Binds a queue to an exchange.
    pub(super) fn bind(
        &mut self,
        key: ChannelKey,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Refusal> {
        let queue = self.queue_name(key, queue);
        self.accessible(key, &queue)?;
        if exchange.is_empty() {
            return Err(Refusal::Channel(
                403,
                "ACCESS_REFUSED - operation not permitted on the default exchange".to_owned(),
            ));
        }
        let vhost = &self.vhost;
        let exchange =
            self.exchanges.get_mut(exchange).ok_or_else(|| Refusal::no_exchange(exchange, vhost))?;
        exchange.bindings.insert((routing_key.to_owned(), queue));
        Ok(())
    }

    /// Takes a binding away; one that is not there is no error.
    pub(super) fn unbind(&mut self, key: ChannelKey, queue: &str, exchange: &str, routing_key: &str) {
        let queue = self.queue_name(key, queue);
        if let Some(exchange) = self.exchanges.get_mut(exchange) {
            exchange.bindings.remove(&(routing_key.to_owned(), queue));
        }
    }

    /// Declares an exchange; the kind `None` is one that this broker does not have.
    pub(super) fn declare_exchange(
        &mut self,
        name: &str,
        kind: Option<ExchangeKind>,
        passive: bool,
    ) -> Result<(), Refusal> {
        if name.is_empty() || self.exchanges.contains_key(name) {
            return Ok(());
        }
        if passive {
            return Err(Refusal::no_exchange(name, &self.vhost));
        }
        let kind =
            kind.ok_or_else(|| Refusal::command_invalid("this broker has direct and fanout exchanges"))?;
        if self.exchanges.len() >= self.queues_max {
            return Err(Refusal::precondition(format!("there are {} exchanges already", self.queues_max)));
        }
        self.exchanges.insert(name.to_owned(), Exchange { kind, bindings: BTreeSet::new() });
        Ok(())
    }

    /// Deletes an exchange; one that is not there is no error.
    pub(super) fn delete_exchange(&mut self, name: &str) {
        self.exchanges.remove(name);
    }

    /// Puts a message into every queue that it is meant for.
    pub(super) fn publish(&mut self, content: Content) -> Result<Published, Refusal> {
        let targets = self.route(&content.exchange, &content.routing_key)?;
        if targets.is_empty() {
            return Ok(Published::Unroutable);
        }
        let full = |state: &Self, name: &String| state.queues[name].ready.len() >= state.queue_messages_max;
        if targets.iter().any(|name| full(self, name)) {
            for name in &targets {
                self.queue_mut(name).refused += 1;
            }
            return Ok(Published::Full);
        }
        let content = Arc::new(content);
        for name in targets {
            let message =
                Message { serial: self.next_serial(), redelivered: false, content: Arc::clone(&content) };
            let queue = self.queue_mut(&name);
            queue.ready.push_back(message);
            queue.published += 1;
            self.deliver(&name);
        }
        Ok(Published::Routed)
    }

    /// The queues that a message is meant for. The default exchange knows every queue by its name.
    fn route(&self, exchange: &str, routing_key: &str) -> Result<BTreeSet<String>, Refusal> {
        if exchange.is_empty() {
            let queue = self.queues.contains_key(routing_key).then(|| routing_key.to_owned());
            return Ok(queue.into_iter().collect());
        }
        let found =
            self.exchanges.get(exchange).ok_or_else(|| Refusal::no_exchange(exchange, &self.vhost))?;
        let matches = |key: &str| found.kind == ExchangeKind::Fanout || key == routing_key;
        let bound = found.bindings.iter().filter(|(key, _)| matches(key)).map(|(_, queue)| queue.clone());
        Ok(bound.filter(|queue| self.queues.contains_key(queue)).collect())
    }

    /// Removes consumers, deletes the queues that live only as long as they are consumed, and tells which of the
    /// others lost one.
    fn remove_consumers(&mut self, gone: impl Fn(&Consumer) -> bool) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        for (name, queue) in &mut self.queues {
            let before = queue.consumers.len();
            queue.consumers.retain(|consumer| !gone(consumer));
            if queue.consumers.len() < before {
                touched.insert(name.clone());
            }
        }
        let ended = |name: &String| {
            let queue = &self.queues[name];
            queue.auto_delete && queue.consumers.is_empty()
        };
        let (ended, touched): (BTreeSet<_>, BTreeSet<_>) = touched.into_iter().partition(ended);
        for name in ended {
            self.drop_queue(&name);
        }
        touched
    }

    fn drop_queue(&mut self, name: &str) {
        let Some(queue) = self.queues.remove(name) else {
            return;
        };
        for exchange in self.exchanges.values_mut() {
            exchange.bindings.retain(|(_, bound)| bound != name);
        }
        for consumer in queue.consumers {
            if let Some(channel) = self.channels.get(&consumer.key) {
                let outgoing = Outgoing::Cancelled {
                    channel: consumer.key.channel,
                    serial: channel.serial,
                    consumer: consumer.tag,
                };
                // A closed outbox belongs to a connection that is ending: nobody waits for this.
                let _ = channel.outbox.send(outgoing);
            }
        }
    }

    fn queues_consumed_by(&self, key: ChannelKey) -> BTreeSet<String> {
        let consumed = |queue: &Queue| queue.consumers.iter().any(|consumer| consumer.key == key);
        self.queues.iter().filter(|(_, queue)| consumed(queue)).map(|(name, _)| name.clone()).collect()
    }

    /// An empty name means the queue that the channel declared last.
    fn queue_name(&self, key: ChannelKey, name: &str) -> String {
        match (name, self.channels.get(&key)) {
            ("", Some(channel)) => channel.last_queue.clone(),
            (named, _) => named.to_owned(),
        }
    }

    fn accessible(&mut self, key: ChannelKey, name: &str) -> Result<&mut Queue, Refusal> {
        self.check_access(key, name)?;
        Ok(self.queue_mut(name))
    }

    fn check_access(&self, key: ChannelKey, name: &str) -> Result<(), Refusal> {
        let queue = self.queues.get(name).ok_or_else(|| Refusal::no_queue(name, &self.vhost))?;
        if queue.owner.is_some_and(|owner| owner != key.connection) {
            return Err(Refusal::locked(name, &self.vhost));
        }
        Ok(())
    }

    fn queue_mut(&mut self, name: &str) -> &mut Queue {
        self.queues.get_mut(name).expect("the caller has looked the queue up under the same lock")
    }

    fn next_serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }
}

#[cfg(test)]
mod tests;
