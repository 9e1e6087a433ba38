//! The locks on the directories over the end of a keeper: none is taken before the controller of a killed one has ended.

use std::fs;
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crate::sys::lock::{LockError, lock_directory};
use crate::sys::{clock, process};

/// How long the controller of a keeper that was killed may take to end: it writes its last state.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How often is looked whether it has.
const LOCK_LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A controller holds the locks of the directories as well, and to its very end: if its keeper is killed, nobody may take
/// over before it has stopped moving output and its sockets are closed.
pub(super) fn hold_until_the_end(lock: OwnedFd) {
    // Closed by the kernel, after all else of this process.
    let _ = lock.into_raw_fd();
}

/// Locks a directory. If the one who has it is a keeper that was killed, its controller still ends, which is waited for.
pub(super) async fn lock_after_a_killed_keeper(directory: &Path, pid: i32) -> Result<OwnedFd, LockError> {
    let patience = clock::now() + LOCK_PATIENCE;
    loop {
        match lock_directory(directory, pid) {
            Err(LockError::Held { pid: Some(holder), .. })
                if !is_a_keeper(holder) && clock::now() < patience =>
            {
                // A lock that becomes free wakes nobody who does not block for it.
                tokio::time::sleep(LOCK_LOOK_AGAIN).await;
            }
            result => return result,
        }
    }
}

/// Whether a living keeper has this number.
fn is_a_keeper(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end() == "leveret-keeper" && process::stat(pid).is_ok_and(|stat| !stat.is_zombie())
}
