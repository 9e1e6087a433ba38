//! `leveret check --live`: asks the brokers of a configuration, once, and says what stands against it there. Nothing is started
//! and nothing is changed, and no running Leveret is needed.

mod findings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::future::join_all;

use self::findings::{Finding, findings};
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::holders::Holders;
use crate::amqp::fact::BrokerState;
use crate::amqp::survey::{Survey, survey};
use crate::config::settings::Settings;
use crate::core::words;
use crate::sys::cause::plain;

/// What every broker of the configuration tells, by its name.
type Surveys = BTreeMap<String, Survey>;

/// Looks at the brokers of a configuration that is good, and says what was found. Exits with 1 if that is anything.
///
/// # Errors
/// The system gives no runtime, or the output is closed.
pub(super) fn check(settings: &Settings, file: &Path, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot begin: {error}")))?;
    let surveys = runtime.block_on(survey_all(settings));
    for broker in &settings.brokers {
        let Some(survey) = surveys.get(&broker.name) else { continue };
        if survey.state == BrokerState::Connected {
            console.say(format_args!(
                "broker {}: {} answers{}",
                broker.name,
                broker.shown,
                beside(survey)
            ))?;
        }
    }
    let holders = Holders::now();
    if let Err(error) = &holders {
        console.note(format_args!(
            "cannot tell whose the consumers are: /proc cannot be read: {}",
            plain(error)
        ));
    }
    let found = findings(settings, &surveys, holders.as_ref().ok());
    for Finding { subject, text } in &found {
        console.say(format_args!("{subject}: {text}"))?;
    }
    let count = words::count(settings.programs.len(), "program");
    let (verdict, exit) = match found.len() {
        0 => (format!("good, {count}, and nothing at the brokers stands against it"), Exit::Done),
        1 => (format!("{count}, and 1 thing stands against it"), Exit::Failed),
        many => (format!("{count}, and {many} things stand against it"), Exit::Failed),
    };
    console.say(format_args!("{}: {verdict}", file.display()))?;
    Ok(exit)
}

async fn survey_all(settings: &Settings) -> Surveys {
    let looks = settings.brokers.iter().map(async |broker| {
        let queues: BTreeSet<String> = settings
            .programs
            .iter()
            .filter_map(|program| program.scale().filter(|scale| scale.broker == broker.name))
            .flat_map(|scale| scale.read().map(str::to_owned))
            .collect();
        (broker.name.clone(), survey(broker, &queues).await)
    });
    join_all(looks).await.into_iter().collect()
}

/// What there is to say beside AMQP.
fn beside(survey: &Survey) -> String {
    let metrics = if survey.metrics == Some(Ok(())) { ", and its metrics" } else { "" };
    match &survey.kinds {
        Some(Ok(kinds)) => match &kinds.version {
            Some(version) => format!(", and its management API (RabbitMQ {version})"),
            None => ", and its management API".to_owned(),
        },
        Some(Err(_)) => String::new(),
        None => format!(
            "{metrics}; without `management` nothing is known of kinds of queues, prefetch and consumers"
        ),
    }
}
