//! A broker that is away, or lets nobody in.

use std::time::Duration;

use crate::core::exit::ExitStatus;
use crate::core::gap::Gap;
use crate::core::observed::{BrokerHealth, Phase};
use crate::core::plan::plan;
use crate::core::scenario::{Scenario, scaled};
use crate::core::spec::{Backoff, ProgramSpec};

#[test]
fn while_the_broker_is_away_exits_do_not_count_and_starts_wait_for_its_return() {
    let mut scene = Scenario::new(vec![scaled("orders", 2, 10)]);
    scene.broker(BrokerHealth::Up);
    scene.wait(60.0);
    scene.broker(BrokerHealth::Unreachable);
    scene.exit("orders:0", ExitStatus::Code(255), 0);
    scene.wait(600.0);
    assert_eq!(scene.live("orders"), 1);
    let gaps = plan(scene.machine.world(), scene.now).gaps;
    assert!(gaps.iter().any(|(_, _, gap)| matches!(gap, Gap::BrokerUnreachable { .. })));
    scene.broker(BrokerHealth::Up);
    scene.wait(1.1);
    assert_eq!(scene.live("orders"), 2);
}

#[test]
fn a_refused_login_of_leveret_does_not_keep_consumers_from_starting() {
    let mut scene = Scenario::new(vec![scaled("orders", 2, 10)]);
    scene.broker(BrokerHealth::Refused);
    scene.wait(5.0);
    assert_eq!(scene.live("orders"), 2);
}

#[test]
fn a_consumer_that_notices_the_loss_of_its_broker_before_leveret_does_is_not_given_up() {
    let backoff = Backoff { give_up_after: Some(1), ..Backoff::default() };
    let mut scene = Scenario::new(vec![ProgramSpec { backoff, ..scaled("orders", 2, 10) }]);
    scene.broker(BrokerHealth::Up);
    scene.wait(60.0);
    scene.exit("orders:0", ExitStatus::Code(1), 0);
    scene.wait(60.0);
    scene.exit("orders:1", ExitStatus::Code(255), 0);
    scene.wait(0.1);
    scene.broker(BrokerHealth::Unreachable);
    scene.wait(60.0);
    scene.broker(BrokerHealth::Up);
    scene.wait(1.1);
    assert!(
        matches!(scene.phase("orders:0"), Phase::Failed { .. }),
        "long before: {:?}",
        scene.phase("orders:0")
    );
    assert!(scene.phase("orders:1").is_live(), "{:?}", scene.phase("orders:1"));
}

#[test]
fn consumers_that_a_broker_refuses_are_never_given_up_and_start_again_when_it_lets_leveret_in() {
    let backoff = Backoff { give_up_after: Some(2), ..Backoff::default() };
    let mut scene = Scenario::new(vec![ProgramSpec { backoff, ..scaled("orders", 2, 10) }]);
    scene.broker(BrokerHealth::Up);
    scene.wait(60.0);
    scene.broker(BrokerHealth::Refused);
    for _ in 0..20 {
        if scene.incarnation("orders:0").is_some() {
            scene.exit("orders:0", ExitStatus::Code(255), 0);
        }
        scene.wait(60.0);
    }
    if scene.incarnation("orders:0").is_some() {
        scene.exit("orders:0", ExitStatus::Code(255), 0);
    }
    assert!(matches!(scene.phase("orders:0"), Phase::Backoff { .. }), "{:?}", scene.phase("orders:0"));
    scene.broker(BrokerHealth::Up);
    scene.wait(1.1);
    assert_eq!(scene.live("orders"), 2);
    scene.exit("orders:0", ExitStatus::Code(1), 0);
    let Phase::Backoff { since, until } = scene.phase("orders:0") else {
        panic!("{:?}", scene.phase("orders:0"))
    };
    assert!(until.since(since) <= Duration::from_secs(1), "the failures of before are forgotten");
}
