//! Where the processes of a program really run. After a deploy in which a link such as `current` was set to another
//! release, this tells those that still run the one before.

use std::collections::BTreeMap;
use std::path::Path;

use super::snapshot::ProgramView;
use crate::core::words::processes;

/// How many processes of one directory are named.
const NAMED_MAX: usize = 5;

impl ProgramView {
    /// In which directories its processes run and which these are, where it is not one and the same, as far as that could
    /// be read: `web:0 runs in /srv/releases/41; web:1, web:2 run in /srv/releases/42`.
    pub fn different_directories(&self) -> Option<String> {
        let mut by_directory: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
        for process in &self.processes {
            if let Some(directory) = &process.directory {
                by_directory.entry(directory).or_default().push(&process.id);
            }
        }
        if by_directory.len() < 2 {
            return None;
        }
        // The fewest first: they are those that somebody looks for.
        let mut groups: Vec<_> = by_directory.into_iter().collect();
        groups.sort_by_key(|(_, ids)| ids.len());
        let sentence = |(directory, ids): (&Path, Vec<&str>)| match ids.as_slice() {
            [one] => format!("{one} runs in {}", directory.display()),
            few if few.len() <= NAMED_MAX => format!("{} run in {}", few.join(", "), directory.display()),
            many => format!("{} run in {}", processes(many.len() as u32), directory.display()),
        };
        Some(groups.into_iter().map(sentence).collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::snapshot::ProcessView;

    fn program(directories: &[Option<&str>]) -> ProgramView {
        let process = |(slot, directory): (usize, &Option<&str>)| ProcessView {
            id: format!("web:{slot}"),
            directory: directory.map(Into::into),
            ..ProcessView::default()
        };
        ProgramView {
            processes: directories.iter().enumerate().map(process).collect(),
            ..ProgramView::default()
        }
    }

    #[test]
    fn a_difference_is_told_with_the_few_first() {
        let (old, new) = (Some("/srv/releases/41"), Some("/srv/releases/42"));
        let told = |directories: &[Option<&str>]| program(directories).different_directories();
        assert_eq!(told(&[new, new, None]), None);
        assert_eq!(told(&[]), None);
        assert_eq!(
            told(&[new, old, new]).unwrap(),
            "web:1 runs in /srv/releases/41; web:0, web:2 run in /srv/releases/42"
        );
        assert_eq!(
            told(&[new, new, new, new, new, new, old]).unwrap(),
            "web:6 runs in /srv/releases/41; 6 processes run in /srv/releases/42"
        );
    }
}
