//! The queues of a program as they are shown: those that it consumes, and those that are only observed.

use super::snapshot::QueueView;
use super::view::Scene;
use crate::core::spec::ScaleSpec;
use crate::core::world::Program;
use crate::scaling::decision::{Decision, OfQueue};

impl Scene<'_> {
    /// The queues in the order of the configuration, those that are only observed last.
    pub(super) fn queues_of(&self, program: &Program, scale: &ScaleSpec) -> Vec<QueueView> {
        let consumed = scale.queues().enumerate().map(|(place, (name, wait))| {
            let view = self.queue(program, scale, name);
            let engine = program.scaler.as_ref().map(|scaler| &scaler.engine);
            let decided = of_queue(program, name);
            QueueView {
                polling: engine.is_some_and(|engine| engine.is_polling(place)),
                wait_goal_seconds: Some(wait.as_secs_f64()),
                wait_predicted_seconds: match scale.more.is_empty() {
                    true => decision(program).and_then(|decision| decision.predicted_wait),
                    false => decided.and_then(|queue| queue.predicted_wait),
                }
                .map(|wait| wait.as_secs_f64()),
                starved_by: decided.and_then(|queue| queue.starved_by.clone()),
                ..view
            }
        });
        let observed =
            scale.observe.iter().map(|name| QueueView { observed: true, ..self.queue(program, scale, name) });
        let delayed = scale.delayed.iter().map(|delayed| QueueView {
            observed: true,
            delayed_seconds: Some(delayed.after.as_secs_f64()),
            ..self.queue(program, scale, &delayed.queue)
        });
        consumed.chain(observed).chain(delayed).collect()
    }

    fn queue(&self, program: &Program, scale: &ScaleSpec, name: &str) -> QueueView {
        let seen = self.brokers.queue(&scale.broker, name);
        let figures = self.brokers.figures(&scale.broker, name, self.now);
        let of_queue = self.brokers.remarks(&scale.broker, name, self.now);
        QueueView {
            broker: scale.broker.clone(),
            queue: name.to_owned(),
            ready: seen.depth.map(|depth| depth.ready),
            unacked: figures.map(|figures| figures.unacknowledged),
            consumers: seen.depth.map(|depth| depth.consumers),
            age_seconds: seen.depth.map(|depth| self.now.since(depth.at).as_secs_f64()),
            error: seen.error,
            remarks: of_queue.into_iter().chain(self.idleness.remarks(&scale.broker, program)).collect(),
            ..QueueView::default()
        }
    }
}

fn decision(program: &Program) -> Option<&Decision> {
    program.scaler.as_ref().and_then(|scaler| scaler.decision.as_ref()).filter(|_| program.follows_engine())
}

/// What the newest decision says of one of several queues.
fn of_queue<'a>(program: &'a Program, name: &str) -> Option<&'a OfQueue> {
    let several = decision(program)?.several.as_ref()?;
    several.queues.iter().find(|queue| queue.name == name)
}
