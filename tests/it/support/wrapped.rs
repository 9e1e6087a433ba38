//! Daemons that are not started as they are as a rule: by a shell, as another user, as process 1.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;

use super::daemon::{self, Daemon};
use super::{command, run};

impl Daemon {
    /// Starts it as process 1 of a pid namespace of its own. None where that is not permitted.
    pub(crate) fn start_as_pid_1(yaml: &str) -> Option<Self> {
        let wrapper = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc"];
        let mut attempt = run::command(wrapper[0], &run::unique("unshare"));
        attempt.args(&wrapper[1..]).arg("/bin/true");
        if !command::finish("unshare", attempt, daemon::START_LIMIT).status.success() {
            return None;
        }
        let mut daemon = Self::new(yaml, &[]);
        daemon.wrapper = wrapper.map(str::to_owned).to_vec();
        daemon.start_again();
        Some(daemon)
    }

    /// Starts it from a shell that has run this before: `ulimit -n 128`.
    pub(crate) fn start_after(shell: &str, yaml: &str) -> Self {
        let mut daemon = Self::new(yaml, &[]);
        let line = format!("{shell}; exec \"$@\"");
        daemon.wrapper = ["/bin/sh", "-c", &line, "sh"].map(str::to_owned).to_vec();
        daemon.wrapper_execs = true;
        daemon.start_again();
        daemon
    }

    /// Starts it without root's rights: as this user if the test is root, who may be anybody, else as the test's own.
    pub(crate) fn start_as(user: u32, yaml: &str) -> Self {
        let mut daemon = Self::new(yaml, &[]);
        if rustix::process::geteuid().is_root() {
            // A directory above the binary may be closed to others.
            daemon.binary = daemon.directory.join("leveret");
            fs::copy(Self::BINARY, &daemon.binary).expect("the directory is ours");
            chown(&daemon.directory, Some(user), Some(user)).expect("it is ours to give");
            daemon.user = Some(user);
        }
        daemon.start_again();
        daemon
    }

    /// Sets a soft limit of one of its processes, `nofile` or `nproc`, and returns what it was.
    pub(crate) fn set_limit(&self, pid: i32, limit: &str, soft: &str) -> String {
        let mut prlimit = run::command("/usr/bin/prlimit", &run::unique("prlimit"));
        // Whoever is not root, or is root without all its rights, may do this to processes of his own only.
        if let Some(user) = self.user {
            prlimit.uid(user).gid(user);
        }
        prlimit.args(["--pid", &pid.to_string(), &format!("--{limit}={soft}:")]);
        let before = Self::soft_limit(pid, limit);
        let done = command::finish("prlimit", prlimit, daemon::START_LIMIT);
        assert!(done.status.success(), "{done:?}");
        before
    }

    fn soft_limit(pid: i32, limit: &str) -> String {
        let name = match limit {
            "nofile" => "Max open files",
            "nproc" => "Max processes",
            other => panic!("{other} is not known here"),
        };
        let text = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
        line.split_ascii_whitespace().next().expect("the soft one comes first").to_owned()
    }
}
