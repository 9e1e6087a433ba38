//! Where Leveret's own files are when the configuration does not say so.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The configuration files that are looked for, in this order, when none is named.
pub fn default_paths() -> [PathBuf; 2] {
    ["leveret.yaml".into(), "/etc/leveret/leveret.yaml".into()]
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
