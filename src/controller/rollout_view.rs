//! A rolling restart as it is shown.

use super::snapshot::RolloutView;
use crate::core::rollout::{End, Stage, replaced, sentence};
use crate::core::time::Time;
use crate::core::world::Program;

/// The newest rolling restart of `program`.
pub(super) fn of(program: &Program, now: Time) -> Option<RolloutView> {
    let rollout = program.wish.rollout.as_ref()?;
    let replaced = replaced(program, rollout);
    let canary = match &rollout.stage {
        Stage::Canary(canary) => canary.slot.map(|slot| program.label(slot)),
        Stage::Rolling | Stage::Over(_) => None,
    };
    let last_words = match &rollout.stage {
        Stage::Over(End { last_words, .. }) => last_words.clone(),
        Stage::Canary(_) | Stage::Rolling => None,
    };
    Some(RolloutView {
        id: rollout.id,
        state: rollout.state().to_owned(),
        batch: rollout.batch,
        total: rollout.total,
        replaced,
        canary,
        by: rollout.by.clone(),
        age_seconds: now.since(rollout.since).as_secs_f64(),
        last_words,
        sentence: sentence(program, rollout, replaced, now),
    })
}
