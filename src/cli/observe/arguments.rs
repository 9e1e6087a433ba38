//! The words of `observe`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::durations::duration;
use crate::core::secret::Secret;
use crate::core::time::human;

/// The variable that names the management API.
pub(super) const VARIABLE: &str = "LEVERET_MANAGEMENT_URL";

/// How often may be looked in all, so that what is remembered stays small: about a megabyte for each queue.
const LOOKS_MOST: u128 = 20_000;
/// The longest time.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);
/// How often may be asked.
const EVERY_LEAST: Duration = Duration::from_secs(1);

/// Of `observe`.
#[derive(Debug, Args)]
pub(crate) struct ObserveArgs {
    /// The management API, http(s)://user:password@host:15672; else --management-file, else LEVERET_MANAGEMENT_URL, else
    /// that of a new RabbitMQ on this machine. Whoever may list processes sees a password that stands here
    #[arg(long, value_name = "URL", value_parser = secret, conflicts_with = "management_file")]
    pub(crate) management: Option<Secret>,
    /// Read the address of the management API from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) management_file: Option<PathBuf>,
    /// How long, 7d at most; Ctrl-C ends it earlier and prints the result all the same
    #[arg(long = "for", value_name = "DURATION", value_parser = length, default_value = "10m")]
    pub(crate) lasts: Duration,
    /// The time between two questions; a broker renews its figures every 5s
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "5s")]
    pub(crate) every: Duration,
    /// The goal: how long a message may wait
    #[arg(long, value_name = "DURATION", value_parser = some_time, default_value = "5s")]
    pub(crate) wait: Duration,
    /// How long a process needs from its start until it consumes, which nothing tells from outside
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s")]
    pub(crate) startup: Duration,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write what came to FILE as second,messages, which `simulate` reads; of several queues to FILE-QUEUE each
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

impl ObserveArgs {
    /// Whether what is looked at can be remembered.
    ///
    /// # Errors
    /// It is too much; with what to try.
    pub(super) fn check(&self) -> Result<(), String> {
        let looks = self.lasts.as_millis() / self.every.as_millis().max(1);
        if looks <= LOOKS_MOST {
            return Ok(());
        }
        let every = self.lasts.as_secs().div_ceil(LOOKS_MOST as u64);
        Err(format!(
            "--for {} with --every {} are {looks} looks, more than {LOOKS_MOST}; raise --every to {every}s",
            human(self.lasts),
            human(self.every)
        ))
    }
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(Duration::ZERO) => Err("this must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn length(text: &str) -> Result<Duration, String> {
    match some_time(text)? {
        long if long > LONGEST => Err("observing takes 7d at most".to_owned()),
        length => Ok(length),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match some_time(text)? {
        short if short < EVERY_LEAST => Err("asking more than once a second tells nothing more".to_owned()),
        interval => Ok(interval),
    }
}
