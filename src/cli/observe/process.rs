//! What `/proc` tells of a process that consumes: how it was started, as whom and where, and who runs it now. Of its environment
//! nothing is kept but the marks that service managers leave in it.

use std::io;

use nix::unistd::{Gid, Group, Uid, User};

use crate::sys::process;

/// What a directory's name ends in once it was removed. Source: proc_pid_cwd(5).
const DELETED: &str = " (deleted)";

/// A process that lives, or has: the number and when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    /// Its number.
    pub(super) pid: i32,
    /// In clock ticks after boot.
    pub(super) start_ticks: u64,
}

/// How a process was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Launch {
    /// Its words, or its title alone where it has written that over them.
    pub(super) words: Vec<String>,
    /// Whether the words are not all of what they were: bytes that are no text, or a title.
    pub(super) is_changed: bool,
    /// Where it runs.
    pub(super) directory: Option<String>,
    /// As whom: a name, or a number that has none.
    pub(super) user: Option<String>,
    /// Its group, where it is not that of its user.
    pub(super) group: Option<String>,
}

/// Who runs a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Runner {
    /// A Leveret, as this program.
    Leveret(String),
    /// supervisord, as this program.
    Supervisord(String),
    /// systemd, as this unit.
    Systemd(String),
    /// Something in a container.
    Container,
    /// Its parent, by name.
    Parent(String),
    /// Nobody who could be told.
    Unknown,
}

/// Everything that is told of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalProcess {
    pub(super) launch: Launch,
    pub(super) runner: Runner,
}

/// Who it is.
///
/// # Errors
/// It is gone.
pub(super) fn identity(pid: i32) -> io::Result<Identity> {
    Ok(Identity { pid, start_ticks: process::stat(pid)?.start_time_ticks })
}

/// What is known of it.
///
/// # Errors
/// It is gone.
pub(super) fn read(pid: i32) -> io::Result<LocalProcess> {
    let words = process::words(pid)?;
    let text: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let is_text = words.iter().all(|word| word.to_str().is_some());
    // A word with a space in it is the whole of a command only where a title was written over it.
    let is_title = matches!(text.as_slice(), [only] if only.contains(' '));
    // What may not be looked at is left out, and told by its absence.
    let directory = process::directory(pid).ok().map(|path| as_it_was(&path));
    let (user, group) = process::owner(pid).map(|(user, group)| names(user, group)).unwrap_or_default();
    let launch = Launch { words: text, is_changed: !is_text || is_title, directory, user, group };
    Ok(LocalProcess { launch, runner: runner(pid) })
}

fn as_it_was(path: &std::path::Path) -> String {
    let shown = path.display().to_string();
    // A deploy that replaces directories leaves processes in the one before.
    shown.strip_suffix(DELETED).unwrap_or(&shown).to_owned()
}

/// The user, and the group where it is another than the user's own.
fn names(user: u32, group: u32) -> (Option<String>, Option<String>) {
    let found = User::from_uid(Uid::from_raw(user)).ok().flatten();
    let is_own = found.as_ref().is_some_and(|found| found.gid.as_raw() == group);
    let group_name = || match Group::from_gid(Gid::from_raw(group)).ok().flatten() {
        Some(found) => found.name,
        None => group.to_string(),
    };
    let name = found.map_or_else(|| user.to_string(), |found| found.name);
    (Some(name), (!is_own).then(group_name))
}

fn runner(pid: i32) -> Runner {
    let environ = process::environ(pid).unwrap_or_default();
    let value = |name: &str| {
        let value = process::value_in(&environ, name)?;
        Some(String::from_utf8_lossy(value).into_owned()).filter(|value| !value.is_empty())
    };
    if let Some(program) = value("LEVERET_PROGRAM") {
        return Runner::Leveret(program);
    }
    // Source: supervisord.org, subprocess environment.
    if let Some(name) = value("SUPERVISOR_PROCESS_NAME") {
        return Runner::Supervisord(match value("SUPERVISOR_GROUP_NAME") {
            Some(group) if group != name => format!("{group}:{name}"),
            Some(_) | None => name,
        });
    }
    let groups = process::control_groups(pid).unwrap_or_default();
    if let Some(runner) = by_groups(&groups) {
        return runner;
    }
    let parent = process::stat(pid).map(|stat| stat.parent).unwrap_or_default();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    match name.trim() {
        "" => Runner::Unknown,
        name if parent > 1 => Runner::Parent(name.to_owned()),
        _ => Runner::Unknown,
    }
}

/// Who runs a process, by its control groups: a systemd unit is the last of its path that is named as one.
fn by_groups(groups: &str) -> Option<Runner> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    for path in paths {
        let parts: Vec<&str> = path.split('/').collect();
        let is_container = |part: &&str| {
            ["docker", "libpod", "crio", "kubepods", "lxc"].iter().any(|name| part.starts_with(name))
        };
        if parts.iter().any(is_container) {
            return Some(Runner::Container);
        }
        let unit = parts.iter().rev().find(|part| part.ends_with(".service"));
        // What a person starts in a session is below the service of that user's own systemd.
        if let Some(unit) = unit.filter(|unit| !unit.starts_with("user@")) {
            return Some(Runner::Systemd((*unit).to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_or_a_container_is_told_by_its_control_group() {
        let found = |groups: &str| by_groups(groups);
        let unit = |name: &str| Some(Runner::Systemd(name.to_owned()));
        assert_eq!(found("0::/system.slice/orders@3.service\n"), unit("orders@3.service"));
        assert_eq!(
            found("0::/user.slice/user-1000.slice/user@1000.service/app.slice/mail.service\n"),
            unit("mail.service")
        );
        assert_eq!(
            found("12:pids:/\n1:name=systemd:/system.slice/web.service/workers\n0::/\n"),
            unit("web.service")
        );
        assert_eq!(found("0::/user.slice/user-1000.slice/user@1000.service/tmux-spawn.scope\n"), None);
        assert_eq!(found("0::/user.slice/user-0.slice/session-3.scope\n"), None);
        assert_eq!(found("0::/system.slice/docker-0123.scope\n"), Some(Runner::Container));
        assert_eq!(found("0::/\n"), None);
    }

    #[test]
    fn the_own_process_is_told_with_its_words_and_user() {
        let pid = std::process::id() as i32;
        let LocalProcess { launch, .. } = read(pid).unwrap();
        assert_eq!(launch.words, std::env::args().collect::<Vec<_>>());
        assert!(!launch.is_changed && launch.user.is_some(), "{launch:?}");
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(launch.directory, Some(here.display().to_string()));
        assert_eq!(identity(pid).unwrap(), identity(pid).unwrap());
        // Above the largest pid_max that the kernel allows.
        assert!(identity(5_000_000).is_err() && read(5_000_000).is_err());
    }

    #[test]
    fn a_process_of_supervisord_is_told_by_the_names_that_it_was_given() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .env_clear()
            .env("SUPERVISOR_PROCESS_NAME", "orders_03")
            .env("SUPERVISOR_GROUP_NAME", "orders")
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        // A spawn returns a moment before the kernel has laid out the new program's environment.
        while process::environ(pid).unwrap().is_empty() {
            std::thread::yield_now();
        }
        let told = runner(pid);
        child.kill().unwrap();
        reap(&mut child);
        assert_eq!(told, Runner::Supervisord("orders:orders_03".to_owned()));
    }

    #[expect(clippy::disallowed_methods, reason = "the test's own child, which no keeper knows")]
    fn reap(child: &mut std::process::Child) {
        child.wait().unwrap();
    }
}
