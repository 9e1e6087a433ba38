//! The shim that is started ahead of need.

use std::time::Duration;

use leveret::core::command::Scope;
use leveret::core::exit::ExitStatus;
use leveret::keeper::protocol::Order;
use leveret::sys::process;
use rustix::process::{Pid, Signal, kill_process};

use super::rig::{Controller, Rig, drain, is_alive};
use super::{SIGTERM, kill, wait_gone};
use crate::support::wait::{wait_for, wait_for_state};

const LIMIT: Duration = Duration::from_secs(30);

/// The number of the shim that waits, once it waits: it is in a session of its own.
pub(super) fn wait_for_one(rig: &Rig) -> i32 {
    wait_for("a shim that waits", LIMIT, || {
        let mut children = process::children(rig.keeper_pid()).unwrap().into_iter();
        children.find(|pid| is_standby(*pid) && process::stat(*pid).is_ok_and(|stat| stat.session == *pid))
    })
}

/// Waits until the keeper has no child, dead or alive, but its controller and a shim that waits.
pub(super) fn wait_for_nothing_else(rig: &Rig, controller: &Controller) {
    wait_for_state("the keeper's children to be reaped", LIMIT, || {
        let mut others = process::children(rig.keeper_pid()).unwrap();
        others.retain(|pid| *pid != controller.pid && !is_standby(*pid));
        if others.is_empty() { Ok(()) } else { Err(format!("{others:?}")) }
    });
}

fn is_standby(pid: i32) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.starts_with(b"leveret: standby")
}

#[test]
fn the_shim_that_waits_becomes_the_next_process_and_another_one_takes_its_place() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let first = rig.order(&["true"]);
    controller.spawned(&first);
    for _ in 0..3 {
        let standby = wait_for_one(&rig);
        let order = rig.shell("echo $$; exit 7");
        assert_eq!(controller.spawned(&order), standby);
        assert_eq!(controller.wait_exited(&order).0, ExitStatus::Code(7));
        assert_eq!(drain(&order.output), format!("{standby}\n"));
    }
}

#[test]
fn a_signal_to_everything_called_leveret_does_not_reach_the_process_that_comes_next() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let first = rig.order(&["true"]);
    controller.spawned(&first);
    let standby = wait_for_one(&rig);
    for signal in [Signal::HUP, Signal::TERM, Signal::USR1] {
        kill_process(Pid::from_raw(standby).unwrap(), signal).unwrap();
    }
    let order = rig.order(&["sleep", "1000"]);
    assert_eq!(controller.spawned(&order), standby);
    controller.signal(&order, SIGTERM, Scope::Main);
    // Not by SIGHUP or SIGUSR1, and by no SIGTERM but this.
    assert_eq!(controller.wait_exited(&order), (ExitStatus::Signal(SIGTERM), 0));
}

#[test]
fn a_shim_that_was_killed_and_one_whose_order_is_too_long_are_replaced() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let first = rig.order(&["true"]);
    controller.spawned(&first);
    let killed = wait_for_one(&rig);
    kill(killed);
    wait_gone(killed);
    let order = rig.order(&["sleep", "1000"]);
    let pid = controller.spawned(&order);
    assert!(pid != killed && is_alive(pid));

    let standby = wait_for_one(&rig);
    let mut long = rig.shell("printf %s \"$LONG$LONGER\" | wc -c; exit 0");
    long.environment.insert("LONG".to_owned(), "x".repeat(100_000));
    long.environment.insert("LONGER".to_owned(), "x".repeat(100_000));
    assert_ne!(controller.spawned(&long), standby);
    assert_eq!(controller.wait_exited(&long).0, ExitStatus::Code(0));
    assert_eq!(drain(&long.output).trim(), "200000");
    assert!(!is_alive(standby));
}

#[test]
fn the_end_of_the_keeper_is_the_end_of_the_shim_that_waits() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let first = rig.order(&["true"]);
    controller.spawned(&first);
    controller.wait_left(&first, 0);
    let standby = wait_for_one(&rig);
    controller.send(&Order::Exit { code: 0 });
    controller.exit(0);
    assert_eq!(rig.exit_code(), Some(0));
    assert!(!is_alive(standby));

    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let first = rig.order(&["true"]);
    controller.spawned(&first);
    let standby = wait_for_one(&rig);
    rig.signal_keeper(Signal::KILL);
    wait_gone(standby);
}
