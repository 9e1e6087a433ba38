//! Several files, and files that cannot be read.

use std::path::Path;

use super::{describe, directory, variables};
use crate::config::load;
use crate::core::spec::LogTarget;

#[test]
fn included_files_add_programs_and_brokers_in_order() {
    let directory = directory(&[
        (
            "etc/shop.yaml",
            "include: [conf.d/*.yaml, './*.yaml']\ndefaults: {directory: base}\nprograms: {a: {command: x}}",
        ),
        ("etc/conf.d/20.yaml", "programs: {c: {command: x, scale: {queue: q, wait: 1s, max: 2}}}"),
        ("etc/conf.d/10.yaml", "brokers: {b: amqp://h}\nprograms: {b: {command: x, directory: own}}"),
    ]);
    let settings = load(&directory.path().join("etc/shop.yaml"), &variables()).unwrap();
    let names: Vec<_> = settings.programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let base = std::path::absolute(directory.path()).unwrap().join("etc");
    let directories: Vec<_> = settings.programs.iter().map(|p| p.run.directory.clone().unwrap()).collect();
    assert_eq!(directories, [base.join("base"), base.join("conf.d/own"), base.join("base")]);
    assert_eq!(settings.programs[2].scale().unwrap().broker, "b");
}

#[test]
fn mistakes_in_included_files_are_reported_with_those_of_the_main_file() {
    let directory = directory(&[
        ("shop.yaml", "include: [conf.d/*.yaml, missing.yaml]\nprograms: {a: {comand: x, command: x}}"),
        ("conf.d/a.yaml", "listen: 127.0.0.1:1\nprograms:\n  a: {command: x}\n"),
        ("conf.d/b.yaml", "programs: [\n"),
    ]);
    let problems = load(&directory.path().join("shop.yaml"), &variables()).unwrap_err();
    let text = problems.to_string().replace(&format!("{}/", directory.path().display()), "");
    let mut from = 0;
    for expected in [
        "error: there is no file missing.yaml\n --> shop.yaml:1:1\n",
        "unknown key `comand`; did you mean `command`?\n --> shop.yaml:2:16\n",
        "`listen` cannot be in an included file; move it to the main file\n --> conf.d/a.yaml:1:1\n",
        "`a` is already in shop.yaml, line 2\n --> conf.d/a.yaml:3:3\n",
        "this is not valid YAML: ",
        " --> conf.d/b.yaml:1:12\n",
        "5 errors in shop.yaml, conf.d/a.yaml, conf.d/b.yaml",
    ] {
        let at = text[from..].find(expected);
        assert!(at.is_some(), "{expected} is missing in\n{text}");
        from += at.unwrap();
    }
}

#[test]
fn paths_are_told_without_parts_that_say_nothing() {
    let text = "state_dir: ./state\nruntime_dir: .//run/.\n\
                programs: {a: {command: x, directory: ./src/../here, log: {path: ./a.log}}}\n";
    let directory = directory(&[("leveret.yaml", text)]);
    let base = directory.path();
    let settings = load(&base.join("./leveret.yaml"), &variables()).unwrap();
    let shown = |path: &Path| path.display().to_string();
    let expected = |path: &str| format!("{}/{path}", base.display());
    assert_eq!(shown(&settings.state_dir), expected("state"));
    assert_eq!(shown(&settings.runtime_dir), expected("run"));
    let program = &settings.programs[0];
    assert_eq!(shown(program.run.directory.as_deref().unwrap()), expected("src/../here"));
    let LogTarget::File(path) = &program.log.to else { panic!("{:?}", program.log) };
    assert_eq!(shown(path), expected("a.log"));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let directory = directory(&[]);
    let place = directory.path();
    let message = |name: &str| {
        let problems = load(&place.join(name), &variables()).unwrap_err();
        assert!(problems.to_string().ends_with(&format!("1 error in {}", place.join(name).display())));
        describe(&problems)[0].clone()
    };
    assert_eq!(message("none.yaml"), "0:0 : cannot read this file: No such file or directory");
    assert!(message(".").contains("Is a directory"));
    std::fs::write(place.join("big.yaml"), " ".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(message("big.yaml"), "0:0 : this file is larger than 1 MiB");
    std::fs::write(place.join("latin.yaml"), b"a: 1\nb: caf\xe9\n").unwrap();
    assert_eq!(message("latin.yaml"), "2:7 : this is not valid UTF-8; save the file in UTF-8");
}
