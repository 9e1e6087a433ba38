//! What the system has no more of: file descriptors and processes. It says how many there may be, what tells that there
//! are none, and where the bound is that somebody may raise.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::cause::plain;

/// How many file descriptors this process may have at this moment.
pub fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether an error says that there are no file descriptors left, for this process or for the whole machine.
pub fn is_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// The system's word for a failure, and the bound that was met, if it is one of these.
///
/// To be used where a process is started: elsewhere the error of a process too many means something else.
pub fn cause(error: io::Error) -> String {
    let bound = match Errno::from_io_error(&error) {
        Some(Errno::MFILE) => "`ulimit -n`, LimitNOFILE",
        Some(Errno::NFILE) => "of the whole machine: fs.file-max",
        Some(Errno::AGAIN) => "the limit on processes is reached: `ulimit -u`, TasksMax or pids.max",
        Some(_) | None => return plain(error),
    };
    format!("{} ({bound})", plain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_was_met_is_named_and_other_causes_stay_as_they_are() {
        let of = |errno: Errno| cause(errno.into());
        assert_eq!(of(Errno::MFILE), "Too many open files (`ulimit -n`, LimitNOFILE)");
        assert!(of(Errno::AGAIN).ends_with("`ulimit -u`, TasksMax or pids.max)"));
        assert_eq!(of(Errno::NOENT), "No such file or directory");
        assert_eq!(cause(io::Error::other("broken")), "broken");
        let is_of_descriptors = |errno: Errno| is_of_descriptors(&errno.into());
        assert!(is_of_descriptors(Errno::NFILE) && !is_of_descriptors(Errno::AGAIN));
    }
}
