//! What an answer about queues says. The broker leaves out what it does not know, and old versions write an empty list for
//! an empty object, so nothing is taken for granted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::amqp::fact::Trap;
use crate::amqp::http::encode;
use crate::amqp::ledger::Told;

/// The most queues of one page. Source: RabbitMQ's management API.
const PAGE_QUEUES: u32 = 500;
/// The most pages that are read.
pub(super) const PAGES_MAX: u64 = 200;
/// The longest filter by names, in bytes; longer lines are refused by some proxies. Beyond it all queues are listed.
const FILTER_BYTES_MAX: usize = 4_000;

const COLUMNS: &str = "name,messages_ready,messages_unacknowledged,message_stats.ack,message_stats.publish,\
                       message_stats.deliver_get,message_stats.deliver_no_ack,message_stats.get_no_ack,type,\
                       arguments.x-single-active-consumer,exclusive_consumer_tag";

/// The path of a page of the queues that are asked for: just those, as long as their names fit into an address.
pub(super) fn path(vhost: &str, queues: &BTreeSet<String>, page: u64) -> String {
    path_with(COLUMNS, vhost, queues, page)
}

/// The same with other columns.
pub(super) fn path_with(columns: &str, vhost: &str, queues: &BTreeSet<String>, page: u64) -> String {
    let vhost = encode(vhost);
    let path = format!("/queues/{vhost}?columns={columns}&page={page}&page_size={PAGE_QUEUES}");
    let names: Vec<String> = queues.iter().map(|queue| literally(queue)).collect();
    let filter = encode(&format!("^(?:{})$", names.join("|")));
    if filter.len() > FILTER_BYTES_MAX { path } else { format!("{path}&use_regex=true&name={filter}") }
}

/// A regular expression that matches just this text.
fn literally(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// A page of an answer: what it tells by queue, and how many pages there are. `None` where it is no such page.
pub(super) fn page(answer: &Value) -> Option<(BTreeMap<&str, Listed>, u64)> {
    let items = answer["items"].as_array()?;
    let listed = |item| Listed { trap: trap(item), told: told(item) };
    let listed = items.iter().filter_map(|item| Some((item["name"].as_str()?, listed(item))));
    Some((listed.collect(), answer["page_count"].as_u64().unwrap_or(1)))
}

/// A queue in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// What kind of queue it is, where that matters.
    pub(super) trap: Option<Trap>,
    /// Its figures. A new queue has none for some seconds, and one whose node is down has none.
    pub(super) told: Option<Told>,
}

/// `None` where not even the depth is told, as of a queue whose node is down, or where statistics are switched off.
fn told(item: &Value) -> Option<Told> {
    let stats = &item["message_stats"];
    let count = |name: &str| stats.get(name).and_then(Value::as_u64);
    let or_none = |name: &str| count(name).unwrap_or(0);
    Some(Told {
        ready: item["messages_ready"].as_u64()?,
        unacknowledged: item["messages_unacknowledged"].as_u64()?,
        published: count("publish"),
        acknowledged: or_none("ack"),
        unasked: or_none("deliver_no_ack") + or_none("get_no_ack"),
        counts_deliveries: or_none("deliver_get") > 0,
    })
}

/// Why more consumers would not empty the queue of an answer sooner.
pub(super) fn trap(item: &Value) -> Option<Trap> {
    if item["type"] == "stream" {
        Some(Trap::Stream)
    } else if item["arguments"]["x-single-active-consumer"] == true {
        Some(Trap::SingleActiveConsumer)
    } else {
        // Old versions write an empty text where there is none.
        let tag = item["exclusive_consumer_tag"].as_str().filter(|tag| !tag.is_empty());
        tag.map(|_| Trap::ExclusiveConsumer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::amqp::fact::{Counters, Figures};
    use crate::amqp::ledger::Ledger;

    fn one(item: Value) -> Option<Told> {
        let answer = json!({"items": [item], "page_count": 1});
        page(&answer).expect("a page").0.values().next().expect("a queue").told
    }

    #[test]
    fn a_queue_is_read_whatever_the_broker_leaves_out() {
        let full = json!({"name": "orders", "messages_ready": 5, "messages_unacknowledged": 2, "message_stats":
            {"ack": 10, "publish": 17, "deliver_get": 12, "deliver_no_ack": 0, "get_no_ack": 0}});
        let figures = Ledger::default().note(one(full).unwrap(), true);
        let flow = Ok(Counters { acknowledged: 10, published: Some(17) });
        assert_eq!(figures, Figures { ready: 5, unacknowledged: 2, flow });
        for stats in [json!(null), json!([]), json!({})] {
            let bare = json!({"name": "orders", "messages_ready": 0, "messages_unacknowledged": 0,
                "message_stats": stats});
            let figures = Ledger::default().note(one(bare).unwrap(), true);
            assert_eq!(figures.flow, Ok(Counters { acknowledged: 0, published: None }));
        }
        assert_eq!(one(json!({"name": "orders", "state": "down"})), None);
        assert_eq!(page(&json!([{"name": "orders"}])), None);
        assert_eq!(page(&json!({"error": "bad_request"})), None);
    }

    #[test]
    fn queues_that_more_consumers_do_not_empty_sooner_are_known() {
        let trap = |mut item: Value, key: &str, value: Value| {
            item[key] = value;
            let answer = json!({"items": [item], "page_count": 1});
            page(&answer).expect("a page").0["q"].trap
        };
        let item = || json!({"name": "q"});
        assert_eq!(trap(item(), "type", json!("stream")), Some(Trap::Stream));
        let argument = json!({"x-single-active-consumer": true});
        assert_eq!(trap(item(), "arguments", argument), Some(Trap::SingleActiveConsumer));
        assert_eq!(trap(item(), "exclusive_consumer_tag", json!("ctag1")), Some(Trap::ExclusiveConsumer));
        for nothing in [json!(null), json!("")] {
            assert_eq!(trap(item(), "exclusive_consumer_tag", nothing), None);
        }
        assert_eq!(trap(item(), "arguments", json!([])), None);
    }

    #[test]
    fn only_the_wanted_queues_are_asked_for_as_long_as_their_names_fit() {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let short = path("/", &named(&["a.b", "ü[c]"]), 2);
        assert!(short.starts_with("/queues/%2F?columns=name,"), "{short}");
        let filter =
            "&page=2&page_size=500&use_regex=true&name=%5E%28%3F%3Aa%5C.b%7C%C3%BC%5C%5Bc%5C%5D%29%24";
        assert!(short.ends_with(filter), "{short}");
        let many: BTreeSet<String> = (0..500).map(|number| format!("orders.of.shop.{number}")).collect();
        assert!(path("a/b", &many, 1).ends_with("&page=1&page_size=500"));
    }
}
