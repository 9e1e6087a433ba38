//! What a broker has told of a queue beside its depth, and what that means: whatever told it.

use std::time::Duration;

use super::fact::{Counters, Figures, NoFlow};
use crate::core::time::Time;

/// What is told of a queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) ready: u64,
    pub(super) unacknowledged: u64,
    pub(super) published: Option<u64>,
    pub(super) acknowledged: u64,
    /// Taken as acknowledged when they were delivered.
    pub(super) unasked: u64,
    /// Whether anything that was delivered is counted.
    pub(super) counts_deliveries: bool,
}

/// What is known of a queue from what was told of it so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    last: Option<Told>,
    is_automatic: bool,
}

impl Ledger {
    /// Takes what was told, and says what it means. `counts` says whether the broker counts messages at all.
    pub(super) fn note(&mut self, told: Told, counts: bool) -> Figures {
        if let Some(last) = self.last.replace(told) {
            let unasked = told.unasked.saturating_sub(last.unasked);
            let acknowledged = told.acknowledged.saturating_sub(last.acknowledged);
            // Somebody who looks at a message by hand now and then changes nothing.
            if unasked != acknowledged {
                self.is_automatic = unasked > acknowledged;
            }
        }
        // Counters come from other places of the broker than depths, and may be a moment later.
        let is_counted = counts && (told.counts_deliveries || told.unacknowledged == 0);
        let flow = match (is_counted, self.is_automatic) {
            (false, _) => Err(NoFlow::NotCounted),
            (true, true) => Err(NoFlow::AutomaticAcknowledgement),
            (true, false) => {
                Ok(Counters { acknowledged: told.acknowledged + told.unasked, published: told.published })
            }
        };
        Figures { ready: told.ready, unacknowledged: told.unacknowledged, flow }
    }
}

/// Brokers renew their figures every few seconds. The same ones again may just be old, and would tell of a time in which
/// nothing happened; if they are the same twice, nothing did.
pub(super) fn is_news(told: Option<(Figures, Time)>, figures: Figures, at: Time, interval: Duration) -> bool {
    told.is_none_or(|(before, told_at)| before != figures || at.since(told_at) >= interval.mul_f64(1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_are_not_kept_are_not_taken_for_nothing_done() {
        let held = Told { unacknowledged: 3, ..Told::default() };
        assert_eq!(Ledger::default().note(held, true).flow, Err(NoFlow::NotCounted));
        let idle = Told::default();
        assert_eq!(Ledger::default().note(idle, false).flow, Err(NoFlow::NotCounted));
    }

    #[test]
    fn messages_that_nobody_acknowledges_are_noticed_once_most_are_such() {
        let mut ledger = Ledger::default();
        let mut flow = |acknowledged, unasked| {
            let told = Told { acknowledged, unasked, counts_deliveries: true, ..Told::default() };
            ledger.note(told, true).flow
        };
        let counted = |acknowledged| Ok(Counters { acknowledged, published: None });
        assert_eq!(flow(100, 50), counted(150), "what was before is nobody's business");
        assert_eq!(flow(110, 51), counted(161), "somebody looked at one");
        assert_eq!(flow(110, 90), Err(NoFlow::AutomaticAcknowledgement));
        assert_eq!(flow(110, 90), Err(NoFlow::AutomaticAcknowledgement), "nothing happened");
        assert_eq!(flow(130, 90), counted(220));
    }
}
