//! Who gets how many of what there is not enough of for all.
//!
//! Places are given out one by one, and each costs a program so much of every budget that it uses:
//! 1. what is guaranteed, whatever others need;
//! 2. one to everybody who needs any and has none, so that no queue starves: the higher priority first, of equal ones
//!    those that keep what they have, then who has waited longest;
//! 3. by priority, the highest first: what it has and keeps, then up to the steady flow, then up to the whole need; of
//!    equal ones always to whom the least part of its need is met (max-min fairness in proportion to need);
//! 4. what is left, by priority and in the same proportion, for what is wanted without need: processes that the window
//!    before a step down keeps.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use crate::core::time::Time;
use crate::scaling::decision::{Decision, Limit};

/// How long one has what others of its priority need more, before it gives it to them: about what a start and the stop
/// that it takes are worth.
pub const KEEPS: Duration = Duration::from_secs(30);

/// For how long only idle processes give way, where it is known who is idle. Where all are always busy, those are asked
/// then that finish what they have begun.
pub const SPARES_BUSY: Duration = Duration::from_secs(10);

/// What a program asks for, in processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// What it has and on what terms it asks for more.
    pub terms: Terms,
    /// What its steady flow needs.
    pub steady: u32,
    /// What it needs in all.
    pub needed: u32,
    /// What it would have if there were enough for all.
    pub wanted: u32,
    /// What of what it has it need not give to others of its priority, as far as it needs it.
    pub kept: u32,
    /// Since when it has needed a process and had none.
    pub waiting_since: Option<Time>,
}

/// What a program has, and on what terms it asks for more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What it gets whatever others ask for.
    pub guaranteed: u32,
    /// Its processes that run or start.
    pub has: u32,
    /// Higher ones come first.
    pub priority: i32,
    /// How much of each budget a process uses, in the order of the budgets.
    pub uses: Vec<u64>,
}

/// Where a program stands when there is not enough for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when it has had more than its share.
    pub over_since: Option<Time>,
    /// Since when it has needed a process and had none.
    pub waiting_since: Option<Time>,
}

impl Claim {
    /// What an engine's decision asks for.
    pub fn of(decision: &Decision, terms: Terms) -> Self {
        if decision.trouble.is_some() {
            // Who cannot be seen to need less keeps every place that it had, also while a process is restarted in it.
            let guaranteed = terms.guaranteed.max(decision.before.min(decision.target));
            return Self::fixed(decision.target, Terms { guaranteed, ..terms });
        }
        let inputs = &decision.inputs;
        let needed = inputs.steady.max(inputs.drain).max(inputs.window_peak);
        let needed = needed.min(decision.target).max(terms.guaranteed);
        let steady = inputs.steady.min(needed);
        Self { steady, needed, wanted: decision.target, ..Self::fixed(0, terms) }
    }

    /// The same with no more of a steady flow than `steady`, and with `least` needed as far as so many are wanted.
    #[must_use]
    pub fn with_needs(self, steady: u32, least: u32) -> Self {
        let needed = self.needed.max(least.min(self.wanted));
        Self { steady: self.steady.min(steady).max(least.min(self.wanted)), needed, ..self }
    }

    /// A fixed number.
    pub fn fixed(count: u32, terms: Terms) -> Self {
        Self { terms, steady: count, needed: count, wanted: count, kept: 0, waiting_since: None }
    }

    /// The most that it asks for in any way.
    fn most(&self) -> u32 {
        self.wanted.max(self.needed).max(self.terms.guaranteed)
    }
}

/// What a program gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Processes.
    pub processes: u32,
    /// The budget that kept it from what it wanted, by its place in the row.
    pub short_of: Option<usize>,
}

/// Divides budgets among those who claim. Where there is enough for all, everybody gets what it wants. More than a budget
/// is given only where the guarantees alone are more.
pub fn share(claims: &[Claim], budgets: &[u64]) -> Vec<Grant> {
    if is_enough(claims, budgets) {
        return claims.iter().map(|claim| Grant { processes: claim.most(), short_of: None }).collect();
    }
    let mut sharing = Sharing {
        claims,
        left: budgets.to_vec(),
        grants: vec![Grant::default(); claims.len()],
        order: claims.iter().map(|claim| claim.terms.priority).collect::<BTreeSet<i32>>(),
    };
    sharing.guarantees();
    sharing.first_places();
    let order = std::mem::take(&mut sharing.order);
    for &priority in order.iter().rev() {
        sharing.fill(priority, |claim| claim.kept.min(claim.needed));
        sharing.fill(priority, |claim| claim.steady.min(claim.needed));
        sharing.fill(priority, |claim| claim.needed);
    }
    for &priority in order.iter().rev() {
        sharing.fill(priority, Claim::most);
    }
    sharing.grants
}

/// The same for whoever has had a part for a while: it keeps what it has from others of its priority for [`KEEPS`], so that
/// nothing is stopped here for a need there that is over in a moment.
pub fn share_in_turn(
    mut claims: Vec<Claim>,
    standings: &mut [Standing],
    budgets: &[u64],
    now: Time,
) -> Vec<Grant> {
    if is_enough(&claims, budgets) {
        standings.fill(Standing::default());
        return share(&claims, budgets);
    }
    for (claim, standing) in claims.iter_mut().zip(&mut *standings) {
        let waits = claim.needed > 0 && claim.terms.has == 0;
        standing.waiting_since = waits.then(|| standing.waiting_since.unwrap_or(now));
        claim.waiting_since = standing.waiting_since;
    }
    let by_need = share(&claims, budgets);
    for ((claim, standing), due) in claims.iter_mut().zip(standings).zip(by_need) {
        let has = claim.terms.has.min(claim.needed);
        let is_over = has > due.processes;
        standing.over_since = is_over.then(|| standing.over_since.unwrap_or(now));
        let keeps = standing.over_since.is_none_or(|since| now < since + KEEPS);
        claim.kept = if keeps { has } else { due.processes };
    }
    share(&claims, budgets)
}

/// A decision as it is where less is given than was asked for; `live` processes run or start, and `of` names what there
/// is not enough of.
pub fn within(
    decision: Decision,
    grant: Grant,
    standing: Standing,
    live: u32,
    now: Time,
    of: &str,
) -> Decision {
    let spares_busy = standing.over_since.is_none_or(|since| now < since + SPARES_BUSY);
    let busy = decision.busy.filter(|_| spares_busy).unwrap_or_default().min(live);
    let target = grant.processes.max(busy);
    if target >= decision.target {
        return decision;
    }
    decision.limited_to(target, Limit::Budget, of)
}

/// Whether everybody can have what it wants.
pub fn is_enough(claims: &[Claim], budgets: &[u64]) -> bool {
    budgets.iter().enumerate().all(|(budget, limit)| {
        let asked =
            claims.iter().map(|claim| u64::from(claim.most()).saturating_mul(claim.terms.uses[budget]));
        asked.fold(0, u64::saturating_add) <= *limit
    })
}

struct Sharing<'a> {
    claims: &'a [Claim],
    left: Vec<u64>,
    grants: Vec<Grant>,
    order: BTreeSet<i32>,
}

impl Sharing<'_> {
    fn guarantees(&mut self) {
        for (claim, grant) in self.claims.iter().zip(&mut self.grants) {
            grant.processes = claim.terms.guaranteed;
            for (left, uses) in self.left.iter_mut().zip(&claim.terms.uses) {
                *left = left.saturating_sub(uses.saturating_mul(u64::from(claim.terms.guaranteed)));
            }
        }
    }

    fn first_places(&mut self) {
        let mut without: Vec<usize> = (0..self.claims.len())
            .filter(|&index| self.grants[index].processes == 0 && self.claims[index].needed > 0)
            .collect();
        without.sort_by_key(|&index| {
            let claim = &self.claims[index];
            let waiting_since = claim.waiting_since.unwrap_or(Time::from_micros(u64::MAX));
            (Reverse(claim.terms.priority), claim.kept == 0, waiting_since, index)
        });
        for index in without {
            self.give(index);
        }
    }

    /// Gives to those of a priority up to `level`, always to the one of whose level the least part is met.
    fn fill(&mut self, priority: i32, level: impl Fn(&Claim) -> u32) {
        let waits = |grants: &[Grant], index: usize| {
            let (claim, has) = (&self.claims[index], grants[index].processes);
            let level = level(claim);
            (has < level).then(|| Reverse((Part::of(has, level), index)))
        };
        let members = (0..self.claims.len()).filter(|&index| self.claims[index].terms.priority == priority);
        let mut row: BinaryHeap<_> = members.filter_map(|index| waits(&self.grants, index)).collect();
        while let Some(Reverse((_, index))) = row.pop() {
            let claim = &self.claims[index];
            if give(claim, &mut self.left, &mut self.grants[index]) {
                row.extend(waits(&self.grants, index));
            }
        }
    }

    fn give(&mut self, index: usize) {
        give(&self.claims[index], &mut self.left, &mut self.grants[index]);
    }
}

/// One place more, if every budget that it uses has room; otherwise it is noted which has not.
fn give(claim: &Claim, left: &mut [u64], grant: &mut Grant) -> bool {
    if let Some(short) = left.iter().zip(&claim.terms.uses).position(|(left, uses)| left < uses) {
        grant.short_of = Some(short);
        return false;
    }
    for (left, uses) in left.iter_mut().zip(&claim.terms.uses) {
        *left -= uses;
    }
    grant.processes += 1;
    true
}

/// A part of a whole, in order of size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    part: u32,
    whole: u32,
}

impl Part {
    fn of(part: u32, whole: u32) -> Self {
        Self { part, whole }
    }
}

impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Part {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let crossed = |part: u32, whole: u32| u64::from(part) * u64::from(whole);
        crossed(self.part, other.whole).cmp(&crossed(other.part, self.whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::random::Random;

    fn claim(needed: u32) -> Claim {
        Claim::fixed(needed, Terms { uses: vec![1], ..Terms::default() })
    }

    fn processes(claims: &[Claim], budget: u64) -> Vec<u32> {
        share(claims, &[budget]).iter().map(|grant| grant.processes).collect()
    }

    fn with_priority(priority: i32, claim: Claim) -> Claim {
        Claim { terms: Terms { priority, ..claim.terms }, ..claim }
    }

    fn sure_of(guaranteed: u32, claim: Claim) -> Claim {
        Claim { terms: Terms { guaranteed, ..claim.terms }, ..claim }
    }

    #[test]
    fn where_there_is_enough_everybody_gets_what_it_wants() {
        let claims = [Claim { wanted: 9, ..claim(4) }, sure_of(3, claim(0))];
        assert_eq!(processes(&claims, 12), [9, 3]);
        assert!(share(&claims, &[12]).iter().all(|grant| grant.short_of.is_none()));
        assert_eq!(processes(&[claim(7)], u64::MAX), [7]);
    }

    #[test]
    fn equal_ones_get_the_same_part_of_what_they_need() {
        assert_eq!(processes(&[claim(30), claim(10), claim(20)], 12), [6, 2, 4]);
        assert_eq!(processes(&[claim(30), claim(1), claim(30)], 11), [5, 1, 5]);
        let grants = share(&[claim(30), claim(30)], &[10]);
        assert!(grants.iter().all(|grant| grant.short_of == Some(0)), "{grants:?}");
    }

    #[test]
    fn a_higher_priority_comes_first_and_nobody_starves() {
        let high = with_priority(5, claim(50));
        assert_eq!(processes(&[claim(10), high.clone(), claim(10)], 20), [1, 18, 1]);
        let guaranteed = sure_of(4, claim(10));
        assert_eq!(processes(&[guaranteed, high], 20), [4, 16]);
    }

    #[test]
    fn the_steady_flow_comes_before_backlogs() {
        let flow = Claim { steady: 8, ..claim(8) };
        let backlog = Claim { steady: 1, ..claim(30) };
        assert_eq!(processes(&[flow, backlog], 12), [8, 4]);
    }

    #[test]
    fn what_somebody_has_is_kept_from_equals_and_not_from_higher_ones() {
        let settled = Claim { kept: 9, ..claim(9) };
        assert_eq!(processes(&[settled.clone(), claim(9)], 10), [9, 1]);
        let high = with_priority(1, claim(9));
        assert_eq!(processes(&[settled, high], 10), [1, 9]);
    }

    #[test]
    fn what_is_only_kept_for_a_window_gives_way_to_need() {
        let idle = with_priority(9, Claim { needed: 1, wanted: 10, kept: 10, ..claim(0) });
        assert_eq!(processes(&[idle, claim(8)], 10), [2, 8]);
    }

    #[test]
    fn of_those_without_any_who_has_waited_longest_comes_first() {
        let waiting = |since| Claim { waiting_since: Some(Time::from_millis(since)), ..claim(1) };
        assert_eq!(processes(&[waiting(30), waiting(10), waiting(20)], 2), [0, 1, 1]);
        let working = Claim { kept: 1, ..claim(1) };
        assert_eq!(processes(&[waiting(30), working], 1), [0, 1]);
    }

    #[test]
    fn a_named_budget_holds_only_those_who_use_it() {
        let uses = |first, second| Claim::fixed(10, Terms { uses: vec![first, second], ..Terms::default() });
        let grants = share(&[uses(1, 2), uses(1, 0), uses(1, 1)], &[25, 9]);
        let processes: Vec<u32> = grants.iter().map(|grant| grant.processes).collect();
        assert_eq!(processes, [3, 10, 3]);
        assert_eq!([grants[0].short_of, grants[1].short_of], [Some(1), None]);
    }

    /// A thousand divisions of anything among anybody.
    #[test]
    fn no_budget_is_exceeded_nothing_is_left_that_somebody_needs_and_guarantees_and_priorities_hold() {
        let mut random = Random::new(7);
        let mut below = |limit: u32| (random.unit() * f64::from(limit)) as u32;
        for round in 0..1_000 {
            let claims: Vec<Claim> = (0..below(12))
                .map(|_| {
                    let needed = below(20);
                    Claim {
                        terms: Terms {
                            guaranteed: below(3),
                            has: 0,
                            priority: below(3) as i32,
                            uses: vec![1, u64::from(below(3))],
                        },
                        steady: below(20),
                        needed,
                        wanted: needed + below(5),
                        kept: below(20),
                        waiting_since: (below(2) == 0).then(|| Time::from_millis(u64::from(below(9)))),
                    }
                })
                .collect();
            let used = |budget: usize, counts: &dyn Fn(usize) -> u32| -> u64 {
                (0..claims.len())
                    .map(|index| u64::from(counts(index)) * claims[index].terms.uses[budget])
                    .sum()
            };
            let least: Vec<u64> =
                (0..2).map(|budget| used(budget, &|index| claims[index].terms.guaranteed)).collect();
            let budgets = [least[0] + u64::from(below(60)), least[1] + u64::from(below(60))];
            let grants = share(&claims, &budgets);
            for (budget, limit) in budgets.iter().enumerate() {
                assert!(used(budget, &|index| grants[index].processes) <= *limit, "round {round}");
            }
            let left: Vec<u64> = (0..2)
                .map(|budget| budgets[budget] - used(budget, &|index| grants[index].processes))
                .collect();
            for (claim, grant) in claims.iter().zip(&grants) {
                assert!((claim.terms.guaranteed..=claim.most()).contains(&grant.processes), "round {round}");
                let fits = left.iter().zip(&claim.terms.uses).all(|(left, uses)| left >= uses);
                assert!(grant.processes == claim.most() || !fits, "round {round}: {claim:?} {grant:?}");
                let is_held = grant.processes < claim.most();
                assert_eq!(grant.short_of.is_some(), is_held, "round {round}: {claim:?} {grant:?}");
            }
            for (high, high_grant) in claims.iter().zip(&grants) {
                let lacks = high_grant.processes < high.needed;
                for (low, low_grant) in
                    claims.iter().zip(&grants).filter(|(low, _)| low.terms.priority < high.terms.priority)
                {
                    let costs_less =
                        low.terms.uses.iter().zip(&high.terms.uses).all(|(low, high)| low >= high);
                    let beyond = low_grant.processes > low.terms.guaranteed.max(1);
                    assert!(!(lacks && beyond && costs_less), "round {round}: {high:?} {low:?}");
                }
            }
        }
    }
}
