//! The cause of a failure as people read it.

use std::io;

/// The cause without the number that the standard library adds: `No space left on device`.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
