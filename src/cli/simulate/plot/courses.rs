//! Depth, wait and consumers over time: a row for each policy, all rows on the same scales.

use super::axis::{Scale, count, times};
use super::svg::{at, escaped, extremes, line, text};
use super::{Plot, WIDTH, cost, is_own, percent};
use crate::simulation::comparison::Outcome;
use crate::simulation::queue::Moment;

const LEFT: f64 = 190.0;
const GAP: f64 = 58.0;
const CELL: f64 = (WIDTH - LEFT - 24.0 - 2.0 * GAP) / 3.0;
const CELL_HEIGHT: f64 = 74.0;
const ROW: f64 = CELL_HEIGHT + 18.0;
/// Stretches of which the least and the most are drawn: about one for each pixel.
const STRETCHES: usize = 280;
/// What the words of a mark take, in pixels.
const WORDS_HEIGHT: f64 = 13.0;

/// One of the three columns.
struct Column {
    title: &'static str,
    unit: String,
    scale: Scale,
    value: fn(&Moment) -> f64,
    steps: bool,
}

/// The rows below `top`, and where they end.
pub(super) fn draw(plot: &Plot<'_>, top: f64) -> (String, f64) {
    let longest = plot.outcomes.iter().map(|outcome| outcome.moments.len()).max().unwrap_or(0);
    let seconds = (longest as f64).max(plot.length).max(1.0);
    let columns = columns(plot);
    let [_, wait, _] = &columns;
    let goal = CELL_HEIGHT * (1.0 - wait.scale.place(plot.goal()));
    let mut body = format!(
        "<clipPath id=\"over\"><rect x=\"0\" y=\"0\" width=\"{}\" height=\"{}\"/></clipPath>\n",
        at(CELL),
        at(goal)
    );
    body.push_str(&text("head", 24.0, top, "Over time"));
    if plot.seeds > 1 {
        body.push_str(&text("quiet", 24.0, top + 18.0, "of the first seed"));
    }
    for (column, left) in columns.iter().zip(lefts()) {
        body.push_str(&text("head", left, top, column.title));
        body.push_str(&text("quiet", left, top + 18.0, &column.unit));
    }
    let begin = top + 34.0;
    let marks = times(seconds, 5);
    for (index, outcome) in plot.outcomes.iter().enumerate() {
        let y = begin + index as f64 * ROW;
        body.push_str(&legend(outcome, plot.goal(), y));
        for (number, (column, left)) in columns.iter().zip(lefts()).enumerate() {
            body.push_str(&format!("<g transform=\"translate({} {})\">\n", at(left), at(y)));
            body.push_str(&frame(column, &marks, seconds));
            let id = (number == 1).then(|| format!("wait{index}"));
            body.push_str(&course(outcome, column, seconds, id.as_deref()));
            if let Some(id) = id {
                body.push_str(&format!(
                    "<g clip-path=\"url(#over)\"><use href=\"#{id}\" class=\"over\"/></g>\n"
                ));
                body.push_str(&line("goal", (0.0, goal), (CELL, goal)));
            }
            if number == 2 {
                body.push_str(&demand(plot, column, seconds));
            }
            body.push_str("</g>\n");
        }
    }
    let end = begin + plot.outcomes.len() as f64 * ROW;
    for left in lefts() {
        for (moment, words) in &marks {
            body.push_str(&text("mid", left + moment / seconds * CELL, end, words));
        }
    }
    (body, (end + 24.0).ceil())
}

fn lefts() -> [f64; 3] {
    [LEFT, LEFT + CELL + GAP, LEFT + 2.0 * (CELL + GAP)]
}

fn columns(plot: &Plot<'_>) -> [Column; 3] {
    let peak = |value: fn(&Moment) -> f64| {
        let peaks = plot.outcomes.iter().map(move |one| one.moments.iter().map(value).fold(0.0, f64::max));
        peaks.collect::<Vec<f64>>()
    };
    let most = |peaks: &[f64]| peaks.iter().copied().fold(0.0, f64::max);
    let depth: fn(&Moment) -> f64 = |moment| moment.ready as f64;
    let wait: fn(&Moment) -> f64 = |moment| moment.oldest;
    let consumers: fn(&Moment) -> f64 = |moment| f64::from(moment.consumers);
    let (depths, waits) = (peak(depth), peak(wait));
    let lowest = depths.iter().copied().fold(f64::INFINITY, f64::min).max(1.0);
    let depth_scale = Scale::new(most(&depths), lowest);
    let longest = most(&waits).max(1.2 * plot.goal());
    let wait_scale = match Scale::new(longest, plot.goal()) {
        even @ Scale::Linear { .. } => even,
        // The goal is to stand well above the ground.
        Scale::Log { unit, most } => Scale::log(unit / 10.0, most),
    };
    let consumer_scale = Scale::Linear { most: most(&peak(consumers)).max(most(plot.demand)).max(1.0) };
    [
        Column {
            title: "Messages ready",
            unit: format!("messages{}", depth_scale.word()),
            scale: depth_scale,
            value: depth,
            steps: false,
        },
        Column {
            title: "Wait of the oldest message",
            unit: format!("seconds{}; dashed: the goal", wait_scale.word()),
            scale: wait_scale,
            value: wait,
            steps: false,
        },
        Column {
            title: "Consumers",
            unit: "paid for; line: what the work takes".to_owned(),
            scale: consumer_scale,
            value: consumers,
            steps: true,
        },
    ]
}

fn legend(outcome: &Outcome, goal: f64, y: f64) -> String {
    let class = if is_own(outcome.policy) { "ownname" } else { "name" };
    let mut body = text(class, 24.0, y + 24.0, &outcome.policy.to_string());
    let over = format!("{} over {} s", percent(outcome), count(goal));
    body.push_str(&text("quiet", 24.0, y + 42.0, &over));
    body.push_str(&text("quiet", 24.0, y + 58.0, &format!("{} consumer-s", count(cost(outcome).round()))));
    body
}

fn frame(column: &Column, marks: &[(f64, String)], seconds: f64) -> String {
    let mut body = String::new();
    for (moment, _) in marks {
        let x = moment / seconds * CELL;
        body.push_str(&line("grid", (x, 0.0), (x, CELL_HEIGHT)));
    }
    let mut below = f64::INFINITY;
    for value in column.scale.ticks(3) {
        let y = CELL_HEIGHT * (1.0 - column.scale.place(value));
        body.push_str(&line(if value == 0.0 { "axis" } else { "grid" }, (0.0, y), (CELL, y)));
        // Words that would touch those below are left out.
        if below - y >= WORDS_HEIGHT {
            body.push_str(&text("end", -6.0, y + 4.0, &count(value)));
            below = y;
        }
    }
    body
}

/// The course as an area above the ground.
fn course(outcome: &Outcome, column: &Column, seconds: f64, id: Option<&str>) -> String {
    let values: Vec<f64> = outcome.moments.iter().map(column.value).collect();
    let points = extremes(&values, STRETCHES);
    let last = values.len().saturating_sub(1) as f64;
    let mut path = format!("M0 {}", at(CELL_HEIGHT));
    for (second, value) in points {
        let (x, y) = (at(second / seconds * CELL), at(CELL_HEIGHT * (1.0 - column.scale.place(value))));
        path.push_str(&if column.steps { format!("H{x}V{y}") } else { format!("L{x} {y}") });
    }
    path.push_str(&format!("L{} {}", at(last / seconds * CELL), at(CELL_HEIGHT)));
    // What is used a second time brings its own look there.
    let class = if is_own(outcome.policy) { "own" } else { "course" };
    match id {
        Some(id) => format!(
            "<defs><path id=\"{id}\" d=\"{path}\" style=\"fill:inherit\"/></defs><use href=\"#{id}\" class=\"{class}\"/>\n",
            id = escaped(id)
        ),
        None => format!("<path class=\"{class}\" d=\"{path}\"/>\n"),
    }
}

fn demand(plot: &Plot<'_>, column: &Column, seconds: f64) -> String {
    let stretch = plot.length / plot.demand.len().max(1) as f64;
    let mut path = String::new();
    for (index, value) in plot.demand.iter().enumerate() {
        let (from, to) = (index as f64 * stretch, (index + 1) as f64 * stretch);
        let y = at(CELL_HEIGHT * (1.0 - column.scale.place(*value)));
        let begin = if index == 0 {
            format!("M{} {y}", at(0.0))
        } else {
            format!("H{}V{y}", at(from / seconds * CELL))
        };
        path.push_str(&begin);
        if index + 1 == plot.demand.len() {
            path.push_str(&format!("H{}", at(to / seconds * CELL)));
        }
    }
    if path.is_empty() { String::new() } else { format!("<path class=\"demand\" d=\"{path}\"/>\n") }
}
