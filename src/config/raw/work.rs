//! How many processes a program has, when it runs, and what it needs.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::leaves;
use crate::core::spec::{Missed, Overlap, ScaleMode, Until};
use crate::scaling::input::Order;
use crate::scaling::profile::Profile;

/// Moments at which one process runs to its end: `schedule: "0 3 * * *"` is the cron expression alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-shorthand" = "cron",
    "x-required" = ["cron"],
    "x-renamed" = {"tz": "timezone", "time_zone": "timezone", "concurrency": "overlap", "catch_up": "missed"}
))]
pub(in crate::config) struct Schedule {
    /// Minute, hour, day of the month, month, day of the week; a sixth field in front is the second. `*`, numbers, names,
    /// ranges, lists and steps; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["0 3 * * *"]))]
    pub(in crate::config) cron: Option<String>,
    /// Whose clock shows it, as in Europe/Berlin. Without it, the machine's.
    #[schemars(schema_with = "leaves::text")]
    pub(in crate::config) timezone: Option<String>,
    /// What happens when a run is due while the one before goes on: it is left out, it waits (one at most), or the one
    /// before is stopped.
    #[schemars(schema_with = "leaves::overlap", extend("default" = "skip"))]
    pub(in crate::config) overlap: Option<Overlap>,
    /// What happens with runs that were due while Leveret or the machine was not running: they are left out, or one makes
    /// up for all. A minute late is not missed.
    #[schemars(schema_with = "leaves::missed", extend("default" = "skip"))]
    pub(in crate::config) missed: Option<Missed>,
    /// How long a run may take before it is stopped and counts as failed. Without it, as long as it takes.
    #[schemars(schema_with = "leaves::duration")]
    pub(in crate::config) timeout: Option<Duration>,
    /// Up to so much later each run begins, so that not everything begins at once.
    #[schemars(schema_with = "leaves::duration", extend("default" = "0s"))]
    pub(in crate::config) jitter: Option<Duration>,
}

/// A program that must be there first: its name, or with how far it must have come.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-shorthand" = "program", "x-required" = ["program"]))]
pub(in crate::config) struct DependsOn {
    /// The program's name.
    #[schemars(schema_with = "leaves::text")]
    pub(in crate::config) program: Option<String>,
    /// `started`: a process of it was started. `ready`: all its processes run and are of use (of a scaled program, one).
    /// `completed`: it ended well and its restart policy lets it rest.
    #[schemars(schema_with = "leaves::until", extend("default" = "ready"))]
    pub(in crate::config) until: Option<Until>,
}

/// More queues than that in one process are more than anybody can keep apart.
pub(in crate::config) const QUEUES_MAX: usize = 16;

/// One of several queues.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-required" = ["name", "wait"],
    "x-renamed" = {"queue": "name", "goal": "wait", "target_wait": "wait"}
))]
pub(in crate::config) struct ScaleQueue {
    /// The queue's name.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["high"]))]
    pub(in crate::config) name: Option<String>,
    /// How long a message in it may wait before a consumer begins it; more than zero.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["2s"]))]
    pub(in crate::config) wait: Option<Duration>,
}

/// A queue from which messages come back: its name, or with how long they stay in it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-shorthand" = "queue",
    "x-required" = ["queue"],
    "x-renamed" = {"name": "queue", "ttl": "after", "delay": "after"}
))]
pub(in crate::config) struct Delayed {
    /// The queue's name.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["orders.retry.30s"]))]
    pub(in crate::config) queue: Option<String>,
    /// How long messages stay in it. Without it, what stands at the end of its name: `orders.retry.30s`, `orders-wait-10m`, or
    /// milliseconds as in `orders.retry.30000`.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["30s"]))]
    pub(in crate::config) after: Option<Duration>,
}

/// One of several servers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-required" = ["part", "of"]))]
pub(in crate::config) struct Share {
    /// Which one this is, from 1; each has another number.
    #[schemars(range(min = 1, max = 100), extend("examples" = [1]))]
    pub(in crate::config) part: Option<u32>,
    /// How many servers there are.
    #[schemars(range(min = 1, max = 100), extend("examples" = [3]))]
    pub(in crate::config) of: Option<u32>,
}

/// A least number of processes by the clock.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-required" = ["cron", "for", "min"],
    "x-renamed" = {"tz": "timezone", "time_zone": "timezone", "duration": "for", "processes": "min"}
))]
pub(in crate::config) struct Floor {
    /// When it begins, as in a schedule.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["0 8 * * mon-fri"]))]
    pub(in crate::config) cron: Option<String>,
    /// How long it holds, from each moment on; more than zero, and a year at the most.
    #[serde(rename = "for")]
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["10h"]))]
    pub(in crate::config) lasts: Option<Duration>,
    /// The fewest processes meanwhile, up to `max`.
    #[schemars(range(min = 1, max = 1000), extend("examples" = [4]))]
    pub(in crate::config) min: Option<u32>,
    /// Whose clock shows it, as in Europe/Berlin. Without it, the machine's.
    #[schemars(schema_with = "leaves::text")]
    pub(in crate::config) timezone: Option<String>,
}

/// A goal for a queue.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-required-without" = {"queues": ["queue", "wait"], "ordered": ["max"]},
    "x-renamed" = {"min_processes": "min", "max_processes": "max", "goal": "wait", "target_wait": "wait"}
))]
pub(in crate::config) struct Scale {
    /// The queue's name. With `wait`, or `queues` in place of both.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["orders"]))]
    pub(in crate::config) queue: Option<String>,
    /// Several queues that each process consumes, each with a goal of its own: `[{name: high, wait: 2s}, {name: low, wait: 10m}]`.
    #[schemars(length(min = 1, max = 16))]
    pub(in crate::config) queues: Option<Vec<ScaleQueue>>,
    /// How a process takes from several `queues`. `strict`: from the first one that has a message, so that those after it get
    /// what is left. `fair`: from each in turn. It says what the program does, and changes nothing in it.
    #[schemars(schema_with = "leaves::order", extend("default" = "strict"))]
    pub(in crate::config) order: Option<Order>,
    /// Queues that are shown and exported, and never answered with processes: those of failed messages, for example.
    #[schemars(schema_with = "leaves::texts", extend("default" = []))]
    pub(in crate::config) observe: Option<Vec<String>>,
    /// Queues from which messages come back into `queue` when their time to live is over: delayed messages and retries. Consumers
    /// that take long to start are started before these are due.
    #[schemars(length(max = 16))]
    pub(in crate::config) delayed: Option<Vec<Delayed>>,
    /// The broker's name. Without it: the only one, or the one called `default`.
    #[schemars(schema_with = "leaves::text")]
    pub(in crate::config) broker: Option<String>,
    /// How long a message may wait before a consumer begins it; more than zero.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["5s"]))]
    pub(in crate::config) wait: Option<Duration>,
    /// The fewest processes.
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    pub(in crate::config) min: Option<u32>,
    /// Floors by the clock: so many processes at the least from each moment of `cron` on, for so long. Where several hold, the
    /// highest does.
    pub(in crate::config) floors: Option<Vec<Floor>>,
    /// The most messages that all processes together may take, for what is behind them: `10/s`, `600/m` or `1000/h`. No more
    /// processes run than do that many, by what one message takes, but `min` at the least.
    #[schemars(schema_with = "leaves::rate", extend("examples" = ["10/s"]))]
    pub(in crate::config) rate: Option<u64>,
    /// Whether messages are to be done one after another: there is one process at most, and none is started before the one
    /// before it has ended with all that it started, at restarts of any kind as well. `max` is 1 then.
    #[schemars(extend("default" = false))]
    pub(in crate::config) ordered: Option<bool>,
    /// Where several servers consume the same queues, each with a Leveret of its own: `{part: 1, of: 3}` on the first. Each comes
    /// to the number for all of them and runs its part; `min`, `max`, `floors` and `rate` are of all of them together.
    pub(in crate::config) share: Option<Share>,
    /// The most processes, those included that are finishing their last message.
    #[schemars(range(min = 1, max = 1000), extend("examples" = [20]))]
    pub(in crate::config) max: Option<u32>,
    /// `dry-run` computes and shows decisions and runs `min` processes.
    #[schemars(schema_with = "leaves::scale_mode", extend("default" = "auto"))]
    pub(in crate::config) mode: Option<ScaleMode>,
    /// What is preferred where waiting and processes are weighed against each other. `balanced`: messages are begun within
    /// about half of `wait`. `economy`: they may use most of it, for fewer processes. `latency`: within about a quarter,
    /// and processes stay longer. `calm`: as balanced, with fewer changes.
    #[schemars(schema_with = "leaves::profile", extend("default" = "balanced"))]
    pub(in crate::config) profile: Option<Profile>,
    /// Who comes first where a budget is not enough for all: higher numbers, after every program that has messages has one
    /// process. Those with the same number share in proportion to what they need.
    #[schemars(range(min = -100, max = 100), extend("default" = 0))]
    pub(in crate::config) priority: Option<i32>,
    /// How many messages a process takes before it has done them, all its consumers together. What it has taken and not begun
    /// waits in its hands, where no other process can begin it; 0 is without a limit, and nobody is stopped then while
    /// messages may be there. Where `management` is known it is read, and else taken to be `concurrency`.
    #[schemars(range(min = 0, max = 65535), extend("examples" = [1]))]
    pub(in crate::config) prefetch: Option<u32>,
    /// How many messages a process works on at once: its threads, or what it does asynchronously. Where `management` is known
    /// it is the number of its consumers, and else 1.
    #[schemars(range(min = 1, max = 1000), extend("examples" = [1]))]
    pub(in crate::config) concurrency: Option<u32>,
}
