//! What stands against a configuration, from what its brokers tell. Values only.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Surveys;
use crate::amqp::fact::{BrokerState, Reading};
use crate::amqp::survey::{Consumer, Kinds, Survey};
use crate::cli::holders::{Holder, Holders};
use crate::config::settings::Settings;
use crate::core::ids::processes_in;
use crate::core::spec::{ProgramSpec, ScaleSpec};
use crate::core::time::human;
use crate::core::words::counted;

/// From so many messages taken ahead on, a consumer hides load that others could take.
const PREFETCH_MANY: u64 = 100;

/// How long RabbitMQ lets a consumer hold a message unless it is told otherwise, and the version that began with it. Source:
/// rabbitmq.com, consumers, delivery acknowledgement timeout.
const HELD_MOST: Duration = Duration::from_secs(30 * 60);
const HELD_MOST_SINCE: [u64; 3] = [3, 8, 17];

/// How many consumers are named.
const NAMED_MAX: usize = 3;

/// One thing that stands against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The program or the broker.
    pub(super) subject: String,
    /// What it is, as a sentence, and what to do.
    pub(super) text: String,
}

/// Everything that stands against a configuration, brokers first. Without `holders` nothing is said of whose consumers are.
pub(super) fn findings(settings: &Settings, surveys: &Surveys, holders: Option<&Holders>) -> Vec<Finding> {
    let mut found = Vec::new();
    for broker in &settings.brokers {
        let Some(survey) = surveys.get(&broker.name) else { continue };
        let subject = format!("broker {}", broker.name);
        if let BrokerState::Refused(text) | BrokerState::Unreachable(text) = &survey.state {
            found.push(Finding { subject: subject.clone(), text: text.clone() });
        }
        let kinds = survey.kinds.as_ref().and_then(|told| told.as_ref().err());
        let metrics = survey.metrics.as_ref().and_then(|told| told.as_ref().err());
        for text in kinds.into_iter().chain(metrics) {
            found.push(Finding { subject: subject.clone(), text: text.clone() });
        }
    }
    for program in &settings.programs {
        let Some(scale) = program.scale() else { continue };
        let Some(survey) = surveys.get(&scale.broker) else { continue };
        let mut texts: Vec<String> =
            scale.read().filter_map(|queue| of_queue(scale, queue, survey)).collect();
        if let Some(Ok(kinds)) = &survey.kinds {
            for (queue, _) in scale.queues() {
                let of_kinds = of_kinds(program, (&scale.broker, queue), kinds, settings, holders);
                // What is of the program is the same for each of its queues.
                texts.extend(of_kinds.into_iter().filter(|text| !texts.contains(text)).collect::<Vec<_>>());
            }
        }
        found.extend(texts.into_iter().map(|text| Finding { subject: program.name.to_string(), text }));
    }
    found
}

/// What the queue itself says.
fn of_queue(scale: &ScaleSpec, name: &str, survey: &Survey) -> Option<String> {
    let queue = format!("queue \"{name}\"");
    match survey.readings.get(name)? {
        Reading::Depth { .. } | Reading::Unreachable => None,
        Reading::Missing if scale.place_of(name).is_none() => {
            Some(format!("{queue} is not there, and nothing is to be observed"))
        }
        Reading::Missing => Some(format!(
            "{queue} is not there; declare it, or let the workers do so, of which one is started for that"
        )),
        Reading::Locked => Some(format!(
            "{queue} is exclusive to another connection, so that nobody else can consume from it"
        )),
        Reading::Refused(text) => Some(format!(
            "{queue} may not be read: {text}; give the user of the broker's address a permission for it"
        )),
        Reading::TimedOut => Some(format!("the broker did not answer for {queue} in time")),
    }
}

/// What the management API says of the queue and its consumers.
fn of_kinds(
    program: &ProgramSpec,
    (broker, queue): (&str, &str),
    kinds: &Kinds,
    settings: &Settings,
    holders: Option<&Holders>,
) -> Vec<String> {
    let mut found = Vec::new();
    let kind = kinds.queues.get(queue).copied().unwrap_or_default();
    if let Some(trap) = kind.trap {
        found.push(format!(
            "{}, so its depth is shown and not answered with more consumers (queue \"{queue}\")",
            trap.words()
        ));
    }
    if kinds.queues.contains_key(queue) {
        found.extend(held_too_long(program, kind.held_most, kinds.version.as_deref()));
    }
    let consumers: Vec<&Consumer> =
        kinds.consumers.iter().filter(|consumer| consumer.queue == queue).collect();
    found.extend(taking(&consumers));
    let ours: BTreeSet<&str> = settings
        .programs
        .iter()
        .filter(|other| other.scale().is_some_and(|of| of.broker == broker && of.place_of(queue).is_some()))
        .map(|other| other.name.as_str())
        .collect();
    found.extend(holders.and_then(|holders| strangers(&consumers, &ours, holders)));
    found
}

/// Whether the broker takes a message back before a stop would give its consumer up.
fn held_too_long(program: &ProgramSpec, told: Option<Duration>, version: Option<&str>) -> Option<String> {
    let (most, from) = match told {
        Some(most) => (most, "as the queue or a policy says"),
        None if has_limit(version?) => {
            (HELD_MOST, "RabbitMQ's consumer_timeout unless its configuration says otherwise")
        }
        None => return None,
    };
    let work = program.stop.timeout;
    (work > most).then(|| {
        format!(
            "a message may be in work for {} (`stop.timeout`), but the broker takes it back and closes the channel after {} \
             ({from}); raise the one or lower the other",
            human(work),
            human(most)
        )
    })
}

/// Whether a version of RabbitMQ lets consumers hold a message for a limited time only.
fn has_limit(version: &str) -> bool {
    let numbers: Vec<u64> = version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect();
    numbers.as_slice() >= &HELD_MOST_SINCE[..]
}

/// How consumers take their messages.
fn taking(consumers: &[&Consumer]) -> Vec<String> {
    let mut found = Vec::new();
    let count = |is_so: fn(&Consumer) -> bool| consumers.iter().filter(|consumer| is_so(consumer)).count();
    let of_all =
        |some: usize| format!("{some} of {}", counted(consumers.len() as u64, "consumer", "consumers"));
    let automatic = count(|consumer| !consumer.acknowledges);
    if automatic > 0 {
        found.push(format!(
            "{} take messages for done when they are delivered, so that nobody can tell who works on one, and one that ends loses \
             what it has; acknowledge them",
            of_all(automatic)
        ));
    }
    let unlimited = count(|consumer| consumer.acknowledges && consumer.prefetch == Some(0));
    if unlimited > 0 {
        found.push(format!(
            "{} take messages without a limit (prefetch 0), so that they wait within one process where no other can help; set a \
             prefetch of 1, or a few",
            of_all(unlimited)
        ));
    }
    let many = count(|consumer| consumer.prefetch.is_some_and(|prefetch| prefetch >= PREFETCH_MANY));
    if many > 0 {
        found.push(format!(
            "{} take {PREFETCH_MANY} messages or more ahead (prefetch), which hides as much load from all others; set a few",
            of_all(many)
        ));
    }
    found
}

/// Consumers of no program of the configuration.
fn strangers(consumers: &[&Consumer], ours: &BTreeSet<&str>, holders: &Holders) -> Option<String> {
    let mut names: Vec<String> =
        consumers.iter().filter_map(|consumer| stranger(consumer, ours, holders)).collect();
    if names.is_empty() {
        return None;
    }
    let count = counted(names.len() as u64, "consumer is", "consumers are");
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!(
        "{count} of no program of this file: {}{more}; they take messages that Leveret reckons with, and are never stopped",
        names.join(", ")
    ))
}

/// Who it is, unless it is one of ours.
fn stranger(consumer: &Consumer, ours: &BTreeSet<&str>, holders: &Holders) -> Option<String> {
    let named = consumer.connection_name.as_deref();
    if named.is_some_and(|name| processes_in(name).any(|process| ours.contains(process.program.as_str()))) {
        return None;
    }
    let peer = consumer.peer.map_or_else(|| "an unknown place".to_owned(), |peer| peer.to_string());
    Some(match consumer.peer.map(|peer| holders.of(peer)) {
        Some(Holder::Process { program: Some(program), .. }) if ours.contains(program.as_str()) => {
            return None;
        }
        Some(Holder::Process { pid, command, .. }) => format!("pid {pid} ({command})"),
        Some(Holder::Unseen) => format!("{peer}, a process of this machine that only root may look at"),
        Some(Holder::Elsewhere) | None => match named {
            Some(name) => format!("{peer} (\"{name}\")"),
            None => peer,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::amqp::fact::Trap;
    use crate::amqp::survey::QueueKind;
    use crate::cli::fixture;
    use crate::core::scenario::scaled;
    use crate::core::secret::Secret;
    use crate::core::spec::{BrokerSpec, Kind, QueueSpec};

    fn settings() -> Settings {
        let mut orders = scaled("orders", 0, 5);
        orders.stop.timeout = Duration::from_secs(3_600);
        let scale = orders.scale().unwrap().clone();
        let broker = BrokerSpec {
            name: scale.broker,
            url: Secret::new("amqp://h"),
            shown: "amqp://h".into(),
            management: None,
            metrics: None,
        };
        Settings { brokers: vec![broker], programs: vec![orders], ..fixture::settings("/run") }
    }

    fn queue(settings: &Settings) -> String {
        settings.programs[0].scale().unwrap().queue.clone()
    }

    fn consumer(queue: &str) -> Consumer {
        Consumer {
            queue: queue.to_owned(),
            peer: Some("192.0.2.7:4000".parse().unwrap()),
            connection_name: Some("shop orders:3".to_owned()),
            prefetch: Some(1),
            acknowledges: true,
        }
    }

    fn told(settings: &Settings, reading: Reading, kinds: Option<Result<Kinds, String>>) -> Vec<String> {
        let readings = BTreeMap::from([(queue(settings), reading)]);
        let survey = Survey { state: BrokerState::Connected, readings, kinds, metrics: None };
        let surveys = Surveys::from([(settings.brokers[0].name.clone(), survey)]);
        let found = findings(settings, &surveys, Some(&Holders::default()));
        found.into_iter().map(|Finding { subject, text }| format!("{subject}: {text}")).collect()
    }

    #[test]
    fn every_queue_of_a_program_is_looked_at_and_those_that_are_observed() {
        let mut settings = settings();
        if let Kind::Scaled(scale) = &mut settings.programs[0].kind {
            scale.more = vec![QueueSpec { name: "low".to_owned(), wait: Duration::from_secs(60) }];
            scale.observe = vec!["failed".to_owned()];
        }
        let readings = ["orders", "low", "failed"].map(|queue| (queue.to_owned(), Reading::Missing));
        let survey =
            Survey { state: BrokerState::Connected, readings: readings.into(), kinds: None, metrics: None };
        let surveys = Surveys::from([(settings.brokers[0].name.clone(), survey)]);
        let found = findings(&settings, &surveys, Some(&Holders::default()));
        let texts: Vec<&str> = found.iter().map(|found| found.text.as_str()).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[1].starts_with("queue \"low\" is not there; declare it"), "{texts:?}");
        assert_eq!(texts[2], "queue \"failed\" is not there, and nothing is to be observed");
    }

    fn kinds(
        settings: &Settings,
        kind: QueueKind,
        consumers: Vec<Consumer>,
    ) -> Option<Result<Kinds, String>> {
        let queues = [(queue(settings), kind)].into();
        Some(Ok(Kinds { version: None, queues, consumers }))
    }

    const WELL: Reading = Reading::Depth { ready: 1, consumers: 1 };

    #[test]
    fn nothing_stands_against_a_queue_that_only_our_consumers_share() {
        let settings = settings();
        let consumers = vec![consumer(&queue(&settings))];
        assert!(told(&settings, WELL, kinds(&settings, QueueKind::default(), consumers)).is_empty());
        assert!(told(&settings, WELL, None).is_empty());
    }

    #[test]
    fn queues_that_cannot_be_read_are_told_with_the_reason() {
        let settings = settings();
        for (reading, expected) in [
            (Reading::Missing, "is not there; declare it"),
            (Reading::Locked, "is exclusive to another connection"),
            (
                Reading::Refused("ACCESS_REFUSED - no".to_owned()),
                "may not be read: ACCESS_REFUSED - no; give the user",
            ),
            (Reading::TimedOut, "did not answer for queue"),
        ] {
            let told = told(&settings, reading, None);
            assert!(
                told.len() == 1 && told[0].starts_with("orders: ") && told[0].contains(expected),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_broker_that_cannot_be_asked_is_told_once() {
        let settings = settings();
        let state = BrokerState::Refused("the broker refuses the login of user shop".to_owned());
        let survey = Survey {
            state,
            readings: BTreeMap::new(),
            kinds: Some(Err("no API".to_owned())),
            metrics: Some(Err("no metrics".to_owned())),
        };
        let name = settings.brokers[0].name.clone();
        let found = findings(&settings, &Surveys::from([(name.clone(), survey)]), Some(&Holders::default()));
        let texts: Vec<_> = found.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(texts, ["the broker refuses the login of user shop", "no API", "no metrics"]);
        assert!(found.iter().all(|finding| finding.subject == format!("broker {name}")));
    }

    #[test]
    fn kinds_of_queues_prefetch_and_strangers_are_found() {
        let settings = settings();
        let of = |change: fn(&mut Consumer)| {
            let mut consumer = consumer(&queue(&settings));
            change(&mut consumer);
            told(&settings, WELL, kinds(&settings, QueueKind::default(), vec![consumer]))
        };
        assert!(
            of(|consumer| consumer.prefetch = Some(0))[0]
                .contains("1 of 1 consumer take messages without a limit")
        );
        assert!(of(|consumer| consumer.prefetch = Some(250))[0].contains("take 100 messages or more ahead"));
        assert!(of(|consumer| consumer.acknowledges = false)[0].contains("for done when they are delivered"));
        let stranger = of(|consumer| consumer.connection_name = Some("reorders:3".to_owned()));
        let expected = "1 consumer is of no program of this file: 192.0.2.7:4000 (\"reorders:3\"); they";
        assert!(stranger[0].contains(expected), "{stranger:?}");
        let stream = QueueKind { trap: Some(Trap::Stream), held_most: None };
        assert!(told(&settings, WELL, kinds(&settings, stream, vec![]))[0].contains("is a stream"));
    }

    #[test]
    fn work_that_takes_longer_than_the_broker_waits_is_found_where_that_is_known() {
        let settings = settings();
        let of = |version: Option<&str>, held_most| {
            let queues = [(queue(&settings), QueueKind { trap: None, held_most })].into();
            let kinds = Kinds { version: version.map(str::to_owned), queues, consumers: vec![] };
            told(&settings, WELL, Some(Ok(kinds)))
        };
        let minutes = |minutes: u64| Some(Duration::from_secs(minutes * 60));
        assert!(
            of(None, minutes(10))[0]
                .contains("in work for 1h (`stop.timeout`), but the broker takes it back")
        );
        assert!(of(None, minutes(10))[0].contains("after 10m (as the queue or a policy says)"));
        assert!(of(Some("3.13.7"), None)[0].contains("after 30m (RabbitMQ's consumer_timeout unless"));
        assert_eq!(of(Some("4.1.0-rc.1"), None).len(), 1);
        for (version, held_most) in [(None, None), (Some("3.8.16"), None), (Some("3.13.7"), minutes(120))] {
            assert!(of(version, held_most).is_empty(), "{version:?} {held_most:?}");
        }
    }
}
