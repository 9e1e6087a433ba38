//! What the programs of an earlier Leveret were. If its keeper is killed and a program is taken out of the file before the
//! next start, somebody must still know how its processes are to be stopped and where their output goes. What they are
//! made from is left out: it is not needed, and it may be secret.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use tracing::warn;

use super::control::Control;
use super::takeover;
use crate::core::hooks::Hooks;
use crate::core::spec::{ProgramSpec, RunSpec};
use crate::keeper::protocol::Inventory;
use crate::sys::cause::plain;

const FILE: &str = "programs.json";

/// The programs that the inventory has lives of and that are not among those that are known, as they were remembered.
pub(super) fn of_lives(state_dir: &Path, inventory: &Inventory, known: &[ProgramSpec]) -> Vec<ProgramSpec> {
    let is_known = |name| known.iter().any(|spec| spec.name == name);
    let unknown: Vec<_> = inventory
        .processes
        .iter()
        .filter_map(takeover::program_of)
        .filter(|name| !is_known(name.clone()))
        .collect();
    if unknown.is_empty() {
        return Vec::new();
    }
    let mut earlier = read(state_dir).unwrap_or_else(|error| {
        warn!("cannot read {}: {}", state_dir.join(FILE).display(), plain(error));
        Vec::new()
    });
    earlier.retain(|spec| unknown.contains(&spec.name));
    earlier
}

fn read(state_dir: &Path) -> io::Result<Vec<ProgramSpec>> {
    Ok(serde_json::from_slice(&fs::read(state_dir.join(FILE))?)?)
}

fn write(state_dir: &Path, specs: &[ProgramSpec]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(state_dir)?;
    file.write_all(&serde_json::to_vec(specs)?)?;
    file.persist(state_dir.join(FILE))?;
    Ok(())
}

/// A program of which nothing can be started.
fn without_commands(spec: &ProgramSpec) -> ProgramSpec {
    ProgramSpec { run: RunSpec::default(), hooks: Hooks::default(), ..spec.clone() }
}

impl Control {
    /// Writes down what the programs are.
    pub(super) fn remember_programs(&self) {
        let programs = self.machine.world().programs.values();
        let specs: Vec<ProgramSpec> = programs.map(|program| without_commands(&program.spec)).collect();
        if let Err(error) = write(&self.settings.state_dir, &specs) {
            warn!("cannot write {}: {}", self.settings.state_dir.join(FILE).display(), plain(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Incarnation;
    use crate::core::scenario::service;
    use crate::keeper::protocol::{InventoryProcess, InventoryState};

    #[test]
    fn a_program_that_was_removed_is_known_as_long_as_something_of_it_lives() {
        let directory = tempfile::tempdir().unwrap();
        let life = |number: u64, program: &str| InventoryProcess {
            incarnation: Incarnation(number),
            output: "pipe".into(),
            errors: None,
            note: serde_json::json!({
                "role": "process",
                "process": { "program": program, "slot": 0 },
                "fingerprint": 1, "ordered_at": 5, "stop": null,
            }),
            state: InventoryState::Spawning,
            adopted: true,
        };
        let inventory =
            Inventory { processes: vec![life(1, "web"), life(2, "removed")], ..Inventory::default() };
        assert_eq!(of_lives(directory.path(), &inventory, &[service("web", 1)]), []);
        let all = [service("web", 1), service("removed", 2), service("long-gone", 1)];
        write(directory.path(), &all).unwrap();
        assert_eq!(of_lives(directory.path(), &inventory, &[service("web", 1)]), [service("removed", 2)]);
    }

    #[test]
    fn what_earlier_versions_wrote_is_understood() {
        for (place, text) in crate::formats::each("programs.json") {
            let specs: Vec<ProgramSpec> = crate::formats::read(&place, &text);
            assert_eq!(specs.len(), 6, "{place}");
        }
    }
}
