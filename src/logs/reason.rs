//! The cause of a failure as people read it.

use std::io;

/// The cause without the number that the standard library adds: `No space left on device`.
pub(super) fn reason(error: &io::Error) -> String {
    crate::sys::cause::plain(error)
}
