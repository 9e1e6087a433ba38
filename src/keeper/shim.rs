//! The exec shim: the same binary, started for one order, which it turns into output, limits, user, directory and
//! environment in safe code before it becomes the program. It runs before anything else of Leveret does, must stay
//! fast, and reports the step that failed; a report that ends with nothing said means that the program was exec'd.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Gid, Group, Uid, User, fchown, initgroups, setgid, setgroups, setuid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, Mode, OFlags, access};
use rustix::io::Errno;
use rustix::process::{
    Resource, Rlimit, Signal, getpid, getpriority_process, getrlimit, kill_process, setpriority_process,
    setrlimit,
};
use serde::{Deserialize, Serialize};

use super::protocol::{CgroupOrder, NotifyOrder, SpawnOrder};
use super::records::{self, Place};
use crate::core::spec::{self, Bound};
use crate::sys::cause::plain;
use crate::sys::cgroup;
use crate::sys::env_file::{self, EnvFileError};
use crate::sys::notify;
use crate::sys::shortage;

/// The first argument that makes the binary a shim.
pub const ARGUMENT: &str = "__exec";

/// The exit code of a shim that could not exec, as shells use it.
const COULD_NOT_EXEC: u8 = 127;

/// What a report begins with if the life could not be written down.
pub(super) const NOT_RECORDED: u8 = b'!';

/// What the keeper writes for the shim.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShimOrder<'a> {
    pub(super) spawn: Cow<'a, SpawnOrder>,
    /// The soft limit on open files; none is unlimited.
    pub(super) open_files: Option<u64>,
    /// Where the life is written down, if it is.
    pub(super) records: Option<Place>,
    /// The control group of the life, if it has one.
    #[serde(default)]
    pub(super) cgroup: Option<PathBuf>,
}

/// What the shim writes for the keeper: the step that failed, and the system's word for why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShimReport {
    pub(super) step: String,
    pub(super) cause: String,
}

/// Becomes the program that the order on stdin describes. It returns only if that failed, after reporting on stdout.
pub fn run() -> ExitCode {
    let closed = close_inherited();
    // Above the standard streams, which the program's own output replaces; exec closes it.
    if let Ok(report) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3) {
        let failure = match closed.and_then(|()| wait_for_order()).and_then(|()| read_order()) {
            Ok(order) => become_program(&order, &report),
            Err(error) => ShimReport { step: "take order".to_owned(), cause: plain(error) },
        };
        let text = serde_json::to_vec(&failure).expect("two texts are always JSON");
        // With nobody to read the report, the exit code has to do.
        let _ = File::from(report).write_all(&text);
    }
    ExitCode::from(COULD_NOT_EXEC)
}

/// Closes what Leveret itself was started with beyond the standard streams; everything of the keeper's is closed by exec.
/// The program must not hold somebody's lock or socket open without knowing it.
fn close_inherited() -> io::Result<()> {
    let listed: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // The list contains the descriptor that it was read through, which is closed by now.
    for descriptor in listed.into_iter().filter(|descriptor| *descriptor > 2) {
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// Waits until the order comes, in a session of its own, out of reach of a terminal's signals to everybody.
///
/// A signal that reaches a shim without an order is not meant for the program that it will become, but for everything
/// that is called leveret: it is forgotten. One from the keeper is, and stays pending.
fn wait_for_order() -> io::Result<()> {
    rustix::process::setsid()?;
    let signals =
        SignalFd::with_flags(&SigSet::thread_get_mask()?, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let keeper = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
    let order = rustix::stdio::stdin();
    let mut owed = Vec::new();
    let mut is_there = false;
    while !is_there {
        let mut ready = [PollFd::new(&order, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) => is_there = !ready[0].revents().is_empty(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(signal) = signals.read_signal()? {
            if signal.ssi_pid == keeper {
                owed.extend(Signal::from_named_raw(signal.ssi_signo as i32));
            }
        }
    }
    for signal in owed {
        kill_process(getpid(), signal)?;
    }
    Ok(())
}

fn read_order() -> io::Result<ShimOrder<'static>> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Returns what failed, if anything does.
fn become_program(order: &ShimOrder<'_>, report: &OwnedFd) -> ShimReport {
    // While Leveret's own rights are there. The lock ends with exec, or with this process.
    let written = order
        .records
        .as_ref()
        .map(|place| records::write(place, &order.spawn, order.cgroup.as_deref()))
        .transpose();
    let _lock_until_exec = match written {
        Ok(written) => {
            if written.as_ref().is_some_and(|written| !written.is_recorded) {
                // The program runs all the same; if nobody reads this, nobody is there to say it.
                let _ = rustix::io::write(report, &[NOT_RECORDED]);
            }
            written
        }
        Err(error) => return ShimReport { step: "start".to_owned(), cause: plain(error) },
    };
    match prepare(order) {
        Ok(mut command) => {
            if order.spawn.stdin == spec::Stdin::Closed {
                // It is open: it was /dev/null until now.
                let _ = nix::unistd::close(0);
            }
            let error = command.exec();
            ShimReport { step: format!("exec {}", order.spawn.argv[0]), cause: shortage::cause(error) }
        }
        Err(report) => report,
    }
}

/// Does everything up to exec, in the order that privileges allow.
fn prepare(order: &ShimOrder<'_>) -> Result<Command, ShimReport> {
    let spawn = &order.spawn;
    if let Some((life, CgroupOrder { limits, .. })) = order.cgroup.as_ref().zip(spawn.cgroup.as_ref()) {
        let keeper = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        // Without it the program runs as everywhere where there are no control groups; `leveret check` says so.
        drop(cgroup::join(life, limits, keeper));
    }
    let identity = Identity::of(spawn)?;
    // With Leveret's rights: such a file need not be readable for the program's user.
    let mut environment = environment(spawn, &identity)?;
    connect_output(spawn, &identity)?;
    give_notify(spawn, &identity)?;
    let limit = Rlimit { current: order.open_files, maximum: getrlimit(Resource::Nofile).maximum };
    setrlimit(Resource::Nofile, limit).map_err(failed("limit open files"))?;
    if let Some(score) = spawn.oom_score_adj {
        std::fs::write("/proc/self/oom_score_adj", score.to_string())
            .map_err(failed(format!("oom_score_adj {score}")))?;
    }
    if let Some(mask) = spawn.umask {
        rustix::process::umask(Mode::from_raw_mode(mask));
    }
    if let Some(nice) = spawn.nice {
        let step = || format!("nice {nice}");
        let priority = getpriority_process(None).map_err(failed(step()))?;
        setpriority_process(None, priority.saturating_add(nice)).map_err(failed(step()))?;
    }
    // While there are rights to raise them; the address space comes last.
    for (resource, limit) in &spawn.limits {
        set_limit(*resource, *limit).map_err(failed(format!("limit {}", resource.as_str())))?;
    }
    identity.assume()?;
    offer_notify(spawn, &mut environment)?;
    if spawn.no_new_privs {
        rustix::thread::set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    }
    if let Some(directory) = &spawn.directory {
        std::env::set_current_dir(directory).map_err(failed(format!("chdir {}", directory.display())))?;
    }
    // The keeper's mask is inherited; a signal that came meanwhile is delivered here and ends the shim, as it should.
    SigSet::empty().thread_set_mask().map_err(failed("signal mask"))?;
    let mut command = Command::new(&spawn.argv[0]);
    command.args(&spawn.argv[1..]).env_clear().envs(environment);
    Ok(command)
}

fn set_limit(resource: spec::Resource, limit: spec::Limit) -> rustix::io::Result<()> {
    let resource = match resource {
        spec::Resource::Nofile => Resource::Nofile,
        spec::Resource::Nproc => Resource::Nproc,
        spec::Resource::Core => Resource::Core,
        spec::Resource::Stack => Resource::Stack,
        spec::Resource::Cpu => Resource::Cpu,
        spec::Resource::Memory => Resource::As,
    };
    let bound = |value: Option<u64>| value.map_or(Bound::Unlimited, Bound::At);
    let value = |bound: Bound| match bound {
        Bound::At(value) => Some(value),
        Bound::Unlimited => None,
    };
    let present = getrlimit(resource);
    let hard = limit.hard.unwrap_or_else(|| bound(present.maximum));
    let soft = limit.soft.unwrap_or_else(|| bound(present.current).min(hard));
    setrlimit(resource, Rlimit { current: value(soft), maximum: value(hard) })
}

/// Leveret's own variables, over them what the account says, then the files, then what was given.
fn environment(spawn: &SpawnOrder, identity: &Identity) -> Result<BTreeMap<String, String>, ShimReport> {
    let mut environment = spawn.environment.clone();
    let Some(given) = &spawn.given else { return Ok(environment) };
    for (name, value) in identity.variables.iter().filter(|(name, _)| !given.contains(*name)) {
        match value {
            Some(value) => drop(environment.insert((*name).to_owned(), value.clone())),
            None => drop(environment.remove(*name)),
        }
    }
    for file in &spawn.env_files {
        match env_file::read(&file.path) {
            Ok(variables) => {
                environment.extend(variables.into_iter().filter(|(name, _)| !given.contains(name)));
            }
            Err(EnvFileError::Read(error)) if file.optional && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let step = format!("env_file {}", file.path.display());
                return Err(ShimReport { step, cause: error.to_string() });
            }
        }
    }
    Ok(environment)
}

fn failed<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> ShimReport {
    move |error| ShimReport { step: step.into(), cause: plain(error.into()) }
}

/// Makes `/dev/null` stdin and the named pipe stdout and stderr, unless that has one of its own. It is opened for reading as well, so that writing
/// neither waits for a reader nor ends with SIGPIPE when the reader is replaced.
fn connect_output(spawn: &SpawnOrder, identity: &Identity) -> Result<(), ShimReport> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("open /dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(failed("open /dev/null"))?;
    let step = || format!("open output {}", spawn.output.display());
    let output = open_pipe(&spawn.output, identity)?;
    rustix::stdio::dup2_stdout(&output).map_err(failed(step()))?;
    let (errors, step) = match &spawn.errors {
        Some(path) => (open_pipe(path, identity)?, format!("open output {}", path.display())),
        None => (output, step()),
    };
    rustix::stdio::dup2_stderr(&errors).map_err(failed(step))
}

fn open_pipe(path: &Path, identity: &Identity) -> Result<OwnedFd, ShimReport> {
    let step = || format!("open output {}", path.display());
    let pipe =
        rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(failed(step()))?;
    if identity.uid.is_some() {
        // Without it the program could not open /dev/stdout anew.
        fchown(&pipe, identity.uid, identity.gid).map_err(failed(step()))?;
    }
    Ok(pipe)
}

/// Gives the socket over which it says how it is to the program's user.
fn give_notify(spawn: &SpawnOrder, identity: &Identity) -> Result<(), ShimReport> {
    let Some(NotifyOrder { path, .. }) = spawn.notify.as_ref().filter(|_| identity.uid.is_some()) else {
        return Ok(());
    };
    let (uid, gid) = (identity.uid.map(Uid::as_raw), identity.gid.map(Gid::as_raw));
    std::os::unix::fs::chown(path, uid, gid).map_err(failed(format!("give socket {}", path.display())))
}

/// Looks, as the program's user, whether it can be used. Without it nobody would ever hear that the program is ready.
fn offer_notify(spawn: &SpawnOrder, environment: &mut BTreeMap<String, String>) -> Result<(), ShimReport> {
    let Some(NotifyOrder { path, required }) = &spawn.notify else { return Ok(()) };
    if environment.contains_key(notify::WATCHDOG_VARIABLE) {
        // This process becomes the program.
        let own = std::process::id().to_string();
        environment.insert(notify::WATCHDOG_PID_VARIABLE.to_owned(), own);
    }
    match access(path, Access::WRITE_OK) {
        Ok(()) => Ok(()),
        Err(error) if *required => Err(failed(format!("write to socket {}", path.display()))(error)),
        Err(_) => {
            environment.remove(notify::VARIABLE);
            Ok(())
        }
    }
}

/// Whom the program runs as; nothing where Leveret's own is kept.
#[derive(Debug, Default)]
struct Identity {
    uid: Option<Uid>,
    gid: Option<Gid>,
    /// The account's name, for its further groups.
    account: Option<CString>,
    /// What the account says of HOME, USER, LOGNAME and SHELL; without a value they are taken out. Empty where Leveret's
    /// own user is kept.
    variables: Vec<(&'static str, Option<String>)>,
    user_step: String,
    group_step: String,
}

impl Identity {
    fn of(spawn: &SpawnOrder) -> Result<Self, ShimReport> {
        let mut identity = Self::default();
        if let Some(user) = &spawn.user {
            identity.user_step = format!("user {user}");
            let account = match user.parse::<u32>() {
                Ok(number) => {
                    identity.uid = Some(Uid::from_raw(number));
                    User::from_uid(Uid::from_raw(number))
                }
                Err(_) => User::from_name(user),
            };
            let account = account.map_err(failed(&identity.user_step))?;
            identity.uid = account.as_ref().map(|account| account.uid).or(identity.uid);
            identity.gid = account.as_ref().map(|account| account.gid);
            identity.variables = variables_of(account.as_ref());
            identity.account = account.and_then(|account| CString::new(account.name).ok());
            if identity.uid.is_none() {
                return Err(ShimReport { step: identity.user_step, cause: "no such user".to_owned() });
            }
        }
        if let Some(group) = &spawn.group {
            identity.group_step = format!("group {group}");
            identity.gid = match group.parse::<u32>() {
                Ok(number) => Some(Gid::from_raw(number)),
                Err(_) => {
                    Group::from_name(group).map_err(failed(&identity.group_step))?.map(|group| group.gid)
                }
            };
            if identity.gid.is_none() {
                return Err(ShimReport { step: identity.group_step, cause: "no such group".to_owned() });
            }
        }
        if identity.uid.is_some() && identity.gid.is_none() {
            // Keeping Leveret's group, root's as a rule, would give away more than anybody meant.
            let cause = "a number without an account needs a group as well".to_owned();
            return Err(ShimReport { step: identity.user_step, cause });
        }
        Ok(identity)
    }

    /// Groups first: without root's rights they cannot be changed any more.
    fn assume(&self) -> Result<(), ShimReport> {
        let Some(gid) = self.gid else { return Ok(()) };
        if let Some(uid) = self.uid {
            let groups = match &self.account {
                Some(account) => initgroups(account, gid),
                None => setgroups(&[gid]),
            };
            match groups {
                // Whoever is this user already has its groups, and may not be allowed to set them again.
                Err(nix::errno::Errno::EPERM) if uid == Uid::effective() => {}
                result => result.map_err(failed(&self.user_step))?,
            }
        }
        let group_step = if self.group_step.is_empty() { &self.user_step } else { &self.group_step };
        setgid(gid).map_err(failed(group_step))?;
        match self.uid {
            Some(uid) => setuid(uid).map_err(failed(&self.user_step)),
            None => Ok(()),
        }
    }
}

/// What a login sets. A user without an account has no home; what Leveret's own says of these would mislead it.
fn variables_of(account: Option<&User>) -> Vec<(&'static str, Option<String>)> {
    let text = |path: &Path| path.to_str().filter(|path| !path.is_empty()).map(str::to_owned);
    let name = account.map(|account| account.name.clone());
    let home = account.and_then(|account| text(&account.dir)).unwrap_or_else(|| "/".to_owned());
    let shell = account.and_then(|account| text(&account.shell));
    vec![("HOME", Some(home)), ("USER", name.clone()), ("LOGNAME", name), ("SHELL", shell)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::spec::EnvFile;

    fn variables(spawn: &SpawnOrder) -> Result<String, ShimReport> {
        let environment = environment(spawn, &Identity::of(spawn)?)?;
        let all: Vec<_> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(all.join(" "))
    }

    fn with_environment(order: SpawnOrder, own: &[&str], given: &[&str]) -> SpawnOrder {
        let pair = |text: &&str| {
            let (name, value) = text.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let names = given.iter().map(|text| pair(text).0).collect();
        SpawnOrder { environment: own.iter().chain(given).map(pair).collect(), given: Some(names), ..order }
    }

    #[test]
    fn the_account_stands_over_leverets_own_environment_and_under_what_was_given() {
        let own = ["HOME=/own", "LOGNAME=own", "SHELL=/own", "USER=own", "X=own"];
        let root = with_environment(order_for(Some("root"), None), &own, &["SHELL=/given"]);
        let home = User::from_name("root").unwrap().unwrap().dir;
        let expected = format!("HOME={} LOGNAME=root SHELL=/given USER=root X=own", home.display());
        assert_eq!(variables(&root).unwrap(), expected);
        let unknown = with_environment(order_for(Some("4123456"), Some("4123456")), &own, &[]);
        assert_eq!(variables(&unknown).unwrap(), "HOME=/ X=own");
        let same = with_environment(order_for(None, None), &own, &[]);
        assert_eq!(variables(&same).unwrap(), "HOME=/own LOGNAME=own SHELL=/own USER=own X=own");
        let from_an_older_controller = SpawnOrder { given: None, ..root };
        assert!(variables(&from_an_older_controller).unwrap().contains("HOME=/own"));
    }

    #[test]
    fn files_stand_between_the_account_and_what_was_given_and_the_last_one_counts() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            EnvFile { path, optional: false }
        };
        let missing = directory.path().join("none.env");
        let mut order = with_environment(order_for(Some("root"), None), &["A=own"], &["B=given"]);
        order.env_files = vec![
            file("a.env", "A=1\nB=1\nC=1\nHOME=/a\nSHELL=/a\nUSER=a\nLOGNAME=a\n"),
            EnvFile { path: missing.clone(), optional: true },
            file("b.env", "C=2\n"),
        ];
        let expected = "A=1 B=given C=2 HOME=/a LOGNAME=a SHELL=/a USER=a";
        assert_eq!(variables(&order).unwrap(), expected);
        order.env_files[1].optional = false;
        let report = variables(&order).unwrap_err();
        assert_eq!(report.step, format!("env_file {}", missing.display()));
        assert_eq!(report.cause, "No such file or directory");
        order.env_files = vec![file("c.env", "A=1\nhunter2\n")];
        let report = variables(&order).unwrap_err();
        assert_eq!(report.cause, "line 2: a line is NAME=VALUE, a comment after `#`, or empty");
    }

    fn order_for(user: Option<&str>, group: Option<&str>) -> SpawnOrder {
        SpawnOrder { user: user.map(str::to_owned), group: group.map(str::to_owned), ..SpawnOrder::default() }
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        for user in ["root", "0"] {
            let identity = Identity::of(&order_for(Some(user), None)).unwrap();
            assert_eq!((identity.uid, identity.gid), (Some(Uid::from_raw(0)), Some(Gid::from_raw(0))));
            assert_eq!(identity.account.unwrap().to_str(), Ok("root"));
        }
        let identity = Identity::of(&order_for(Some("0"), Some("54321"))).unwrap();
        assert_eq!(identity.gid, Some(Gid::from_raw(54321)));
        assert_eq!(Identity::of(&order_for(None, None)).unwrap().uid, None);
    }

    #[test]
    fn what_is_not_there_is_named_as_it_was_written() {
        let failure = Identity::of(&order_for(Some("nobody-has-this-name"), None)).unwrap_err();
        assert_eq!(failure.step, "user nobody-has-this-name");
        assert_eq!(failure.cause, "no such user");
        let failure = Identity::of(&order_for(None, Some("nobody-has-this-name"))).unwrap_err();
        assert_eq!(failure.step, "group nobody-has-this-name");
    }

    #[test]
    fn a_number_without_an_account_does_not_keep_the_group_of_leveret() {
        let failure = Identity::of(&order_for(Some("4123456"), None)).unwrap_err();
        assert_eq!(failure.step, "user 4123456");
        assert!(Identity::of(&order_for(Some("4123456"), Some("4123456"))).is_ok());
    }

    #[test]
    fn a_cause_is_the_systems_word_without_a_number() {
        assert_eq!(plain(io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(plain(io::Error::other("broken")), "broken");
    }
}
