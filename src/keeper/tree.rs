//! Which processes belong to an incarnation. A process belongs to it by proof only: it descends from the leader, or it
//! was seen to descend from it (number and start time), or it carries the incarnation's environment, or it is in a
//! session that a proven process is in. Guessing here would kill somebody else's process.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::core::ids::Incarnation;
use crate::sys::cgroup;
use crate::sys::process::{self, Stat};

/// The variable that every process of an incarnation inherits; the controller puts it into the order.
pub(super) const INCARNATION_VARIABLE: &str = "LEVERET_INCARNATION";

/// The variables that together mark a process as belonging to an incarnation.
const MARK_PREFIX: &str = "LEVERET_";

/// The variable that tells the keepers of a machine apart, as it begins a mark.
const KEEPER_MARK: &str = "LEVERET_KEEPER=";

/// The marks that an order's environment gives to every process of the incarnation.
pub(super) fn marks(environment: &BTreeMap<String, String>) -> Vec<String> {
    match environment.contains_key(INCARNATION_VARIABLE) {
        true => environment
            .iter()
            .filter(|(name, _)| name.starts_with(MARK_PREFIX))
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        false => Vec::new(),
    }
}

/// A living process that is proven to belong to an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) start_time_ticks: u64,
    pub(super) group: i32,
    session: i32,
}

/// Proven processes by number. Zombies are not among them: they are gone for every purpose but their parent's.
pub(super) type Members = BTreeMap<i32, Member>;

/// A process that may belong to an incarnation: as a rule a child of the keeper that it did not start, which it inherited, as
/// subreaper, when the parent died.
#[derive(Debug)]
pub(super) struct Orphan {
    pid: i32,
    stat: Stat,
    environ: Vec<u8>,
}

/// The orphans at this moment; `is_known` names the children that the keeper started itself.
pub(super) fn orphans(is_known: impl Fn(i32) -> bool) -> io::Result<Vec<Orphan>> {
    let children = process::children(rustix::process::getpid().as_raw_nonzero().get())?;
    let mut orphans = Vec::new();
    for pid in children.into_iter().filter(|pid| !is_known(*pid)) {
        // Nobody but the keeper reaps its children, so the number stands for the same process until the end of this.
        let stat = process::stat(pid)?;
        if !stat.is_zombie() {
            // Another user's environment cannot be read without root; such a process is proven otherwise or not at all.
            let environ = process::environ(pid).unwrap_or_default();
            orphans.push(Orphan { pid, stat, environ });
        }
    }
    Ok(orphans)
}

/// All living processes but these, any of which may belong to a life that an earlier keeper started.
pub(super) fn everyone(is_known: impl Fn(i32) -> bool) -> io::Result<Vec<Orphan>> {
    let mut everyone = Vec::new();
    for pid in process::all()?.into_iter().filter(|pid| !is_known(*pid)) {
        // One that ended since it was listed is nobody's.
        let Ok(stat) = process::stat(pid) else { continue };
        // Session 0 is the kernel's own, and proves nothing.
        if !stat.is_zombie() && stat.session != 0 {
            let environ = process::environ(pid).unwrap_or_default();
            everyone.push(Orphan { pid, stat, environ });
        }
    }
    Ok(everyone)
}

/// What is known of the processes of one incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tree {
    incarnation: Incarnation,
    /// The leader, until it is reaped.
    leader: Option<i32>,
    /// The leader's session, as long as a member in it keeps the number from being used again.
    session: Option<i32>,
    /// Variables of the order that every member inherits unless it cleans its environment.
    marks: Vec<String>,
    /// Members seen earlier, by number with their start time.
    recorded: BTreeMap<i32, u64>,
    /// The control group that nobody else is in, if the life has one.
    #[serde(default)]
    cgroup: Option<PathBuf>,
}

impl Tree {
    pub(super) fn new(incarnation: Incarnation, environment: &BTreeMap<String, String>) -> Self {
        Self { incarnation, marks: marks(environment), ..Self::default() }
    }

    /// The tree of a leader that an earlier keeper started, and that is proven to live if `start_time_ticks` is given.
    ///
    /// It is no child of this keeper, which does not keep its number from being used again: it counts as a member that was
    /// seen. Nor do its orphans come here; whoever looks for them among all processes must be able to tell them from those
    /// of another Leveret, so marks count only if they name the keeper.
    pub(super) fn adopted(
        incarnation: Incarnation,
        mut marks: Vec<String>,
        leader: Option<(i32, u64)>,
    ) -> Self {
        if !marks.iter().any(|mark| mark.starts_with(KEEPER_MARK)) {
            marks.clear();
        }
        let session = leader.map(|(pid, _)| pid);
        let mut tree =
            Self { incarnation, session, marks, recorded: leader.into_iter().collect(), ..Self::default() };
        tree.record();
        tree
    }

    /// Everybody in this control group is a member.
    pub(super) fn set_cgroup(&mut self, cgroup: Option<PathBuf>) {
        self.cgroup = cgroup;
    }

    /// The control group, if the life has one.
    pub(super) fn cgroup(&self) -> Option<&Path> {
        self.cgroup.as_deref()
    }

    /// The leader was started; it makes a session of its own.
    pub(super) fn leader_started(&mut self, pid: i32) {
        self.leader = Some(pid);
        self.session = Some(pid);
    }

    /// The leader, until it is reaped.
    pub(super) fn leader(&self) -> Option<i32> {
        self.leader
    }

    /// The leader was reaped.
    pub(super) fn leader_ended(&mut self) {
        self.leader = None;
    }

    /// Remembers the members that descend from the leader, so that one that cleans its environment, leaves the session
    /// and loses its parent stays proven.
    pub(super) fn record(&mut self) {
        let members = self.members(&[], &BTreeSet::new());
        self.observe(&members);
    }

    /// Takes over what was found: members are recorded, and the leader's session ends with its last member.
    pub(super) fn observe(&mut self, members: &Members) {
        self.recorded = members.iter().map(|(pid, member)| (*pid, member.start_time_ticks)).collect();
        let session = self.session;
        if self.leader.is_none() && !members.values().any(|member| Some(member.session) == session) {
            self.session = None;
        }
    }

    /// All living members, the leader included. `sessions` are proven by an earlier look a moment ago.
    pub(super) fn members(&self, orphans: &[Orphan], sessions: &BTreeSet<i32>) -> Members {
        let mut members = Members::new();
        if let Some(leader) = self.leader {
            walk(leader, None, &mut members);
        }
        for (pid, start_time_ticks) in &self.recorded {
            walk(*pid, Some(*start_time_ticks), &mut members);
        }
        for orphan in orphans.iter().filter(|orphan| self.is_marked(orphan)) {
            walk(orphan.pid, Some(orphan.stat.start_time_ticks), &mut members);
        }
        for pid in self.cgroup.iter().flat_map(|life| cgroup::processes(life)) {
            walk(pid, None, &mut members);
        }
        // A member's session proves others, whose sessions prove others again.
        loop {
            let mut proven: BTreeSet<i32> = sessions_of(&members, self.leader);
            proven.extend(sessions);
            proven.extend(self.session);
            let before = members.len();
            for orphan in orphans {
                if proven.contains(&orphan.stat.session) && !self.is_marked_otherwise(orphan) {
                    walk(orphan.pid, Some(orphan.stat.start_time_ticks), &mut members);
                }
            }
            if members.len() == before {
                return members;
            }
        }
    }

    fn is_marked(&self, orphan: &Orphan) -> bool {
        let has = |mark: &String| orphan.environ.split(|byte| *byte == 0).any(|part| part == mark.as_bytes());
        !self.marks.is_empty() && self.marks.iter().all(has)
    }

    fn is_marked_otherwise(&self, orphan: &Orphan) -> bool {
        process::value_in(&orphan.environ, INCARNATION_VARIABLE)
            .is_some_and(|value| value != self.incarnation.to_string().as_bytes())
    }
}

/// The sessions of these members. A leader may still be a shim in the keeper's own session, which proves nothing.
pub(super) fn sessions_of(members: &Members, leader: Option<i32>) -> BTreeSet<i32> {
    let of = |(pid, member): (&i32, &Member)| {
        (Some(*pid) != leader || member.session == *pid).then_some(member.session)
    };
    members.iter().filter_map(of).collect()
}

/// Adds a process and all its descendants, provided it is the one that started at `start_time_ticks`.
fn walk(pid: i32, start_time_ticks: Option<u64>, members: &mut Members) {
    let mut waiting = vec![(pid, None)];
    while let Some((pid, parent)) = waiting.pop() {
        if members.contains_key(&pid) {
            continue;
        }
        let Ok(stat) = process::stat(pid) else { continue };
        let is_expected = match parent {
            None => start_time_ticks.is_none_or(|ticks| ticks == stat.start_time_ticks),
            // Listed as a child a moment ago; if the parent is another by now, the keeper inherited it and finds it
            // among its orphans, or the number changed hands.
            Some(parent) => stat.parent == parent,
        };
        if !is_expected || stat.is_zombie() {
            continue;
        }
        let Stat { start_time_ticks, group, session, .. } = stat;
        members.insert(pid, Member { start_time_ticks, group, session });
        // A process that ended meanwhile has no children any more.
        let children = process::children(pid).unwrap_or_default();
        waiting.extend(children.into_iter().map(|child| (child, Some(pid))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let environment = [("LEVERET_INCARNATION", "7"), ("LEVERET_PROGRAM", "orders"), ("PATH", "/bin")];
        Tree::new(
            Incarnation(7),
            &environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        )
    }

    fn orphan(pid: i32, session: i32, environ: &str) -> Orphan {
        let stat = Stat {
            state: 'S',
            parent: 1,
            group: session,
            session,
            cpu_ticks: 0,
            start_time_ticks: process::stat(pid).map_or(0, |stat| stat.start_time_ticks),
            resident_pages: 0,
        };
        Orphan { pid, stat, environ: environ.replace(' ', "\0").into_bytes() }
    }

    /// A living process to stand for an orphan.
    fn own_pid() -> i32 {
        std::process::id() as i32
    }

    fn is_member(tree: &Tree, orphan: Orphan) -> bool {
        tree.members(&[orphan], &BTreeSet::new()).contains_key(&own_pid())
    }

    #[test]
    fn an_orphan_with_all_the_marks_of_the_order_is_a_member() {
        let tree = tree();
        assert!(is_member(&tree, orphan(own_pid(), 1, "A=B LEVERET_PROGRAM=orders LEVERET_INCARNATION=7")));
        assert!(!is_member(&tree, orphan(own_pid(), 1, "LEVERET_PROGRAM=other LEVERET_INCARNATION=7")));
        assert!(!is_member(&tree, orphan(own_pid(), 1, "LEVERET_PROGRAM=orders LEVERET_INCARNATION=77")));
        assert!(!is_member(&tree, orphan(own_pid(), 1, "")));
    }

    #[test]
    fn an_order_without_a_mark_proves_nothing_by_environment() {
        let tree = Tree::new(Incarnation(7), &BTreeMap::new());
        assert!(!is_member(&tree, orphan(own_pid(), 1, "")));
    }

    #[test]
    fn the_leaders_session_proves_an_orphan_unless_its_environment_names_another() {
        let mut tree = tree();
        tree.leader_started(5_000_000);
        tree.leader_ended();
        assert!(is_member(&tree, orphan(own_pid(), 5_000_000, "")));
        assert!(!is_member(&tree, orphan(own_pid(), 5_000_000, "LEVERET_INCARNATION=8")));
        assert!(!is_member(&tree, orphan(own_pid(), 4_999_999, "")));
    }

    #[test]
    fn a_session_that_nobody_is_left_in_proves_nothing_any_more() {
        let mut tree = tree();
        tree.leader_started(5_000_000);
        tree.leader_ended();
        tree.observe(&Members::new());
        assert!(!is_member(&tree, orphan(own_pid(), 5_000_000, "")));
    }

    #[test]
    fn a_recorded_number_with_another_start_time_is_not_a_member() {
        let mut tree = tree();
        tree.recorded.insert(own_pid(), process::stat(own_pid()).unwrap().start_time_ticks);
        assert!(tree.members(&[], &BTreeSet::new()).contains_key(&own_pid()));
        tree.recorded.insert(own_pid(), 1);
        assert!(!tree.members(&[], &BTreeSet::new()).contains_key(&own_pid()));
    }
}
