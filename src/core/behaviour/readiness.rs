//! When a process counts as running, where the file says what tells.

use std::time::Duration;

use crate::core::command::Command;
use crate::core::event::{Edit, Notice, RestartReason};
use crate::core::exit::ExitStatus;
use crate::core::gap::Gap;
use crate::core::machine::Machine;
use crate::core::memory::Memory;
use crate::core::observed::{Phase, StopCause};
use crate::core::readiness::{BusyBy, Extension, ReadyBy, ReadySpec, Unfit, Voice, Work};
use crate::core::scenario::{Scenario, scaled, service, target};
use crate::core::spec::{Backoff, Dependency, ProgramSpec, RestartPolicy, StopSpec, StopStep, Until};
use crate::core::time::Time;
use crate::core::world::Limits;

fn ready(spec: ProgramSpec, by: ReadyBy, timeout: Option<u64>) -> ProgramSpec {
    let timeout = timeout.map(Duration::from_secs);
    let mut spec = ProgramSpec { ready: Some(ReadySpec { by, timeout }), ..spec };
    spec.run.notify = true;
    spec
}

fn notify(spec: ProgramSpec) -> ProgramSpec {
    ready(spec, ReadyBy::Notify, Some(30))
}

fn says_ready() -> Voice {
    Voice { ready: true, ..Voice::default() }
}

fn is_running(scene: &Scenario, process: &str) -> bool {
    matches!(scene.phase(process), Phase::Running(..))
}

#[test]
fn it_is_running_so_long_after_its_start() {
    let mut scene =
        Scenario::new(vec![ready(service("web", 1), ReadyBy::After(Duration::from_secs(5)), None)]);
    scene.wait(4.9);
    assert!(!is_running(&scene, "web:0"));
    assert_eq!(scene.gap("web:0").as_deref(), Some("starting"));
    scene.wait(0.1);
    assert!(is_running(&scene, "web:0"));
}

#[test]
fn it_is_running_when_it_says_so_and_whoever_needs_it_starts_then() {
    let program = crate::core::ids::ProgramName::new("database").unwrap();
    let until = Until::Ready;
    let web = ProgramSpec { depends_on: vec![Dependency { program, until }], ..service("web", 1) };
    let mut scene = Scenario::new(vec![notify(service("database", 1)), web]);
    scene.wait(10.0);
    let said = "starting: waits until it says that it is ready (READY=1); stopped in 20s if not";
    assert_eq!(scene.gap("database:0").as_deref(), Some(said));
    assert_eq!(scene.live("web"), 0);
    scene.say("database:0", Voice { status: Some("loading".into()), ..Voice::default() });
    assert!(!is_running(&scene, "database:0"));
    scene.say("database:0", says_ready());
    assert!(is_running(&scene, "database:0"));
    assert_eq!(scene.live("web"), 1);
    scene.wait(3_600.0);
    assert!(scene.ending("database").is_empty(), "it has no limit any more");
}

#[test]
fn one_that_is_not_ready_in_time_is_stopped_and_has_failed() {
    let mut scene = Scenario::new(vec![notify(service("web", 1))]);
    scene.wait(30.0);
    let Phase::Stopping(_, _, stop) = scene.phase("web:0") else { panic!("{:?}", scene.phase("web:0")) };
    assert_eq!(
        (stop.cause, stop.deadline),
        (StopCause::Unfit(Unfit::NotReady), Some(scene.now + Duration::from_secs(10)))
    );
    assert!(scene.notices.iter().any(|notice| matches!(notice, Notice::Unfit(..))));
    scene.exit("web:0", ExitStatus::Code(0), 0);
    assert!(matches!(scene.phase("web:0"), Phase::Backoff { .. }));
    let said = scene.gap("web:0").unwrap();
    assert!(said.starts_with("was not ready in time; starts again in "), "{said}");
    let ended = scene.notices.iter().find_map(|notice| {
        let Notice::Ended(_, sentence) = notice else { return None };
        Some(sentence.as_str())
    });
    assert!(
        ended.is_some_and(|said| said.starts_with("was not ready in time, stopped after 30s; starts again")),
        "{ended:?}"
    );
    let program = scene.machine.world().programs.values().next().unwrap();
    assert_eq!(program.deaths.by_count()[0].0, "not ready in time");
    scene.wait(2.0);
    let program = scene.machine.world().programs.values().next().unwrap();
    assert_eq!(program.restarts[&RestartReason::NotReady], 1);
}

fn asks_for_time(scene: &Scenario, seconds: u64) -> Voice {
    let until = scene.now + Duration::from_secs(seconds);
    Voice { extension: Some(Extension { at: scene.now, until }), ..Voice::default() }
}

#[test]
fn one_that_asks_for_more_time_to_become_ready_has_it_as_long_as_it_goes_on_to_ask() {
    let mut scene = Scenario::new(vec![notify(service("web", 1))]);
    scene.wait(5.0);
    scene.say("web:0", asks_for_time(&scene, 10));
    let said = "starting: waits until it says that it is ready (READY=1); stopped in 25s if not";
    assert_eq!(scene.gap("web:0").as_deref(), Some(said), "it never has less than it had");
    scene.wait(20.0);
    scene.say("web:0", asks_for_time(&scene, 60));
    scene.wait(50.0);
    scene.say("web:0", asks_for_time(&scene, 60));
    scene.wait(59.9);
    assert!(matches!(scene.phase("web:0"), Phase::Starting(..)));
    scene.wait(0.1);
    let Phase::Stopping(_, _, stop) = scene.phase("web:0") else { panic!("{:?}", scene.phase("web:0")) };
    assert_eq!(stop.cause, StopCause::Unfit(Unfit::NotReady));
    scene.wait(9.9);
    assert_eq!(scene.kills(), 0);
    scene.wait(0.2);
    assert_eq!(scene.kills(), 1, "what it asked for as it started is not for its end");
}

#[test]
fn one_that_asks_for_more_time_to_end_has_it_from_the_next_signal_on() {
    let mut web = notify(service("web", 1));
    let step = StopStep { after: Duration::from_secs(5), signal: 3 };
    web.stop = StopSpec { timeout: Duration::from_secs(10), then: vec![step], ..StopSpec::default() };
    let mut scene = Scenario::new(vec![web]);
    scene.say("web:0", says_ready());
    scene.wait(60.0);
    scene.edit(Edit::Stop(target("web"))).unwrap();
    scene.wait(4.0);
    let asks = asks_for_time(&scene, 60);
    scene.say("web:0", asks.clone());
    // Whatever else it says comes with what it said before.
    scene.wait(1.0);
    scene.say("web:0", Voice { status: Some("ending".into()), ..asks });
    let nexts = |scene: &Scenario| {
        scene.done.iter().filter(|command| matches!(command, Command::StopNext { .. })).count()
    };
    scene.wait(58.9);
    assert_eq!((nexts(&scene), scene.kills()), (0, 0));
    scene.wait(0.1);
    assert_eq!((nexts(&scene), scene.kills()), (1, 0));
    scene.wait(4.9);
    assert_eq!(scene.kills(), 0, "the time between the last signal and the kill is as it was");
    scene.wait(0.1);
    assert_eq!(scene.kills(), 1);
}

#[test]
fn one_that_ignores_its_stop_is_killed_at_the_limit() {
    let mut scene = Scenario::new(vec![notify(service("web", 1))]);
    scene.wait(39.9);
    assert_eq!(scene.kills(), 0);
    scene.wait(0.2);
    assert_eq!(scene.kills(), 1);
}

#[test]
fn failures_to_become_ready_add_up_however_long_each_took() {
    let backoff = Backoff { give_up_after: Some(2), ..Backoff::default() };
    let mut scene = Scenario::new(vec![notify(ProgramSpec { backoff, ..service("web", 1) })]);
    scene.wait(30.0);
    scene.exit("web:0", ExitStatus::Code(0), 0);
    scene.wait(32.0);
    scene.exit("web:0", ExitStatus::Code(0), 0);
    assert!(matches!(scene.phase("web:0"), Phase::Failed { .. }), "{:?}", scene.phase("web:0"));
}

#[test]
fn one_that_rests_after_it_was_not_ready_has_not_completed() {
    let program = crate::core::ids::ProgramName::new("migrate").unwrap();
    let until = Until::Completed;
    let web = ProgramSpec { depends_on: vec![Dependency { program, until }], ..service("web", 1) };
    let migrate = ProgramSpec { restart: RestartPolicy::Never, ..service("migrate", 1) };
    let mut scene = Scenario::new(vec![notify(migrate), web]);
    scene.wait(30.0);
    scene.exit("migrate:0", ExitStatus::Code(0), 0);
    assert!(matches!(scene.phase("migrate:0"), Phase::Exited { .. }), "{:?}", scene.phase("migrate:0"));
    assert_eq!(scene.live("web"), 0);
}

#[test]
fn whoever_asks_for_a_new_one_meanwhile_does_not_wait_for_a_backoff() {
    let mut scene = Scenario::new(vec![notify(service("web", 1))]);
    scene.wait(30.0);
    scene.edit(Edit::Restart(target("web"))).unwrap();
    scene.exit("web:0", ExitStatus::Code(0), 0);
    assert_eq!(scene.live("web"), 1);
}

#[test]
fn a_machine_that_was_halted_hears_what_was_said_meanwhile_before_it_holds_anything_against_anybody() {
    let mut scene = Scenario::new(vec![notify(service("web", 1))]);
    scene.now = scene.now + Duration::from_secs(100);
    scene.settle();
    assert!(scene.ending("web").is_empty());
    scene.say("web:0", says_ready());
    assert!(is_running(&scene, "web:0"));

    let mut silent = Scenario::new(vec![notify(service("web", 1))]);
    silent.now = silent.now + Duration::from_secs(100);
    silent.settle();
    silent.wait(5.0);
    assert_eq!(silent.ending("web").len(), 1, "and then it does");
}

#[test]
fn one_that_hangs_is_stopped_and_started_again_later() {
    let mut spec = notify(service("web", 1));
    spec.run.watchdog = Some(Duration::from_secs(30));
    let mut scene = Scenario::new(vec![spec]);
    scene.wait(5.0);
    let watches = |scene: &Scenario| {
        scene.done.iter().filter(|command| matches!(command, Command::Watch { .. })).count()
    };
    assert_eq!(watches(&scene), 0, "nobody is watched before it is ready");
    scene.say("web:0", says_ready());
    scene.wait(60.0);
    assert_eq!(watches(&scene), 1);
    scene.say("web:0", Voice { hung: true, ..says_ready() });
    let Phase::Stopping(_, _, stop) = scene.phase("web:0") else { panic!("{:?}", scene.phase("web:0")) };
    assert_eq!(stop.cause, StopCause::Unfit(Unfit::Watchdog));
    scene.wait(10.0);
    assert_eq!(scene.kills(), 1);
    scene.exit("web:0", ExitStatus::Signal(9), 0);
    let said = scene.gap("web:0").unwrap();
    assert!(said.starts_with("did not feed its watchdog in time; starts again in "), "{said}");
    scene.wait(2.0);
    let program = scene.machine.world().programs.values().next().unwrap();
    assert_eq!(program.restarts[&RestartReason::Watchdog], 1);
    assert_eq!(program.deaths.by_count()[0].0, "watchdog");
}

fn busy(busy: bool) -> Voice {
    Voice { busy: Some(busy), ..Voice::default() }
}

/// Five consumers that run and say nothing.
fn five_silent_consumers() -> Scenario {
    let mut scene = Scenario::new(vec![scaled("orders", 0, 9)]);
    let orders = crate::core::ids::ProgramName::new("orders").unwrap();
    scene.broker(crate::core::observed::BrokerHealth::Up);
    scene.edit(Edit::Scale(orders, 5, None)).unwrap();
    scene.wait(90.0);
    assert!((0..5).all(|slot| is_running(&scene, &format!("orders:{slot}"))));
    scene
}

/// Five consumers that run, of which the second holds a message, the first and the fourth hold none, and the others say
/// nothing.
fn five_consumers() -> Scenario {
    let mut scene = five_silent_consumers();
    scene.say("orders:1", busy(true));
    scene.say("orders:0", busy(false));
    scene.say("orders:3", busy(false));
    scene
}

fn scale(scene: &mut Scenario, processes: u32) {
    let orders = crate::core::ids::ProgramName::new("orders").unwrap();
    scene.edit(Edit::Scale(orders, processes, None)).unwrap();
}

#[test]
fn those_that_hold_no_message_go_first_and_those_that_hold_one_last() {
    let mut scene = five_consumers();
    scale(&mut scene, 1);
    let mut order = Vec::new();
    while let [first, rest @ ..] = scene.ending("orders").as_slice() {
        // How they take it is not known before one has shown it.
        assert!(order.len() != 1 || rest.len() < 4);
        let first = first.clone();
        scene.exit(&first, ExitStatus::Code(0), 0);
        order.push(first);
    }
    assert_eq!(&order[..1], ["orders:3"], "the younger of the idle ones: {order:?}");
    assert_eq!(scene.live("orders"), 1);
    assert!(is_running(&scene, "orders:1"), "{order:?}");
}

#[test]
fn of_those_that_die_of_their_stop_signal_only_idle_ones_are_stopped() {
    let mut scene = five_consumers();
    scale(&mut scene, 4);
    assert_eq!(scene.ending("orders"), ["orders:3"]);
    scene.exit("orders:3", ExitStatus::Signal(15), 0);
    scale(&mut scene, 1);
    assert_eq!(scene.ending("orders"), ["orders:0"]);
    scene.exit("orders:0", ExitStatus::Signal(15), 0);
    assert!(scene.ending("orders").is_empty());
    scene.say("orders:4", busy(false));
    assert_eq!(scene.ending("orders"), ["orders:4"]);
}

#[test]
fn idle_is_whoever_holds_nothing_by_the_word_of_the_broker_once_that_is_newer_than_the_surplus() {
    let mut scene = five_silent_consumers();
    scene.tells_work(true);
    let told = |scene: &mut Scenario, idle: &[u32]| {
        let works: Vec<(String, Work)> = (0..5)
            .map(|slot| {
                (format!("orders:{slot}"), if idle.contains(&slot) { Work::Idle } else { Work::Busy })
            })
            .collect();
        let works: Vec<(&str, Work)> =
            works.iter().map(|(process, work)| (process.as_str(), *work)).collect();
        scene.at_work(&works);
    };
    told(&mut scene, &[1, 2, 3, 4]);
    scale(&mut scene, 4);
    assert!(scene.ending("orders").is_empty(), "they may have begun something since that was told");
    for _ in 0..2 {
        scene.wait(5.0);
        told(&mut scene, &[1, 2]);
        assert!(scene.ending("orders").is_empty(), "it may still be as old");
    }
    let gaps = crate::core::plan::plan(scene.machine.world(), scene.now).gaps;
    assert!(gaps.iter().any(|(_, _, gap)| *gap == Gap::WaitsForWord), "{gaps:?}");
    scene.wait(5.0);
    told(&mut scene, &[1]);
    assert_eq!(scene.ending("orders"), ["orders:1"]);
}

#[test]
fn word_that_does_not_come_is_not_waited_for_for_long_and_none_at_all_is_not_waited_for() {
    let mut scene = five_silent_consumers();
    scene.tells_work(true);
    scene.at_work(&[("orders:4", Work::Unclear), ("orders:1", Work::Idle)]);
    scale(&mut scene, 4);
    scene.wait(24.9);
    assert!(scene.ending("orders").is_empty());
    scene.wait(0.2);
    assert_eq!(scene.ending("orders"), ["orders:1"]);

    let mut scene = five_silent_consumers();
    scale(&mut scene, 4);
    assert_eq!(scene.ending("orders"), ["orders:4"], "nothing is known, and nobody tells");

    let mut scene = five_silent_consumers();
    scene.tells_work(true);
    scale(&mut scene, 4);
    assert!(scene.ending("orders").is_empty(), "nothing is known yet");
    scene.tells_work(false);
    assert_eq!(scene.ending("orders"), ["orders:4"], "and nothing will be");

    let mut scene = five_silent_consumers();
    scene.tells_work(true);
    scale(&mut scene, 0);
    assert_eq!(scene.ending("orders").len(), 1, "there is nothing to choose");
}

#[test]
fn the_word_of_a_process_counts_before_that_of_its_channels() {
    let mut scene = five_silent_consumers();
    scene.say("orders:1", busy(true));
    scene.say("orders:2", busy(false));
    let all: Vec<String> = (0..5).map(|slot| format!("orders:{slot}")).collect();
    let told = |work| all.iter().map(|process| (process.as_str(), work)).collect::<Vec<_>>();
    scene.at_work(&told(Work::Idle));
    let program = scene.machine.world().programs.values().next().unwrap();
    let known = |slot: u32| (program.slots[&slot].busy(), program.slots[&slot].busy_by());
    assert_eq!(known(1), (Some(true), Some(BusyBy::Itself)));
    assert_eq!(known(2), (Some(false), Some(BusyBy::Itself)));
    assert_eq!(known(3), (Some(false), Some(BusyBy::Channels)));
    scene.at_work(&told(Work::Unclear));
    let program = scene.machine.world().programs.values().next().unwrap();
    assert_eq!((program.slots[&3].busy(), program.slots[&3].busy_by()), (None, None));
}

#[test]
fn of_those_that_die_of_their_stop_signal_none_is_stopped_on_the_word_of_its_channels() {
    let mut scene = five_silent_consumers();
    scale(&mut scene, 4);
    scene.exit("orders:4", ExitStatus::Signal(15), 0);
    let told = |work| [("orders:0", work), ("orders:1", work), ("orders:2", work), ("orders:3", work)];
    scale(&mut scene, 3);
    for _ in 0..6 {
        scene.wait(5.0);
        scene.at_work(&told(Work::Idle));
    }
    assert!(scene.ending("orders").is_empty(), "a message may be on its way, and would be cut");
    scene.say("orders:0", busy(false));
    assert_eq!(scene.ending("orders"), ["orders:0"]);
}

/// The machine that comes after this one, with the same processes.
fn succeed(scene: &Scenario, specs: Vec<ProgramSpec>, unheard: bool) -> Machine {
    let memory = serde_json::to_string(&scene.machine.memory()).unwrap();
    let memory: Memory = serde_json::from_str(&memory).unwrap();
    let mut next = Machine::new(Limits::default());
    next.set_awake_since(scene.now);
    next.configure(specs, Limits::default());
    next.recall(memory, true, scene.now);
    for (name, program) in &scene.machine.world().programs {
        for (number, slot) in &program.slots {
            let (life, main) = (slot.phase.life().unwrap(), slot.phase.main().unwrap());
            next.adopt(crate::core::event::Adopted {
                process: crate::core::ids::ProcessId::new(name.clone(), *number),
                incarnation: life.incarnation,
                fingerprint: life.fingerprint,
                ordered_at: life.ordered_at,
                stop: None,
                main: Some((main.pid, main.started_at)),
                run: None,
                unheard,
            });
        }
    }
    next
}

#[test]
fn the_next_machine_knows_who_was_ready_and_gives_the_others_their_time() {
    let specs = vec![notify(service("web", 2))];
    let mut scene = Scenario::new(specs.clone());
    scene.say("web:0", says_ready());
    scene.wait(29.0);
    scene.now = scene.now + Duration::from_secs(60);
    let mut next = succeed(&scene, specs.clone(), false);
    let is_running = |machine: &Machine, slot: u32| {
        let program = machine.world().programs.values().next().unwrap();
        matches!(program.slots[&slot].phase, Phase::Running(..))
    };
    let first = next.step(scene.now);
    assert!(first.commands.is_empty(), "{:?}", first.commands);
    assert!(is_running(&next, 0) && !is_running(&next, 1));
    let later = next.step(Time::from_seconds(scene.now.as_seconds() + 5.0));
    assert_eq!(later.commands.len(), 1, "{:?}", later.commands);

    // With a killed keeper its socket was gone, and what it said was heard by nobody.
    let mut heir = succeed(&scene, specs, true);
    assert!(heir.step(scene.now).commands.is_empty());
    assert!(is_running(&heir, 0) && is_running(&heir, 1));
}

#[test]
fn a_consumer_is_running_when_it_says_so_and_not_when_the_broker_shows_one() {
    let mut scene = Scenario::new(vec![notify(scaled("orders", 1, 5))]);
    scene.sample("orders", 0, 0);
    scene.wait(1.0);
    scene.sample("orders", 0, 1);
    scene.wait(1.0);
    assert!(!is_running(&scene, "orders:0"));
    scene.say("orders:0", says_ready());
    assert!(is_running(&scene, "orders:0"));
    let program = scene.machine.world().programs.values().next().unwrap();
    let startup = program.startup();
    assert!(startup > Duration::from_secs(1) && startup <= Duration::from_secs(2), "{startup:?}");
}
