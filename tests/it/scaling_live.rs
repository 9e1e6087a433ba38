//! The same burst and step in the simulator and with real consumers on a real broker: what was predicted, what came, and the
//! difference. The figures are shown and not judged, because they are of this machine at this moment.

use std::time::Duration;

use leveret::scaling::input::Learned;
use leveret::scaling::profile::Profile;
use leveret::simulation::own::{Own, Signals};
use leveret::simulation::queue::{Scenario, run};
use leveret::simulation::report::{Report, quantile};
use leveret::simulation::workload::{Message, Workload};

use crate::support::consumer::Kind;
use crate::support::daemon::{Daemon, list};
use crate::support::ledger::{Entries, Ledger};
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::report::report;
use crate::support::scaled::{Scaled, config};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(120);
const WAIT: Duration = Duration::from_secs(5);
const WORK_MS: u32 = 200;
const MAX: u32 = 20;
/// How long nothing has come before the first message in the simulator, in seconds.
const QUIET: f64 = 10.0;
const SEEDS: u64 = 20;

/// What one of both came to.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    p50: f64,
    p95: f64,
    longest: f64,
    over_goal: f64,
    /// Beside the one that always runs.
    consumer_seconds: f64,
    most: f64,
}

#[test]
fn a_burst_and_a_step_of_real_consumers_are_compared_with_their_simulation() {
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let scale = format!("wait: {}s, min: 1, max: {MAX}", WAIT.as_secs());
    let cases = [("burst", burst()), ("step", step())]
        .map(|(name, moments)| (Scaled::new(name, Kind::Php, &scale).work_ms(WORK_MS), moments));
    cases.iter().for_each(|(program, _)| publish::declare_queue(&url, &program.queue));
    let yaml = config(cases.iter().map(|(program, _)| program));
    let mut daemon = Daemon::start_with_environment(&yaml, &[("AMQP_URL", &url)]);
    for (program, moments) in &cases {
        daemon.wait_program(&program.name, "one consumer that is seen", LIMIT, |view| {
            (view["running"] == 1 && view["queues"][0]["consumers"] == 1).then_some(())
        });
        let sent = publish::publish_at(&url, &program.queue, moments);
        wait_for_state("every message to be done and the least to remain", LIMIT, || {
            let (done, running) =
                (program.books().count_ended(), daemon.program(&program.name)["running"].as_u64());
            let is_over = done == moments.len() && running == Some(1);
            if is_over { Ok(()) } else { Err(format!("{done} are done, {running:?} run")) }
        });
        let startup = startup(&daemon, &program.name);
        let came = came(&program.books(), &sent, startup);
        let predicted = predicted(moments, startup);
        show(&program.name, moments.len(), startup, &predicted, &came);
        assert!(came.most > 1.0, "{}: nobody was added", program.name);
    }
    assert!(daemon.shut_down().success());
    daemon.assert_nothing_left();
    for (program, moments) in &cases {
        program.books().assert_exactly_once(0..u32::try_from(moments.len()).expect("they are few"));
        publish::delete_queue(&url, &program.queue);
    }
}

/// 500 messages as quickly as they can be sent.
fn burst() -> Vec<Duration> {
    vec![Duration::ZERO; 500]
}

/// 2 a second, from 5 s on 30, from 25 s on 2 again, until 35 s.
fn step() -> Vec<Duration> {
    let evenly = |from: u64, to: u64, rate: u64| {
        (0..(to - from) * rate)
            .map(move |number| Duration::from_secs(from) + Duration::from_secs(number) / rate as u32)
    };
    evenly(0, 5, 2).chain(evenly(5, 25, 30)).chain(evenly(25, 35, 2)).collect()
}

/// Seconds from the order to start a consumer until it consumes, as the daemon has learned.
fn startup(daemon: &Daemon, program: &str) -> f64 {
    let decisions = daemon.api_get("/api/v1/decisions?limit=1000");
    let newest = list(&decisions).iter().find(|decision| decision["program"] == program);
    let startup = newest.and_then(|decision| decision["inputs"]["startup_seconds"].as_f64());
    startup.unwrap_or_else(|| panic!("no start-up: {decisions:#}"))
}

/// What the books say. A consumer costs from its order on.
fn came(books: &Ledger, sent: &[u64], startup: f64) -> Figures {
    let begin = *sent.first().expect("there are messages");
    let second = |at_ms: u64| at_ms as f64 / 1e3 - begin as f64 / 1e3;
    let mut waits: Vec<f64> = books
        .consumers
        .values()
        .flat_map(|entries| &entries.begun)
        .map(|begun| second(begun.at_ms) - second(sent[begun.message as usize]))
        .collect();
    waits.sort_by(f64::total_cmp);
    // All have ended but the one that always runs.
    let life = |entries: &Entries| Some((second(entries.started_ms?) - startup, second(entries.stopped_ms?)));
    let lives: Vec<(f64, f64)> = books.consumers.values().filter_map(life).collect();
    let at = |moment: f64| 1 + lives.iter().filter(|(from, to)| (*from..*to).contains(&moment)).count();
    Figures {
        p50: quantile(&waits, 0.5),
        p95: quantile(&waits, 0.95),
        longest: quantile(&waits, 1.0),
        over_goal: waits.iter().filter(|wait| **wait > WAIT.as_secs_f64()).count() as f64
            / waits.len() as f64,
        consumer_seconds: lives.iter().map(|(from, to)| to - from).sum(),
        most: lives.iter().map(|(from, _)| at(*from)).max().unwrap_or(0) as f64,
    }
}

/// What the simulator says of it, in the mean over seeds: an engine that has learned nothing, over AMQP alone.
fn predicted(moments: &[Duration], startup: f64) -> Figures {
    let service = f64::from(WORK_MS) / 1e3;
    // As many as the daemon lets start at one time.
    let start_limit = 2 * std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let runs: Vec<Report> = (1..=SEEDS)
        .map(|seed| {
            // Where between two readings the first message comes is chance.
            let begin = QUIET + seed as f64 / SEEDS as f64;
            let message = |moment: &Duration| Message { arrival: begin + moment.as_secs_f64(), service };
            let messages: Vec<Message> = moments.iter().map(message).collect();
            let length = messages.last().map_or(0.0, |message| message.arrival);
            let workload = Workload { messages, length, ..Workload::default() };
            let (wait, min, max, warm, epilogue) = (WAIT, 1, MAX, true, 6.0 * QUIET);
            let scenario = Scenario {
                wait,
                min,
                max,
                warm,
                startup,
                start_limit,
                epilogue,
                seed,
                ..Scenario::default()
            };
            let mut policy = Own::new(&scenario, Learned::default(), Profile::Balanced, Signals::Amqp);
            run(&workload, &scenario, &mut policy, false).report
        })
        .collect();
    let mean = |of: fn(&Report) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    Figures {
        p50: mean(|one| one.wait_p50),
        p95: mean(|one| one.wait_p95),
        longest: mean(|one| one.wait_max),
        over_goal: mean(|one| one.over_goal),
        consumer_seconds: mean(|one| one.consumer_seconds - one.seconds),
        most: mean(|one| f64::from(one.most_consumers)),
    }
}

type Figure = fn(&Figures) -> f64;

fn show(name: &str, messages: usize, startup: f64, predicted: &Figures, came: &Figures) {
    report(&format!("{name}: {messages} messages of {WORK_MS} ms, goal {WAIT:?}, start-up {startup:.2} s"));
    let rows: [(&str, Figure); 6] = [
        ("median wait, s", |figures| figures.p50),
        ("95 % waited up to, s", |figures| figures.p95),
        ("longest wait, s", |figures| figures.longest),
        ("over the goal, %", |figures| 100.0 * figures.over_goal),
        ("consumer-seconds beside the least", |figures| figures.consumer_seconds),
        ("most consumers", |figures| figures.most),
    ];
    for (words, of) in rows {
        let (simulated, real) = (of(predicted), of(came));
        report(&format!("  {words}: simulated {simulated:.2}, real {real:.2}, {:+.2}", real - simulated));
    }
}
