//! `simulate --plot` as a shell sees it: the files that it writes, and what it refuses.

#![expect(clippy::disallowed_methods, reason = "these tests run the command and wait for it themselves")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::path::Path;
use std::process::{Command, Output};

fn simulate(directory: &Path, plot: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args([
            "simulate",
            "trace.csv",
            "--service",
            "200ms",
            "--policy",
            "balanced,keda,fixed-3",
            "--plot",
            plot,
        ])
        .current_dir(directory)
        .output()
        .unwrap()
}

#[test]
fn a_plot_is_written_whole_and_the_same_each_time_and_what_cannot_be_is_told() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("trace.csv"), "second,messages\n0,60\n60,600\n120,30\n").unwrap();
    let written = |plot: &str| {
        let output = simulate(directory.path(), plot);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("fixed-3 "), "the table is there as well");
        std::fs::read_to_string(directory.path().join(plot)).unwrap()
    };
    let (picture, page) = (written("plot.svg"), written("plot.html"));
    assert!(picture.starts_with("<?xml ") && picture.ends_with("</svg>\n"), "{picture}");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<td>fixed-3</td>"), "{page}");
    for policy in ["balanced", "keda", "fixed-3"] {
        assert!(
            picture.contains(&format!(">{policy}</text>")) && page.contains(&format!(">{policy}</text>"))
        );
    }
    assert_eq!((written("plot.svg"), written("plot.html")), (picture, page));

    for (plot, code, expected) in [
        ("plot.png", 2, "--plot plot.png says no form; end the name in .svg or .html"),
        ("nowhere/plot.svg", 1, "cannot write nowhere/plot.svg: No such file or directory"),
    ] {
        let output = simulate(directory.path(), plot);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
