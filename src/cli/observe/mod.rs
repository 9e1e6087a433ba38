//! `leveret observe`: looks on at consumers that somebody else runs, and prints the configuration that would run them, with what
//! that would have saved and missed. It only reads: RabbitMQ's management API and `/proc`. No running Leveret is needed.

mod access;
mod arguments;
mod document;
mod flow;
mod json;
mod process;
mod programs;
mod record;
mod recording;
mod redaction;
mod verdict;
mod watch;
mod yaml;

use std::io::Write as _;
use std::sync::Arc;

pub(crate) use self::arguments::ObserveArgs;

use self::access::Access;
use self::document::{Outcome, document};
use self::json::json;
use self::programs::{Program, programs};
use self::recording::Recording;
use self::verdict::{Circumstances, Verdict, verdict};
use self::watch::watch;
use super::address::Surroundings;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::simulate::advice::progress;
use super::watch::Ends;

/// So many processes may be starting at one time for each core, as Leveret has it.
const STARTS_PER_CORE: u32 = 2;

/// Observes, and prints the result.
///
/// # Errors
/// Wrong usage, a management API that does not answer, nobody who consumes here, or an output that is closed.
pub(crate) fn observe(
    arguments: &ObserveArgs,
    surroundings: &Surroundings,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    arguments.check().map_err(Failure::Usage)?;
    let access = Access::of(arguments, surroundings)?;
    if let Some(file) = &arguments.record {
        record::check(file)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot begin: {error}")))?;
    runtime.block_on(observe_and_tell(arguments, &access, console))
}

async fn observe_and_tell(
    arguments: &ObserveArgs,
    access: &Access,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let mut ends = Ends::listen()?;
    let (recording, lasted) = watch(access, arguments, &mut ends, console).await?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
    let start_limit = STARTS_PER_CORE * cores;
    let circumstances = Circumstances { wait: arguments.wait, startup: arguments.startup, start_limit };
    let recording = Arc::new(recording);
    let programs = judged(&recording, circumstances, &mut ends, console).await?;
    let outcome = Outcome {
        management: &access.spec,
        recording: &recording,
        programs: &programs,
        circumstances,
        lasted,
    };
    let yaml = document(&outcome);
    if arguments.json {
        console.say(json(&outcome, &yaml))?;
    } else {
        console.say(yaml.trim_end())?;
    }
    if let Some(file) = &arguments.record {
        for path in record::write(file, &recording)? {
            console.note(format_args!("wrote {}", path.display()));
        }
    }
    Ok(Exit::Done)
}

/// Computes what there is to say, on a thread of its own, so that somebody can end it; what was seen is told all the same.
async fn judged(
    recording: &Arc<Recording>,
    circumstances: Circumstances,
    ends: &mut Ends,
    console: &Console<'_>,
) -> Result<Vec<(Program, Verdict)>, Failure> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let live = console.live;
    let shared = Arc::clone(recording);
    let work = move || {
        let progress = progress(live);
        let judge = |program: Program| {
            let verdict = verdict(&program, &shared, circumstances, &progress);
            (program, verdict)
        };
        let programs: Vec<_> = programs(&shared).into_iter().map(judge).collect();
        if live {
            drop(write!(std::io::stderr(), "\x1b[K"));
        }
        // Nobody waits for it any more where somebody has ended it.
        drop(sender.send(programs));
    };
    std::thread::Builder::new()
        .name("leveret-advice".to_owned())
        .spawn(work)
        .map_err(|error| Failure::Failed(format!("cannot compute the result: {error}")))?;
    tokio::select! {
        () = ends.one() => {
            let unsure = |program| (program, Verdict::Unsure("it was ended before that was computed".to_owned()));
            Ok(programs(recording).into_iter().map(unsure).collect())
        }
        judged = receiver => {
            judged.map_err(|_| Failure::Failed("the result could not be computed; please report it".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
