//! How much memory there is for us: the machine's, or less where a control group says so.

use std::fs;
use std::path::Path;

use super::cgroup;

/// Bytes of memory; nothing where the system does not say.
pub fn total() -> Option<u64> {
    let info = rustix::system::sysinfo();
    let machine = info.totalram.checked_mul(u64::from(info.mem_unit)).filter(|bytes| *bytes > 0);
    machine.into_iter().chain(cgroup::base().and_then(|group| limit_of(&group))).min()
}

/// The least limit of a group and of those around it.
fn limit_of(group: &Path) -> Option<u64> {
    let limit = |group: &Path| fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok();
    group.ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory() {
        let total = total().expect("the system says how much memory it has");
        assert!(total > 16 << 20, "{total}");
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_around_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        assert_eq!(limit_of(&inner), None);
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(directory.path().join("outer/memory.max"), "536870912\n").unwrap();
        assert_eq!(limit_of(&inner), Some(512 << 20));
    }
}
