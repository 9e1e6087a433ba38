//! What a recorded load would have come to with the processes that there were, and with the engine. Values only, and long in
//! computing.

use std::time::Duration;

use super::flow::Flow;
use super::programs::Program;
use super::recording::{QueueRecord, Recording};
use crate::amqp::fact::{NoFlow, Trap};
use crate::cli::text::{percent, tenths};
use crate::core::time::human;
use crate::core::words::{counted, grouped};
use crate::scaling::profile::Profile;
use crate::simulation::advice::{Advice, Setting, advise};
use crate::simulation::csv::Trace;
use crate::simulation::queue::Scenario;

/// Fewer messages, or a shorter time, say nothing of what a load is like.
const DONE_LEAST: u64 = 50;
const SECONDS_LEAST: f64 = 60.0;
/// No more processes than so many times the present number are advised: what is behind them may not bear it.
const TIMES_MOST: u32 = 4;
/// The most processes of a program. Source: the schema of the configuration.
const PROCESSES_MOST: u32 = 1_000;
/// What the engine used at the most is exceeded some day.
const HEADROOM: f64 = 1.25;
/// A consumer that takes ahead without a limit is reckoned with so many messages.
const UNLIMITED_PREFETCH: u32 = 100;
/// Up to so many messages, chance is evened out over several seeds.
const MESSAGES_FEW: u64 = 20_000;
const SEEDS_OF_FEW: u32 = 3;

/// What there is to say of a program.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It was computed what the engine would have done.
    Compared(Box<Compared>),
    /// Too little is known. Why, as a sentence without its end.
    Unsure(String),
    /// More processes would not do more, or nobody knows from which queue they take.
    NotScaled(String),
}

/// What a program would be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compared {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) profile: Profile,
    /// Consumers at present, those elsewhere included.
    pub(super) present: u32,
    pub(super) flow: Flow,
    pub(super) setting: Setting,
    pub(super) advice: Advice,
}

/// The goal and what else nobody can see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    pub(super) wait: Duration,
    pub(super) startup: Duration,
    /// How many processes may be starting at one time.
    pub(super) start_limit: u32,
}

/// What is to be said of a program. `progress` is called while it computes.
pub(super) fn verdict(
    program: &Program,
    recording: &Recording,
    circumstances: Circumstances,
    progress: &dyn Fn(),
) -> Verdict {
    let records: Vec<&QueueRecord> =
        program.queues.iter().filter_map(|name| recording.queues.get(name)).collect();
    if program.polls_unknown || records.is_empty() {
        return Verdict::NotScaled(
            "it takes messages one by one (basic.get), and no broker tells from which queue; write `scale` in place of `processes`"
                .to_owned(),
        );
    }
    if let Some(trap) = records.iter().find_map(|record| record.trap) {
        return Verdict::NotScaled(match trap {
            Trap::Stream | Trap::SingleActiveConsumer | Trap::ExclusiveConsumer => {
                format!("{}, so that more processes would not empty it sooner", trap.words())
            }
        });
    }
    if program.queues.iter().any(|name| Some(name.vhost.as_str()) != program.vhost()) {
        return Verdict::NotScaled(
            "its queues are of several virtual hosts, and `scale` takes those of one".to_owned(),
        );
    }
    let mut whole = Flow::default();
    for record in &records {
        match super::flow::flow(&record.samples, record.mean_consumers()) {
            Ok(flow) => whole = whole.and(&flow),
            Err(why) => return Verdict::Unsure(no_flow(why)),
        }
    }
    if whole.done < DONE_LEAST || whole.seconds < SECONDS_LEAST {
        let done = match whole.done {
            0 => "no message was".to_owned(),
            done => counted(done, "message was", "messages were"),
        };
        let lasted = human(Duration::from_secs(whole.seconds as u64));
        return Verdict::Unsure(format!("in {lasted} {done} done, which is too little to say more"));
    }
    compared(program, &records, whole, circumstances, progress)
}

fn compared(
    program: &Program,
    records: &[&QueueRecord],
    flow: Flow,
    Circumstances { wait, startup, start_limit }: Circumstances,
    progress: &dyn Fn(),
) -> Verdict {
    let trace = match Trace::read(&flow.csv()) {
        Ok(trace) => trace,
        Err(error) => return Verdict::Unsure(error.what),
    };
    let Some(service) = flow.service() else { return Verdict::Unsure("no message was done".to_owned()) };
    let each = program.consumers_each;
    let most = records.iter().map(|record| record.mean_consumers()).fold(0.0, f64::max);
    // A process with several queues has a consumer at each, and works on one message.
    let present = (most.round() as u32).max(1);
    let unlimited = records.iter().any(|record| record.is_unlimited);
    let told = records.iter().filter_map(|record| record.prefetch).max().unwrap_or(1);
    let prefetch =
        if unlimited { UNLIMITED_PREFETCH } else { told.clamp(1, UNLIMITED_PREFETCH.into()) as u32 };
    let bound = (present * TIMES_MOST).clamp(TIMES_MOST, PROCESSES_MOST);
    let scenario = Scenario {
        wait,
        startup: startup.as_secs_f64(),
        start_limit,
        prefetch,
        min: 1,
        max: bound,
        ..Scenario::default()
    };
    let seeds = if flow.arrived() <= MESSAGES_FEW { SEEDS_OF_FEW } else { 1 };
    let advice = advise(&scenario, &|seed| trace.workload(seed, service), seeds, Some(present), progress);
    let [with_management, _] = &advice.advised;
    // What a short time lets hope for from a thriftier profile, another day may take back.
    let balanced = with_management.balanced;
    let setting = if balanced.course.is_kept() { balanced } else { with_management.setting() };
    let processes = |consumers: f64| (consumers / f64::from(each)).ceil() as u32;
    let min = processes(f64::from(setting.min)).max(1);
    let used = processes(setting.course.most_consumers * HEADROOM);
    let least = program.processes.min(PROCESSES_MOST).max(min);
    let max = used.clamp(least, PROCESSES_MOST.max(min));
    let profile = setting.profile;
    Verdict::Compared(Box::new(Compared { min, max, profile, present, flow, setting, advice }))
}

fn no_flow(why: Option<NoFlow>) -> String {
    match why {
        Some(NoFlow::AutomaticAcknowledgement) => {
            "messages count as done when they are delivered (no acknowledgement), so that nobody can tell how long one takes".to_owned()
        }
        Some(NoFlow::NotCounted) => "the broker counts no messages here, or there were none".to_owned(),
        None => "the broker told too little of its queue".to_owned(),
    }
}

impl Compared {
    /// What was seen, as a sentence.
    pub(super) fn seen(&self) -> String {
        let flow = &self.flow;
        let at_most = if flow.is_upper_bound { "at most " } else { "" };
        let service = flow.service().map_or_else(String::new, |service| {
            format!(", one took {at_most}{}", human(Duration::from_secs_f64(service)))
        });
        let wait = flow.wait_mean().map_or_else(String::new, |wait| {
            format!(", {} in the mean", human(Duration::from_secs_f64(wait)))
        });
        let before = match flow.before {
            0 => String::new(),
            before => format!(" ({} there at the begin)", grouped(before)),
        };
        format!(
            "In {} {} came{before}, {:.1} a second{service}; up to {} waited{wait}.",
            human(Duration::from_secs(flow.seconds as u64)),
            counted(flow.arrived(), "message", "messages"),
            flow.rate(),
            grouped(flow.ready_most),
        )
    }

    /// What it would have saved and missed, as sentences.
    pub(super) fn sentences(&self, program: &str, wait: Duration) -> Vec<String> {
        let Some(present) = &self.advice.present else { return Vec::new() };
        let goal = human(wait);
        let course = &self.setting.course;
        let share = course.consumer_seconds / present.course.consumer_seconds.max(f64::MIN_POSITIVE);
        let kept = |over: f64| {
            if over == 0.0 {
                "all messages".to_owned()
            } else {
                format!("{} of messages", percent(1.0 - over))
            }
        };
        let mut sentences = vec![format!(
            "On this load {} x {program} keep the goal of {goal} for {}, and the longest waits {}; with the lines below, {}, for {:.0} % of the \
             consumer-hours ({} in place of {}).",
            present.processes,
            kept(present.course.over_goal),
            tenths(present.course.wait_max),
            match course.over_goal {
                0.0 => format!("all wait {} at most", tenths(course.wait_max)),
                over => format!(
                    "{} wait no longer, and the longest {}",
                    percent(1.0 - over),
                    tenths(course.wait_max)
                ),
            },
            100.0 * share,
            hours(course.consumer_seconds),
            hours(present.course.consumer_seconds),
        )];
        if !course.is_kept() {
            let [with_management, _] = &self.advice.advised;
            sentences.push(match with_management.longer {
                Some(longer) => format!("A goal of {} would be kept.", human(longer)),
                None => "No setting up to four times the present number keeps the goal.".to_owned(),
            });
        }
        match &self.advice.fixed {
            Some(fixed) if fixed.course.consumer_seconds <= course.consumer_seconds => sentences.push(format!(
                "A fixed {} would have done as well: within this time the load hardly changed. Observe longer, over a day.",
                fixed.processes
            )),
            Some(_) | None => {}
        }
        sentences
    }
}

/// Consumer-seconds as hours.
fn hours(seconds: f64) -> String {
    let hours = seconds / 3_600.0;
    if hours < 10.0 { format!("{hours:.2}") } else { grouped(hours.round() as u64) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::amqp::management::census::{Found, Standing};
    use crate::cli::observe::flow::tests::sample;
    use crate::cli::observe::programs::programs;
    use crate::cli::observe::recording::tests::{consumes, launched, name, place, taker};

    pub(in crate::cli::observe) const CIRCUMSTANCES: Circumstances =
        Circumstances { wait: Duration::from_secs(5), startup: Duration::from_secs(2), start_limit: 4 };

    /// Eight processes of which one is busy for ten minutes but for a minute with the work of ten.
    pub(in crate::cli::observe) fn recorded(minutes: u64) -> Recording {
        let mut recording = Recording::default();
        let takers = (1_000..1_008).map(|port| taker(port, consumes("orders"))).collect();
        let found = Found { takers, ..Found::default() };
        recording.note_look(0, &found, place, |_| Some(launched("php bin/console messenger:consume orders")));
        let record = recording.queues.get_mut(&name("orders")).unwrap();
        let (mut ready, mut done, mut published) = (0u64, 0, 0);
        record.samples.push(sample(0, (0, 1), (0, 0)));
        for step in 1..=minutes * 12 {
            // One takes half a second, so that eight do 80 in 5 s.
            let came = if (60..72).contains(&step) { 100 } else { 10 };
            published += came;
            let worked = (ready + came).min(80);
            (ready, done) = (ready + came - worked, done + worked);
            let busy = if ready > 0 { 8 } else { 1 };
            record.samples.push(sample(step * 5, (ready, busy), (done, published)));
        }
        recording
    }

    #[test]
    fn eight_that_mostly_rest_are_told_what_the_engine_would_save_and_what_they_missed() {
        let recording = recorded(10);
        let program = &programs(&recording)[0];
        let Verdict::Compared(compared) = verdict(program, &recording, CIRCUMSTANCES, &|| ()) else {
            panic!("ten minutes with two thousand messages are enough");
        };
        assert_eq!((compared.present, compared.flow.before), (8, 1));
        let present = compared.advice.present.unwrap();
        assert!(!present.course.is_kept() && compared.setting.course.is_kept(), "{compared:?}");
        assert!(compared.setting.course.consumer_seconds < 0.5 * present.course.consumer_seconds);
        assert!(compared.max >= 10 && compared.max <= 32 && compared.min == 1, "{compared:?}");
        let told = compared.sentences(&program.name, CIRCUMSTANCES.wait).join(" ");
        assert!(told.starts_with("On this load 8 x orders keep the goal of 5s for "), "{told}");
        assert!(
            compared.seen().starts_with("In 10m 2,281 messages came (1 there at the begin), 3.8 a second")
        );
    }

    #[test]
    fn too_little_is_said_to_be_too_little() {
        let unsure = |recording: &Recording, expected: &str| {
            let program = &programs(recording)[0];
            match verdict(program, recording, CIRCUMSTANCES, &|| ()) {
                Verdict::Unsure(why) => assert!(why.contains(expected), "{why}"),
                other @ (Verdict::Compared(_) | Verdict::NotScaled(_)) => panic!("{other:?}"),
            }
        };
        let mut short = recorded(10);
        let record = short.queues.get_mut(&name("orders")).unwrap();
        record.samples.truncate(11);
        unsure(&short, "in 50s 100 messages were done, which is too little");
        record_of(&mut short).samples.truncate(1);
        unsure(&short, "told too little");
        record_of(&mut short).samples[0].flow = Err(NoFlow::AutomaticAcknowledgement);
        unsure(&short, "count as done when they are delivered");
    }

    fn record_of(recording: &mut Recording) -> &mut QueueRecord {
        recording.queues.get_mut(&name("orders")).unwrap()
    }

    #[test]
    fn a_queue_that_more_processes_do_not_empty_sooner_is_not_scaled() {
        let mut recording = recorded(2);
        let standing = Standing { figures: None, trap: Some(Trap::SingleActiveConsumer) };
        recording.note_standings(1, &[(name("orders"), standing)].into());
        let program = &programs(&recording)[0];
        let told = verdict(program, &recording, CIRCUMSTANCES, &|| ());
        assert!(matches!(&told, Verdict::NotScaled(why) if why.contains("one active consumer")), "{told:?}");
    }
}
