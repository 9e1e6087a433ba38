//! Control groups, version 2: one for each program that asks for it, with its limits, and one below it for each life, so that
//! all of a life can be killed at once and nothing of it can hide. Where the hierarchy cannot be written to, programs run
//! without.
//!
//! ```text
//! BASE                   the group that Leveret was started in
//! BASE/leveret.self      Leveret itself, where the kernel wants BASE to be empty before it takes limits below
//! BASE/leveret-PID.NAME  a program, with the limits of all its processes together
//! BASE/leveret-PID.NAME/NUMBER   a life
//! ```

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::process;
use crate::core::spec::CgroupSpec;

/// Where Leveret itself goes if it has to make room.
const SELF: &str = "leveret.self";

/// How often a group is made anew that vanished before it was entered.
const ATTEMPTS: u32 = 8;

/// The longest line of ancestors that is followed.
const ANCESTORS_MAX: usize = 64;

/// The group that this process was started in, if there is a hierarchy of version 2.
pub fn base() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    base_in(&mounts, &own)
}

fn base_in(mounts: &str, own: &str) -> Option<PathBuf> {
    // Fields are separated by single spaces; behind a lone hyphen comes the type (proc_pid_mountinfo(5)).
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2")).then(|| before.split(' ').nth(4))?
    })?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = Path::new(mount).join(path);
    match group.file_name() == Some(SELF.as_ref()) {
        true => group.parent().map(Path::to_owned),
        false => Some(group),
    }
}

/// The group of a life below `base`; `keeper` is the number of the keeper, because another Leveret may be in the same group.
pub fn of_life(base: &Path, keeper: i32, name: &str, incarnation: u64) -> PathBuf {
    base.join(format!("leveret-{keeper}.{name}")).join(incarnation.to_string())
}

/// Makes the group of a life, sets the limits of its program, and moves this process into it. Limits that the system does
/// not have are left out; [`doubt`] has said so.
///
/// # Errors
/// The group cannot be made or entered.
pub fn join(life: &Path, spec: &CgroupSpec, keeper: i32) -> io::Result<()> {
    let mut attempt = 1;
    loop {
        match join_once(life, spec, keeper) {
            // The life before may have ended this moment, and have taken the group of the program with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

fn join_once(life: &Path, spec: &CgroupSpec, keeper: i32) -> io::Result<()> {
    let program = life.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let base = program.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make(program)?;
    for (controller, file, value) in spec.files() {
        if enable(base, controller, keeper).is_ok() {
            // The other limits hold without it.
            drop(put(&program.join(file), &value));
        }
    }
    make(life)?;
    put(&life.join("cgroup.procs"), "0")
}

/// Everybody in the group of a life; nobody where it is gone.
pub fn processes(life: &Path) -> Vec<i32> {
    let text = fs::read_to_string(life.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Kills everybody in the group of a life at once, however fast it forks.
pub fn kill(life: &Path) {
    // Before Linux 5.14 there is no such file; whoever calls this kills one by one as well.
    drop(put(&life.join("cgroup.kill"), "1"));
}

/// Removes the group of a life, and that of its program after its last life.
pub fn remove(life: &Path) {
    // Neither has to be there, and neither goes while somebody is in it.
    if fs::remove_dir(life).is_ok()
        && let Some(program) = life.parent()
    {
        drop(fs::remove_dir(program));
    }
}

/// What of these limits will not hold here, as a sentence.
pub fn doubt(base: Option<&Path>, spec: &CgroupSpec) -> Option<String> {
    let Some(base) = base else {
        return Some("`cgroup` has no effect, because there is no cgroup hierarchy of version 2".to_owned());
    };
    let shown = base.display();
    let can_write = rustix::fs::access(base, rustix::fs::Access::WRITE_OK);
    if let Err(error) = can_write {
        let why = crate::sys::cause::plain(error);
        return Some(format!("`cgroup` has no effect, because {shown} cannot be written to: {why}"));
    }
    let known = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    let known: BTreeSet<&str> = known.split_whitespace().collect();
    let files = spec.files();
    let missing: Vec<&str> =
        files.iter().map(|(controller, ..)| *controller).filter(|name| !known.contains(name)).collect();
    match missing.as_slice() {
        [] => None,
        missing => Some(format!(
            "of `cgroup`, limits on {} have no effect: {shown} has no such controller",
            missing.join(" and ")
        )),
    }
}

fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Has a controller set limits for the groups below this one.
fn enable(base: &Path, controller: &str, keeper: i32) -> io::Result<()> {
    let switch = base.join("cgroup.subtree_control");
    let word = format!("+{controller}");
    match put(&switch, &word) {
        // Not while processes are in it.
        Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
            make_room(base, keeper)?;
            put(&switch, &word)
        }
        result => result,
    }
}

/// Moves the keeper and all that it has started out of the group. Whoever else is in it stays, and then there are no limits.
fn make_room(base: &Path, keeper: i32) -> io::Result<()> {
    let own = base.join(SELF);
    make(&own)?;
    for pid in processes(base).into_iter().filter(|pid| descends_from(*pid, keeper)) {
        // It may have ended meanwhile.
        drop(put(&own.join("cgroup.procs"), &pid.to_string()));
    }
    Ok(())
}

fn descends_from(pid: i32, ancestor: i32) -> bool {
    let mut pid = pid;
    for _ in 0..ANCESTORS_MAX {
        if pid == ancestor {
            return true;
        }
        match process::stat(pid) {
            Ok(stat) if stat.parent > 0 => pid = stat.parent,
            Ok(_) | Err(_) => return false,
        }
    }
    false
}

fn put(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 0:21 / /proc rw - proc proc rw\n\
        33 32 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn spec() -> CgroupSpec {
        CgroupSpec { memory_max: Some(512 << 20), cpu_max: Some(150), pids_max: Some(100) }
    }

    #[test]
    fn the_base_is_where_leveret_was_started_even_after_it_made_room() {
        let found = |own: &str| base_in(MOUNTS, own).map(|path| path.display().to_string());
        let service = Some("/sys/fs/cgroup/system.slice/leveret.service".to_owned());
        assert_eq!(found("4:memory:/x\n0::/system.slice/leveret.service\n"), service);
        assert_eq!(found("0::/system.slice/leveret.service/leveret.self\n"), service);
        assert_eq!(found("0::/\n").as_deref(), Some("/sys/fs/cgroup/"));
        assert_eq!(found("4:memory:/x\n"), None);
        assert_eq!(base_in("22 1 0:21 / /proc rw - proc proc rw\n", "0::/\n"), None);
    }

    #[test]
    fn the_files_have_the_kernels_form() {
        let base = tempfile::tempdir().unwrap();
        let life = of_life(base.path(), 77, "web", 5);
        let program = base.path().join("leveret-77.web");
        fs::create_dir_all(&life).unwrap();
        let limits = ["memory.max", "cpu.max", "pids.max"].map(|file| program.join(file));
        let procs = life.join("cgroup.procs");
        let switch = base.path().join("cgroup.subtree_control");
        for file in limits.iter().chain([&procs, &switch]) {
            fs::write(file, "").unwrap();
        }
        join(&life, &spec(), 77).unwrap();
        let text = |file: &PathBuf| fs::read_to_string(file).unwrap();
        assert_eq!(limits.each_ref().map(text), ["536870912", "150000 100000", "100"]);
        // Each write begins at the start of the file; the kernel takes it as a word of its own.
        assert_eq!((text(&procs).as_str(), text(&switch).as_str()), ("0", "+pidsry"));
        fs::write(&procs, "12\n13\n").unwrap();
        assert_eq!(processes(&life), [12, 13]);
    }

    #[test]
    fn a_missing_group_has_nobody_and_is_removed_without_harm() {
        let gone = Path::new("/nonexistent/leveret-1.web/1");
        assert_eq!(processes(gone), Vec::<i32>::new());
        kill(gone);
        remove(gone);
    }

    #[test]
    fn what_does_not_hold_is_said() {
        assert!(doubt(None, &spec()).unwrap().contains("no cgroup hierarchy of version 2"));
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("cgroup.controllers"), "cpu io pids\n").unwrap();
        let said = doubt(Some(base.path()), &spec()).unwrap();
        assert!(said.starts_with("of `cgroup`, limits on memory have no effect: "), "{said}");
        fs::write(base.path().join("cgroup.controllers"), "cpu io memory pids\n").unwrap();
        assert_eq!(doubt(Some(base.path()), &spec()), None);
        let missing = doubt(Some(Path::new("/nonexistent")), &spec()).unwrap();
        assert!(
            missing.ends_with("/nonexistent cannot be written to: No such file or directory"),
            "{missing}"
        );
    }
}
