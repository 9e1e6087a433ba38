//! Cost against violations: one mark for each policy, a circle for this engine and a square for others.

use super::axis::{Scale, count};
use super::svg::{at, escaped, line, text};
use super::{Plot, WIDTH, cost, is_own, percent};
use crate::simulation::comparison::Outcome;

const LEFT: f64 = 90.0;
const RIGHT: f64 = WIDTH - 24.0;
const HEIGHT: f64 = 330.0;
/// A thousandth of the messages is where the logarithm begins.
const UNIT: f64 = 0.001;
/// About what a letter of a name takes, and a line, in pixels.
const LETTER: f64 = 8.2;
const LINE: f64 = 15.0;

/// The chart below `top`, and where it ends.
pub(super) fn draw(plot: &Plot<'_>, top: f64) -> (String, f64) {
    let (begin, end) = (top + 36.0, top + 36.0 + HEIGHT);
    let dearest = plot.outcomes.iter().map(|one| one.figure(|report| report.consumer_seconds).high);
    let dearest = 1.08 * dearest.fold(0.0, f64::max);
    let cheapest = plot.outcomes.iter().map(cost).fold(f64::INFINITY, f64::min);
    let (shares, costs) = (Scale::log(UNIT, 1.0), Scale::new(dearest, cheapest));
    let x = |share: f64| LEFT + shares.place(share) * (RIGHT - LEFT);
    let y = |cost: f64| end - costs.place(cost) * (end - begin);

    let mut body = text("head", 24.0, top, "Cost against violations");
    body.push_str(&text(
        "quiet",
        24.0,
        top + 18.0,
        &format!(
            "consumer-seconds{} (up) and share of messages that waited longer than {} s (right); the lower left is best",
            costs.word(),
            count(plot.goal())
        ),
    ));
    for share in shares.ticks(5) {
        body.push_str(&line("grid", (x(share), begin), (x(share), end)));
        body.push_str(&text("mid", x(share), end + 16.0, &format!("{} %", count(100.0 * share))));
    }
    for cost in costs.ticks(5) {
        body.push_str(&line("grid", (LEFT, y(cost)), (RIGHT, y(cost))));
        body.push_str(&text("end", LEFT - 8.0, y(cost) + 4.0, &count(cost)));
    }
    if let Some(outcome) = plot.outcomes.first() {
        let least = outcome.figure(|report| report.least_consumer_seconds).mean;
        body.push_str(&line("least", (LEFT, y(least)), (RIGHT, y(least))));
        body.push_str(&text("end", RIGHT, y(least) - 4.0, "the least that the work takes"));
    }
    let places: Vec<(f64, f64)> = plot
        .outcomes
        .iter()
        .map(|one| (x(one.figure(|report| report.over_goal).mean), y(cost(one))))
        .collect();
    let mut taken: Vec<Area> = places.iter().map(|&(x, y)| Area::new(x - 6.0, y - 6.0, 12.0, 12.0)).collect();
    for (outcome, &place) in plot.outcomes.iter().zip(&places) {
        if plot.seeds > 1 {
            let (share, cost) =
                (outcome.figure(|report| report.over_goal), outcome.figure(|report| report.consumer_seconds));
            body.push_str(&line("bar", (x(share.low), place.1), (x(share.high), place.1)));
            body.push_str(&line("bar", (place.0, y(cost.low)), (place.0, y(cost.high))));
        }
        body.push_str(&mark(outcome, place));
        let name = outcome.policy.to_string();
        let area = free(place, name.len() as f64 * LETTER, (begin, end), &taken);
        let class = if is_own(outcome.policy) { "ownname" } else { "name" };
        body.push_str(&text(class, area.left, area.top + 11.5, &name));
        taken.push(area);
    }
    (body, end + 64.0)
}

fn mark(outcome: &Outcome, (x, y): (f64, f64)) -> String {
    let words = escaped(&format!(
        "{}: {} over the goal, {} consumer-seconds",
        outcome.policy,
        percent(outcome),
        count(cost(outcome).round())
    ));
    if is_own(outcome.policy) {
        format!(
            "<circle class=\"owndot\" cx=\"{}\" cy=\"{}\" r=\"6\"><title>{words}</title></circle>\n",
            at(x),
            at(y)
        )
    } else {
        let (left, top) = (at(x - 5.0), at(y - 5.0));
        format!(
            "<rect class=\"dot\" x=\"{left}\" y=\"{top}\" width=\"10\" height=\"10\"><title>{words}</title></rect>\n"
        )
    }
}

/// A rectangle that is written in.
#[derive(Clone, Copy, Debug)]
struct Area {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Area {
    fn new(left: f64, top: f64, width: f64, height: f64) -> Self {
        Self { left, top, width, height }
    }

    /// How much of it another one covers.
    fn shared(&self, other: &Self) -> f64 {
        let along = (self.left + self.width).min(other.left + other.width) - self.left.max(other.left);
        let down = (self.top + self.height).min(other.top + other.height) - self.top.max(other.top);
        along.max(0.0) * down.max(0.0)
    }
}

/// The nearest place for a name beside its mark where nothing else stands, or else where least does.
fn free((x, y): (f64, f64), width: f64, (begin, end): (f64, f64), taken: &[Area]) -> Area {
    let mut best: Option<(f64, Area)> = None;
    for away in 0..12 {
        let shift = f64::from(away) * LINE * 0.5;
        let sides = [x + 10.0, x - 10.0 - width, x - width / 2.0];
        for (side, left) in sides.into_iter().enumerate() {
            for down in [-shift, shift] {
                // Above and below the mark only where its own line is left.
                let area = Area::new(left, y - LINE / 2.0 + down, width, LINE);
                let within =
                    left >= LEFT && left + width <= RIGHT && area.top >= begin && area.top + LINE <= end;
                if !within || (side == 2 && shift < LINE) {
                    continue;
                }
                let shared: f64 = taken.iter().map(|other| area.shared(other)).sum();
                if shared == 0.0 {
                    return area;
                }
                if best.is_none_or(|(least, _)| shared < least) {
                    best = Some((shared, area));
                }
            }
        }
    }
    best.map_or(Area::new(x + 10.0, y - LINE / 2.0, width, LINE), |(_, area)| area)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_marks_at_one_place_do_not_cover_each_other() {
        let place = (300.0, 200.0);
        let mut taken = vec![Area::new(294.0, 194.0, 12.0, 12.0)];
        for _ in 0..10 {
            let area = free(place, 90.0, (50.0, 350.0), &taken);
            assert!(taken.iter().all(|other| area.shared(other) == 0.0), "{area:?} {taken:?}");
            taken.push(area);
        }
    }
}
