//! Consumers, deliveries and what becomes of them: a message moves from ready to unacknowledged and on, or back.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ChannelKey, Consumer, Delivery, Message, Outgoing, Queue, Settlement, State, Unacked};
use crate::demo::broker::refusal::Refusal;

impl State {
    /// Begins a consumer and tells its tag. Its first messages are in the outbox when this returns.
    pub(in crate::demo::broker) fn consume(
        &mut self,
        key: ChannelKey,
        queue: &str,
        tag: &str,
        no_ack: bool,
        exclusive: bool,
    ) -> Result<String, Refusal> {
        let name = self.queue_name(key, queue);
        self.check_access(key, &name)?;
        let tag = match tag {
            "" => format!("amq.ctag-{}", self.next_serial()),
            given => given.to_owned(),
        };
        let taken = |queue: &Queue| queue.consumers.iter().any(|c| c.key == key && c.tag == tag);
        if self.queues.values().any(taken) {
            return Err(Refusal::Connection(
                530,
                format!("NOT_ALLOWED - attempt to reuse consumer tag '{tag}'"),
            ));
        }
        let prefetch = self.channels.get(&key).map_or(0, |channel| channel.prefetch);
        let vhost = self.vhost.clone();
        let queue = self.queue_mut(&name);
        let others = !queue.consumers.is_empty();
        if queue.consumers.iter().any(|consumer| consumer.exclusive) || (exclusive && others) {
            return Err(Refusal::in_exclusive_use(&name, &vhost));
        }
        queue.consumers.push_back(Consumer {
            key,
            tag: tag.clone(),
            no_ack,
            exclusive,
            prefetch,
            in_flight: 0,
        });
        self.deliver(&name);
        Ok(tag)
    }

    /// Ends a consumer; what it has not acknowledged stays with its channel.
    pub(in crate::demo::broker) fn cancel(&mut self, key: ChannelKey, tag: &str) {
        let touched = self.remove_consumers(|consumer| consumer.key == key && consumer.tag == tag);
        self.deliver_all(touched);
    }

    /// Takes one message and tells how many remain ready.
    pub(in crate::demo::broker) fn get(
        &mut self,
        key: ChannelKey,
        queue: &str,
        no_ack: bool,
    ) -> Result<Option<(Delivery, u64)>, Refusal> {
        let name = self.queue_name(key, queue);
        let queue = self.accessible(key, &name)?;
        let Some(message) = queue.ready.pop_front() else {
            return Ok(None);
        };
        let remaining = queue.ready.len() as u64;
        Ok(self.hand_out(key, &name, None, no_ack, message).map(|delivery| (delivery, remaining)))
    }

    /// Settles a delivery, or all up to it (`multiple`, where 0 means all).
    pub(in crate::demo::broker) fn settle(
        &mut self,
        key: ChannelKey,
        tag: u64,
        multiple: bool,
        settlement: Settlement,
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::precondition(format!("unknown delivery tag {tag}"));
        let channel = self.channels.get_mut(&key).ok_or_else(unknown)?;
        let settled: Vec<Unacked> = if multiple {
            if tag > channel.last_delivery {
                return Err(unknown());
            }
            let end = if tag == 0 { u64::MAX } else { tag };
            let later = channel.unacked.split_off(&end.saturating_add(1));
            std::mem::replace(&mut channel.unacked, later).into_values().collect()
        } else {
            vec![channel.unacked.remove(&tag).ok_or_else(unknown)?]
        };
        self.settle_all(key, settled, settlement);
        Ok(())
    }

    /// Returns everything that the channel has not acknowledged.
    pub(in crate::demo::broker) fn recover(&mut self, key: ChannelKey) {
        if let Some(channel) = self.channels.get_mut(&key) {
            let settled = std::mem::take(&mut channel.unacked).into_values().collect();
            self.settle_all(key, settled, Settlement::Requeued);
        }
    }

    /// Sets how many unacknowledged messages a channel, or each of its later consumers, may have; 0 is no limit.
    pub(in crate::demo::broker) fn qos(&mut self, key: ChannelKey, prefetch: u16, global: bool) {
        if let Some(channel) = self.channels.get_mut(&key) {
            if global {
                channel.prefetch_global = prefetch;
            } else {
                channel.prefetch = prefetch;
            }
        }
        self.deliver_all(self.queues_consumed_by(key));
    }

    fn settle_all(&mut self, key: ChannelKey, settled: Vec<Unacked>, settlement: Settlement) {
        let mut touched = self.queues_consumed_by(key);
        for unacked in settled {
            touched.insert(unacked.queue.clone());
            let Some(queue) =
                self.queues.get_mut(&unacked.queue).filter(|queue| queue.serial == unacked.queue_serial)
            else {
                continue;
            };
            let consumer = queue
                .consumers
                .iter_mut()
                .find(|c| c.key == key && Some(&c.tag) == unacked.consumer.as_ref());
            if let Some(consumer) = consumer {
                consumer.in_flight -= 1;
            }
            match settlement {
                Settlement::Acknowledged => {
                    queue.unacked -= 1;
                    queue.acked += 1;
                }
                Settlement::Discarded => queue.unacked -= 1,
                Settlement::Requeued => self.put_back(unacked),
            }
        }
        self.deliver_all(touched);
    }

    /// Returns a message to its place in its queue, unless the queue is gone.
    pub(super) fn put_back(&mut self, unacked: Unacked) {
        let Some(queue) =
            self.queues.get_mut(&unacked.queue).filter(|queue| queue.serial == unacked.queue_serial)
        else {
            return;
        };
        queue.unacked -= 1;
        let message = Message { redelivered: true, ..unacked.message };
        let place = queue.ready.partition_point(|other| other.serial < message.serial);
        queue.ready.insert(place, message);
    }

    pub(super) fn deliver_all(&mut self, queues: BTreeSet<String>) {
        for name in queues {
            self.deliver(&name);
        }
    }

    /// Hands ready messages to consumers that may have more, in turn.
    pub(super) fn deliver(&mut self, name: &str) {
        while let Some((message, key, consumer, no_ack)) = self.next_delivery(name) {
            let Some(delivery) = self.hand_out(key, name, Some(&consumer), no_ack, message) else {
                return;
            };
            let Some(channel) = self.channels.get(&key) else {
                return;
            };
            let outgoing =
                Outgoing::Deliver { channel: key.channel, serial: channel.serial, consumer, delivery };
            // A closed outbox belongs to a connection that is ending: its channels give everything back.
            let _ = channel.outbox.send(outgoing);
        }
    }

    /// Takes the first ready message and the consumer whose turn it is.
    fn next_delivery(&mut self, name: &str) -> Option<(Message, ChannelKey, String, bool)> {
        let queue = self.queues.get_mut(name)?;
        if queue.ready.is_empty() {
            return None;
        }
        let channels = &self.channels;
        let may_have_more = |consumer: &Consumer| {
            let Some(channel) = channels.get(&consumer.key) else {
                return false;
            };
            let below = |limit: u16, used: usize| limit == 0 || used < usize::from(limit);
            consumer.no_ack
                || (below(consumer.prefetch, usize::from(consumer.in_flight))
                    && below(channel.prefetch_global, channel.unacked.len())
                    && consumer.in_flight < u16::MAX)
        };
        let turn = queue.consumers.iter().position(may_have_more)?;
        let mut consumer = queue.consumers.remove(turn)?;
        if !consumer.no_ack {
            consumer.in_flight += 1;
        }
        let chosen = (consumer.key, consumer.tag.clone(), consumer.no_ack);
        queue.consumers.push_back(consumer);
        let message = queue.ready.pop_front()?;
        Some((message, chosen.0, chosen.1, chosen.2))
    }

    /// Notes that a message is with a channel now, or settled where nothing will be acknowledged.
    fn hand_out(
        &mut self,
        key: ChannelKey,
        name: &str,
        consumer: Option<&str>,
        no_ack: bool,
        message: Message,
    ) -> Option<Delivery> {
        let queue = self.queues.get_mut(name)?;
        let channel = self.channels.get_mut(&key)?;
        channel.last_delivery += 1;
        let delivery = Delivery {
            tag: channel.last_delivery,
            redelivered: message.redelivered,
            content: Arc::clone(&message.content),
        };
        queue.redelivered += u64::from(message.redelivered);
        if no_ack {
            queue.acked += 1;
        } else {
            queue.unacked += 1;
            let unacked = Unacked {
                queue: name.to_owned(),
                queue_serial: queue.serial,
                consumer: consumer.map(str::to_owned),
                message,
            };
            channel.unacked.insert(delivery.tag, unacked);
        }
        Some(delivery)
    }
}
