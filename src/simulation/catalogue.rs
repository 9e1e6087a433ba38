//! The names of policies, and how each one is made for a scenario.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::core::random::Random;
use crate::scaling::input::Learned;
use crate::scaling::profile::Profile;
use crate::simulation::own::{Own, Signals};
use crate::simulation::policy::Policy;
use crate::simulation::queue::Scenario;
use crate::simulation::rivals::aws::Aws;
use crate::simulation::rivals::celery::Celery;
use crate::simulation::rivals::fixed::Fixed;
use crate::simulation::rivals::horizon::Horizon;
use crate::simulation::rivals::hpa::{Behavior, Hpa};
use crate::simulation::rivals::keda::{Keda, Settings};
use crate::simulation::rivals::knative::Knative;

/// A policy by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyName {
    /// Our engine.
    Own(Profile, Signals),
    /// KEDA with its defaults.
    Keda,
    /// KEDA with a quarter of the goal's messages per pod, polls every 5 s and a minute before the way down.
    KedaTuned,
    /// An HPA with a `behavior` and as many messages per pod as it can do within the goal.
    Hpa,
    /// Laravel Horizon.
    Horizon,
    /// Laravel Horizon that may change by 10 at a time.
    Horizon10,
    /// Celery.
    Celery,
    /// Knative.
    Knative,
    /// AWS target tracking.
    Aws,
    /// Always so many.
    Fixed(u32),
}

impl PolicyName {
    /// All but fixed numbers.
    pub const ALL: [Self; 16] = [
        Self::Own(Profile::Balanced, Signals::Full),
        Self::Own(Profile::Economy, Signals::Full),
        Self::Own(Profile::Latency, Signals::Full),
        Self::Own(Profile::Calm, Signals::Full),
        Self::Own(Profile::Balanced, Signals::Amqp),
        Self::Own(Profile::Economy, Signals::Amqp),
        Self::Own(Profile::Latency, Signals::Amqp),
        Self::Own(Profile::Calm, Signals::Amqp),
        Self::Keda,
        Self::KedaTuned,
        Self::Hpa,
        Self::Horizon,
        Self::Horizon10,
        Self::Celery,
        Self::Knative,
        Self::Aws,
    ];

    /// What it sees: `amqp` is messages ready and consumers at most, `full` more than that.
    pub fn signals(self) -> &'static str {
        match self {
            Self::Own(_, Signals::Amqp) | Self::Horizon | Self::Horizon10 | Self::Aws | Self::Fixed(_) => {
                "amqp"
            }
            Self::Own(_, Signals::Full)
            | Self::Keda
            | Self::KedaTuned
            | Self::Hpa
            | Self::Celery
            | Self::Knative => "full",
        }
    }

    /// The policy. Rivals that have to be told how long a message takes are told the truth, `service` seconds; at which
    /// second of their rhythm the run begins follows the seed.
    pub fn build(self, scenario: &Scenario, service: f64) -> Box<dyn Policy> {
        let Scenario { min, max, .. } = *scenario;
        let mut random = Random::new(scenario.seed ^ 0x7068_6173_6573);
        let mut within = |seconds: f64| Duration::from_secs((random.unit() * seconds) as u64);
        // How many messages one consumer does within the goal.
        let within_goal = (scenario.wait.as_secs_f64() / service.max(1e-4)).max(1.0);
        let keda = |settings: Settings, poll, sync| Box::new(Keda::new(settings, min, max, poll, sync));
        let minute = Duration::from_secs(60);
        match self {
            Self::Own(profile, signals) => Box::new(Own::new(scenario, Learned::default(), profile, signals)),
            Self::Keda => keda(Settings::DEFAULT, within(30.0), within(15.0)),
            Self::KedaTuned => {
                let settings = Settings {
                    value: (within_goal / 4.0).max(1.0),
                    polling: Duration::from_secs(5),
                    cooldown: minute,
                    behavior: Behavior::Set { down_window: minute },
                };
                keda(settings, within(5.0), within(15.0))
            }
            Self::Hpa => {
                let behavior = Behavior::Set { down_window: minute * 5 };
                Box::new(Hpa::new(within_goal, min, max, behavior, within(15.0)))
            }
            Self::Horizon => Box::new(Horizon::new(min, max, 1)),
            Self::Horizon10 => Box::new(Horizon::new(min, max, 10)),
            Self::Celery => Box::new(Celery::new(min, max)),
            Self::Knative => Box::new(Knative::new(min, max)),
            Self::Aws => Box::new(Aws::new(min, max, within_goal, within(60.0))),
            Self::Fixed(count) => Box::new(Fixed(count)),
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Own(profile, Signals::Full) => profile.as_str(),
            Self::Own(profile, Signals::Amqp) => return write!(formatter, "{}:amqp", profile.as_str()),
            Self::Keda => "keda",
            Self::KedaTuned => "keda-tuned",
            Self::Hpa => "hpa",
            Self::Horizon => "horizon",
            Self::Horizon10 => "horizon-10",
            Self::Celery => "celery",
            Self::Knative => "knative",
            Self::Aws => "aws",
            Self::Fixed(count) => return write!(formatter, "fixed-{count}"),
        })
    }
}

impl FromStr for PolicyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fixed = text.strip_prefix("fixed-").and_then(|count| count.parse().ok()).map(Self::Fixed);
        let found = || Self::ALL.into_iter().find(|name| name.to_string() == text);
        fixed.or_else(found).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(Self::to_string).collect();
            format!("there is no policy {text}; there are {}, fixed-N and all", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_name() {
        for name in PolicyName::ALL.into_iter().chain([PolicyName::Fixed(8)]) {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        let refused = "fastest".parse::<PolicyName>().unwrap_err();
        assert!(
            refused.starts_with("there is no policy fastest; there are balanced, economy, latency, calm,"),
            "{refused}"
        );
        assert!("fixed-x".parse::<PolicyName>().is_err());
    }
}
