//! Whole files, from text to settings or to everything that is wrong with them.

mod any_file;
mod extends;
mod files;
mod keys;
mod mistakes;
mod programs;
mod readiness;
mod scales;
mod secrets;

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::settings::Settings;
use super::{Problems, load};

fn variables() -> BTreeMap<String, String> {
    [
        ("HOME", "/home/me"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("MAX", "30"),
        ("WAIT", "5s"),
        ("YES", "true"),
        ("PASSWORD", "hunter2"),
        ("BROKEN_URL", "hunter2"),
        ("NOTHING", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

fn load_text(text: &str) -> Result<Settings, Problems> {
    let directory = directory(&[("shop.yaml", text)]);
    load(&directory.path().join("shop.yaml"), &variables())
}

fn settings(text: &str) -> Settings {
    load_text(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is wrong, as `line:column key: sentence`.
fn wrong(text: &str) -> Vec<String> {
    describe(&load_text(text).expect_err("the file has mistakes"))
}

fn describe(problems: &Problems) -> Vec<String> {
    let describe = |problem: &super::Problem| {
        let (line, column) = problem.at.as_ref().map_or((0, 0), |at| (at.line, at.column));
        format!("{line}:{column} {}: {}", problem.key, problem.sentence())
    };
    problems.iter().map(describe).collect()
}
