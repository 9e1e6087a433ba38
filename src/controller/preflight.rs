//! Whether this binary can take the place of the one that runs: looked at in a process of its own, before anything
//! depends on it. It reads and changes nothing.

use std::path::Path;

use super::start::environment;
use crate::config;
use crate::keeper::Verdict;
use crate::store::state;
use crate::sys::cause::plain;

/// The verdict about taking over from the keeper whose state comes on standard input, and which was started with this
/// configuration file.
pub fn verdict(configuration: &Path) -> Verdict {
    Verdict::of_this_binary(|| {
        let settings = config::load(configuration, &environment()).map_err(|problems| {
            format!("it does not accept the configuration: {}", plain(problems).trim_end())
        })?;
        state::check(&settings.state_dir).map_err(|error| super::control::with_causes(&error))
    })
}
