//! The one collector: every metric family, made from the snapshot and the histograms.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::controller::handle::{Histogram, Histograms};
use crate::controller::snapshot::{
    BudgetView, ProcessView, ProgramView, QueueView, RolloutView, ScheduleView, Snapshot,
};

/// Every state of a process, so that a sum over states never jumps because one of them is empty.
const STATES: [&str; 7] = ["stopped", "starting", "running", "stopping", "backoff", "exited", "failed"];

const QUEUE_LABELS: &[&str] = &["program", "broker", "queue"];
const PROCESS_LABELS: &[&str] = &["program", "process"];

/// The families of one scrape.
pub(super) struct SnapshotCollector {
    descriptions: Vec<Desc>,
    families: Vec<MetricFamily>,
}

impl SnapshotCollector {
    /// The families of `snapshot` and `histograms`. One without any series is left out.
    ///
    /// # Errors
    /// Where a name or label breaks the rules of Prometheus.
    pub(super) fn new(snapshot: &Snapshot, histograms: &Histograms) -> Result<Self, prometheus::Error> {
        let mut collector = Self { descriptions: Vec::new(), families: Vec::new() };
        collector.add_whole(snapshot)?;
        collector.add_programs(&snapshot.programs)?;
        collector.add_processes(&snapshot.programs)?;
        collector.add_queues(&snapshot.programs)?;
        collector.add_scaling(&snapshot.programs)?;
        collector.add_schedules(&snapshot.programs)?;
        collector.add_rollouts(&snapshot.programs)?;
        collector.add_durations(histograms)?;
        Ok(collector)
    }

    fn add_whole(&mut self, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
        let version = vec![(vec![snapshot.version.as_str()], 1.0)];
        self.gauges("leveret_build_info", "Always 1; the version is a label.", &["version"], version)?;
        let flag = |value: bool| vec![(vec![], f64::from(u8::from(value)))];
        self.gauges(
            "leveret_ready",
            "1 once every program that starts with Leveret has had what it wants.",
            &[],
            flag(snapshot.ready),
        )?;
        self.gauges(
            "leveret_config_error",
            "1 while the configuration file has errors and the running configuration stays.",
            &[],
            flag(snapshot.config_error.is_some()),
        )?;
        self.counters(
            "leveret_controller_restarts_total",
            "Controllers before this one.",
            &[],
            vec![(vec![], f64::from(snapshot.controller_restarts))],
        )?;
        let up = |state: &str| f64::from(u8::from(state == "connected"));
        let brokers = snapshot.brokers.iter().map(|broker| (vec![broker.name.as_str()], up(&broker.state)));
        self.gauges("leveret_broker_up", "1 while the broker is connected.", &["broker"], brokers.collect())?;
        let of = |value: fn(&BudgetView) -> u64| {
            let samples =
                snapshot.budgets.iter().map(|budget| (vec![budget.name.as_str()], value(budget) as f64));
            samples.collect()
        };
        self.gauges(
            "leveret_budget_limit",
            "How much of it all programs together may use; memory in bytes.",
            &["budget"],
            of(|budget| budget.limit),
        )?;
        self.gauges(
            "leveret_budget_used",
            "How much of it everything uses that lives; memory in bytes.",
            &["budget"],
            of(|budget| budget.used),
        )
    }

    fn add_programs(&mut self, programs: &[ProgramView]) -> Result<(), prometheus::Error> {
        let states = programs.iter().flat_map(|program| {
            STATES.iter().map(move |state| {
                let count = program.processes.iter().filter(|process| process.state == *state).count();
                (vec![program.name.as_str(), *state], count as f64)
            })
        });
        self.gauges("leveret_processes", "Processes by state.", &["program", "state"], states.collect())?;
        let desired = programs.iter().map(|program| (vec![program.name.as_str()], program.desired.into()));
        self.gauges(
            "leveret_processes_desired",
            "How many processes there should be.",
            &["program"],
            desired.collect(),
        )?;
        self.counters(
            "leveret_process_restarts_total",
            "Processes that were started again, by reason.",
            &["program", "reason"],
            counts(programs, |program| &program.restarts_by_reason),
        )?;
        let dropped =
            programs.iter().map(|program| (vec![program.name.as_str()], program.log_dropped_bytes as f64));
        self.counters(
            "leveret_log_dropped_bytes_total",
            "Output that could not be written, as on a full disk, in bytes.",
            &["program"],
            dropped.collect(),
        )
    }

    fn add_processes(&mut self, programs: &[ProgramView]) -> Result<(), prometheus::Error> {
        self.gauges(
            "leveret_process_uptime_seconds",
            "Time since the process was started, in seconds.",
            PROCESS_LABELS,
            by_process(programs, |process| process.uptime_seconds),
        )?;
        self.gauges(
            "leveret_process_start_time_seconds",
            "When the process was started, in seconds since 1970.",
            PROCESS_LABELS,
            by_process(programs, |process| process.start_time_seconds),
        )?;
        self.counters(
            "leveret_process_cpu_seconds_total",
            "Processor time that the process has used, in seconds.",
            PROCESS_LABELS,
            by_process(programs, |process| process.cpu_seconds),
        )?;
        self.gauges(
            "leveret_process_resident_memory_bytes",
            "Resident memory of the process, in bytes.",
            PROCESS_LABELS,
            by_process(programs, |process| process.memory_bytes.map(|bytes| bytes as f64)),
        )
    }

    fn add_queues(&mut self, programs: &[ProgramView]) -> Result<(), prometheus::Error> {
        self.gauges(
            "leveret_queue_messages_ready",
            "Messages ready for delivery at the last reading.",
            QUEUE_LABELS,
            by_queue(programs, |queue| queue.ready.map(|messages| messages as f64)),
        )?;
        self.gauges(
            "leveret_queue_messages_unacknowledged",
            "Messages delivered and not acknowledged at the last reading, where the broker tells.",
            QUEUE_LABELS,
            by_queue(programs, |queue| queue.unacked.map(|messages| messages as f64)),
        )?;
        self.gauges(
            "leveret_queue_consumers",
            "Consumers of the queue at the last reading, ours and others'.",
            QUEUE_LABELS,
            by_queue(programs, |queue| queue.consumers.map(|consumers| consumers as f64)),
        )?;
        self.gauges(
            "leveret_queue_sample_age_seconds",
            "Age of the last reading of the queue, in seconds.",
            QUEUE_LABELS,
            by_queue(programs, |queue| queue.age_seconds),
        )?;
        self.gauges(
            "leveret_queue_wait_goal_seconds",
            "How long a message in the queue may wait, in seconds.",
            QUEUE_LABELS,
            by_queue(programs, |queue| queue.wait_goal_seconds),
        )?;
        self.gauges(
            "leveret_queue_wait_predicted_seconds",
            "How long a message that arrives in the queue now is expected to wait, in seconds.",
            QUEUE_LABELS,
            by_queue(programs, |queue| queue.wait_predicted_seconds),
        )?;
        self.gauges(
            "leveret_queue_starved",
            "1 while the queue misses its goal because one that comes before it takes what it would need.",
            QUEUE_LABELS,
            by_queue(programs, |queue| {
                let is_consumed = queue.wait_goal_seconds.is_some();
                is_consumed.then(|| f64::from(u8::from(queue.starved_by.is_some())))
            }),
        )
    }

    fn add_scaling(&mut self, programs: &[ProgramView]) -> Result<(), prometheus::Error> {
        let seconds = |value: fn(&ProgramView) -> Option<f64>| {
            let samples = programs.iter().filter_map(|program| {
                let value = value(program)?;
                Some((vec![program.name.as_str()], value))
            });
            samples.collect()
        };
        self.counters(
            "leveret_scaling_decisions_total",
            "Decisions of the scaling engine, by direction.",
            &["program", "direction"],
            counts(programs, |program| &program.decisions_by_direction),
        )?;
        self.gauges(
            "leveret_scaling_processes_wanted",
            "Processes that the engine would have if budgets were enough for all.",
            &["program"],
            seconds(|program| program.wanted.map(f64::from)),
        )?;
        self.gauges(
            "leveret_scaling_wait_goal_seconds",
            "How long a message may wait, in seconds; of several queues, the shortest goal.",
            &["program"],
            seconds(|program| program.wait_goal_seconds),
        )?;
        self.gauges(
            "leveret_scaling_wait_predicted_seconds",
            "How long a message that arrives now is expected to wait, in seconds, in the queue with that goal.",
            &["program"],
            seconds(|program| program.wait_predicted_seconds),
        )
    }

    fn add_rollouts(&mut self, programs: &[ProgramView]) -> Result<(), prometheus::Error> {
        let of = |value: fn(&RolloutView) -> f64| {
            let samples = programs.iter().filter_map(|program| {
                let rollout = program.rollout.as_ref()?;
                Some((vec![program.name.as_str()], value(rollout)))
            });
            samples.collect()
        };
        self.gauges(
            "leveret_rollout_in_progress",
            "1 while a rolling restart of the program goes on.",
            &["program"],
            of(|rollout| f64::from(u8::from(matches!(rollout.state.as_str(), "canary" | "rolling")))),
        )?;
        self.gauges(
            "leveret_rollout_halted",
            "1 when the newest rolling restart of the program was halted because a new process failed.",
            &["program"],
            of(|rollout| f64::from(u8::from(rollout.state == "halted"))),
        )?;
        self.gauges(
            "leveret_rollout_processes",
            "Processes that the newest rolling restart of the program has to replace.",
            &["program"],
            of(|rollout| rollout.total.into()),
        )?;
        self.gauges(
            "leveret_rollout_processes_replaced",
            "Processes that the newest rolling restart of the program has replaced.",
            &["program"],
            of(|rollout| rollout.replaced.into()),
        )
    }

    fn add_schedules(&mut self, programs: &[ProgramView]) -> Result<(), prometheus::Error> {
        let moments = |value: fn(&ScheduleView) -> Option<f64>| {
            let samples = programs.iter().filter_map(|program| {
                let value = program.schedule.as_ref().and_then(value)?;
                Some((vec![program.name.as_str()], value))
            });
            samples.collect()
        };
        self.gauges(
            "leveret_schedule_last_success_time_seconds",
            "When a run of the schedule ended well for the last time, in seconds since 1970.",
            &["program"],
            moments(|schedule| schedule.last_success_seconds),
        )?;
        self.gauges(
            "leveret_schedule_next_run_time_seconds",
            "When the next run of the schedule begins, in seconds since 1970.",
            &["program"],
            moments(|schedule| schedule.next_run_seconds),
        )?;
        let runs = programs.iter().flat_map(|program| {
            let by_result = program.schedule.iter().flat_map(|schedule| &schedule.runs_by_result);
            by_result.map(|(result, count)| (vec![program.name.as_str(), result.as_str()], *count as f64))
        });
        self.counters(
            "leveret_schedule_runs_total",
            "Runs of the schedule, by result.",
            &["program", "result"],
            runs.collect(),
        )
    }

    fn add_durations(&mut self, histograms: &Histograms) -> Result<(), prometheus::Error> {
        self.histograms(
            "leveret_probe_duration_seconds",
            "Time to read all queues of a broker once, in seconds.",
            "broker",
            &histograms.probe,
        )?;
        self.histograms(
            "leveret_stop_duration_seconds",
            "Time from the stop signal to the end of the last process, in seconds.",
            "program",
            &histograms.stop,
        )
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        samples: Vec<Sample<'_>>,
    ) -> Result<(), prometheus::Error> {
        let metrics = samples.into_iter().map(|(values, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = labelled(labels, &values);
            metric.set_gauge(gauge);
            metric
        });
        self.add(name, help, labels, MetricType::GAUGE, metrics.collect())
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        samples: Vec<Sample<'_>>,
    ) -> Result<(), prometheus::Error> {
        let metrics = samples.into_iter().map(|(values, value)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = labelled(labels, &values);
            metric.set_counter(counter);
            metric
        });
        self.add(name, help, labels, MetricType::COUNTER, metrics.collect())
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        histograms: &[(String, Histogram)],
    ) -> Result<(), prometheus::Error> {
        let metrics = histograms.iter().map(|(value, histogram)| {
            let mut metric = labelled(&[label], &[value.as_str()]);
            metric.set_histogram(cumulative(histogram));
            metric
        });
        self.add(name, help, &[label], MetricType::HISTOGRAM, metrics.collect())
    }

    fn add(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        kind: MetricType,
        metrics: Vec<Metric>,
    ) -> Result<(), prometheus::Error> {
        if metrics.is_empty() {
            return Ok(());
        }
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.descriptions.push(Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?);
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.families.push(family);
        Ok(())
    }
}

impl Collector for SnapshotCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.families.clone()
    }
}

/// The values of a series' labels, and its value.
type Sample<'a> = (Vec<&'a str>, f64);

fn by_process(programs: &[ProgramView], value: fn(&ProcessView) -> Option<f64>) -> Vec<Sample<'_>> {
    let processes = programs.iter().flat_map(|program| program.processes.iter().map(move |p| (program, p)));
    let samples = processes.filter_map(|(program, process)| {
        let value = value(process)?;
        Some((vec![program.name.as_str(), process.id.as_str()], value))
    });
    samples.collect()
}

fn by_queue(programs: &[ProgramView], value: fn(&QueueView) -> Option<f64>) -> Vec<Sample<'_>> {
    let queues = programs.iter().flat_map(|program| program.queues.iter().map(move |queue| (program, queue)));
    let samples = queues.filter_map(|(program, queue)| {
        let value = value(queue)?;
        Some((vec![program.name.as_str(), queue.broker.as_str(), queue.queue.as_str()], value))
    });
    samples.collect()
}

fn counts(
    programs: &[ProgramView],
    map: fn(&ProgramView) -> &std::collections::BTreeMap<String, u64>,
) -> Vec<Sample<'_>> {
    let counts = programs.iter().flat_map(|program| {
        map(program)
            .iter()
            .map(move |(key, count)| (vec![program.name.as_str(), key.as_str()], *count as f64))
    });
    counts.collect()
}

fn labelled(names: &[&str], values: &[&str]) -> Metric {
    let pairs = names.iter().zip(values).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

/// Prometheus counts each bucket from below; ours are apart.
fn cumulative(histogram: &Histogram) -> prometheus::proto::Histogram {
    let mut below = 0;
    let buckets = histogram.bounds.iter().zip(&histogram.counts).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut result = prometheus::proto::Histogram::default();
    result.set_bucket(buckets.collect());
    result.set_sample_count(histogram.count);
    result.set_sample_sum(histogram.sum);
    result
}
