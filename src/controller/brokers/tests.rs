//! What is made of what brokers tell.

use super::*;
use crate::core::secret::Secret;
use crate::core::spec::MetricsSpec;

fn brokers() -> Brokers {
    let (facts, _) = mpsc::channel(1);
    let mut brokers = Brokers::new(facts);
    let url = Secret::new("amqp://shop:hunter2@mq/%2f");
    let spec = BrokerSpec {
        name: "default".into(),
        url,
        shown: "amqp://shop@mq/%2f".into(),
        management: None,
        metrics: None,
    };
    // No program reads a queue there, so no connection is made.
    brokers.configure(&[spec], &[], Duration::from_secs(1));
    brokers
}

fn reading(reading: Reading) -> Fact {
    let (broker, queue) = ("default".to_owned(), "orders".to_owned());
    Fact::Queue { broker, queue, reading, at: Time::from_millis(5_000) }
}

#[test]
fn every_kind_of_trouble_with_a_queue_has_a_sentence_of_its_own_and_is_no_depth() {
    let troubles = [
        Reading::Missing,
        Reading::Locked,
        Reading::Refused("ACCESS_REFUSED".into()),
        Reading::TimedOut,
        Reading::Unreachable,
    ];
    let mut sentences = BTreeSet::new();
    for trouble in troubles {
        let mut brokers = brokers();
        let (fact, _) = brokers.observe(reading(trouble.clone()));
        let Some(event::Fact::Queue { observation, .. }) = fact else { panic!("{fact:?}") };
        assert!(!matches!(observation, Observation::Sample { .. }), "{trouble:?}");
        sentences.insert(brokers.queue("default", "orders").error.expect("a sentence"));
    }
    assert_eq!(sentences.len(), 5, "{sentences:?}");
}

#[test]
fn a_queue_of_a_broker_in_trouble_tells_the_brokers_trouble() {
    let mut brokers = brokers();
    let error = |brokers: &Brokers| brokers.queue("default", "orders").error;
    let state = |state| Fact::Broker { broker: "default".into(), state, at: Time::from_millis(1) };
    brokers.observe(reading(Reading::Unreachable));
    assert_eq!(error(&brokers).as_deref(), Some("broker \"default\" is not connected"));
    brokers.observe(state(BrokerState::Refused("the broker refuses the login of user shop".into())));
    let refused = "broker \"default\": the broker refuses the login of user shop";
    assert_eq!(error(&brokers).as_deref(), Some(refused));
    brokers.observe(state(BrokerState::Unreachable("cannot find the broker's host mq".into())));
    assert_eq!(error(&brokers).as_deref(), Some("broker \"default\": cannot find the broker's host mq"));
    brokers.observe(reading(Reading::Missing));
    assert!(error(&brokers).is_some_and(|error| error.contains("does not exist")), "its own trouble");
}

#[test]
fn the_last_depth_stays_visible_with_its_age_while_the_broker_is_away() {
    let mut brokers = brokers();
    brokers.observe(reading(Reading::Depth { ready: 7, consumers: 2 }));
    brokers.observe(reading(Reading::Unreachable));
    let seen = brokers.queue("default", "orders");
    assert_eq!(seen.depth.map(|depth| depth.ready), Some(7));
    assert!(seen.error.is_some());
    brokers.observe(reading(Reading::Depth { ready: 8, consumers: 2 }));
    assert_eq!(brokers.queue("default", "orders").error, None);
}

#[test]
fn a_change_of_state_is_told_once_and_without_the_password() {
    let mut brokers = brokers();
    let refused = || Fact::Broker {
        broker: "default".into(),
        state: BrokerState::Refused("the broker refuses the login of shop".into()),
        at: Time::from_millis(1),
    };
    let (fact, told) = brokers.observe(refused());
    assert!(matches!(fact, Some(event::Fact::Broker { health: BrokerHealth::Refused, .. })));
    assert_eq!(told.as_deref(), Some("broker \"default\": the broker refuses the login of shop"));
    assert_eq!(brokers.observe(refused()).1, None);
    assert!(!format!("{brokers:?}{:?}", brokers.views()).contains("hunter2"));
}

fn figures(unacknowledged: u64, flow: Result<Counters, NoFlow>) -> Fact {
    let (broker, queue) = ("default".to_owned(), "orders".to_owned());
    let figures = Figures { ready: 3, unacknowledged, flow };
    Fact::Figures { broker, queue, figures, at: Time::from_millis(6_000) }
}

#[test]
fn what_the_management_api_tells_reaches_the_engine_where_it_counts_messages_and_is_shown_while_it_is_fresh()
{
    let mut brokers = brokers();
    brokers.observe(reading(Reading::Depth { ready: 3, consumers: 2 }));
    let counted = Counters { acknowledged: 7, published: Some(11) };
    let (fact, told) = brokers.observe(figures(2, Ok(counted)));
    let Some(event::Fact::Queue { observation: Observation::Detail(detail), .. }) = fact else {
        panic!("{fact:?}");
    };
    assert_eq!((detail.ready, detail.unacknowledged, detail.acknowledged), (3, 2, 7));
    assert_eq!((detail.published, told), (Some(11), None));
    let shown = |brokers: &Brokers, seconds: u64| {
        brokers
            .figures("default", "orders", Time::from_millis(seconds * 1_000))
            .map(|told| told.unacknowledged)
    };
    assert_eq!((shown(&brokers, 22), shown(&brokers, 23)), (Some(2), None));

    let (fact, _) = brokers.observe(figures(4, Err(NoFlow::AutomaticAcknowledgement)));
    assert_eq!((fact, shown(&brokers, 7)), (None, Some(4)), "shown, and nothing to scale by");
    let remarks = brokers.remarks("default", "orders", Time::from_millis(7_000));
    assert_eq!(remarks, [AUTOMATIC]);
}

#[test]
fn the_end_of_what_the_management_api_tells_is_said_once_and_so_is_its_return() {
    let mut brokers = brokers();
    let mut say = |state| brokers.observe(Fact::Management { broker: "default".into(), state }).1;
    assert_eq!(
        say(ManagementState::Answers).as_deref(),
        Some("broker \"default\": the management API answers")
    );
    let why = "the management API at http://mq:15672 did not answer within 5 s";
    let said = say(ManagementState::Fails(why.into()));
    assert_eq!(said, Some(format!("broker \"default\": {why}; {GOES_ON}")));
    assert_eq!(say(ManagementState::Fails("another one".into())), None);
    let back = "broker \"default\": the management API answers again";
    assert_eq!(say(ManagementState::Answers).as_deref(), Some(back));
    brokers.observe(Fact::Management { broker: "default".into(), state: ManagementState::Fails(why.into()) });
    let remarks = brokers.remarks("default", "orders", Time::from_millis(1));
    assert_eq!(remarks, [format!("{why}; {GOES_ON}")]);
}

#[test]
fn the_depth_of_a_queue_that_more_consumers_do_not_empty_sooner_is_shown_and_not_scaled_by() {
    for trap in [Trap::Stream, Trap::SingleActiveConsumer, Trap::ExclusiveConsumer] {
        let mut brokers = brokers();
        brokers.observe(reading(Reading::Depth { ready: 9, consumers: 0 }));
        let (broker, queue) = ("default".to_owned(), "orders".to_owned());
        let (fact, told) = brokers.observe(Fact::Trap { broker, queue, trap: Some(trap) });
        assert!(fact.is_none() && told.is_some_and(|told| told.contains("queue \"orders\": ")));
        assert_eq!(
            brokers.observe(figures(0, Ok(Counters { acknowledged: 1, published: None }))),
            (None, None)
        );
        let (fact, _) = brokers.observe(reading(Reading::Depth { ready: 9, consumers: 0 }));
        let Some(event::Fact::Queue { observation: Observation::Lost { why, .. }, .. }) = fact else {
            panic!("{fact:?}");
        };
        assert_eq!(brokers.queue("default", "orders").depth.map(|depth| depth.ready), Some(9));
        let remarks = brokers.remarks("default", "orders", Time::from_millis(7_000));
        assert_eq!(remarks, [format!("{why}, so its depth is not answered with consumers")]);
    }
}

#[test]
fn the_end_of_metrics_is_said_once_and_so_is_their_return() {
    let mut brokers = brokers();
    let mut say = |state| brokers.observe(Fact::Metrics { broker: "default".into(), state }).1;
    let told = say(ManagementState::Answers);
    assert_eq!(told.as_deref(), Some("broker \"default\": the metrics endpoint answers"));
    let why = "the metrics endpoint at http://mq:15692 did not answer within 5 s";
    assert_eq!(
        say(ManagementState::Fails(why.into())),
        Some(format!("broker \"default\": {why}; {GOES_ON}"))
    );
    assert_eq!(say(ManagementState::Fails(why.into())), None);
    let remarks = brokers.remarks("default", "orders", Time::from_millis(1));
    assert_eq!(remarks, [format!("{why}; {GOES_ON}")]);
    let told = brokers.observe(Fact::Metrics { broker: "default".into(), state: ManagementState::Answers }).1;
    assert_eq!(told.as_deref(), Some("broker \"default\": the metrics endpoint answers again"));
}

#[test]
fn a_depth_is_not_kept_back_until_metrics_answer_because_they_tell_no_kinds_of_queues() {
    let mut brokers = brokers();
    let url = Secret::new("amqp://shop:hunter2@mq/%2f");
    let metrics = Some(MetricsSpec { address: "http://mq:15692".into(), login: None });
    let (name, shown) = ("default".into(), "amqp://shop@mq/%2f".into());
    brokers.configure(
        &[BrokerSpec { name, url, shown, management: None, metrics }],
        &[],
        Duration::from_secs(1),
    );
    let view = brokers.views().remove(0).metrics.expect("it is shown");
    assert_eq!((view.state.as_str(), view.url.as_str()), ("unused", "http://mq:15692"));
    let (fact, _) = brokers.observe(reading(Reading::Depth { ready: 3, consumers: 2 }));
    assert!(fact.is_some());
}
