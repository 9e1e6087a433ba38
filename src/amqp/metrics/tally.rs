//! What an answer says of queues, and how the counts of channels that come and go become those of their queue.

use std::collections::{BTreeMap, BTreeSet};

use super::exposition::{self, Line};
use crate::amqp::http::encode;
use crate::amqp::ledger::Told;

/// In front of all names.
const PREFIX: &str = "rabbitmq_detailed_";

/// Who counts what was done with the messages of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CountedBy {
    /// The queue: it never counts backwards.
    Queue,
    /// Each channel, as long as there is one: the only counts of older versions, 3.10 among them.
    Channel,
}

/// The path of what is read.
pub(super) fn path(vhost: &str, counted: CountedBy) -> String {
    let counts = match counted {
        CountedBy::Queue => "family=queue_delivery_metrics&family=queue_exchange_metrics",
        CountedBy::Channel => "family=channel_queue_metrics",
    };
    format!("/metrics/detailed?vhost={}&family=queue_coarse_metrics&{counts}", encode(vhost))
}

/// What was done with messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    acknowledged: u64,
    /// Taken as acknowledged when they were delivered.
    unasked: u64,
    /// Delivered to be acknowledged.
    asked: u64,
}

impl Counts {
    /// Takes a count in, if it is one of these.
    fn take(&mut self, name: &str, count: u64) {
        let place = match name {
            "messages_acked_total" => &mut self.acknowledged,
            "messages_delivered_total" | "get_total" => &mut self.unasked,
            "messages_delivered_ack_total" | "get_ack_total" => &mut self.asked,
            _ => return,
        };
        *place = place.saturating_add(count);
    }

    fn plus(self, other: Self) -> Self {
        Self {
            acknowledged: self.acknowledged.saturating_add(other.acknowledged),
            unasked: self.unasked.saturating_add(other.unasked),
            asked: self.asked.saturating_add(other.asked),
        }
    }

    /// What was done since `before`; `None` where it is less, so that it is another's.
    fn since(self, before: Self) -> Option<Self> {
        Some(Self {
            acknowledged: self.acknowledged.checked_sub(before.acknowledged)?,
            unasked: self.unasked.checked_sub(before.unasked)?,
            asked: self.asked.checked_sub(before.asked)?,
        })
    }
}

/// A queue in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    ready: Option<u64>,
    unacknowledged: Option<u64>,
    published: Option<u64>,
    by_itself: Counts,
    by_channel: BTreeMap<String, Counts>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whether it is one to what was asked.
    pub(super) tells_of_queues: bool,
    /// Whether it has what queues count.
    pub(super) counts_by_queue: bool,
    /// What it says, by queue.
    pub(super) queues: BTreeMap<String, Seen>,
}

/// Reads what `text` says of these queues of the virtual host.
pub(super) fn read(text: &str, vhost: &str, queues: &BTreeSet<String>) -> Answer {
    let mut answer = Answer::default();
    for text in text.lines() {
        match exposition::line(text) {
            Line::Kind(name) => match name.strip_prefix(PREFIX) {
                Some("queue_messages_ready") => answer.tells_of_queues = true,
                Some("queue_messages_acked_total") => answer.counts_by_queue = true,
                Some(_) | None => {}
            },
            Line::Value(name) => {
                if let Some(name) = name.strip_prefix(PREFIX).filter(|name| is_read(name)) {
                    take(&mut answer.queues, name, text, vhost, queues);
                }
            }
            Line::Other => {}
        }
    }
    answer
}

fn is_read(name: &str) -> bool {
    name.starts_with("queue_messages_")
        || name.starts_with("queue_get_")
        || name == "queue_exchange_messages_published_total"
        || name.starts_with("channel_messages_")
        || name.starts_with("channel_get_")
}

/// Takes in what a line says, if it is of these queues.
fn take(seen: &mut BTreeMap<String, Seen>, name: &str, text: &str, vhost: &str, queues: &BTreeSet<String>) {
    let Some(sample) = exposition::sample(text) else { return };
    let (Some(queue), Some(count)) = (sample.label("queue"), sample.count()) else { return };
    if sample.label("vhost") != Some(vhost) || !queues.contains(queue) {
        return;
    }
    let seen = seen.entry(queue.to_owned()).or_default();
    match (name, name.strip_prefix("queue_"), name.strip_prefix("channel_")) {
        ("queue_messages_ready", _, _) => seen.ready = Some(count),
        ("queue_messages_unacked", _, _) => seen.unacknowledged = Some(count),
        ("queue_exchange_messages_published_total", _, _) => {
            seen.published = Some(seen.published.unwrap_or_default().saturating_add(count));
        }
        (_, Some(name), _) => seen.by_itself.take(name, count),
        (_, None, Some(name)) => {
            let Some(channel) = sample.label("channel") else { return };
            seen.by_channel.entry(channel.to_owned()).or_default().take(name, count);
        }
        (_, None, None) => {}
    }
}

/// What was counted for a queue so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    channels: BTreeMap<String, Counts>,
    total: Counts,
}

impl Tally {
    /// Takes what was seen. The second value says whether it is all that was done: not where a channel has closed, which
    /// may have done something since it was seen last. `None` where not even the depth is told.
    pub(super) fn note(&mut self, seen: Seen, counted: CountedBy) -> Option<(Told, bool)> {
        let (ready, unacknowledged) = (seen.ready?, seen.unacknowledged?);
        let (counts, is_whole) = match counted {
            CountedBy::Queue => (seen.by_itself, true),
            CountedBy::Channel => self.add(seen.by_channel),
        };
        let Counts { acknowledged, unasked, asked } = counts;
        let counts_deliveries = asked > 0 || unasked > 0;
        let published = seen.published;
        Some((Told { ready, unacknowledged, published, acknowledged, unasked, counts_deliveries }, is_whole))
    }

    fn add(&mut self, now: BTreeMap<String, Counts>) -> (Counts, bool) {
        let mut is_whole = self.channels.keys().all(|channel| now.contains_key(channel));
        for (channel, counts) in &now {
            let more = match self.channels.get(channel) {
                Some(before) => counts.since(*before),
                None => Some(*counts),
            };
            is_whole &= more.is_some();
            self.total = self.total.plus(more.unwrap_or(*counts));
        }
        self.channels = now;
        (self.total, is_whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(text: &str) -> Seen {
        let answer = read(text, "/", &BTreeSet::from(["orders".to_owned()]));
        assert_eq!(answer.queues.len(), 1, "{answer:?}");
        answer.queues.into_values().next().unwrap()
    }

    const DEPTH: &str = "\
# TYPE rabbitmq_detailed_queue_messages_ready gauge
rabbitmq_detailed_queue_messages_ready{vhost=\"other\",queue=\"orders\"} 70
rabbitmq_detailed_queue_messages_ready{vhost=\"/\",queue=\"orders\"} 7
rabbitmq_detailed_queue_messages_ready{vhost=\"/\",queue=\"others\"} 71
rabbitmq_detailed_queue_messages_unacked{vhost=\"/\",queue=\"orders\"} 2
rabbitmq_detailed_queue_messages{vhost=\"/\",queue=\"orders\"} 9
";

    #[test]
    fn what_queues_count_is_read_and_publishes_of_all_exchanges_are_added_up() {
        let text = format!(
            "{DEPTH}# TYPE rabbitmq_detailed_queue_messages_acked_total counter
rabbitmq_detailed_queue_messages_acked_total{{vhost=\"/\",queue=\"orders\"}} 100
rabbitmq_detailed_queue_messages_delivered_ack_total{{vhost=\"/\",queue=\"orders\"}} 102
rabbitmq_detailed_queue_messages_delivered_total{{vhost=\"/\",queue=\"orders\"}} 3
rabbitmq_detailed_queue_get_total{{vhost=\"/\",queue=\"orders\"}} 4
rabbitmq_detailed_queue_get_empty_total{{vhost=\"/\",queue=\"orders\"}} 1000
rabbitmq_detailed_queue_messages_redelivered_total{{vhost=\"/\",queue=\"orders\"}} 1000
rabbitmq_detailed_queue_exchange_messages_published_total{{vhost=\"/\",exchange=\"\",queue=\"orders\"}} 90
rabbitmq_detailed_queue_exchange_messages_published_total{{vhost=\"/\",exchange=\"x\",queue=\"orders\"}} 26
"
        );
        let answer = read(&text, "/", &BTreeSet::from(["orders".to_owned()]));
        assert!(answer.tells_of_queues && answer.counts_by_queue);
        let told = Told {
            ready: 7,
            unacknowledged: 2,
            published: Some(116),
            acknowledged: 100,
            unasked: 7,
            counts_deliveries: true,
        };
        assert_eq!(Tally::default().note(orders(&text), CountedBy::Queue), Some((told, true)));
    }

    #[test]
    fn a_queue_of_which_no_depth_is_told_is_not_known_and_no_publishes_are_not_none_published() {
        let told = Tally::default().note(orders(DEPTH), CountedBy::Queue).unwrap().0;
        assert_eq!((told.published, told.counts_deliveries), (None, false));
        let answer = read(DEPTH, "/", &BTreeSet::from(["orders".to_owned()]));
        assert!(answer.tells_of_queues && !answer.counts_by_queue);
        let half = DEPTH.replace("_unacked{", "_unknown{");
        assert_eq!(Tally::default().note(orders(&half), CountedBy::Queue), None);
        assert_eq!(read("<html>", "/", &BTreeSet::from(["orders".to_owned()])), Answer::default());
    }

    #[test]
    fn what_channels_count_is_added_up_and_goes_on_when_one_closes() {
        let mut tally = Tally::default();
        let mut told = |channels: &[(&str, u64)]| {
            let mut text = DEPTH.to_owned();
            for (channel, count) in channels {
                text += &format!(
                    "rabbitmq_detailed_channel_messages_acked_total\
                     {{channel=\"{channel}\",vhost=\"/\",queue=\"orders\"}} {count}\n"
                );
            }
            let (told, is_whole) = tally.note(orders(&text), CountedBy::Channel).unwrap();
            (told.acknowledged, is_whole)
        };
        assert_eq!(told(&[("<0.1.0>", 10), ("<0.2.0>", 5)]), (15, true));
        assert_eq!(told(&[("<0.1.0>", 12), ("<0.2.0>", 5), ("<0.3.0>", 1)]), (18, true), "a new one");
        assert_eq!(told(&[("<0.1.0>", 13), ("<0.3.0>", 1)]), (19, false), "nobody knows what it did last");
        assert_eq!(told(&[("<0.1.0>", 13), ("<0.3.0>", 4)]), (22, true));
        assert_eq!(told(&[("<0.1.0>", 2), ("<0.3.0>", 4)]), (24, false), "another one of that name");
    }

    #[test]
    fn only_what_is_needed_is_asked_for() {
        assert_eq!(
            path("a/b", CountedBy::Channel),
            "/metrics/detailed?vhost=a%2Fb&family=queue_coarse_metrics&family=channel_queue_metrics"
        );
        assert!(
            path("/", CountedBy::Queue)
                .ends_with("&family=queue_delivery_metrics&family=queue_exchange_metrics")
        );
    }
}
