//! What `/proc` says about a process. It only reads; a process that is gone is an error like any other, never a panic.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use rustix::param::{clock_ticks_per_second, page_size};

use super::clock;

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor time since its start, in seconds, user and system together; its children are not counted.
    pub cpu_seconds: f64,
    /// Memory that is resident, in bytes. Source: `rss` in proc_pid_stat(5), exact to a few pages for each thread.
    pub resident_bytes: u64,
    /// When it started, in clock ticks after boot. With the process id it names a process for good.
    pub start_time_ticks: u64,
}

/// What a process uses, from one small read of `/proc/PID/stat`.
pub fn usage(pid: i32) -> io::Result<Usage> {
    let stat = stat(pid)?;
    Ok(Usage {
        cpu_seconds: stat.cpu_ticks as f64 / clock_ticks_per_second() as f64,
        resident_bytes: stat.resident_pages * page_size() as u64,
        start_time_ticks: stat.start_time_ticks,
    })
}

/// The directory that a process runs in at present, without symbolic links. One that was removed ends in ` (deleted)`.
///
/// It needs the same user or root (proc_pid_cwd(5)).
pub fn directory(pid: i32) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd"))
}

/// The words that a process was exec'd with, or what it has put in their place to change its title. None of a kernel thread and of
/// a zombie.
pub fn words(pid: i32) -> io::Result<Vec<OsString>> {
    Ok(words_of(&std::fs::read(format!("/proc/{pid}/cmdline"))?))
}

fn words_of(line: &[u8]) -> Vec<OsString> {
    let Some(line) = line.strip_suffix(&[0]).or((!line.is_empty()).then_some(line)) else {
        return Vec::new();
    };
    let mut words: Vec<OsString> =
        line.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    // A title that was written over the words is filled up with zero bytes.
    if words.len() > 2 && words[1..].iter().all(|word| word.is_empty()) {
        words.truncate(1);
    }
    words
}

/// The effective user and group of a process, by number.
pub fn owner(pid: i32) -> io::Result<(u32, u32)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    // Real, effective, saved and of the file system (proc_pid_status(5)).
    let effective = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let owner = effective("Uid:").zip(effective("Gid:"));
    owner.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable status"))
}

/// The control groups of a process, as proc_pid_cgroup(5) has them.
pub fn control_groups(pid: i32) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
}

/// The fields of proc_pid_stat(5) that Leveret reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` and so on.
    pub state: char,
    /// The parent's process id.
    pub parent: i32,
    /// The process group.
    pub group: i32,
    /// The session.
    pub session: i32,
    /// User and system time in clock ticks.
    pub cpu_ticks: u64,
    /// The start in clock ticks after boot.
    pub start_time_ticks: u64,
    /// Resident memory in pages.
    pub resident_pages: u64,
}

impl Stat {
    /// Whether the process has ended and only waits to be reaped.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Reads `/proc/PID/stat`.
pub fn stat(pid: i32) -> io::Result<Stat> {
    // The longest line is well below this: 52 numbers of at most 20 digits, and a name of at most 64 bytes.
    let mut buffer = [0u8; 2048];
    let length = File::open(format!("/proc/{pid}/stat"))?.read(&mut buffer)?;
    parse_stat(&buffer[..length]).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable stat"))
}

fn parse_stat(line: &[u8]) -> Option<Stat> {
    // The name may contain spaces and parentheses; whatever it is, it ends at the last one.
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(name_end + 2..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The manual page counts from 1 and the first field after the name is its field 3.
    let field = |number: usize| fields.get(number - 3);
    let number = |index: usize| field(index)?.parse::<u64>().ok();
    let signed = |index: usize| field(index)?.parse::<i32>().ok();
    Some(Stat {
        state: field(3)?.chars().next()?,
        parent: signed(4)?,
        group: signed(5)?,
        session: signed(6)?,
        cpu_ticks: number(14)? + number(15)?,
        start_time_ticks: number(22)?,
        resident_pages: number(24)?,
    })
}

/// The direct children of a process, those of all its threads, zombies included.
///
/// A child that ends while the list is read may hide a sibling (proc_pid_task_tid_children(5)), except from the parent
/// itself, whose children stay in the list until it reaps them.
pub fn children(pid: i32) -> io::Result<Vec<i32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        match std::fs::read_to_string(thread?.path().join("children")) {
            Ok(list) => {
                children.extend(list.split_ascii_whitespace().filter_map(|word| word.parse::<i32>().ok()))
            }
            // The thread ended since the directory was listed; its children moved to another thread or away.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

/// The numbers of all processes that `/proc` shows, zombies included.
pub fn all() -> io::Result<Vec<i32>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        all.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(all)
}

/// Whether an error says that the process or thread is gone.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The environment that a process was exec'd with, as `NAME=VALUE` parts that each end in a zero byte.
///
/// It needs the same user or root. A program that writes over it to change its title is free to do so.
pub fn environ(pid: i32) -> io::Result<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/environ"))
}

/// The value of a variable in an environment as [`environ`] returns it.
pub fn value_in<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environ.split(|byte| *byte == 0).find_map(|part| part.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The value of one variable in the environment that a process was exec'd with.
pub fn environ_value(pid: i32, name: &str) -> io::Result<Option<OsString>> {
    let environ = environ(pid)?;
    Ok(value_in(&environ, name).map(|value| OsString::from_vec(value.to_vec())))
}

/// When the machine was booted on the wall clock, in seconds since 1970, exact to about 10 ms.
pub fn boot_wall_seconds() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    let uptime = text.split_ascii_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    let uptime =
        uptime.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/uptime"))?;
    Ok(clock::wall_seconds() - uptime)
}

/// When a process started on the wall clock, in seconds since 1970, from the start time that [`usage`] returns.
pub fn start_wall_seconds(start_time_ticks: u64) -> io::Result<f64> {
    Ok(boot_wall_seconds()? + start_time_ticks as f64 / clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_pid() -> i32 {
        std::process::id() as i32
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = b"42 (a) R b) S 7 40 39 0 -1 4194560 1 2 3 4 500 250 0 0 20 0 1 0 9876 1000 321 0 0\n";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.group, stat.session), ('S', 7, 40, 39));
        assert_eq!((stat.cpu_ticks, stat.start_time_ticks, stat.resident_pages), (750, 9876, 321));
        assert_eq!(parse_stat(b"42 (a"), None);
    }

    #[test]
    fn words_are_read_with_empty_ones_and_a_title_is_one_word() {
        for (line, words) in [
            (&b""[..], &[][..]),
            (b"php\0work er.php\0", &["php", "work er.php"]),
            (b"php\0--queue\0\0", &["php", "--queue", ""]),
            (b"a\0\0", &["a", ""]),
            (b"celeryd: worker\0\0\0\0", &["celeryd: worker"]),
            (b"nginx: worker", &["nginx: worker"]),
        ] {
            assert_eq!(words_of(line), words, "{line:?}");
        }
        let own = words(own_pid()).unwrap();
        assert_eq!(own, std::env::args_os().collect::<Vec<_>>());
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!(owner(own_pid()).unwrap(), (user, group));
        assert!(control_groups(own_pid()).unwrap().contains(':'));
    }

    #[test]
    fn the_own_process_has_memory_and_a_start_before_now() {
        let usage = usage(own_pid()).unwrap();
        assert!(usage.resident_bytes > 100_000, "{usage:?}");
        let started = start_wall_seconds(usage.start_time_ticks).unwrap();
        let age = clock::wall_seconds() - started;
        assert!((-1.0..86_400.0).contains(&age), "{age}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_that_says_so() {
        // Above the largest pid_max that the kernel allows.
        let nobody = 5_000_000;
        assert!(is_gone(&usage(nobody).unwrap_err()));
        assert!(is_gone(&children(nobody).unwrap_err()));
        assert!(is_gone(&stat(nobody).unwrap_err()));
    }

    #[test]
    fn a_child_is_listed_with_its_environment_and_session() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .env("LEVERET_INCARNATION", "17")
            .env("LEVERET_INCARNATION_NOT", "18")
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        assert!(children(own_pid()).unwrap().contains(&pid));
        // A spawn returns a moment before the kernel has laid out the new program's environment.
        while environ(pid).unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(environ_value(pid, "LEVERET_INCARNATION").unwrap(), Some("17".into()));
        assert_eq!(environ_value(pid, "LEVERET").unwrap(), None);
        let (child_stat, own_stat) = (stat(pid).unwrap(), stat(own_pid()).unwrap());
        assert_eq!((child_stat.parent, child_stat.session), (own_pid(), own_stat.session));
        child.kill().unwrap();
        reap(&mut child);
        assert!(!children(own_pid()).unwrap().contains(&pid));
    }

    #[expect(clippy::disallowed_methods, reason = "the test's own child, which no keeper knows")]
    fn reap(child: &mut std::process::Child) {
        child.wait().unwrap();
    }
}
