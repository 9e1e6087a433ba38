//! Where Leveret's own files are when the configuration does not say so.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The configuration files that are looked for, in this order, when none is named.
fn default_paths() -> [PathBuf; 2] {
    ["leveret.yaml".into(), "/etc/leveret/leveret.yaml".into()]
}

/// No configuration file was named, and none is where one is looked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no configuration file: looked for {}; name one, as in `{usage}`", listed(.looked_for))]
pub struct NoFile {
    /// Where it was looked for, in this order.
    looked_for: Vec<PathBuf>,
    /// A command line that names one.
    usage: &'static str,
}

/// The configuration file that is meant when none is named: the first of `leveret.yaml` in the working directory and
/// `/etc/leveret/leveret.yaml` that is there. `usage` is a command line that
/// names one.
///
/// # Errors
/// [`NoFile`] with the places.
pub fn default_file(usage: &'static str) -> Result<PathBuf, NoFile> {
    first_there(&default_paths(), usage)
}

/// One that cannot be looked at counts as there: reading it tells why.
fn first_there(paths: &[PathBuf], usage: &'static str) -> Result<PathBuf, NoFile> {
    let is_there = |path: &&PathBuf| !matches!(path.try_exists(), Ok(false));
    match paths.iter().find(is_there) {
        Some(path) => Ok(path.clone()),
        None => Err(NoFile { looked_for: paths.iter().map(|path| whole(path)).collect(), usage }),
    }
}

/// The path from the root, so that a person sees which directory is meant.
fn whole(path: &Path) -> PathBuf {
    // Without a working directory the path as it is must do.
    std::path::absolute(path).unwrap_or_else(|_: io::Error| path.to_path_buf())
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(" and ")
}

/// The state directory: what systemd gave, the system's for root, else the user's own. None without a home.
pub(super) fn state(environment: &BTreeMap<String, String>, root: bool) -> Option<PathBuf> {
    given(environment, "STATE_DIRECTORY")
        .or_else(|| root.then(|| "/var/lib/leveret".into()))
        .or_else(|| absolute(environment, "XDG_STATE_HOME").map(|base| base.join("leveret")))
        .or_else(|| absolute(environment, "HOME").map(|home| home.join(".local/state/leveret")))
}

/// The runtime directory: what systemd gave, the system's for root, else the user's own. None where the user has none.
pub(super) fn runtime(environment: &BTreeMap<String, String>, root: bool) -> Option<PathBuf> {
    given(environment, "RUNTIME_DIRECTORY")
        .or_else(|| root.then(|| "/run/leveret".into()))
        .or_else(|| absolute(environment, "XDG_RUNTIME_DIR").map(|base| base.join("leveret")))
}

/// The first directory that systemd gave; it separates several by colons. Source: systemd.exec(5).
fn given(environment: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    let first = environment.get(name)?.split(':').next()?;
    Some(PathBuf::from(first)).filter(|path| path.is_absolute())
}

/// A variable with a path; relative ones do not count. Source: the XDG base directory specification.
fn absolute(environment: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    Some(PathBuf::from(environment.get(name)?)).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_first_default_file_that_is_there_is_taken_and_where_none_is_the_places_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [directory.path().join("a.yaml"), directory.path().join("b.yaml")];
        let error = first_there(&paths, "leveret run -c FILE").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "there is no configuration file: looked for {} and {}; name one, as in `leveret run -c FILE`",
                paths[0].display(),
                paths[1].display()
            )
        );
        std::fs::write(&paths[1], "").unwrap();
        assert_eq!(first_there(&paths, "leveret run -c FILE"), Ok(paths[1].clone()));
        std::fs::write(&paths[0], "").unwrap();
        assert_eq!(first_there(&paths, "leveret run -c FILE"), Ok(paths[0].clone()));
    }

    #[test]
    fn what_systemd_gives_comes_first_then_the_systems_for_root_then_the_users_own() {
        let user = [("XDG_STATE_HOME", "/x/state"), ("HOME", "/home/me"), ("XDG_RUNTIME_DIR", "/run/user/1")];
        let all = environment(
            &[&user[..], &[("STATE_DIRECTORY", "/s/one:/s/two"), ("RUNTIME_DIRECTORY", "/r")]].concat(),
        );
        assert_eq!((state(&all, true), runtime(&all, false)), (Some("/s/one".into()), Some("/r".into())));
        let user = environment(&user);
        assert_eq!(state(&user, true), Some("/var/lib/leveret".into()));
        assert_eq!(runtime(&user, true), Some("/run/leveret".into()));
        assert_eq!(state(&user, false), Some("/x/state/leveret".into()));
        assert_eq!(runtime(&user, false), Some("/run/user/1/leveret".into()));
    }

    #[test]
    fn relative_directories_do_not_count_and_without_a_home_there_is_none() {
        let poor = environment(&[("XDG_STATE_HOME", "state"), ("HOME", "/home/me")]);
        assert_eq!(state(&poor, false), Some("/home/me/.local/state/leveret".into()));
        assert_eq!((state(&environment(&[]), false), runtime(&poor, false)), (None, None));
    }
}
