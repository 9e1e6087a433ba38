//! How much memory there is for us, and how much of it is left: the machine's, or less where a control group says so.

use std::fs;
use std::path::Path;

use super::cgroup;

/// Bytes of memory; nothing where the system does not say.
pub fn total() -> Option<u64> {
    let info = rustix::system::sysinfo();
    let machine = info.totalram.checked_mul(u64::from(info.mem_unit)).filter(|bytes| *bytes > 0);
    machine.into_iter().chain(cgroup::base().and_then(|group| limit_of(&group))).min()
}

/// Bytes of memory that can be used without swapping, caches that can be given up included; nothing where the system does not
/// say.
pub fn left() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_in(&text));
    machine.into_iter().chain(cgroup::base().and_then(|group| left_in(&group))).min()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// What the group and those around it have left, where one has a limit: files that were not used for a while can be given up, of the
/// others half, and what the kernel keeps for itself and says that it need not.
fn left_in(group: &Path) -> Option<u64> {
    let number = |text: String| text.trim().parse::<u64>().ok();
    let left = |group: &Path| {
        let limit = number(fs::read_to_string(group.join("memory.max")).ok()?)?;
        let used = number(fs::read_to_string(group.join("memory.current")).ok()?)?;
        let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let of = |name: &str| {
            let value = statistics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        let idle = of("inactive_file") + of("active_file") / 2 + of("slab_reclaimable");
        Some(limit.saturating_sub(used.saturating_sub(idle)))
    };
    group.ancestors().filter_map(left).min()
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
    fn what_is_left_is_less_than_all() {
        let (left, total) = (left().expect("the system says it"), total().expect("the system says it"));
        assert!((1..=total).contains(&left), "{left} of {total}");
        assert_eq!(available_in("MemTotal: 9 kB\nMemAvailable:   1024 kB\n"), Some(1 << 20));
        assert_eq!(available_in("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn what_a_group_has_left_is_its_limit_less_what_it_cannot_give_up() {
        let directory = tempfile::tempdir().unwrap();
        let group = directory.path().join("group");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("memory.max"), "max\n").unwrap();
        fs::write(group.join("memory.current"), "700\n").unwrap();
        assert_eq!(left_in(&group), None);
        fs::write(group.join("memory.max"), "1000\n").unwrap();
        assert_eq!(left_in(&group), Some(300));
        fs::write(group.join("memory.stat"), "anon 400\ninactive_file 200\nactive_file 100\n").unwrap();
        assert_eq!(left_in(&group), Some(550));
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
