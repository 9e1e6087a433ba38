//! `make bench`: a thousand processes under Leveret, beside a bare spawn loop and, where they are installed, supervisord
//! and circus, in one run; how the figures grow from 100 processes to 5,000; how soon a replaced controller answers; and what
//! reading 1,000 queues each second costs.
//! It measures from outside what a user would notice, prints tables, and leaves nothing behind.
//!
//! The machine is never quiet and never the same, so the ratios count more than the figures. docs/performance.md says
//! what each row means.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what a bench is for")]

mod broker;
mod circus;
mod daemon;
mod execs;
mod floor;
mod http;
mod leveret_run;
mod measure;
mod outside;
mod queues;
mod replaced;
mod supervisord;
mod table;
mod zmtp;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use leveret::core::time::Time;
use leveret::sys::clock;
use rustix::process::{Resource, getrlimit};

use circus::Circus;
use daemon::Supervisor;
use floor::Floor;
use leveret_run::Leveret;
use measure::{Peer, Replaced, Size, Start, measure};
use supervisord::Supervisord;

/// How many processes there are.
const PROCESSES: usize = 1_000;

/// How often so many are started; the last ones stay for the other rows.
const ROUNDS: usize = 3;

/// The other numbers of processes, to see how the figures grow.
const SMALL: usize = 100;
const LARGE: usize = 5_000;

/// After this long nothing further is begun.
const PATIENCE: Duration = Duration::from_secs(6 * 60);

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this as well, to see that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing is measured without --bench; see `make bench`");
        return ExitCode::SUCCESS;
    }
    match Bench::new().and_then(|bench| bench.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Bench {
    directory: tempfile::TempDir,
    /// What the processes are.
    sleep: PathBuf,
    /// What is measured.
    binary: PathBuf,
    begun: Time,
}

impl Bench {
    fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("leveret-bench-").tempdir()?;
        let sleep = own_sleep(directory.path())?;
        let binary = std::env::var_os("LEVERET_BENCH_BINARY")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_leveret")), PathBuf::from);
        Ok(Self { directory, sleep, binary, begun: clock::now() })
    }

    fn run(&self) -> Result<()> {
        println!("{}", outside::machine()?);
        if std::env::var_os("LEVERET_BENCH_ONLY").is_some_and(|part| part == "queues") {
            return self.queues();
        }
        println!("measuring; this takes about six minutes");
        let replaced = self.replaced()?;
        let thousand = self.size(PROCESSES, ROUNDS)?;
        let floor = floor::respawn(&self.sleep)?;
        let peers = [self.supervisord()?, self.circus()?];
        print!("{}", table::peers(&thousand, &floor, &replaced, &peers));
        let mut sizes = vec![self.size(SMALL, 1)?, thousand];
        sizes.extend(self.large()?);
        print!("\n{}", table::growth(&sizes));
        println!();
        self.queues()
    }

    /// The part about queues, which is also to be had alone.
    fn queues(&self) -> Result<()> {
        print!("{}", queues::measure(&self.binary, self.directory.path())?);
        println!("{}; it took {} s", outside::load()?, self.elapsed().as_secs());
        Ok(())
    }

    fn replaced(&self) -> Result<Replaced> {
        let (leveret, _) = self.leveret(PROCESSES, "replaced")?;
        Ok(Replaced { by_kill: replaced::by_kill(&leveret)?, by_upgrade: replaced::by_upgrade(&leveret)? })
    }

    fn size(&self, processes: usize, rounds: usize) -> Result<Size> {
        let mut starts = Vec::new();
        let mut last = None;
        for round in 0..rounds {
            // What ran before has ended before the next one starts.
            drop(last.take());
            let (floor, floor_start) = Floor::start(&self.sleep, processes)?;
            drop(floor);
            let (leveret, leveret_start) = self.leveret(processes, &round.to_string())?;
            starts.push(Start { floor: floor_start, leveret: leveret_start });
            last = Some(leveret);
        }
        let leveret = last.context("there is at least one round")?;
        let figures = measure(&leveret, &self.sleep, processes)?;
        Ok(Size { processes, starts, figures })
    }

    fn large(&self) -> Result<Option<Size>> {
        let needed = LARGE as u64 + 1_000;
        if getrlimit(Resource::Nofile).maximum.is_some_and(|maximum| maximum < needed) {
            println!("the hard limit on open files is below {needed}: {LARGE} processes are left out");
            return Ok(None);
        }
        if self.is_late() {
            return Ok(None);
        }
        self.size(LARGE, 1).map(Some)
    }

    fn leveret(&self, processes: usize, round: &str) -> Result<(Leveret, Duration)> {
        Leveret::start(&self.binary, self.directory.path(), round, &self.sleep, processes)
    }

    /// None where it is not installed.
    fn supervisord(&self) -> Result<Option<Peer>> {
        let Some(binary) = supervisord::installed() else {
            println!("supervisord is not installed and is left out");
            return Ok(None);
        };
        let (supervisord, start) =
            Supervisord::start(&binary, self.directory.path(), &self.sleep, PROCESSES)?;
        self.peer(&supervisord, start).map(Some)
    }

    /// None where it is not installed.
    fn circus(&self) -> Result<Option<Peer>> {
        let Some(binary) = circus::installed() else {
            println!("circus is not installed and is left out");
            return Ok(None);
        };
        if self.is_late() {
            return Ok(None);
        }
        let (circus, start) = Circus::start(&binary, self.directory.path(), &self.sleep, PROCESSES)?;
        self.peer(&circus, start).map(Some)
    }

    fn peer(&self, supervisor: &impl Supervisor, start: Duration) -> Result<Peer> {
        Ok(Peer { start, figures: measure(supervisor, &self.sleep, PROCESSES)? })
    }

    fn elapsed(&self) -> Duration {
        clock::now().since(self.begun)
    }

    fn is_late(&self) -> bool {
        let is_late = self.elapsed() > PATIENCE;
        if is_late {
            println!("the machine is busy: what is not measured by now is left out");
        }
        is_late
    }
}

/// A copy of `sleep` that nobody else executes, so that every start of it can be seen.
fn own_sleep(directory: &Path) -> Result<PathBuf> {
    let copy = directory.join("sleep");
    fs::copy("/bin/sleep", &copy).context("cannot copy /bin/sleep")?;
    Ok(copy)
}
