//! `make bench-scaling`: every policy on the built-in workloads. It writes the tables of docs/scaling.md anew, and draws the
//! pictures in docs/plots. It measures nothing of this machine: the same version gives the same bytes everywhere.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "somebody sits and waits")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// How long a start takes: the key of `--startup`, and its name in the table.
const STARTUPS: [(&str, &str); 2] = [("300ms", "0.3 s"), ("2s", "2 s")];

const WORKLOADS: [&str; 6] = ["step", "ramp", "burst", "sine", "long", "retry-storm"];

const POLICIES: [&str; 13] = [
    "balanced",
    "economy",
    "latency",
    "calm",
    "balanced:amqp",
    "keda",
    "keda-tuned",
    "hpa",
    "horizon",
    "horizon-10",
    "celery",
    "knative",
    "aws",
];

/// Those that are drawn: of the rivals one of each kind, so that each can be seen.
const DRAWN: &str = "balanced,balanced:amqp,keda-tuned,horizon-10,celery,knative";

/// What is drawn, where a start takes the longer time.
const PICTURES: [&str; 3] = ["step", "burst", "sine"];

const SEEDS: &str = "3";

const BEGIN: &str = "<!-- written by make bench-scaling: begin -->\n";
const END: &str = "<!-- written by make bench-scaling: end -->\n";

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this as well, to see that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing is compared without --bench; see `make bench-scaling`");
        return ExitCode::SUCCESS;
    }
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-scaling: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let tables = STARTUPS.iter().map(table).collect::<Result<Vec<String>>>()?.join("\n");
    println!("{tables}");
    put_between(&docs.join("scaling.md"), &tables)?;
    let (startup, _) = STARTUPS[1];
    for workload in PICTURES {
        let file = docs.join("plots").join(format!("{workload}.svg"));
        let path = file.to_str().context("the project's path is not text")?;
        simulate(&["--workload", workload, "--startup", startup, "--policy", DRAWN, "--plot", path])?;
    }
    Ok(())
}

/// A row for each policy, a column for each workload.
fn table((startup, words): &(&str, &str)) -> Result<String> {
    let mut rows = POLICIES.map(|policy| format!("| `{policy}` |"));
    for workload in WORKLOADS {
        eprintln!("{workload}, start-up {words}");
        let policies = POLICIES.join(",");
        let json = simulate(&[
            "--workload",
            workload,
            "--startup",
            startup,
            "--seeds",
            SEEDS,
            "--policy",
            &policies,
            "--json",
        ])?;
        let report: Value = serde_json::from_str(&json).context("what simulate --json prints is no JSON")?;
        for (policy, row) in POLICIES.iter().zip(&mut rows) {
            let results = report["results"].as_array().context("the report has no results")?;
            let result = results.iter().find(|result| result["policy"] == *policy);
            let cell = cell(result.with_context(|| format!("{policy} is missing"))?)?;
            write!(row, " {cell} |")?;
        }
    }
    let workloads: String = WORKLOADS.iter().map(|workload| format!(" `{workload}` |")).collect();
    let rule = "| --- ".repeat(WORKLOADS.len() + 1);
    Ok(format!("| start-up {words} |{workloads}\n{rule}|\n{}\n", rows.join("\n")))
}

/// Percent over the goal / thousands of consumer-seconds / busy ones stopped.
fn cell(result: &Value) -> Result<String> {
    let figure = |key: &str| result[key].as_f64().with_context(|| format!("a result has no {key}"));
    let percent = 100.0 * figure("over_goal_ratio")?;
    let percent = match percent {
        few if few < 0.005 => "0".to_owned(),
        few if few < 1.0 => format!("{few:.2}"),
        many => format!("{many:.0}"),
    };
    Ok(format!("{percent} / {:.1} / {:.0}", figure("consumer_seconds")? / 1e3, figure("busy_stops")?))
}

/// What `leveret simulate` prints.
#[expect(clippy::disallowed_methods, reason = "the bench reaps what it started itself")]
fn simulate(arguments: &[&str]) -> Result<String> {
    let binary = std::env::var("LEVERET_BENCH_BINARY").context("LEVERET_BENCH_BINARY names no leveret")?;
    let output = Command::new(&binary).arg("simulate").args(arguments).output();
    let output = output.with_context(|| format!("{binary} cannot be run"))?;
    if !output.status.success() {
        bail!("simulate {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Replaces what stands between the marks.
fn put_between(file: &Path, tables: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (before, rest) = text.split_once(BEGIN).context("docs/scaling.md has no mark where tables begin")?;
    let (_, after) = rest.split_once(END).context("docs/scaling.md has no mark where tables end")?;
    fs::write(file, format!("{before}{BEGIN}\n{tables}\n{END}{after}"))?;
    Ok(())
}
