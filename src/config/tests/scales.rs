//! What a program is scaled by.

use std::time::Duration;

use super::{settings, wrong};
use crate::core::spec::ScaleSpec;
use crate::scaling::input::Order;

fn text(scale: &str) -> String {
    format!("brokers: {{b: amqp://h}}\nprograms:\n  a:\n    command: x\n    scale: {scale}\n")
}

fn scale(written: &str) -> ScaleSpec {
    settings(&text(written)).programs[0].scale().expect("it is scaled").clone()
}

/// The only sentence that is said of it.
fn mistake(written: &str) -> String {
    let found = wrong(&text(written));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].split_once(": ").expect("a place is in front").1.to_owned()
}

#[test]
fn several_queues_arrive_in_their_order_each_with_its_goal() {
    let several = scale("{queues: [{name: high, wait: 2s}, {name: low, wait: 10m}], order: fair, max: 5}");
    let queues: Vec<_> = several.queues().collect();
    assert_eq!(queues, [("high", Duration::from_secs(2)), ("low", Duration::from_secs(600))]);
    assert_eq!(several.order, Order::Fair);
    assert_eq!(scale("{queues: [{name: q, wait: 2s}], max: 5}"), scale("{queue: q, wait: 2s, max: 5}"));
    assert_eq!(scale("{queue: q, wait: 2s, max: 5}").order, Order::Strict);
}

#[test]
fn mistakes_in_queues_are_named() {
    let cases = [
        (
            "{queue: q, queues: [{name: a, wait: 1s}], max: 5}",
            "a scale has either `queue` or `queues`; write the name and its `wait` into `queues`",
        ),
        (
            "{wait: 2s, queues: [{name: a, wait: 1s}], max: 5}",
            "a scale has either `wait` or `queues`; write the name and its `wait` into `queues`",
        ),
        ("{queues: [{name: a, wait: 1s}, {name: a, wait: 2s}], max: 5}", "\"a\" is there twice"),
        (
            "{queues: [{name: a, wait: 0s}], max: 5}",
            "`wait` must be longer than nothing; write how long a message may wait, as in 1s",
        ),
        ("{queues: [{name: a}], max: 5}", "`queues` has no `wait`; add it, as in `wait: 2s`"),
        ("{queues: [{wait: 1s}], max: 5}", "`queues` has no `name`; add it, as in `name: high`"),
        ("{queues: [{queue: a, name: b, wait: 1s}], max: 5}", "unknown key `queue`; did you mean `name`?"),
        ("{queues: [], max: 5}", "`queues` cannot be empty"),
        (
            "{queue: q, wait: 1s, order: fair, max: 5}",
            "`order` is about several `queues`, and there is one; leave it out",
        ),
        (
            "{queues: [{name: a, wait: 1s}], order: mixed, max: 5}",
            "`order` must be `strict` or `fair`, not \"mixed\"",
        ),
    ];
    for (written, expected) in cases {
        assert_eq!(mistake(written), expected, "{written}");
    }
    let many: Vec<String> = (0..17).map(|queue| format!("{{name: q{queue}, wait: 1s}}")).collect();
    let found = mistake(&format!("{{queues: [{}], max: 5}}", many.join(", ")));
    assert_eq!(found, "`queues` names 17 queues, and 1 to 16 are possible");
}

#[test]
fn observed_queues_are_others_than_those_that_are_consumed() {
    let observing = scale("{queue: q, wait: 1s, observe: [failed, dead], max: 5}");
    assert_eq!(observing.read().collect::<Vec<_>>(), ["q", "failed", "dead"]);
    assert_eq!(observing.queues().count(), 1);
    assert_eq!(
        mistake("{queue: q, wait: 1s, observe: [q], max: 5}"),
        "\"q\" is consumed, and not only observed; leave it out of `observe`"
    );
    assert_eq!(mistake("{queue: q, wait: 1s, observe: [a, a], max: 5}"), "\"a\" is there twice");
}

#[test]
fn how_long_messages_stay_in_a_delayed_queue_is_in_its_name_or_said() {
    let scaled = scale(
        "{queue: q, wait: 1s, delayed: [q.retry.30s, q-wait-10m, q_60000, {queue: later, after: 2h}], max: 5}",
    );
    assert_eq!(scaled.delays(), [30, 600, 60, 7_200].map(Duration::from_secs));
    assert_eq!(scaled.read().collect::<Vec<_>>(), ["q", "q.retry.30s", "q-wait-10m", "q_60000", "later"]);
    assert_eq!(scaled.queues().count(), 1);
    let not_known = |queue: &str| {
        format!(
            "how long messages stay in \"{queue}\" is not in its name; write `{{queue: {queue}, after: 30s}}`"
        )
    };
    let cases = [
        ("delayed: [retry]", not_known("retry")),
        ("delayed: [retry.2]", not_known("retry.2")),
        ("delayed: [30s]", not_known("30s")),
        (
            "observe: [a.5s], delayed: [a.5s]",
            "\"a.5s\" is consumed or observed, and cannot be delayed as well".to_owned(),
        ),
        ("delayed: [a.1s, {queue: a.1s, after: 2s}]", "\"a.1s\" is there twice".to_owned()),
        ("delayed: [{queue: a, after: 0s}]", "`after` must be longer than nothing".to_owned()),
    ];
    for (written, expected) in cases {
        let found = mistake(&format!("{{queue: q, wait: 1s, {written}, max: 5}}"));
        assert!(found.starts_with(&expected), "{written}: {found}");
    }
    let found = mistake("{queues: [{name: a, wait: 1s}], delayed: [b.1s], max: 5}");
    assert!(found.starts_with("`delayed` is about one `queue`"), "{found}");
}

#[test]
fn floors_arrive_with_their_clock_and_mistakes_in_them_are_named() {
    let floored = scale(
        "{queue: q, wait: 1s, max: 5, floors: [{cron: '0 8 * * mon-fri', for: 10h, min: 4, timezone: Europe/Berlin}]}",
    );
    let [floor] = floored.floors.as_slice() else { panic!("{floored:?}") };
    assert_eq!(
        (floor.cron.to_string().as_str(), floor.timezone.name()),
        ("0 8 * * mon-fri", "Europe/Berlin")
    );
    assert_eq!((floor.lasts, floor.min), (Duration::from_secs(36_000), 4));
    let cases = [
        ("{cron: '0 8 * * *', for: 1h, min: 9}", "a floor of 9 is more than `max`, 5"),
        (
            "{cron: '0 8 * * *', for: 0s, min: 2}",
            "a floor holds for 1s to a year, not for 0ms; write how long, as in `for: 10h`",
        ),
        (
            "{cron: '0 8 * * *', for: 1h, min: 2, timezone: Berlin}",
            "there is no time zone \"Berlin\"; write a name as in Europe/Berlin or UTC",
        ),
        ("{cron: '0 8 * * *', min: 2}", "`floors` has no `for`; add it, as in `for: 10h`"),
    ];
    for (written, expected) in cases {
        assert_eq!(mistake(&format!("{{queue: q, wait: 1s, max: 5, floors: [{written}]}}")), expected);
    }
    let found = mistake("{queue: q, wait: 1s, max: 5, floors: [{cron: '0 25 * * *', for: 1h, min: 2}]}");
    assert!(found.contains("hour"), "{found}");
}

#[test]
fn a_rate_is_a_whole_number_in_a_second_a_minute_or_an_hour() {
    let rate = |text: &str| scale(&format!("{{queue: q, wait: 1s, max: 5, rate: {text}}}")).rate_per_hour;
    assert_eq!([rate("10/s"), rate("600/m"), rate("7/h")], [Some(36_000), Some(36_000), Some(7)]);
    for (text, expected) in [
        ("10", "`rate`: this is a rate as in 10/s, 600/m or 1000/h"),
        ("0/s", "`rate`: nothing would ever be done at a rate of 0"),
        ("0.5/s", "`rate`: the number of a rate is whole, as in 10/s; for less than one a second use 30/m"),
        ("10/day", "`rate`: this is a rate as in 10/s, 600/m or 1000/h"),
    ] {
        assert_eq!(mistake(&format!("{{queue: q, wait: 1s, max: 5, rate: {text}}}")), expected);
    }
}

#[test]
fn what_is_done_in_order_is_done_by_one_process() {
    let ordered = scale("{queue: q, wait: 1s, ordered: true}");
    assert!(ordered.ordered && (ordered.min, ordered.max) == (1, 1));
    assert_eq!(
        mistake("{queue: q, wait: 1s, ordered: true, max: 5}"),
        "`max` is 5, and what is done in order is done by one process; leave it out, or set `ordered: false`"
    );
    assert_eq!(
        mistake("{queue: q, wait: 1s, ordered: true, min: 2}"),
        "`min` is 2, which is more than `max`, 1"
    );
    assert_eq!(
        mistake("{queue: q, wait: 1s, ordered: false}"),
        "`scale` has no `max`; add it, as in `max: 20`"
    );
}

#[test]
fn a_share_makes_minimum_and_maximum_those_of_this_server() {
    let shared =
        |part| scale(&format!("{{queue: q, wait: 1s, min: 2, max: 10, share: {{part: {part}, of: 3}}}}"));
    let bounds = [1, 2, 3].map(|part| (shared(part).min, shared(part).max));
    assert_eq!(bounds, [(1, 4), (1, 3), (0, 3)]);
    assert_eq!(shared(1).share.map(|share| (share.min, share.max)), Some((2, 10)));
    for (written, expected) in [
        ("max: 10, share: {part: 4, of: 3}", "there is no part 4 of 3"),
        (
            "max: 2, share: {part: 1, of: 3}",
            "`max` is 2, and each of 3 servers has to run one process at least",
        ),
        ("max: 10, share: {part: 1}", "`share` has no `of`; add it, as in `of: 3`"),
    ] {
        assert_eq!(mistake(&format!("{{queue: q, wait: 1s, {written}}}")), expected);
    }
}
