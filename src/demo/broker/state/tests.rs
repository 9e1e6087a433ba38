use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

const FIRST: ChannelKey = ChannelKey { connection: 1, channel: 1 };
const SECOND: ChannelKey = ChannelKey { connection: 2, channel: 1 };

fn broker() -> State {
    State::new("/", 100, 100)
}

fn open(state: &mut State, key: ChannelKey) -> UnboundedReceiver<Outgoing> {
    let (outbox, received) = unbounded_channel();
    state.open_channel(key, outbox);
    received
}

fn declare(state: &mut State, key: ChannelKey, name: &str) {
    state.declare_queue(key, name, QueueKind::default()).unwrap();
}

fn publish(state: &mut State, exchange: &str, routing_key: &str, body: &str) -> Published {
    let content = Content {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        properties: BasicProperties::default(),
        body: body.as_bytes().to_vec(),
    };
    state.publish(content).unwrap()
}

/// Tag, whether redelivered, and body of everything that waits in an outbox.
fn received(outbox: &mut UnboundedReceiver<Outgoing>) -> Vec<(u64, bool, String)> {
    let mut found = Vec::new();
    while let Ok(outgoing) = outbox.try_recv() {
        if let Outgoing::Deliver { delivery, .. } = outgoing {
            let body = String::from_utf8(delivery.content.body.clone()).unwrap();
            found.push((delivery.tag, delivery.redelivered, body));
        }
    }
    found
}

fn ready_and_unacked(state: &State, queue: &str) -> (u64, u64) {
    let counts = state.counts(queue).unwrap();
    (counts.ready, counts.unacked)
}

#[test]
fn a_consumer_never_has_more_than_its_prefetch() {
    let mut state = broker();
    let mut outbox = open(&mut state, FIRST);
    declare(&mut state, FIRST, "q");
    state.qos(FIRST, 2, false);
    state.consume(FIRST, "q", "c", false, false).unwrap();
    for body in ["a", "b", "c", "d"] {
        publish(&mut state, "", "q", body);
    }
    assert_eq!(received(&mut outbox), [(1, false, "a".into()), (2, false, "b".into())]);
    assert_eq!(ready_and_unacked(&state, "q"), (2, 2));
    state.settle(FIRST, 1, false, Settlement::Acknowledged).unwrap();
    assert_eq!(received(&mut outbox), [(3, false, "c".into())]);
    assert_eq!(ready_and_unacked(&state, "q"), (1, 2));
}

#[test]
fn consumers_take_turns() {
    let mut state = broker();
    let (mut one, mut two) = (open(&mut state, FIRST), open(&mut state, SECOND));
    declare(&mut state, FIRST, "q");
    for key in [FIRST, SECOND] {
        state.qos(key, 1, false);
        state.consume(key, "q", "c", false, false).unwrap();
    }
    publish(&mut state, "", "q", "a");
    publish(&mut state, "", "q", "b");
    assert_eq!((received(&mut one).len(), received(&mut two).len()), (1, 1));
}

#[test]
fn what_a_closed_channel_had_returns_to_its_place_as_redelivered() {
    let mut state = broker();
    let mut one = open(&mut state, FIRST);
    declare(&mut state, FIRST, "q");
    for body in ["a", "b", "c"] {
        publish(&mut state, "", "q", body);
    }
    state.qos(FIRST, 2, false);
    state.consume(FIRST, "q", "c", false, false).unwrap();
    assert_eq!(received(&mut one).len(), 2);
    state.close_connection(FIRST.connection);
    assert_eq!(ready_and_unacked(&state, "q"), (3, 0));

    let mut two = open(&mut state, SECOND);
    state.consume(SECOND, "q", "c", false, false).unwrap();
    assert_eq!(received(&mut two), [(1, true, "a".into()), (2, true, "b".into()), (3, false, "c".into())]);
    assert_eq!(state.counts("q").unwrap().redelivered, 2);
}

#[test]
fn a_negative_acknowledgement_requeues_or_drops() {
    let mut state = broker();
    let _outbox = open(&mut state, FIRST);
    declare(&mut state, FIRST, "q");
    publish(&mut state, "", "q", "a");
    publish(&mut state, "", "q", "b");
    let (first, remaining) = state.get(FIRST, "q", false).unwrap().unwrap();
    assert_eq!(remaining, 1);
    state.settle(FIRST, first.tag, false, Settlement::Requeued).unwrap();
    let (again, _) = state.get(FIRST, "q", false).unwrap().unwrap();
    assert!(again.redelivered);
    assert_eq!(again.content.body, b"a");
    state.settle(FIRST, again.tag, false, Settlement::Discarded).unwrap();
    assert_eq!(ready_and_unacked(&state, "q"), (1, 0));
    assert_eq!(state.counts("q").unwrap().acked, 0);
}

#[test]
fn one_acknowledgement_settles_all_up_to_it() {
    let mut state = broker();
    let mut outbox = open(&mut state, FIRST);
    declare(&mut state, FIRST, "q");
    state.consume(FIRST, "q", "c", false, false).unwrap();
    for body in ["a", "b", "c"] {
        publish(&mut state, "", "q", body);
    }
    assert_eq!(received(&mut outbox).len(), 3);
    state.settle(FIRST, 2, true, Settlement::Acknowledged).unwrap();
    assert_eq!(ready_and_unacked(&state, "q"), (0, 1));
    state.settle(FIRST, 0, true, Settlement::Acknowledged).unwrap();
    assert_eq!((ready_and_unacked(&state, "q"), state.counts("q").unwrap().acked), ((0, 0), 3));
    let unknown = state.settle(FIRST, 9, false, Settlement::Acknowledged).unwrap_err();
    assert_eq!(unknown, Refusal::Channel(406, "PRECONDITION_FAILED - unknown delivery tag 9".into()));
}

#[test]
fn a_fanout_reaches_every_bound_queue_and_a_direct_exchange_the_named_one() {
    let mut state = broker();
    let _outbox = open(&mut state, FIRST);
    for queue in ["a", "b"] {
        declare(&mut state, FIRST, queue);
        state.bind(FIRST, queue, "amq.fanout", "").unwrap();
        state.bind(FIRST, queue, "amq.direct", queue).unwrap();
    }
    assert_eq!(publish(&mut state, "amq.fanout", "whatever", "x"), Published::Routed);
    assert_eq!(publish(&mut state, "amq.direct", "a", "y"), Published::Routed);
    assert_eq!(publish(&mut state, "amq.direct", "nobody", "z"), Published::Unroutable);
    assert_eq!((ready_and_unacked(&state, "a").0, ready_and_unacked(&state, "b").0), (2, 1));
}

#[test]
fn a_full_queue_takes_no_more() {
    let mut state = State::new("/", 2, 100);
    let _outbox = open(&mut state, FIRST);
    declare(&mut state, FIRST, "q");
    let results: Vec<_> = (0..3).map(|n| publish(&mut state, "", "q", &n.to_string())).collect();
    assert_eq!(results, [Published::Routed, Published::Routed, Published::Full]);
    assert_eq!(state.counts("q").unwrap().refused, 1);
}

#[test]
fn an_exclusive_queue_is_locked_for_others_and_goes_with_its_connection() {
    let mut state = broker();
    let (_one, _two) = (open(&mut state, FIRST), open(&mut state, SECOND));
    let exclusive = QueueKind { exclusive: true, ..QueueKind::default() };
    state.declare_queue(FIRST, "q", exclusive).unwrap();
    let passive = QueueKind { passive: true, ..QueueKind::default() };
    let refusal = state.declare_queue(SECOND, "q", passive).unwrap_err();
    assert_eq!(refusal, Refusal::locked("q", "/"));
    state.close_connection(FIRST.connection);
    let refusal = state.declare_queue(SECOND, "q", passive).unwrap_err();
    assert_eq!(refusal, Refusal::Channel(404, "NOT_FOUND - no queue 'q' in vhost '/'".into()));
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer_who_is_told_of_a_deleted_one() {
    let mut state = broker();
    let mut outbox = open(&mut state, FIRST);
    let auto_delete = QueueKind { auto_delete: true, ..QueueKind::default() };
    state.declare_queue(FIRST, "q", auto_delete).unwrap();
    state.consume(FIRST, "q", "c", false, false).unwrap();
    state.cancel(FIRST, "c");
    assert_eq!(state.counts("q"), None);

    declare(&mut state, FIRST, "r");
    state.consume(FIRST, "r", "c", false, false).unwrap();
    state.delete_queue(FIRST, "r", false, false).unwrap();
    assert!(matches!(outbox.try_recv(), Ok(Outgoing::Cancelled { .. })));
}

#[test]
fn a_message_of_a_deleted_queue_does_not_come_back_into_a_new_one_of_the_same_name() {
    let mut state = broker();
    let _outbox = open(&mut state, FIRST);
    declare(&mut state, FIRST, "q");
    publish(&mut state, "", "q", "a");
    let (taken, _) = state.get(FIRST, "q", false).unwrap().unwrap();
    state.delete_queue(FIRST, "q", false, false).unwrap();
    declare(&mut state, FIRST, "q");
    state.settle(FIRST, taken.tag, false, Settlement::Requeued).unwrap();
    assert_eq!(ready_and_unacked(&state, "q"), (0, 0));
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut state = broker();
    let (_one, _two) = (open(&mut state, FIRST), open(&mut state, SECOND));
    declare(&mut state, FIRST, "q");
    state.consume(FIRST, "q", "c", false, true).unwrap();
    let refusal = state.consume(SECOND, "q", "c", false, false).unwrap_err();
    assert!(matches!(refusal, Refusal::Channel(403, _)), "{refusal:?}");
}
