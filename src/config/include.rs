//! Which files a configuration includes.

use std::io;
use std::path::{Path, PathBuf};

/// How many files a pattern may stand for.
const FILES_MAX: usize = 1_000;

/// Why a pattern cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum IncludeError {
    /// A plain path that leads nowhere.
    #[error("there is no file {0}")]
    Missing(PathBuf),
    /// A wildcard in the path of the directory.
    #[error("`*` and `?` may stand only in the last part of a path")]
    WildcardDirectory,
    /// The path ends in a slash or in `..`.
    #[error("this names no file")]
    NoFile,
    /// The pattern stands for more than [`FILES_MAX`] files.
    #[error("this stands for more than 1000 files")]
    TooMany,
    /// The directory cannot be read.
    #[error("cannot read the directory {directory}: {}", crate::sys::cause::plain(source))]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The system's word for it.
        source: io::Error,
    },
}

/// The files that `pattern` stands for, sorted by name; relative to `directory`, and named in the way that `shown_in`
/// names it. A pattern with wildcards may stand for none.
pub(super) fn files(pattern: &str, directory: &Path, shown_in: &Path) -> Result<Vec<PathBuf>, IncludeError> {
    let path = Path::new(pattern);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(IncludeError::NoFile);
    };
    let parent = path.parent().unwrap_or(Path::new(""));
    if has_wildcard(&parent.to_string_lossy()) {
        return Err(IncludeError::WildcardDirectory);
    }
    if !has_wildcard(name) {
        let there = directory.join(path).exists();
        return if there {
            Ok(vec![shown_in.join(path)])
        } else {
            Err(IncludeError::Missing(shown_in.join(path)))
        };
    }
    let searched = directory.join(parent);
    let failed = |source| IncludeError::Directory { directory: searched.clone(), source };
    let entries = match searched.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Some(found) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if matches(name, &found) && entry.path().is_file() {
            names.push(found);
        }
        if names.len() > FILES_MAX {
            return Err(IncludeError::TooMany);
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| shown_in.join(parent).join(name)).collect())
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a name fits a pattern in which `*` is any text and `?` any character. As in a shell, a wildcard does not
/// stand for a dot at the beginning.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: one more character goes to the `*`.
    let mut retry: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at + 1, in_name));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match retry {
                Some((after_star, taken)) => {
                    retry = Some((after_star, taken + 1));
                    (at, in_name) = (after_star, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_fit_as_in_a_shell() {
        for (pattern, name, fits) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a.yaml.bak", false),
            ("*.yaml", ".a.yaml", false),
            (".*.yaml", ".a.yaml", true),
            ("??-*.yaml", "10-a.yaml", true),
            ("??-*.yaml", "1-a.yaml", false),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxa", false),
            ("*", "", true),
            ("ü?", "üé", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_found_sorted_and_a_pattern_may_find_none() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("conf.d/dir.yaml")).unwrap();
        for name in ["b.yaml", "a.yaml", "c.txt"] {
            std::fs::write(directory.path().join("conf.d").join(name), "").unwrap();
        }
        let find = |pattern| files(pattern, directory.path(), Path::new("shown"));
        let names = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(find("conf.d/*.yaml").unwrap(), names(&["shown/conf.d/a.yaml", "shown/conf.d/b.yaml"]));
        assert_eq!(find("conf.d/c.txt").unwrap(), names(&["shown/conf.d/c.txt"]));
        assert!(find("conf.d/*.json").unwrap().is_empty());
        assert!(find("none.d/*.yaml").unwrap().is_empty());
        assert_eq!(find("none.yaml").unwrap_err().to_string(), "there is no file shown/none.yaml");
        assert!(matches!(find("*/a.yaml"), Err(IncludeError::WildcardDirectory)));
        assert!(matches!(find("conf.d/.."), Err(IncludeError::NoFile)));
    }
}
