//! `leveret simulate`: how policies would have done on a workload, in virtual time. It needs no running Leveret.

pub(crate) mod advice;
mod arguments;
mod plot;

use std::io::Write as _;
use std::sync::Mutex;

use serde_json::{Value, json};

pub(crate) use self::arguments::SimulateArgs;
use self::plot::{Form, Plot};
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::table::{Align, Table};
use super::text::number;
use crate::simulation::builtin::Builtin;
use crate::simulation::comparison::{Outcome, compare};
use crate::simulation::csv::Trace;
use crate::simulation::journal;
use crate::simulation::queue::Scenario;
use crate::simulation::report::Report;
use crate::simulation::workload::Workload;
use crate::sys::cause::plain;

/// The columns of the table.
const COLUMNS: [(&str, Align); 14] = [
    ("POLICY", Align::Left),
    ("P50", Align::Right),
    ("P95", Align::Right),
    ("P99", Align::Right),
    ("MAX", Align::Right),
    ("OVER GOAL", Align::Right),
    ("CONSUMER-S", Align::Right),
    ("USED", Align::Right),
    ("STARTS", Align::Right),
    ("REVERSALS", Align::Right),
    ("BUSY STOPS", Align::Right),
    ("TO CAPACITY", Align::Right),
    ("REGRET", Align::Right),
    ("MOST", Align::Right),
];

/// How long a start takes where nothing says it, in seconds.
const STARTUP_SECONDS: f64 = 2.0;

/// Where the messages come from.
#[derive(Debug)]
enum Source {
    Builtin(Builtin, f64),
    Trace(Trace, f64),
    /// With what a start took.
    Journal(Trace, f64, f64),
}

impl Source {
    fn workload(&self, seed: u64) -> Workload {
        match self {
            Self::Builtin(builtin, service) => builtin.workload(seed, *service),
            Self::Trace(trace, service) | Self::Journal(trace, service, _) => trace.workload(seed, *service),
        }
    }

    /// How long a start took, in seconds, where that is known.
    fn startup(&self) -> Option<f64> {
        match self {
            Self::Builtin(..) | Self::Trace(..) => None,
            Self::Journal(.., startup) => Some(*startup),
        }
    }
}

/// Simulates, and says how it went.
///
/// # Errors
/// Wrong usage, a file with errors, or an output that is closed.
pub(crate) fn simulate(arguments: &SimulateArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (name, source) = source(arguments)?;
    let scenario = scenario(arguments, source.startup())?;
    if arguments.advise {
        return advice::advise(&name, &source, &scenario, arguments, console);
    }
    let policies = arguments.policies().map_err(Failure::Usage)?;
    let form = arguments.plot.as_deref().map(Form::of).transpose().map_err(Failure::Usage)?;
    let runs = policies.len() * arguments.seeds as usize;
    let outcomes = {
        let live = console.live;
        let err = Mutex::new(std::io::stderr());
        let progress = move |done: usize| {
            if live && let Ok(mut err) = err.lock() {
                let end = if done == runs { "\r\x1b[K" } else { "" };
                // Progress that cannot be shown is no reason to give up.
                drop(write!(err, "\rsimulating: {done} of {runs} runs{end}").and_then(|()| err.flush()));
            }
        };
        compare(
            &policies,
            arguments.seeds,
            &scenario,
            &|seed| source.workload(seed),
            form.is_some(),
            &progress,
        )
    };
    if arguments.json {
        let results: Vec<_> = outcomes.iter().map(Outcome::to_json).collect();
        let parameters = parameters(&scenario, arguments.seeds);
        console.say(json!({ "workload": name, "parameters": parameters, "results": results }))?;
    } else {
        table(&name, &scenario, arguments.seeds, &outcomes, console)?;
    }
    if let (Some(path), Some(form)) = (&arguments.plot, form) {
        let workload = source.workload(1);
        let plot = Plot {
            headline: &headline(&name, &scenario, arguments.seeds, &outcomes),
            scenario: &scenario,
            seeds: arguments.seeds,
            outcomes: &outcomes,
            demand: &demand(&workload),
            length: workload.length,
            columns: &COLUMNS.map(|(column, _)| column),
            rows: &outcomes.iter().map(|outcome| figures(outcome).to_vec()).collect::<Vec<_>>(),
        };
        std::fs::write(path, plot.file(form)).map_err(|error| {
            Failure::Failed(format!("cannot write {}: {}", path.display(), plain(&error)))
        })?;
    }
    Ok(Exit::Done)
}

/// What was simulated, for JSON.
fn parameters(scenario: &Scenario, seeds: u32) -> Value {
    json!({
        "wait_seconds": scenario.wait.as_secs_f64(),
        "startup_seconds": scenario.startup,
        "prefetch": scenario.prefetch,
        "start_limit": (scenario.start_limit < u32::MAX).then_some(scenario.start_limit),
        "min": scenario.min,
        "max": scenario.max,
        "seeds": seeds,
    })
}

/// Consumers that the arriving work takes, over 120 equal stretches.
fn demand(workload: &Workload) -> Vec<f64> {
    const STRETCHES: usize = 120;
    let stretch = workload.length / STRETCHES as f64;
    let mut demand = vec![0.0; STRETCHES];
    if stretch > 0.0 {
        for message in &workload.messages {
            demand[((message.arrival / stretch) as usize).min(STRETCHES - 1)] += message.service / stretch;
        }
    }
    demand
}

fn source(arguments: &SimulateArgs) -> Result<(String, Source), Failure> {
    let service = arguments.service.map(|service| service.as_secs_f64());
    if let Some(builtin) = arguments.workload {
        let service = service.unwrap_or_else(|| builtin.service());
        return Ok((builtin.name().to_owned(), Source::Builtin(builtin, service)));
    }
    let Some(file) = &arguments.file else {
        return Err(Failure::Usage("name a FILE or a --workload".to_owned()));
    };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("cannot read {name}: {}", plain(&error))))?;
    if file.extension().is_some_and(|extension| extension == "jsonl" || extension == "1") {
        let recorded = journal::read(&text, arguments.program.as_deref())
            .map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
        let service = service.or(recorded.service).ok_or_else(|| no_service(&name))?;
        let name = format!("{name} ({})", recorded.program);
        return Ok((name, Source::Journal(recorded.trace, service, recorded.startup)));
    }
    if arguments.program.is_some() {
        let message = format!("--program is for a journal, decisions.jsonl, and {name} is none");
        return Err(Failure::Usage(message));
    }
    let trace = Trace::read(&text).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    match service {
        Some(service) => Ok((name, Source::Trace(trace, service))),
        None if trace.lacks_service() => Err(no_service(&name)),
        None => Ok((name, Source::Trace(trace, 0.0))),
    }
}

fn scenario(arguments: &SimulateArgs, startup: Option<f64>) -> Result<Scenario, Failure> {
    let SimulateArgs { min, max, prefetch, .. } = *arguments;
    if min > max {
        return Err(Failure::Usage(format!("--min {min} is more than --max {max}")));
    }
    let default = Scenario::default();
    let usual = arguments.workload.map_or(default.wait, Builtin::wait);
    let wait = arguments.wait.unwrap_or(usual);
    let given = arguments.startup.map(|startup| startup.as_secs_f64());
    let startup = given.or(startup).unwrap_or(STARTUP_SECONDS);
    let start_limit = arguments.start_limit.unwrap_or(default.start_limit);
    Ok(Scenario { wait, startup, start_limit, prefetch, min, max, ..default })
}

fn no_service(name: &str) -> Failure {
    Failure::Usage(format!(
        "{name} does not say how long messages take; add --service, as in --service 200ms"
    ))
}

/// What was simulated.
fn headline(name: &str, scenario: &Scenario, seeds: u32, outcomes: &[Outcome]) -> String {
    let messages = outcomes.first().map_or(0.0, |outcome| outcome.figure(|one| one.messages as f64).mean);
    let seeds = if seeds == 1 { String::new() } else { format!(", means of {seeds} seeds") };
    format!(
        "{name}: {messages:.0} messages, goal {}s, start-up {}s, prefetch {}, {} to {} consumers{seeds}",
        number(scenario.wait.as_secs_f64()),
        number(scenario.startup),
        scenario.prefetch,
        scenario.min,
        scenario.max,
    )
}

/// The cells of a policy's row.
fn figures(outcome: &Outcome) -> [String; COLUMNS.len()] {
    let mean = |figure: fn(&Report) -> f64| outcome.figure(figure).mean;
    let wait = |figure: fn(&Report) -> f64| format!("{:.2}s", mean(figure));
    let percent = |figure: fn(&Report) -> f64, digits| format!("{:.digits$}%", 100.0 * mean(figure));
    [
        outcome.policy.to_string(),
        wait(|one| one.wait_p50),
        wait(|one| one.wait_p95),
        wait(|one| one.wait_p99),
        wait(|one| one.wait_max),
        percent(|one| one.over_goal, 2),
        format!("{:.0}", mean(|one| one.consumer_seconds)),
        percent(Report::utilisation, 0),
        format!("{:.0}", mean(|one| f64::from(one.starts))),
        format!("{:.0}", mean(|one| f64::from(one.reversals))),
        format!("{:.0}", mean(|one| f64::from(one.busy_stops))),
        format!("{:.0}s", mean(|one| one.time_to_capacity)),
        format!("{:.2}", mean(Report::regret)),
        format!("{:.0}", mean(|one| f64::from(one.most_consumers))),
    ]
}

fn table(
    name: &str,
    scenario: &Scenario,
    seeds: u32,
    outcomes: &[Outcome],
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    console.say(headline(name, scenario, seeds, outcomes))?;
    let mut table = Table::new(&COLUMNS);
    for outcome in outcomes {
        table.row(figures(outcome));
    }
    for line in table.lines(console.style) {
        console.say(line)?;
    }
    for outcome in outcomes {
        let left = outcome.figure(|one| one.left_over as f64).mean;
        if left > 0.0 {
            console.note(format_args!(
                "{}: {left:.0} messages were left over an hour after the end",
                outcome.policy
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::arguments::{Arguments, Command};

    fn run(line: &str) -> (Result<Exit, String>, String) {
        let words = std::iter::once("leveret").chain(line.split_whitespace()).map(OsString::from);
        let Command::Simulate(arguments) = Arguments::read(words).unwrap().command else { panic!("{line}") };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let outcome = simulate(&arguments, &mut Console::for_tests(&mut out, &mut err));
        let outcome = outcome.map_err(|failure| {
            assert_eq!(failure.exit(), Exit::Usage);
            failure.to_string()
        });
        (outcome, String::from_utf8(out).unwrap())
    }

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace.csv");
        std::fs::write(&path, text).unwrap();
        (directory, path.display().to_string())
    }

    #[test]
    fn json_has_the_workload_and_every_policy_with_its_figures() {
        let line =
            "simulate --workload burst --wait 15s --startup 300ms --policy balanced:amqp,celery --json";
        let (exit, out) = run(line);
        assert_eq!((exit, &out), (Ok(Exit::Done), &run(line).1));
        let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(answer["workload"], "burst");
        let results = answer["results"].as_array().unwrap();
        assert_eq!(
            (results[0]["policy"].as_str(), results[0]["signals"].as_str()),
            (Some("balanced:amqp"), Some("amqp"))
        );
        for key in [
            "messages",
            "wait_p50_seconds",
            "wait_p95_seconds",
            "wait_p99_seconds",
            "wait_max_seconds",
            "over_goal_ratio",
            "consumer_seconds",
            "utilisation",
            "starts",
            "reversals",
            "busy_stops",
        ] {
            assert!(results.iter().all(|result| result[key].is_number()), "{key}: {out}");
        }
    }

    #[test]
    fn a_journal_says_what_arrived_how_long_it_took_and_what_a_start_takes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("decisions.jsonl");
        let entry = |minute: u32, program: &str| {
            format!(
                "{{\"at\":\"2026-03-01T10:{minute:02}:00Z\",\"program\":\"{program}\",\"inputs\":{{\"arrivals_per_second\":10,\
                 \"service_seconds\":0.25,\"service_learned\":1,\"startup_seconds\":4}}}}\n"
            )
        };
        std::fs::write(&path, entry(0, "orders") + &entry(10, "orders") + &entry(5, "mails")).unwrap();
        let path = path.display();
        let (exit, out) = run(&format!("simulate {path} --program orders --policy balanced"));
        assert_eq!(exit, Ok(Exit::Done));
        assert!(out.contains("(orders): 6000 messages, goal 10s, start-up 4s"), "{out}");
        let refused = |words: &str| run(&format!("simulate {words}")).0.unwrap_err();
        assert!(refused(&path.to_string()).contains("choose one with --program: mails, orders"));
        let (_kept, csv) = file("arrival,service\n1,1\n");
        assert!(refused(&format!("{csv} --program orders")).contains("--program is for a journal"));
    }

    #[test]
    fn advice_names_what_to_write_and_what_the_present_number_misses() {
        let (_kept, path) = file("second,messages\n0,60\n60,1200\n120,60\n180,60\n240,60\n");
        let line = format!("simulate {path} --service 500ms --startup 20s --max 40 --advise --processes 2");
        let (exit, out) = run(&line);
        assert_eq!(exit, Ok(Exit::Done));
        for expected in [
            "trace.csv: goal 10s, start-up 20s, 0 to 40 consumers\n",
            "with the management API: no profile keeps the goal, since a start takes 20s: ",
            "on AMQP alone: no profile keeps the goal",
            " keeps it, for ",
            "a fixed number: ",
            "your 2 processes: ",
            "   # on AMQP alone\n",
        ] {
            assert!(out.contains(expected), "{expected}: {out}");
        }
        let (_, json) = run(&format!("{line} --json"));
        let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(answer["advice"][0]["best"]["is_kept"], false);
        assert_eq!(answer["advice"][0]["floor"]["is_kept"], true);
        assert_eq!((&answer["present"]["processes"], &answer["parameters"]["max"]), (&json!(2), &json!(40)));
    }

    #[test]
    fn a_table_says_what_was_simulated() {
        let (_kept, path) = file("second,messages\n0,600\n60,1200\n120,300\n");
        let (exit, out) = run(&format!("simulate {path} --service 200ms --policy fixed-8,keda --seeds 2"));
        assert_eq!(exit, Ok(Exit::Done));
        assert!(
            out.contains("trace.csv: 2100 messages, goal 10s, start-up 2s, prefetch 1, 0 to 200"),
            "{out}"
        );
        assert!(out.contains("means of 2 seeds\nPOLICY "), "{out}");
        assert!(out.lines().any(|line| line.starts_with("fixed-8 ")), "{out}");
    }

    #[test]
    fn what_cannot_be_simulated_is_refused_with_what_to_try() {
        let (_kept, path) = file("arrival,service\n1,2\n1,x\n");
        let (_also_kept, rates) = file("second,messages\n1,2\n");
        for (line, expected) in [
            (format!("simulate {path}"), "trace.csv: line 3, column 3: \"x\" is no service; write seconds"),
            (format!("simulate {rates}"), "does not say how long messages take; add --service"),
            ("simulate nothing.csv".to_owned(), "cannot read nothing.csv: No such file"),
            ("simulate --workload step --policy fastest".to_owned(), "there are balanced, economy,"),
            ("simulate --workload step --min 9 --max 3".to_owned(), "--min 9 is more than --max 3"),
        ] {
            let (exit, out) = run(&line);
            assert!(exit.as_ref().is_err_and(|text| text.contains(expected)), "{line}: {exit:?}");
            assert_eq!(out, "");
        }
    }
}
