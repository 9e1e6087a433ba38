//! `make bench`: a thousand processes under Leveret, beside a bare spawn loop and, where it is installed, supervisord,
//! in one run. It measures from outside what a user would notice, prints a table, and leaves nothing behind.
//!
//! The machine is never quiet and never the same, so the ratios count more than the figures. docs/performance.md says
//! what each row means.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what a bench is for")]

mod daemon;
mod execs;
mod floor;
mod http;
mod leveret_run;
mod measure;
mod outside;
mod supervisord;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use floor::Floor;
use leveret_run::Leveret;
use measure::{Figures, Start, measure};
use supervisord::Supervisord;

/// How many processes there are.
const PROCESSES: usize = 1_000;

/// How often everything is started; the last one stays for the other rows.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this as well, to see that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing is measured without --bench; see `make bench`");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let directory = tempfile::Builder::new().prefix("leveret-bench-").tempdir()?;
    let sleep = own_sleep(directory.path())?;
    let binary = std::env::var_os("LEVERET_BENCH_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_leveret")), PathBuf::from);
    println!("{}", outside::machine()?);
    println!("measuring; this takes about two minutes");

    let mut starts = Vec::new();
    let mut last = None;
    for round in 0..ROUNDS {
        // What ran before has ended before the next one starts.
        drop(last.take());
        let (floor, floor_start) = Floor::start(&sleep, PROCESSES)?;
        drop(floor);
        let (leveret, leveret_start) = Leveret::start(&binary, directory.path(), round, &sleep, PROCESSES)?;
        starts.push(Start { floor: floor_start, leveret: leveret_start });
        last = Some(leveret);
    }
    let leveret = last.context("there is at least one round")?;
    let ours = measure(&leveret, &sleep, PROCESSES)?;
    drop(leveret);
    let floor = floor::respawn(&sleep)?;
    let theirs = measure_supervisord(directory.path(), &sleep)?;
    print!("{}", table::render(&starts, &floor, &ours, theirs.as_ref()));
    Ok(())
}

/// A copy of `sleep` that nobody else executes, so that every start of it can be seen.
fn own_sleep(directory: &Path) -> Result<PathBuf> {
    let copy = directory.join("sleep");
    fs::copy("/bin/sleep", &copy).context("cannot copy /bin/sleep")?;
    Ok(copy)
}

/// The time to start all, and the other rows; none where supervisord is not installed or does not come up.
fn measure_supervisord(directory: &Path, sleep: &Path) -> Result<Option<(std::time::Duration, Figures)>> {
    let Some(binary) = supervisord::installed() else {
        println!("supervisord is not installed and is left out");
        return Ok(None);
    };
    let (supervisord, start) = Supervisord::start(&binary, directory, sleep, PROCESSES)?;
    let figures = measure(&supervisord, sleep, PROCESSES)?;
    Ok(Some((start, figures)))
}
