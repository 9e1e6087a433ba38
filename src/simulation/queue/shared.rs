//! Several queues on one machine: each with a policy of its own, and all their consumers on one budget.
//!
//! Policies that know of budgets are given their shares by the code that the daemon runs. Others take what there is when
//! they want it.

use std::cmp::Reverse;

use crate::core::time::Time;
use crate::scaling::budget::{Claim, SPARES_BUSY, Standing, Terms, share_in_turn, within};
use crate::simulation::policy::Policy;
use crate::simulation::queue::record::{End, Run};
use crate::simulation::queue::scenario::Scenario;
use crate::simulation::queue::world::{World, run};
use crate::simulation::report::Report;
use crate::simulation::workload::Workload;

/// Runs a workload of one queue or of several. `build` makes the policy of a queue, whose messages take so many seconds in
/// the mean.
pub fn run_all(
    workload: &Workload,
    scenario: &Scenario,
    build: &dyn Fn(f64) -> Box<dyn Policy>,
    with_moments: bool,
) -> Run {
    if workload.queues.is_empty() {
        return run(workload, scenario, build(workload.mean_service()).as_mut(), with_moments);
    }
    let mut policies: Vec<_> =
        workload.queues.iter().map(|lane| build(lane.workload.mean_service())).collect();
    let scenarios: Vec<Scenario> = (0..)
        .zip(&workload.queues)
        .map(|(index, _)| Scenario { seed: scenario.seed.wrapping_add(index << 32), ..scenario.clone() })
        .collect();
    let worlds = workload.queues.iter().zip(&scenarios).zip(&mut policies);
    let worlds: Vec<World<'_>> = worlds
        .map(|((lane, scenario), policy)| World::new(&lane.workload, scenario, policy.as_mut(), with_moments))
        .collect();
    let priorities: Vec<i32> = workload.queues.iter().map(|lane| lane.priority).collect();
    let standings = vec![Standing::default(); worlds.len()];
    let budget = workload.budget.unwrap_or(u32::MAX);
    Shared { worlds, priorities, standings, budget, min: scenario.min, most: 0 }.run(workload, scenario)
}

struct Shared<'a> {
    worlds: Vec<World<'a>>,
    priorities: Vec<i32>,
    standings: Vec<Standing>,
    budget: u32,
    min: u32,
    /// The most consumers of all queues at one time.
    most: u32,
}

impl Shared<'_> {
    fn run(mut self, workload: &Workload, scenario: &Scenario) -> Run {
        let mut now = Time::default();
        loop {
            // All of them are looked at, whatever the first one says.
            let changed = |world: &mut World<'_>| std::mem::take(&mut world.changed);
            if self.worlds.iter_mut().filter_map(|world| changed(world).then_some(())).count() > 0 {
                self.supervise(now);
            }
            let next = self.worlds.iter().enumerate().map(|(index, world)| (world.next(), index)).min();
            let Some(((at, next), index)) = next else { break };
            if self.worlds.iter().all(|world| world.is_over(at)) {
                break;
            }
            now = at;
            self.worlds[index].advance(at, next);
        }
        self.finish(workload, scenario, now)
    }

    fn supervise(&mut self, now: Time) {
        for world in &mut self.worlds {
            world.pass_time(now);
        }
        self.give_shares(now);
        // Those that go make room before others take it.
        for world in &mut self.worlds {
            world.room = 0;
            world.supervise();
        }
        let mut order: Vec<usize> = (0..self.worlds.len()).collect();
        order.sort_by_key(|&index| Reverse(self.priorities[index]));
        for index in order {
            let all = |world: &World<'_>| world.consumers.all();
            let others = || self.worlds.iter().enumerate().filter(|(other, _)| *other != index);
            let reserved: u32 = others().map(|(_, world)| self.min.saturating_sub(all(world))).sum();
            let used: u32 = self.worlds.iter().map(all).sum();
            let world = &mut self.worlds[index];
            world.room = self.budget.saturating_sub(used.saturating_add(reserved));
            world.supervise();
        }
        let used: u32 = self.worlds.iter().map(|world| world.consumers.all()).sum();
        debug_assert!(used <= self.budget, "{used} consumers on a budget of {}", self.budget);
        self.most = self.most.max(used);
    }

    /// As the daemon does it; policies that have not decided anything are left alone.
    fn give_shares(&mut self, now: Time) {
        let claim = |(world, priority): (&World<'_>, &i32)| {
            let has = world.consumers.live();
            let terms = Terms { guaranteed: self.min, has, priority: *priority, uses: vec![1] };
            Some(Claim::of(world.policy.decided()?, terms))
        };
        let claims: Option<Vec<Claim>> = self.worlds.iter().zip(&self.priorities).map(claim).collect();
        let Some(claims) = claims else { return };
        let grants = share_in_turn(claims, &mut self.standings, &[self.budget.into()], now);
        for ((world, standing), grant) in self.worlds.iter_mut().zip(&self.standings).zip(grants) {
            let Some(decision) = world.policy.decided() else { continue };
            world.insists = standing.over_since.is_some_and(|since| now >= since + SPARES_BUSY);
            world.target = decision.target;
            if grant.short_of.is_some() {
                let live = world.consumers.live();
                let decision = within(decision.clone(), grant, *standing, live, now, "the budget");
                world.target = decision.target;
                if decision.target < decision.wanted {
                    world.policy.limit_to(decision.target);
                }
            }
        }
    }

    fn finish(self, workload: &Workload, scenario: &Scenario, now: Time) -> Run {
        let mut queues: Vec<Report> = Vec::new();
        let mut all = None;
        let mut end = End::default();
        for (mut world, lane) in self.worlds.into_iter().zip(&workload.queues) {
            world.pass_time(now);
            let (record, own_end) = world.into_record();
            queues.push(record.clone().finish(&lane.workload, scenario, &own_end).report);
            end.consumed += own_end.consumed;
            end.starts += own_end.starts;
            end.consumers += own_end.consumers;
            match &mut all {
                None => all = Some(record),
                Some(all) => all.absorb(record),
            }
        }
        let Some(all) = all else { return Run { report: Report::default(), moments: Vec::new(), queues } };
        let run = all.finish(workload, scenario, &end);
        let worst = queues.iter().map(|queue| queue.over_goal).fold(0.0, f64::max);
        let report = Report { most_consumers: self.most, worst_queue_over_goal: worst, ..run.report };
        Run { report, queues, ..run }
    }
}
