//! Waiting for a condition. The only place of the tests where a thread sleeps.

use std::fmt::Display;
use std::time::Duration;

use leveret::sys::clock;

/// First pause between two looks; each pause is half as long again as the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(2);
/// Longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Looks until there is something to return; panics with `what` when `limit` has passed.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    wait_for_state(what, limit, || look().ok_or("nothing"))
}

/// Like [`wait_for`], for a look that can say what it sees while it is not satisfied: the panic shows the last of it.
pub(crate) fn wait_for_state<T, S: Display>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, S>,
) -> T {
    let started_seconds = clock::now().as_seconds();
    let mut pause = PAUSE_FIRST;
    loop {
        let seen = match look() {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        if clock::now().as_seconds() - started_seconds > limit.as_secs_f64() {
            panic!("waited {limit:?} for {what}; last seen: {seen}");
        }
        sleep(pause);
        pause = PAUSE_MAX.min(pause * 3 / 2);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks at a condition, nothing waits for the time"
)]
fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}
