//! The keeper's own words.

use std::io::{self, Write as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// One line on stderr, for what no controller is there to say. A stderr that takes nothing must not stop the keeper,
/// so the line is lost then.
pub(super) fn say(text: &str) {
    let mut line = format!("leveret: {text}");
    // A pipe that is writable takes this much without blocking (PIPE_BUF, pipe(7)).
    line.truncate(line.floor_char_boundary(4_000));
    line.push('\n');
    let stderr = rustix::stdio::stderr();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_writable = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&now));
    if is_writable == Ok(1) {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}
