//! The result for scripts. docs/observe.md describes it.

use serde_json::{Value, json};

use super::document::Outcome;
use super::flow::Flow;
use super::process::Runner;
use super::programs::Program;
use super::recording::Recording;
use super::redaction::Part;
use super::verdict::{Compared, Verdict};
use crate::amqp::management::census::QueueName;
use crate::cli::simulate::advice::{fixed_json, setting_json};

/// Everything that was found; `yaml` is the configuration.
pub(super) fn json(result: &Outcome<'_>, yaml: &str) -> Value {
    let Outcome { management, recording, programs, circumstances, lasted } = result;
    let elsewhere = recording.elsewhere.iter();
    json!({
        "management": management.address,
        "version": recording.version,
        "seconds": lasted.as_secs(),
        "wait_seconds": circumstances.wait.as_secs_f64(),
        "startup_seconds": circumstances.startup.as_secs_f64(),
        "programs": programs.iter().map(|(program, verdict)| of_program(program, verdict)).collect::<Vec<_>>(),
        "queues": queues(recording),
        "unseen": recording.unseen,
        "elsewhere": elsewhere.map(|(address, count)| json!({ "address": address, "consumers": count })).collect::<Vec<_>>(),
        "proxies": recording.proxies,
        "yaml": yaml,
    })
}

fn of_program(program: &Program, verdict: &Verdict) -> Value {
    let mut value = json!({
        "name": program.name,
        "pids": program.pids,
        "processes": program.processes,
        "consumers_each": program.consumers_each,
        "command": program.shown.words.iter().map(|word| word_text(word)).collect::<Vec<_>>(),
        "variables": program.shown.variables,
        "directory": program.launch.directory,
        "user": program.launch.user,
        "group": program.launch.group,
        "run_by": program.runners.iter().map(run_by).collect::<Vec<_>>(),
        "queues": program.queues.iter().map(queue_name).collect::<Vec<_>>(),
    });
    let (kind, reason) = match verdict {
        Verdict::Compared(compared) => {
            let Compared { min, max, profile, flow, setting, advice, present: _ } = compared.as_ref();
            value["scale"] = json!({ "min": min, "max": max, "profile": profile.as_str() });
            value["load"] = load(flow);
            value["present"] = advice.present.as_ref().map_or(Value::Null, fixed_json);
            value["advised"] = setting_json(setting);
            value["least_fixed"] = advice.fixed.as_ref().map_or(Value::Null, fixed_json);
            ("compared", None)
        }
        Verdict::Unsure(why) => ("unsure", Some(why)),
        Verdict::NotScaled(why) => ("not-scaled", Some(why)),
    };
    value["verdict"] = json!(kind);
    value["reason"] = json!(reason);
    value
}

fn word_text(word: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Variable(name) => format!("${{{name}}}"),
    };
    word.iter().map(part).collect()
}

fn run_by(runner: &Runner) -> Value {
    let (kind, name) = match runner {
        Runner::Leveret(name) => ("leveret", Some(name)),
        Runner::Supervisord(name) => ("supervisord", Some(name)),
        Runner::Systemd(name) => ("systemd", Some(name)),
        Runner::Container => ("container", None),
        Runner::Parent(name) => ("parent", Some(name)),
        Runner::Unknown => ("unknown", None),
    };
    json!({ "kind": kind, "name": name })
}

fn queue_name(name: &QueueName) -> Value {
    json!({ "vhost": name.vhost, "queue": name.queue })
}

fn load(flow: &Flow) -> Value {
    json!({
        "seconds": flow.seconds,
        "messages": flow.arrived(),
        "messages_before": flow.before,
        "messages_done": flow.done,
        "messages_per_second": flow.rate(),
        "service_seconds": flow.service(),
        "service_is_upper_bound": flow.is_upper_bound,
        "wait_mean_seconds": flow.wait_mean(),
        "ready_most": flow.ready_most,
    })
}

fn queues(recording: &Recording) -> Vec<Value> {
    let of_queue = |(name, record): (&QueueName, &super::recording::QueueRecord)| {
        let last = record.last();
        json!({
            "vhost": name.vhost,
            "queue": name.queue,
            "consumers_here": last.here,
            "consumers_elsewhere": last.elsewhere,
            "is_polled": record.is_polled,
            "prefetch": record.prefetch,
            "samples": record.samples.iter().map(|sample| json!({
                "second": sample.at_ms as f64 / 1_000.0,
                "ready": sample.ready,
                "unacknowledged": sample.unacknowledged,
                "acknowledged": sample.flow.ok().map(|counters| counters.acknowledged),
                "published": sample.flow.ok().and_then(|counters| counters.published),
            })).collect::<Vec<_>>(),
        })
    };
    recording.queues.iter().map(of_queue).collect()
}
