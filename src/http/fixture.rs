//! Canned snapshots for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::controller::handle::{Histogram, Histograms};
use crate::controller::snapshot::{
    BrokerView, BudgetView, HoldView, ManagementView, ProcessView, ProgramView, QueueView, Snapshot,
};

/// One scaled program with one process.
pub(crate) fn small_snapshot() -> Snapshot {
    Snapshot {
        version: "0.1.0".to_owned(),
        pid: 1,
        controller_pid: 7,
        uptime_seconds: 12.5,
        ready: true,
        brokers: vec![broker("default", "connected", None)],
        budgets: vec![BudgetView {
            name: "processes".to_owned(),
            limit: 64,
            used: 5,
            sentence: "5 of 64 processes".to_owned(),
        }],
        programs: vec![orders()],
        ..Snapshot::default()
    }
}

/// Several programs in every kind of state: whatever can be shown is in it.
pub(crate) fn snapshot() -> Snapshot {
    let unreachable = Some("cannot connect to 10.0.0.9:5672: connection refused");
    let mut snapshot = small_snapshot();
    snapshot.brokers.push(broker("billing", "unreachable", unreachable));
    snapshot.programs.extend([mail(), web(), failing()]);
    snapshot
}

/// Two durations of each kind.
pub(crate) fn histograms() -> Histograms {
    let mut probe = Histogram::new(&[0.01, 0.1]);
    probe.observe(Duration::from_millis(5));
    probe.observe(Duration::from_millis(500));
    let mut stop = Histogram::new(&[1.0, 10.0]);
    stop.observe(Duration::from_millis(500));
    stop.observe(Duration::from_secs(2));
    Histograms { probe: vec![("default".to_owned(), probe)], stop: vec![("orders".to_owned(), stop)] }
}

fn broker(name: &str, state: &str, error: Option<&str>) -> BrokerView {
    BrokerView {
        name: name.to_owned(),
        state: state.to_owned(),
        url: format!("amqp://worker@{name}.example:5672/shop"),
        error: error.map(str::to_owned),
        management: Some(ManagementView {
            state: if error.is_none() { "answering" } else { "failing" }.to_owned(),
            url: format!("http://{name}.example:15672"),
            error: error.map(|_| "the management API did not answer within 5 s".to_owned()),
        }),
        metrics: Some(ManagementView {
            state: "limited".to_owned(),
            url: format!("http://{name}.example:15692"),
            error: Some("the metrics endpoint tells nothing of a queue".to_owned()),
        }),
    }
}

fn orders() -> ProgramView {
    ProgramView {
        name: "orders".to_owned(),
        project: Some("shop".to_owned()),
        kind: "scaled".to_owned(),
        desired: 4,
        running: 1,
        configured: 1,
        min: 1,
        max: 40,
        mode: "auto".to_owned(),
        reason: "120 messages wait and one consumer needs 6 s for them, so 4 are wanted".to_owned(),
        queues: vec![QueueView {
            broker: "default".to_owned(),
            queue: "orders".to_owned(),
            ready: Some(120),
            unacked: Some(4),
            consumers: Some(1),
            age_seconds: Some(0.4),
            wait_goal_seconds: Some(5.0),
            wait_predicted_seconds: Some(6.5),
            ..QueueView::default()
        }],
        wait_goal_seconds: Some(5.0),
        wait_predicted_seconds: Some(6.5),
        wanted: Some(6),
        processes: vec![running("orders:0", 0, 4242)],
        restarts_by_reason: BTreeMap::from([("crash".to_owned(), 2)]),
        decisions_by_direction: BTreeMap::from([("down".to_owned(), 1), ("up".to_owned(), 3)]),
        ..ProgramView::default()
    }
}

fn mail() -> ProgramView {
    ProgramView {
        name: "mail".to_owned(),
        mode: "hold".to_owned(),
        hold: Some(HoldView {
            processes: 3,
            ends_in_seconds: Some(600.0),
            by: "page".to_owned(),
            sentence: "held at 3 by an operator (page) for another 10m".to_owned(),
        }),
        queues: vec![QueueView {
            broker: "billing".to_owned(),
            queue: "mail".to_owned(),
            polling: true,
            age_seconds: Some(75.0),
            error: Some("the broker is unreachable".to_owned()),
            ..QueueView::default()
        }],
        processes: vec![running("mail:0", 0, 5001), running("mail:1", 1, 5002)],
        ..orders()
    }
}

fn web() -> ProgramView {
    ProgramView {
        name: "web".to_owned(),
        kind: "service".to_owned(),
        desired: 1,
        running: 1,
        configured: 1,
        min: 1,
        max: 1,
        mode: "off".to_owned(),
        reason: "configured".to_owned(),
        processes: vec![ProcessView { log: None, ..running("web", 0, 6001) }],
        ..ProgramView::default()
    }
}

fn failing() -> ProgramView {
    ProgramView {
        name: "failing".to_owned(),
        running: 0,
        processes: vec![ProcessView {
            id: "failing".to_owned(),
            state: "backoff".to_owned(),
            restarts: 7,
            exit: Some("exit code 1".to_owned()),
            reason: Some("starts again in 16s after 7 failures in a row".to_owned()),
            busy: None,
            busy_by: None,
            says: None,
            ..ProcessView::default()
        }],
        ..web()
    }
}

fn running(id: &str, slot: u32, pid: i32) -> ProcessView {
    ProcessView {
        id: id.to_owned(),
        slot,
        state: "running".to_owned(),
        pid: Some(pid),
        incarnation: Some(1),
        uptime_seconds: Some(9.1),
        start_time_seconds: Some(1_700_000_000.5),
        restarts: 0,
        cpu_percent: Some(3.1),
        cpu_seconds: Some(1.25),
        memory_bytes: Some(18_874_368),
        directory: None,
        exit: None,
        reason: None,
        busy: None,
        busy_by: None,
        says: None,
        log_stderr: None,
        log: Some(format!("/var/lib/leveret/logs/{id}.log").into()),
    }
}
