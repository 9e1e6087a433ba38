//! The words of `simulate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::durations::duration;
use crate::simulation::builtin::Builtin;
use crate::simulation::catalogue::PolicyName;

/// Of `simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// A CSV file whose first line is arrival,service (seconds; service may be left out) or second,messages; or the journal
    /// of decisions of Leveret itself, decisions.jsonl in its state directory
    #[arg(value_name = "FILE", required_unless_present = "workload", conflicts_with = "workload")]
    pub(crate) file: Option<PathBuf>,
    /// A built-in workload: step, ramp, burst, sine, long, retry-storm, slow-downstream, outage, twenty-queues
    #[arg(long, value_name = "NAME", value_parser = str::parse::<Builtin>)]
    pub(crate) workload: Option<Builtin>,
    /// Of a journal, the program; needed where there are several
    #[arg(long, value_name = "NAME", conflicts_with = "workload")]
    pub(crate) program: Option<String>,
    /// The goal: how long a message may wait; 10s, or what is usual for the built-in workload
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// From the order to start a consumer until it consumes; varies by a fifth. 2s, or what a journal says
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) startup: Option<Duration>,
    /// How long a message takes in the mean (log-normal), where the file does not say it
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) service: Option<Duration>,
    /// Messages that a consumer fetches in advance, the one that it works on included
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) prefetch: u32,
    /// The most consumers that may be starting at one time; Leveret lets two for each core. Without it, as many as there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) start_limit: Option<u32>,
    /// The fewest consumers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) min: u32,
    /// The most consumers
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) max: u32,
    /// Policies to compare: balanced, economy, latency, calm, the same with :amqp (without the management API), keda,
    /// keda-tuned, hpa, horizon, horizon-10, celery, knative, aws, fixed-N; or all, which is all but fixed numbers
    #[arg(long, value_name = "NAME,..", default_value = "all")]
    pub(crate) policy: String,
    /// Repeat with so many seeds, and tell means with 95 % intervals
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) seeds: u32,
    /// Say which profile and which minimum keep the goal at the least cost, and what fixed numbers cost and miss
    #[arg(long, conflicts_with_all = ["policy", "plot"])]
    pub(crate) advise: bool,
    /// With --advise: how many processes there are at present
    #[arg(long, value_name = "N", requires = "advise", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) processes: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw depth, wait and consumers over time, and cost against violations: FILE.svg, or FILE.html with the table
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

impl SimulateArgs {
    /// The policies, each once, in the order in which they were named.
    pub(crate) fn policies(&self) -> Result<Vec<PolicyName>, String> {
        let mut policies = Vec::new();
        for name in self.policy.split(',').map(str::trim) {
            let named = if name == "all" { PolicyName::ALL.to_vec() } else { vec![name.parse()?] };
            for policy in named {
                if !policies.contains(&policy) {
                    policies.push(policy);
                }
            }
        }
        Ok(policies)
    }
}
