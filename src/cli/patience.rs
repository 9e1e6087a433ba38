//! Waiting for a condition by asking again and again, quietly across a controller that is being replaced.

use std::os::fd::AsFd;
use std::time::Duration;

use hyper::body::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::{sleep, timeout};

use super::client::{Client, no_answer};
use super::failure::Failure;
use super::status;
use crate::controller::snapshot::Snapshot;

/// Between two questions.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long Leveret may be silent before that is an error.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The status while something is waited for; a Leveret that does not answer is asked again for ten seconds.
///
/// # Errors
/// It does not answer for so long, or answers something else than a status.
pub(crate) async fn snapshot(client: &Client) -> Result<Snapshot, Failure> {
    client.decode(&ask_again(client, Failure::is_passing).await?)
}

/// The status at the beginning of a command: where nobody listens that is an error at once, but a controller that
/// was replaced in the middle of its answer is asked again.
///
/// # Errors
/// It is not there, or answers something else than a status.
pub(crate) async fn first_status(client: &Client) -> Result<Bytes, Failure> {
    ask_again(client, |failure| matches!(failure, Failure::Unreachable { sent: true, .. })).await
}

/// As [`first_status`], read.
///
/// # Errors
/// As [`first_status`].
pub(crate) async fn first_snapshot(client: &Client) -> Result<Snapshot, Failure> {
    client.decode(&first_status(client).await?)
}

async fn ask_again(client: &Client, is_worth_it: impl Fn(&Failure) -> bool) -> Result<Bytes, Failure> {
    let mut silence = None;
    let asking = async {
        loop {
            match client.read_bytes(status::PATH).await {
                Err(failure) if is_worth_it(&failure) => silence = Some(failure),
                answer => return answer,
            }
            sleep(POLL_INTERVAL).await;
        }
    };
    match timeout(SILENCE_MAX, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(silence.unwrap_or_else(|| client.lost(no_answer()))),
    }
}

/// Runs `work` for `limit` at most, or without a limit; absent when the time was over.
pub(crate) async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

/// Whether one of `events`, or an error, is there on `descriptor` now. One that cannot be asked is not.
pub(crate) fn is_ready(descriptor: impl AsFd, events: PollFlags) -> bool {
    let mut asked = [PollFd::new(&descriptor, events)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok_and(|ready| ready > 0)
}
