//! `simulate --advise`: what to write into the configuration for a workload, and what it saves.

use std::cell::Cell;
use std::io::Write as _;

use serde_json::{Value, json};

use super::{SimulateArgs, Source};
use crate::cli::console::Console;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::text::{number, percent, tenths as seconds};
use crate::core::time::human;
use crate::core::words::{counted, grouped};
use crate::scaling::profile::Profile;
use crate::simulation::advice::{Advice, Advised, Course, Fixed, Setting, advise as try_settings};
use crate::simulation::own::Signals;
use crate::simulation::queue::Scenario;

/// Counts the settings that are tried, for whoever waits at a terminal.
pub(in crate::cli) fn progress(live: bool) -> impl Fn() {
    let rounds = Cell::new(0);
    move || {
        rounds.set(rounds.get() + 1);
        if live {
            let mut err = std::io::stderr();
            // Progress that cannot be shown is no reason to give up.
            drop(write!(err, "\rtrying settings: {} rounds\r", rounds.get()).and_then(|()| err.flush()));
        }
    }
}

/// Tries settings, and says which to take.
pub(super) fn advise(
    name: &str,
    source: &Source,
    scenario: &Scenario,
    arguments: &SimulateArgs,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let live = console.live;
    let progress = progress(live);
    let workload = |seed| source.workload(seed);
    let advice = try_settings(scenario, &workload, arguments.seeds, arguments.processes, &progress);
    if live {
        drop(write!(std::io::stderr(), "\x1b[K"));
    }
    if arguments.json {
        console.say(to_json(name, scenario, arguments.seeds, &advice))?;
    } else {
        for line in lines(name, scenario, &advice) {
            console.say(line)?;
        }
    }
    Ok(Exit::Done)
}

fn lines(name: &str, scenario: &Scenario, advice: &Advice) -> Vec<String> {
    let goal = human(scenario.wait);
    let startup = number(scenario.startup);
    let mut lines = vec![
        format!("{name}: goal {goal}, start-up {startup}s, {} to {} consumers", scenario.min, scenario.max),
        String::new(),
    ];
    for advised in &advice.advised {
        lines.push(format!("{}: {}", told(advised.signals), sentence(advised, scenario)));
    }
    lines.push(match &advice.fixed {
        Some(fixed) => format!(
            "a fixed number: {} keep the goal, for {}",
            counted(u64::from(fixed.processes), "process", "processes"),
            cost(&fixed.course, advice)
        ),
        None => format!("a fixed number: not even {} keep the goal", grouped(u64::from(scenario.max))),
    });
    if let Some(present) = &advice.present {
        lines.push(format!(
            "your {}: {} wait longer, {} at most, for {}",
            counted(u64::from(present.processes), "process", "processes"),
            percent(present.course.over_goal),
            seconds(present.course.wait_max),
            cost(&present.course, advice)
        ));
    }
    lines.push(String::new());
    for advised in &advice.advised {
        lines.push(format!("{}   # {}", yaml(advised, advice, scenario), told(advised.signals)));
    }
    lines
}

fn told(signals: Signals) -> &'static str {
    match signals {
        Signals::Full => "with the management API",
        Signals::Amqp => "on AMQP alone",
    }
}

fn sentence(advised: &Advised, scenario: &Scenario) -> String {
    let best = &advised.best;
    let profile = best.profile.as_str();
    if best.course.is_kept() {
        return format!(
            "{profile} keeps the goal, for {} consumer-seconds (95 of 100 messages wait {} at most, the longest {}; \
             at most {:.0} consumers)",
            whole(best.course.consumer_seconds),
            seconds(best.course.wait_p95),
            seconds(best.course.wait_max),
            best.course.most_consumers
        );
    }
    let why = if scenario.startup >= scenario.wait.as_secs_f64() / 2.0 {
        format!(", since a start takes {}s", number(scenario.startup))
    } else {
        String::new()
    };
    let floor = match &advised.floor {
        Some(Setting { profile, min, course }) => format!(
            "`min: {min}` with {} keeps it, for {} consumer-seconds",
            profile.as_str(),
            whole(course.consumer_seconds)
        ),
        None => format!("no minimum up to {} does", scenario.max),
    };
    let longer = advised
        .longer
        .map_or_else(String::new, |wait| format!("; a goal of {} would be kept as it is", human(wait)));
    format!(
        "no profile keeps the goal{why}: {profile} misses {}, the longest wait {}; {floor}{longer}",
        percent(best.course.over_goal),
        seconds(best.course.wait_max)
    )
}

/// What to write under the program: the cheapest of what keeps the goal.
fn yaml(advised: &Advised, advice: &Advice, scenario: &Scenario) -> String {
    let setting = advised.setting();
    let is_cheaper = |fixed: &&Fixed| {
        !setting.course.is_kept() || fixed.course.consumer_seconds <= setting.course.consumer_seconds
    };
    if let Some(fixed) = advice.fixed.as_ref().filter(is_cheaper) {
        return format!("processes: {}", fixed.processes);
    }
    let profile = match setting.profile {
        Profile::Balanced => String::new(),
        Profile::Economy | Profile::Latency | Profile::Calm => {
            format!(", profile: {}", setting.profile.as_str())
        }
    };
    format!(
        "scale: {{queue: QUEUE, wait: {}, min: {}, max: {}{profile}}}",
        human(scenario.wait).replace(' ', ""),
        setting.min,
        scenario.max
    )
}

/// The cost of a fixed number beside what is advised with the least knowledge.
fn cost(course: &Course, advice: &Advice) -> String {
    let [_, amqp] = &advice.advised;
    let advised = amqp.setting().course.consumer_seconds;
    let times = course.consumer_seconds / advised;
    let beside = if advised > 0.0 {
        format!(", {times:.1} times as much as {}", told(amqp.signals))
    } else {
        String::new()
    };
    format!("{} consumer-seconds{beside}", whole(course.consumer_seconds))
}

fn whole(value: f64) -> String {
    grouped(value.round() as u64)
}

fn to_json(name: &str, scenario: &Scenario, seeds: u32, advice: &Advice) -> Value {
    json!({
        "workload": name,
        "parameters": super::parameters(scenario, seeds),
        "advice": advice.advised.iter().map(advised_json).collect::<Vec<_>>(),
        "least_fixed": advice.fixed.as_ref().map(fixed_json),
        "present": advice.present.as_ref().map(fixed_json),
    })
}

fn advised_json(advised: &Advised) -> Value {
    json!({
        "signals": match advised.signals {
            Signals::Full => "full",
            Signals::Amqp => "amqp",
        },
        "best": setting_json(&advised.best),
        "floor": advised.floor.as_ref().map(setting_json),
        "longer_goal_seconds": advised.longer.map(|wait| wait.as_secs_f64()),
    })
}

/// A setting and what it comes to.
pub(crate) fn setting_json(setting: &Setting) -> Value {
    let mut value = course_json(&setting.course);
    value["profile"] = json!(setting.profile.as_str());
    value["min"] = json!(setting.min);
    value
}

/// A fixed number and what it comes to.
pub(crate) fn fixed_json(fixed: &Fixed) -> Value {
    let mut value = course_json(&fixed.course);
    value["processes"] = json!(fixed.processes);
    value
}

fn course_json(course: &Course) -> Value {
    let Course { over_goal, wait_p95, wait_max, consumer_seconds, most_consumers } = *course;
    json!({
        "is_kept": course.is_kept(),
        "over_goal_ratio": over_goal,
        "wait_p95_seconds": wait_p95,
        "wait_max_seconds": wait_max,
        "consumer_seconds": consumer_seconds,
        "most_consumers": most_consumers,
    })
}
