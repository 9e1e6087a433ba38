//! Hooks: from what the file says to what runs at which moment of a process's life.

use super::program::words;
use super::raw;
use super::ready::Wrong;
use crate::core::hooks::{HOOK_TIMEOUT, Hook, Hooks};

/// The hooks of a program; what it says itself takes the place of the same hook of the defaults. `shell` says whether
/// /bin/sh runs commands.
pub(super) fn hooks(
    own: Option<&raw::Hooks>,
    shared: Option<&raw::Hooks>,
    shell: bool,
    wrong: &mut Wrong<'_>,
) -> Hooks {
    let mut at = |key: &str, of: fn(&raw::Hooks) -> Option<&raw::Hook>| {
        let written = [own, shared].into_iter().flatten().find_map(of);
        written.and_then(|written| hook(key, written, shell, wrong))
    };
    Hooks {
        pre_start: at("pre_start", |hooks| hooks.pre_start.as_ref()),
        post_ready: at("post_ready", |hooks| hooks.post_ready.as_ref()),
        pre_stop: at("pre_stop", |hooks| hooks.pre_stop.as_ref()),
        post_exit: at("post_exit", |hooks| hooks.post_exit.as_ref()),
    }
}

fn hook(key: &str, written: &raw::Hook, shell: bool, wrong: &mut Wrong<'_>) -> Option<Hook> {
    if written.timeout.is_some_and(|timeout| timeout.is_zero()) {
        let message = "`timeout` must be longer than nothing".to_owned();
        wrong(&["hooks", key, "timeout"], message, Some("leave it out for 30s".to_owned()));
    }
    // That it is missing was reported with the keys of the file.
    match words(written.command.as_ref()?, shell) {
        Ok(argv) => Some(Hook { argv, timeout: written.timeout.unwrap_or(HOOK_TIMEOUT) }),
        Err((message, hint)) => {
            wrong(&["hooks", key], message, hint);
            None
        }
    }
}
