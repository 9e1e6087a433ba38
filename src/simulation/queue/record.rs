//! What is written down of a run while it lasts, and the report that comes of it.

use crate::core::time::Time;
use crate::simulation::queue::scenario::Scenario;
use crate::simulation::report::{Report, quantile};
use crate::simulation::workload::Workload;

/// Two changes of direction within this time count as one reversal.
const REVERSAL_SECONDS: f64 = 300.0;
/// What arrived within this time is the work that consumers are held against.
const WORK_WINDOW_SECONDS: usize = 10;

/// A run, as far as anybody wants to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The figures.
    pub report: Report,
    /// One moment a second, where they were asked for.
    pub moments: Vec<Moment>,
    /// The figures of each queue, where there are several.
    pub queues: Vec<Report>,
}

/// How things stood at a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Messages ready.
    pub ready: u64,
    /// Consumers past their start-up, those that are ending included.
    pub running: u32,
    /// All consumers.
    pub consumers: u32,
    /// How long the oldest message has waited, in seconds.
    pub oldest: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    waits: Vec<f64>,
    report: Report,
    moments: Option<Vec<Moment>>,
    now: Time,
    consumer_micros: u64,
    direction: Option<(bool, f64)>,
    /// Consumers that the arriving work takes, by second.
    work: Vec<f32>,
    short_since: Option<usize>,
    max: u32,
}

impl Record {
    pub(super) fn new(workload: &Workload, scenario: &Scenario, with_moments: bool) -> Self {
        Self {
            waits: Vec::with_capacity(workload.messages.len()),
            report: Report::default(),
            moments: with_moments.then(Vec::new),
            now: Time::default(),
            consumer_micros: 0,
            direction: None,
            work: arriving_work(workload),
            short_since: None,
            max: scenario.max,
        }
    }

    /// Time passes while there are so many consumers.
    pub(super) fn pass_time(&mut self, now: Time, consumers: u32) {
        self.consumer_micros += (now.as_micros() - self.now.as_micros()) * u64::from(consumers);
        self.now = now;
    }

    pub(super) fn waited(&mut self, seconds: f64) {
        self.waits.push(seconds.max(0.0));
    }

    pub(super) fn worked(&mut self, seconds: f64) {
        self.report.busy_seconds += seconds;
    }

    pub(super) fn busy_stop(&mut self) {
        self.report.busy_stops += 1;
    }

    /// The number of live consumers was changed.
    pub(super) fn changed(&mut self, up: bool) {
        let now = self.now.as_seconds();
        if self.direction.is_some_and(|(was_up, at)| was_up != up && now - at < REVERSAL_SECONDS) {
            self.report.reversals += 1;
        }
        self.direction = Some((up, now));
    }

    pub(super) fn peak(&mut self, consumers: u32) {
        self.report.most_consumers = self.report.most_consumers.max(consumers);
    }

    /// A second has passed.
    pub(super) fn second(&mut self, second: usize, moment: Moment) {
        let work = self.work.get(second).copied().unwrap_or_default().min(self.max as f32);
        if f64::from(moment.running) < f64::from(work) {
            let since = *self.short_since.get_or_insert(second);
            let lasted = (second + 1 - since) as f64;
            self.report.time_to_capacity = self.report.time_to_capacity.max(lasted);
        } else {
            self.short_since = None;
        }
        if let Some(moments) = &mut self.moments {
            moments.push(moment);
        }
    }

    pub(super) fn messages_waited(&self) -> usize {
        self.waits.len()
    }

    /// What happened at another queue in the same run.
    pub(super) fn absorb(&mut self, other: Self) {
        self.waits.extend(other.waits);
        self.consumer_micros += other.consumer_micros;
        self.now = self.now.max(other.now);
        let (own, of_other) = (&mut self.report, other.report);
        own.busy_seconds += of_other.busy_seconds;
        own.busy_stops += of_other.busy_stops;
        own.reversals += of_other.reversals;
        own.time_to_capacity = own.time_to_capacity.max(of_other.time_to_capacity);
        own.most_consumers = own.most_consumers.max(of_other.most_consumers);
        if let (Some(moments), Some(others)) = (&mut self.moments, other.moments) {
            for (moment, other) in moments.iter_mut().zip(others) {
                moment.ready += other.ready;
                moment.running += other.running;
                moment.consumers += other.consumers;
                moment.oldest = moment.oldest.max(other.oldest);
            }
        }
    }

    /// The run is over. `consumed` messages were, `starts` consumers were started, `left` are there.
    pub(super) fn finish(mut self, workload: &Workload, scenario: &Scenario, end: &End) -> Run {
        let goal = scenario.wait.as_secs_f64();
        let over = self.waits.iter().filter(|&&wait| wait > goal).count();
        self.waits.sort_unstable_by(f64::total_cmp);
        let messages = self.waits.len();
        let wait = |share| quantile(&self.waits, share);
        let report = Report {
            messages,
            left_over: messages - end.consumed,
            wait_p50: wait(0.5),
            wait_p95: wait(0.95),
            wait_p99: wait(0.99),
            wait_max: wait(1.0),
            over_goal: over as f64 / messages.max(1) as f64,
            worst_queue_over_goal: over as f64 / messages.max(1) as f64,
            consumer_seconds: self.consumer_micros as f64 / 1e6,
            least_consumer_seconds: workload.work().max(f64::from(scenario.min) * workload.length),
            seconds: self.now.as_seconds(),
            starts: end.starts,
            consumers_at_end: end.consumers,
            ..self.report
        };
        Run { report, moments: self.moments.unwrap_or_default(), queues: Vec::new() }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    pub(super) consumed: usize,
    pub(super) starts: u32,
    pub(super) consumers: u32,
}

/// For each second, how many consumers the work takes that arrived within the window before.
fn arriving_work(workload: &Workload) -> Vec<f32> {
    let mut arrived = vec![0.0_f64; workload.length.ceil() as usize + 1];
    let last = arrived.len() - 1;
    for message in &workload.messages {
        arrived[(message.arrival as usize).min(last)] += message.service;
    }
    let mut within = 0.0;
    let window = WORK_WINDOW_SECONDS;
    (0..arrived.len())
        .map(|second| {
            // What arrived in this very second is not over yet.
            let left = if second > window { arrived[second - window - 1] } else { 0.0 };
            within += if second > 0 { arrived[second - 1] } else { 0.0 } - left;
            (within / window as f64).max(0.0) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::workload::Message;

    #[test]
    fn the_arriving_work_is_that_of_the_ten_seconds_before() {
        let messages = vec![Message { arrival: 1.5, service: 30.0 }, Message { arrival: 4.0, service: 10.0 }];
        let work = arriving_work(&Workload { messages, length: 20.0, ..Workload::default() });
        let at = |second: usize| work[second];
        assert_eq!((at(1), at(2), at(4), at(5)), (0.0, 3.0, 3.0, 4.0));
        assert_eq!((at(11), at(12), at(14), at(15)), (4.0, 1.0, 1.0, 0.0));
    }

    #[test]
    fn a_way_back_within_five_minutes_is_a_reversal() {
        let mut record = Record::new(&Workload::default(), &Scenario::default(), false);
        for (at, up) in [(10.0, true), (20.0, true), (30.0, false), (329.0, true), (629.0, false)] {
            record.pass_time(Time::from_seconds(at), 0);
            record.changed(up);
        }
        assert_eq!(record.report.reversals, 2);
    }

    #[test]
    fn the_longest_time_with_too_few_consumers_is_the_time_to_capacity() {
        let messages = vec![Message { arrival: 0.0, service: 30.0 }];
        let workload = Workload { messages, length: 20.0, ..Workload::default() };
        let mut record = Record::new(&workload, &Scenario::default(), false);
        let moment = |running| Moment { ready: 0, running, consumers: running, oldest: 0.0 };
        for (second, running) in [(0, 0), (1, 2), (2, 2), (3, 3), (4, 2), (5, 3)] {
            record.second(second, moment(running));
        }
        assert_eq!(record.report.time_to_capacity, 2.0);
    }
}
