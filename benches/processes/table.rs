//! The table: a row for each figure, with the goal, whether it is reached, and the others beside it.

use std::fmt::Write as _;
use std::time::Duration;

use super::measure::{Figures, Start};

const HEAD: [&str; 5] = ["", "floor", "Leveret", "goal", "supervisord"];

/// One row as text.
type Row = [String; 5];

/// The whole table. `floor` is how long a bare loop takes to spawn again what was killed.
pub(crate) fn render(
    starts: &[Start],
    floor: &[Duration],
    ours: &Figures,
    theirs: Option<&(Duration, Figures)>,
) -> String {
    let mut rows = vec![HEAD.map(str::to_owned), start_row(starts, theirs.map(|theirs| theirs.0))];
    let theirs = theirs.map(|theirs| &theirs.1);
    rows.extend(respawn_rows(floor, &ours.respawn, theirs.map(|theirs| theirs.respawn.as_slice())));
    let kilobytes = ours.status_bytes / 1000;
    rows.push(row(
        &format!("full status, {kilobytes} kB, median"),
        ours,
        theirs,
        MILLISECONDS,
        10.0,
        |figures| milliseconds(median(&figures.status)),
    ));
    rows.push(row("full status, slowest", ours, theirs, MILLISECONDS, 10.0, |figures| {
        milliseconds(largest(&figures.status))
    }));
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    rows.push(row("memory, resident (RSS)", ours, theirs, MEGABYTES, 18.0, |figures| {
        megabytes(figures.memory.resident)
    }));
    rows.push(row("memory, proportional (PSS)", ours, theirs, MEGABYTES, 18.0, |figures| {
        megabytes(figures.memory.proportional)
    }));
    rows.push(row("processor while idle", ours, theirs, PERCENT, 0.2, |figures| 100.0 * figures.idle));
    rows.push(row("stop all", ours, theirs, SECONDS, 1.0, |figures| figures.stop.as_secs_f64()));
    align(&rows)
}

/// A unit and the digits after the point.
type Unit = (&'static str, usize);
const SECONDS: Unit = ("s", 2);
const MILLISECONDS: Unit = ("ms", 1);
const MEGABYTES: Unit = ("MB", 1);
const PERCENT: Unit = ("%", 3);

fn row(
    name: &str,
    ours: &Figures,
    theirs: Option<&Figures>,
    unit: Unit,
    goal: f64,
    figure: impl Fn(&Figures) -> f64,
) -> Row {
    let our = figure(ours);
    [
        name.to_owned(),
        String::new(),
        show(our, unit),
        goal_text(our <= goal, &format!("{goal} {}", unit.0)),
        compare(theirs.map(figure), our, unit),
    ]
}

/// The ratio is taken round by round, because the machine changes between rounds.
fn start_row(starts: &[Start], theirs: Option<Duration>) -> Row {
    let floor = median(&starts.iter().map(|start| start.floor).collect::<Vec<_>>());
    let leveret = median(&starts.iter().map(|start| start.leveret).collect::<Vec<_>>()).as_secs_f64();
    let mut ratios: Vec<f64> =
        starts.iter().map(|start| start.leveret.as_secs_f64() / start.floor.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    [
        format!("start {} processes", super::PROCESSES),
        show(floor.as_secs_f64(), SECONDS),
        format!("{} ({ratio:.2} x floor)", show(leveret, SECONDS)),
        goal_text(ratio <= 3.0, "3 x floor"),
        compare(theirs.map(|theirs| theirs.as_secs_f64()), leveret, SECONDS),
    ]
}

fn respawn_rows(floor: &[Duration], ours: &[Duration], theirs: Option<&[Duration]>) -> [Row; 2] {
    let row = |name: &str, goal: f64, pick: fn(&[Duration]) -> Duration| {
        let our = milliseconds(pick(ours));
        [
            format!("kill to next exec, {name} of {}", ours.len()),
            show(milliseconds(pick(floor)), MILLISECONDS),
            show(our, MILLISECONDS),
            goal_text(our <= goal, &format!("{goal} ms")),
            compare(theirs.map(pick).map(milliseconds), our, MILLISECONDS),
        ]
    };
    [row("median", 3.0, median), row("p99", 6.0, percentile_99)]
}

fn goal_text(is_reached: bool, goal: &str) -> String {
    format!("{} ({goal})", if is_reached { "reached" } else { "missed" })
}

fn compare(theirs: Option<f64>, ours: f64, unit: Unit) -> String {
    theirs.map_or_else(
        || "not measured".to_owned(),
        |theirs| format!("{} ({:.1} x Leveret)", show(theirs, unit), theirs / ours),
    )
}

fn show(value: f64, (unit, digits): Unit) -> String {
    format!("{value:.digits$} {unit}")
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(samples: &[Duration]) -> Duration {
    at_rank(samples, samples.len() / 2)
}

/// Of fifty samples this is the largest.
fn percentile_99(samples: &[Duration]) -> Duration {
    at_rank(samples, (samples.len() * 99).div_ceil(100).saturating_sub(1))
}

fn largest(samples: &[Duration]) -> Duration {
    at_rank(samples, samples.len().saturating_sub(1))
}

fn at_rank(samples: &[Duration], rank: usize) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(rank).copied().unwrap_or_default()
}

fn align(rows: &[Row]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a text cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
