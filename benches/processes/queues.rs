//! A thousand queues read each second: what that costs Leveret, whole, with a program for each; and how long the same takes
//! who asks for one after another.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use leveret::sys::clock;

use super::broker::QueueBroker;
use super::daemon::{LIMIT, Supervisor as _};
use super::leveret_run::Leveret;
use super::outside::{pause, processor_time, within};

/// How many queues there are.
const QUEUES: usize = 1_000;

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(30);

/// Asks for all queues one after another on one channel, as a script does, and prints the seconds that a round took and the
/// processor time of a round.
const ONE_BY_ONE: &str = r#"
import sys, time
import pika
url, count, rounds = sys.argv[1], int(sys.argv[2]), 5
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
begun, spent = time.monotonic(), time.process_time()
for _ in range(rounds):
    for number in range(count):
        channel.queue_declare(f"bench-{number}", passive=True)
print((time.monotonic() - begun) / rounds, (time.process_time() - spent) / rounds)
"#;

/// What was measured.
#[derive(Debug)]
struct Figures {
    /// The mean time of a round.
    round: Duration,
    /// Rounds that took more than [`GOAL`], of all.
    late: (u64, u64),
    /// Processor time of Leveret, whole, as a share of one core.
    share: f64,
}

/// How long a round may take; one of the bounds of the metric.
const GOAL: &str = "0.05";

/// Measures and returns the table.
pub(crate) fn measure(binary: &Path, directory: &Path) -> Result<String> {
    let broker = QueueBroker::start(directory)?;
    let queues: Vec<String> = (0..QUEUES).map(|number| format!("bench-{number}")).collect();
    broker.declare(&queues)?;
    let leveret = Leveret::start_with(binary, directory, "queues", &programs(&broker.url, &queues))?;
    let figures = watch(&leveret)?;
    drop(leveret);
    let peer = one_by_one(directory, &broker.url)?;
    Ok(table(&figures, peer, broker.name))
}

fn programs(url: &str, queues: &[String]) -> String {
    let mut text = format!(
        "brokers: {{default: \"{url}\"}}\n\
         templates: {{consumer: {{command: sleep 100000, scale: {{wait: 5s, min: 0, max: 10}}}}}}\n\
         programs:\n"
    );
    for (number, queue) in queues.iter().enumerate() {
        // A text takes what is written to it.
        let _ = writeln!(text, "  p{number}: {{extends: consumer, scale: {{queue: {queue}}}}}");
    }
    text
}

fn watch(leveret: &Leveret) -> Result<Figures> {
    let deadline = clock::now() + LIMIT;
    while rounds(leveret)?.0 < 5 {
        within(deadline, "the queues are not read")?;
        pause(Duration::from_millis(100));
    }
    let own = leveret.own()?;
    let (before, spent, begun) = (rounds(leveret)?, processor_time(&own)?, clock::now());
    pause(WATCHED);
    let (after, spent_after, ended) = (rounds(leveret)?, processor_time(&own)?, clock::now());
    let count = after.0 - before.0;
    let seconds = (after.1 - before.1) / count.max(1) as f64;
    Ok(Figures {
        round: Duration::from_secs_f64(seconds),
        late: (count - (after.2 - before.2), count),
        share: (spent_after - spent).as_secs_f64() / ended.since(begun).as_secs_f64(),
    })
}

/// How many rounds there were, the seconds that they took together, and how many took no longer than [`GOAL`].
fn rounds(leveret: &Leveret) -> Result<(u64, f64, u64)> {
    let text = leveret.get_text("/metrics")?;
    let figure = |series: String| {
        let line = text.lines().find_map(|line| line.strip_prefix(&series)?.strip_prefix(' '));
        line.map_or(Ok(0.0), str::parse::<f64>).with_context(|| format!("{series} is no number"))
    };
    let name = "leveret_probe_duration_seconds";
    let count = figure(format!("{name}_count{{broker=\"default\"}}"))?;
    let sum = figure(format!("{name}_sum{{broker=\"default\"}}"))?;
    let soon = figure(format!("{name}_bucket{{broker=\"default\",le=\"{GOAL}\"}}"))?;
    Ok((count as u64, sum, soon as u64))
}

/// The time and the processor time of a round; none where there is no client for it.
#[expect(clippy::disallowed_methods, reason = "the bench runs what it compares with to its end")]
fn one_by_one(directory: &Path, url: &str) -> Result<Option<(f64, f64)>> {
    let script = directory.join("one_by_one.py");
    fs::write(&script, ONE_BY_ONE)?;
    let output = Command::new("/usr/bin/python3").arg(&script).arg(url).arg(QUEUES.to_string()).output()?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Option<(f64, f64)> =
        text.trim().split_once(' ').and_then(|(took, spent)| Some((took.parse().ok()?, spent.parse().ok()?)));
    numbers.with_context(|| format!("no figures in {text}")).map(Some)
}

fn table(figures: &Figures, peer: Option<(f64, f64)>, broker: &str) -> String {
    let verdict = |is_met: bool| if is_met { "" } else { ": **missed**" };
    let Figures { round, late: (late, rounds), share } = figures;
    let milliseconds = round.as_secs_f64() * 1e3;
    let (took, spent) = match peer {
        Some((took, spent)) => (format!("{:.0} ms", took * 1e3), format!("{:.0} %", spent * 100.0)),
        None => ("no pika here".to_owned(), String::new()),
    };
    format!(
        "| {QUEUES} queues on {broker}, read each second | goal | Leveret | one after another (pika) |\n\
         | --- | --- | --- | --- |\n\
         | a round, mean of {rounds} | under 60 ms | {milliseconds:.1} ms{} | {took} |\n\
         | rounds above 50 ms | | {late} | |\n\
         | processor time, share of a core, with a scaled program for each queue | under 3 % | {:.2} %{} | {spent} |\n",
        verdict(milliseconds < 60.0),
        share * 100.0,
        verdict(*share < 0.03),
    )
}
