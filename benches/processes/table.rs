//! The tables: a row for each figure, with the goal, whether it is reached, and the others or other numbers beside it.

use std::fmt::Write as _;
use std::time::Duration;

use super::measure::{Figures, Peer, Replaced, Size, Start};

/// A unit and the digits after the point.
type Unit = (&'static str, usize);
const SECONDS: Unit = ("s", 2);
const MILLISECONDS: Unit = ("ms", 1);
const MEGABYTES: Unit = ("MB", 1);
const PERCENT: Unit = ("%", 3);

/// A figure that every supervisor has, and its goal.
struct Row {
    name: &'static str,
    unit: Unit,
    goal: f64,
    /// Nothing where it was not measured.
    figure: fn(&Figures) -> Option<f64>,
}

/// All of them but the start.
const ROWS: [Row; 8] = [
    Row {
        name: "kill to next exec, median",
        unit: MILLISECONDS,
        goal: 3.0,
        figure: |figures| median(&figures.respawn),
    },
    Row {
        name: "kill to next exec, p99",
        unit: MILLISECONDS,
        goal: 6.0,
        figure: |figures| percentile_99(&figures.respawn),
    },
    Row {
        name: "full status, median",
        unit: MILLISECONDS,
        goal: 10.0,
        figure: |figures| median(&figures.status),
    },
    Row {
        name: "full status, slowest",
        unit: MILLISECONDS,
        goal: 10.0,
        figure: |figures| largest(&figures.status),
    },
    Row {
        name: "memory, resident (RSS)",
        unit: MEGABYTES,
        goal: 18.0,
        figure: |figures| Some(figures.memory.resident as f64 / 1e6),
    },
    Row {
        name: "memory, proportional (PSS)",
        unit: MEGABYTES,
        goal: 18.0,
        figure: |figures| Some(figures.memory.proportional as f64 / 1e6),
    },
    Row {
        name: "processor while idle",
        unit: PERCENT,
        goal: 0.2,
        figure: |figures| Some(100.0 * figures.idle),
    },
    Row { name: "stop all", unit: SECONDS, goal: 1.0, figure: |figures| Some(figures.stop.as_secs_f64()) },
];

/// How soon a replaced controller has to answer, in milliseconds.
const ANSWER_GOAL: f64 = 300.0;

/// Leveret beside the floor and the peers: supervisord and circus. `floor` is how long a bare loop takes to spawn again what
/// was killed.
pub(crate) fn peers(
    ours: &Size,
    floor: &[Duration],
    replaced: &Replaced,
    peers: &[Option<Peer>; 2],
) -> String {
    let head =
        [&format!("{} processes", ours.processes), "floor", "Leveret", "goal", "supervisord", "circus"];
    let mut rows = vec![head.map(str::to_owned).to_vec(), start_row(&ours.starts, peers)];
    for row in &ROWS {
        let our = (row.figure)(&ours.figures);
        let floor = match row.name {
            name if name.ends_with("exec, median") => median(floor),
            name if name.ends_with("exec, p99") => percentile_99(floor),
            _ => None,
        };
        let mut cells = vec![
            row.name.to_owned(),
            floor.map_or_else(String::new, |floor| show(floor, row.unit)),
            show_or_none(our, row.unit),
            goal_text(our, row.goal, row.unit),
        ];
        let theirs = |peer: &Peer| (row.figure)(&peer.figures);
        cells.extend(peers.each_ref().map(|peer| compare(peer.as_ref().and_then(theirs), our, row.unit)));
        rows.push(cells);
    }
    for (name, samples) in [
        ("controller killed, to its answer", &replaced.by_kill),
        ("slowest answer in an upgrade", &replaced.by_upgrade),
    ] {
        for (which, figure) in [("median", median(samples)), ("slowest", largest(samples))] {
            let name = format!("{name}, {which} of {}", samples.len());
            let goal = goal_text(figure, ANSWER_GOAL, MILLISECONDS);
            rows.push(vec![name, String::new(), show_or_none(figure, MILLISECONDS), goal]);
        }
    }
    align(&rows)
}

/// The same figures of Leveret with different numbers of processes.
pub(crate) fn growth(sizes: &[Size]) -> String {
    let numbers = sizes.iter().map(|size| format!("{} processes", size.processes));
    let mut rows = vec![std::iter::once("Leveret with".to_owned()).chain(numbers).collect::<Vec<_>>()];
    let starts = sizes.iter().map(|size| start(&size.starts).1);
    rows.push(std::iter::once("start".to_owned()).chain(starts).collect());
    for row in &ROWS {
        let figures = sizes.iter().map(|size| show_or_none((row.figure)(&size.figures), row.unit));
        rows.push(std::iter::once(row.name.to_owned()).chain(figures).collect());
    }
    let lengths = sizes.iter().map(|size| format!("{} kB", size.figures.status_bytes / 1_000));
    rows.push(std::iter::once("full status, length".to_owned()).chain(lengths).collect());
    align(&rows)
}

fn start_row(starts: &[Start], peers: &[Option<Peer>; 2]) -> Vec<String> {
    let floor = median(&starts.iter().map(|start| start.floor).collect::<Vec<_>>());
    let leveret = median(&starts.iter().map(|start| start.leveret).collect::<Vec<_>>());
    let (ratio, text) = start(starts);
    let verdict = if ratio <= 3.0 { "reached" } else { "missed" };
    let mut cells = vec![
        "start all, to the last exec".to_owned(),
        show_or_none(floor.map(in_seconds), SECONDS),
        text,
        format!("{verdict} (3 x floor)"),
    ];
    let theirs = |peer: &Peer| peer.start.as_secs_f64();
    let ours = leveret.map(in_seconds);
    cells.extend(peers.each_ref().map(|peer| compare(peer.as_ref().map(theirs), ours, SECONDS)));
    cells
}

/// The median of the ratios to the floor, and that of the times as text. The ratio is taken round by round, because the
/// machine changes between rounds.
fn start(starts: &[Start]) -> (f64, String) {
    let mut ratios: Vec<f64> =
        starts.iter().map(|start| start.leveret.as_secs_f64() / start.floor.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    let leveret = median(&starts.iter().map(|start| start.leveret).collect::<Vec<_>>()).map(in_seconds);
    (ratio, format!("{} ({ratio:.2} x floor)", show_or_none(leveret, SECONDS)))
}

fn goal_text(figure: Option<f64>, goal: f64, unit: Unit) -> String {
    let is_reached = figure.is_some_and(|figure| figure <= goal);
    format!("{} ({goal} {})", if is_reached { "reached" } else { "missed" }, unit.0)
}

fn compare(theirs: Option<f64>, ours: Option<f64>, unit: Unit) -> String {
    match theirs.zip(ours) {
        Some((theirs, ours)) => format!("{} ({:.1} x Leveret)", show(theirs, unit), theirs / ours),
        None => "not measured".to_owned(),
    }
}

fn show_or_none(value: Option<f64>, unit: Unit) -> String {
    value.map_or_else(|| "not measured".to_owned(), |value| show(value, unit))
}

fn show(value: f64, (unit, digits): Unit) -> String {
    format!("{value:.digits$} {unit}")
}

/// Samples are told in milliseconds.
fn in_seconds(milliseconds: f64) -> f64 {
    milliseconds / 1e3
}

fn median(samples: &[Duration]) -> Option<f64> {
    at_rank(samples, samples.len() / 2)
}

/// Of fifty samples this is the largest.
fn percentile_99(samples: &[Duration]) -> Option<f64> {
    at_rank(samples, (samples.len() * 99).div_ceil(100).saturating_sub(1))
}

fn largest(samples: &[Duration]) -> Option<f64> {
    at_rank(samples, samples.len().saturating_sub(1))
}

fn at_rank(samples: &[Duration], rank: usize) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(rank).map(|sample| sample.as_secs_f64() * 1e3)
}

fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a text cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
