//! How many processes a program has, when it runs, and what it needs.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::leaves;
use crate::core::spec::{Missed, Overlap, ScaleMode, Until};
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

/// A goal for a queue.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "x-required" = ["queue", "wait", "max"],
    "x-not-yet" = ["prefetch", "concurrency", "queues", "observe", "floors", "rate", "ordered", "share"
    ],
    "x-renamed" = {"min_processes": "min", "max_processes": "max", "goal": "wait", "target_wait": "wait"}
))]
pub(in crate::config) struct Scale {
    /// The queue's name.
    #[schemars(schema_with = "leaves::text", extend("examples" = ["orders"]))]
    pub(in crate::config) queue: Option<String>,
    /// The broker's name. Without it: the only one, or the one called `default`.
    #[schemars(schema_with = "leaves::text")]
    pub(in crate::config) broker: Option<String>,
    /// How long a message may wait before a consumer begins it; more than zero.
    #[schemars(schema_with = "leaves::duration", extend("examples" = ["5s"]))]
    pub(in crate::config) wait: Option<Duration>,
    /// The fewest processes.
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    pub(in crate::config) min: Option<u32>,
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
}
