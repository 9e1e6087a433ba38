//! Where this program's binary is, for a later version that is put in its place.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The place that this program was started from, as it was named then: a symbolic link that is pointed to another version
/// later on leads to that one. Nothing where it cannot be said.
///
/// To be asked at the start, while the binary that runs is still there.
pub fn own_path() -> Option<PathBuf> {
    let real = std::env::current_exe().ok()?;
    let name = std::env::args_os().next().unwrap_or_default();
    let directory = std::env::current_dir().ok();
    let named = named(&name, directory.as_deref(), std::env::var_os("PATH").as_deref());
    named.into_iter().find(|path| is_same(path, &real)).or(Some(real))
}

/// What a name may mean: a path, or one of those where a shell looks.
fn named(name: &OsStr, directory: Option<&Path>, search: Option<&OsStr>) -> Vec<PathBuf> {
    let name = Path::new(name);
    let absolute = |path: PathBuf| {
        directory.map_or_else(|| path.clone(), |directory| directory.join(&path)).components().collect()
    };
    if name.components().count() > 1 {
        return vec![absolute(name.to_owned())];
    }
    let places = search.map(std::env::split_paths).into_iter().flatten();
    places.map(|place| absolute(place.join(name))).collect()
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    identity(one).is_some() && identity(one) == identity(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_or_is_looked_for_where_a_shell_does() {
        let directory = Some(Path::new("/srv"));
        let found = |name: &str| named(OsStr::new(name), directory, Some(OsStr::new("/usr/bin:bin")));
        assert_eq!(found("/opt/leveret"), [PathBuf::from("/opt/leveret")]);
        assert_eq!(found("./leveret"), [PathBuf::from("/srv/leveret")]);
        assert_eq!(found("target/leveret"), [PathBuf::from("/srv/target/leveret")]);
        assert_eq!(found("leveret"), [PathBuf::from("/usr/bin/leveret"), PathBuf::from("/srv/bin/leveret")]);
    }

    #[test]
    fn a_link_to_a_binary_is_that_binary_and_another_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        let real = std::env::current_exe().unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(is_same(&link, &real));
        assert!(!is_same(Path::new("/bin/sh"), &real));
        assert!(!is_same(&directory.path().join("missing"), &directory.path().join("missing")));
    }
}
