//! What earlier versions wrote, for the tests of the rooms that read it: `tests/fixtures/formats/VERSION/FILE`. These files
//! are never changed; a version that writes something else adds a directory.

use std::fs;
use std::path::Path;

/// The content of this file of every version that has one.
pub(crate) fn each(file: &str) -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats");
    let mut found = Vec::new();
    for version in fs::read_dir(&directory).unwrap() {
        let path = version.unwrap().path().join(file);
        if path.exists() {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "no version has {file}");
    found
}

/// The lines of this file of every version that has one, with their places.
pub(crate) fn each_line(file: &str) -> Vec<(String, String)> {
    let lines = |(path, text): (String, String)| {
        let line = |(number, line): (usize, &str)| (format!("{path}:{}", number + 1), line.to_owned());
        text.lines().enumerate().map(line).collect::<Vec<_>>()
    };
    each(file).into_iter().flat_map(lines).collect()
}

/// Reads it as `T`.
pub(crate) fn read<T: serde::de::DeserializeOwned>(place: &str, text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"))
}
