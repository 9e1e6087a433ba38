//! Live updates: the snapshot, or the page made from it, whenever something changed.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::context::Context;
use super::error::ApiError;
use super::page;
use crate::controller::handle::Refusal;

/// An event comes at least this often, so that ages and uptimes move and a dead connection is noticed.
const QUIET_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    #[serde(default, rename = "as")]
    form: Form,
}

/// What an event carries.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// `status`: the snapshot as `/api/v1/status` has it.
    #[default]
    Status,
    /// `page`: the changing part of the page as HTML, so that it is made in one place only.
    Page,
}

impl Form {
    /// Events are at least this far apart.
    fn gap(self) -> Duration {
        match self {
            Self::Status => Duration::from_millis(250),
            Self::Page => Duration::from_millis(500),
        }
    }
}

/// `GET /api/v1/events`
pub(super) async fn events(
    State(context): State<Context>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let Query(query) = query?;
    let permit = context.stream_permit()?;
    let changes = context.handle().changes();
    let updates = Updates { context, form: query.form, changes, begun: false, _permit: permit };
    Ok(Sse::new(unfold(updates, |mut updates| async move {
        let event = updates.next().await?;
        Some((Ok(event), updates))
    })))
}

struct Updates {
    context: Context,
    form: Form,
    changes: watch::Receiver<u64>,
    begun: bool,
    _permit: OwnedSemaphorePermit,
}

impl Updates {
    /// The next event; nothing when the server or the loop ends.
    async fn next(&mut self) -> Option<Event> {
        let shutdown = self.context.shutdown().clone();
        shutdown.run_until_cancelled(self.wait()).await??;
        match self.event().await {
            Ok(event) => Some(event),
            // The loop has ended; the client comes back to the next one by itself.
            Err(Refusal::Ending) => None,
            Err(refusal) => {
                tracing::error!(%refusal, "live updates ended");
                None
            }
        }
    }

    /// Done when there is something new to tell, or after a while. Nothing when the loop has ended.
    async fn wait(&mut self) -> Option<()> {
        if !self.begun {
            self.begun = true;
            return Some(());
        }
        let gap = self.form.gap();
        sleep(gap).await;
        match timeout(QUIET_MAX - gap, self.changes.changed()).await {
            Ok(Ok(())) | Err(_) => Some(()),
            Ok(Err(_)) => None,
        }
    }

    async fn event(&mut self) -> Result<Event, Refusal> {
        // A change after this line is told by the next event.
        self.changes.borrow_and_update();
        let snapshot = self.context.handle().snapshot().await?;
        let (name, data) = match self.form {
            Form::Status => ("status", serde_json::to_string(&*snapshot).map_err(|error| broken(&error))?),
            Form::Page => ("page", page::live_part(&snapshot).map_err(|error| broken(&error))?),
        };
        Ok(Event::default().event(name).retry(Duration::from_secs(1)).data(data))
    }
}

fn broken(error: &dyn std::error::Error) -> Refusal {
    Refusal::Invalid(format!("the snapshot could not be written: {error}"))
}
