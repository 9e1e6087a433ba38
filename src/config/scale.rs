//! Scaling: from what the file says to the goal of a program and the queues that it consumes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::durations;
use super::raw;
use super::suggestion::nearest;
use crate::core::schedule::{Cron, Zone};
use crate::core::share::Share;
use crate::core::spec::{DelayedSpec, FloorSpec, QueueSpec, ScaleMode, ScaleSpec};
use crate::core::time::human;
use crate::scaling::input::Order;
use crate::sys::zone;

/// The goal of a scaled program, or nothing where a value is missing that was reported. `broker_refused`
/// where that was reported before.
pub(super) fn scaled(
    raw: &raw::Scale,
    brokers: &[String],
    broker_refused: bool,
    wrong: &mut impl FnMut(&[&str], String, Option<String>),
) -> Option<ScaleSpec> {
    let queues = queues(raw, wrong);
    if raw.order == Some(Order::Fair) && raw.queue.is_some() {
        let message = "`order` is about several `queues`, and there is one".to_owned();
        wrong(&["scale", "order"], message, Some("leave it out".to_owned()));
    }
    let observe = raw.observe.clone().unwrap_or_default();
    if let Some(queues) = &queues {
        let consumed = |name: &String| queues.iter().any(|queue| queue.name == *name);
        for name in observe.iter().filter(|name| consumed(name)) {
            let message = format!("\"{name}\" is consumed, and not only observed");
            wrong(&["scale", "observe"], message, Some("leave it out of `observe`".to_owned()));
        }
    }
    if let Some(twice) = twice(observe.iter().map(String::as_str)) {
        wrong(&["scale", "observe"], format!("\"{twice}\" is there twice"), None);
    }
    let broker = if broker_refused { None } else { choose_broker(raw.broker.as_deref(), brokers, wrong) };
    let ordered = raw.ordered.unwrap_or_default();
    if let Some(max) = raw.max.filter(|max| ordered && *max > 1) {
        let message = format!("`max` is {max}, and what is done in order is done by one process");
        wrong(&["scale", "max"], message, Some("leave it out, or set `ordered: false`".to_owned()));
    }
    if raw.max.is_none() && raw.ordered == Some(false) {
        wrong(
            &["scale", "max"],
            "`scale` has no `max`".to_owned(),
            Some("add it, as in `max: 20`".to_owned()),
        );
    }
    let min = raw.min.unwrap_or(1);
    let max = if ordered { 1 } else { raw.max? };
    let floors = floors(raw.floors.as_deref().unwrap_or_default(), max, wrong);
    if min > max {
        wrong(&["scale", "min"], format!("`min` is {min}, which is more than `max`, {max}"), None);
    }
    let share = match &raw.share {
        None => None,
        Some(written) => {
            let (part, of) = (written.part?, written.of?);
            if part > of {
                wrong(&["scale", "share"], format!("there is no part {part} of {of}"), None);
            }
            if max < of {
                let message =
                    format!("`max` is {max}, and each of {of} servers has to run one process at least");
                wrong(&["scale", "share"], message, None);
            }
            Some(Share { part, of, min, max })
        }
    };
    if let (Some(prefetch @ 1..), Some(concurrency)) = (raw.prefetch, raw.concurrency)
        && prefetch < concurrency
    {
        let message = format!(
            "`prefetch` is {prefetch}, so a process never has {concurrency} messages to work on at once"
        );
        wrong(
            &["scale", "prefetch"],
            message,
            Some(format!("raise it to {concurrency}, or lower `concurrency`")),
        );
    }
    let delayed = delayed(raw, wrong);
    let here = |count: u32| share.map_or(count, |share| share.part_of(count));
    let mut queues = queues?.into_iter();
    let first = queues.next()?;
    Some(ScaleSpec {
        broker: broker?,
        queue: first.name,
        wait: first.wait,
        more: queues.collect(),
        order: raw.order.unwrap_or_default(),
        observe,
        floors: floors?,
        delayed: delayed?,
        rate_per_hour: raw.rate,
        ordered,
        share,
        min: here(min),
        max: here(max),
        mode: raw.mode.unwrap_or(ScaleMode::Auto),
        profile: raw.profile.unwrap_or_default(),
        priority: raw.priority.unwrap_or_default(),
        prefetch: raw.prefetch,
        concurrency: raw.concurrency,
    })
}

/// The queues with their goals: one, in the short form, or several.
fn queues(
    raw: &raw::Scale,
    wrong: &mut impl FnMut(&[&str], String, Option<String>),
) -> Option<Vec<QueueSpec>> {
    let too_short = |wait: Option<Duration>| wait.is_some_and(|wait| wait.is_zero());
    let never = || "`wait` must be longer than nothing".to_owned();
    let hint = || Some("write how long a message may wait, as in 1s".to_owned());
    if let Some(written) = &raw.queues {
        for (key, is_there) in [("queue", raw.queue.is_some()), ("wait", raw.wait.is_some())] {
            if is_there {
                let message = format!("a scale has either `{key}` or `queues`");
                wrong(
                    &["scale", key],
                    message,
                    Some("write the name and its `wait` into `queues`".to_owned()),
                );
            }
        }
        if written.iter().any(|queue| too_short(queue.wait)) {
            wrong(&["scale", "queues"], never(), hint());
        }
        if let Some(twice) = twice(written.iter().filter_map(|queue| queue.name.as_deref())) {
            wrong(&["scale", "queues"], format!("\"{twice}\" is there twice"), None);
        }
        if written.is_empty() || written.len() > raw::QUEUES_MAX {
            let message =
                format!("`queues` names {} queues, and 1 to {} are possible", written.len(), raw::QUEUES_MAX);
            wrong(&["scale", "queues"], message, None);
        }
        return written
            .iter()
            .map(|queue| Some(QueueSpec { name: queue.name.clone()?, wait: queue.wait? }))
            .collect();
    }
    if too_short(raw.wait) {
        wrong(&["scale", "wait"], never(), hint());
    }
    Some(vec![QueueSpec { name: raw.queue.clone()?, wait: raw.wait? }])
}

/// The delayed queues, or nothing where it is not known how long messages stay in one.
fn delayed(
    raw: &raw::Scale,
    wrong: &mut impl FnMut(&[&str], String, Option<String>),
) -> Option<Vec<DelayedSpec>> {
    let written = raw.delayed.as_deref().unwrap_or_default();
    let mut wrong = |message: String, hint: Option<String>| wrong(&["scale", "delayed"], message, hint);
    if !written.is_empty() && raw.queues.is_some() {
        let message = "`delayed` is about one `queue`, and there are several".to_owned();
        wrong(message, Some("leave it out, or give each queue a program of its own".to_owned()));
    }
    let names = || written.iter().filter_map(|delayed| delayed.queue.as_deref());
    if let Some(twice) = twice(names()) {
        wrong(format!("\"{twice}\" is there twice"), None);
    }
    let elsewhere = |name: &&str| {
        raw.queue.as_deref() == Some(*name) || raw.observe.iter().flatten().any(|observed| observed == name)
    };
    if let Some(name) = names().find(elsewhere) {
        wrong(format!("\"{name}\" is consumed or observed, and cannot be delayed as well"), None);
    }
    let mut delayed = Vec::new();
    for raw in written {
        let queue = raw.queue.clone()?;
        match raw.after.or_else(|| after_in_name(&queue)) {
            Some(after) if after.is_zero() => wrong("`after` must be longer than nothing".to_owned(), None),
            Some(after) => delayed.push(DelayedSpec { queue, after }),
            None => {
                let message = format!("how long messages stay in \"{queue}\" is not in its name");
                wrong(message, Some(format!("write `{{queue: {queue}, after: 30s}}`")));
            }
        }
    }
    (delayed.len() == written.len()).then_some(delayed)
}

/// How long messages stay in a queue whose name ends with that: a duration, or milliseconds.
fn after_in_name(queue: &str) -> Option<Duration> {
    let last = queue.rsplit(['.', '-', '_', ':', '/']).next().filter(|last| last.len() < queue.len())?;
    match last.parse::<u64>() {
        // Fewer are a number of the queue, and no time.
        Ok(milliseconds) => (milliseconds >= 1_000).then(|| Duration::from_millis(milliseconds)),
        Err(_) => durations::duration(last).ok(),
    }
}

/// A floor that holds for longer is a minimum.
const FLOOR_MOST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// The floors, or nothing where one cannot be read.
fn floors(
    written: &[raw::Floor],
    max: u32,
    wrong: &mut impl FnMut(&[&str], String, Option<String>),
) -> Option<Vec<FloorSpec>> {
    let mut wrong = |message: String, hint: Option<String>| wrong(&["scale", "floors"], message, hint);
    let mut floors = Vec::new();
    for raw in written {
        let (lasts, min) = (raw.lasts?, raw.min?);
        if lasts < Duration::from_secs(1) || lasts > FLOOR_MOST {
            let message = format!("a floor holds for 1s to a year, not for {}", human(lasts));
            wrong(message, Some("write how long, as in `for: 10h`".to_owned()));
        }
        if min > max {
            wrong(format!("a floor of {min} is more than `max`, {max}"), None);
        }
        let cron = match raw.cron.as_ref()?.parse::<Cron>() {
            Ok(cron) => Some(cron),
            Err(error) => {
                wrong(error.to_string(), error.suggestion);
                None
            }
        };
        let timezone = match raw.timezone.as_deref().map(Zone::named) {
            None => Some(zone::of_the_machine()),
            Some(Ok(zone)) => Some(zone),
            Some(Err(error)) => {
                wrong(error.to_string(), Some("write a name as in Europe/Berlin or UTC".to_owned()));
                None
            }
        };
        floors.extend(cron.zip(timezone).map(|(cron, timezone)| FloorSpec { cron, timezone, lasts, min }));
    }
    (floors.len() == written.len()).then_some(floors)
}

/// The first name that is there twice.
fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

/// The broker that is named; else the only one, or the one that is called `default`.
fn choose_broker(
    named: Option<&str>,
    brokers: &[String],
    wrong: &mut impl FnMut(&[&str], String, Option<String>),
) -> Option<String> {
    let known = || brokers.iter().map(String::as_str);
    let list = || brokers.join(", ");
    let found = match (named, brokers) {
        (_, []) => {
            let message = "there is no broker to read the queue from".to_owned();
            let hint = "add `brokers: {default: {url: amqp://user:password@host:5672/vhost}}`".to_owned();
            wrong(&["scale"], message, Some(hint));
            None
        }
        (Some(name), _) => {
            let found = known().find(|broker| *broker == name);
            if found.is_none() {
                let hint = match nearest(name, known()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the brokers are: {}", list()),
                };
                wrong(&["scale", "broker"], "there is no such broker".to_owned(), Some(hint));
            }
            found
        }
        (None, [only]) => Some(only.as_str()),
        (None, _) => {
            let found = known().find(|broker| *broker == "default");
            if found.is_none() {
                let message = "there are several brokers, and none is called `default`".to_owned();
                wrong(&["scale"], message, Some(format!("add `broker:` with one of {}", list())));
            }
            found
        }
    };
    found.map(str::to_owned)
}
