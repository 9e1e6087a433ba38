//! The configuration that would run what was seen, with what is to be said of it as comments. Values only.

use std::collections::BTreeMap;
use std::time::Duration;

use super::arguments::VARIABLE;
use super::process::Runner;
use super::programs::Program;
use super::recording::{Called, Recording};
use super::verdict::{Circumstances, Verdict};
use super::yaml::{command, comment, quoted, text};
use crate::amqp::management::census::QueueName;
use crate::config::encode_in_address;
use crate::core::spec::ManagementSpec;
use crate::core::time::human;
use crate::core::words::{count, counted, processes};
use crate::scaling::profile::Profile;

/// How many of a list are named.
const NAMED_MAX: usize = 3;
/// The most processes of a program. Source: the schema of the configuration.
const PROCESSES_MOST: u32 = 1_000;
/// The most messages that a process works on, and takes. Source: the schema of the configuration.
const CONCURRENCY_MOST: u32 = 1_000;
const PREFETCH_MOST: u64 = 65_535;
/// The login of a new RabbitMQ, which is no secret.
const GUEST: &str = "guest";

/// Everything that the result is made of.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) management: &'a ManagementSpec,
    pub(super) recording: &'a Recording,
    pub(super) programs: &'a [(Program, Verdict)],
    pub(super) circumstances: Circumstances,
    pub(super) lasted: Duration,
}

/// The brokers of a configuration: the name, by virtual host.
type Brokers<'a> = BTreeMap<&'a str, String>;

/// The file.
pub(super) fn document(result: &Outcome<'_>) -> String {
    let Outcome { recording, programs, .. } = result;
    let brokers = brokers(programs);
    let mut file = head(result);
    file.push_str("brokers:\n");
    // The first one is that of the most processes.
    for (vhost, name) in &brokers {
        file.push_str(&broker(name, vhost, recording.called.get(*vhost), result.management));
    }
    if brokers.is_empty() {
        file.truncate(file.len() - "brokers:\n".len());
    }
    file.push_str("programs:\n");
    for (program, verdict) in *programs {
        let others = sharing(program, programs);
        file.push_str(&entry(result, program, verdict, &others, &brokers));
    }
    file
}

/// What is to be known before it is used.
fn head(result: &Outcome<'_>) -> String {
    let Outcome { management, recording, programs, lasted, .. } = result;
    let version =
        recording.version.as_ref().map_or_else(String::new, |version| format!(" (RabbitMQ {version})"));
    let all: u32 = programs.iter().map(|(program, _)| program.processes).sum();
    let mut head = comment(
        0,
        &format!(
            "Written by `leveret observe`: {} of this machine, which took messages from {} of the broker at {}{version}, seen for {}.",
            processes(all),
            count(recording.names().len(), "queue"),
            management.address,
            human(Duration::from_secs(lasted.as_secs())),
        ),
    );
    head.push_str(&comment(
        0,
        "Variables of the environment are not copied, because some are secret: add those that the programs need under \
         `environment` or in an `env_file`. Then `leveret check --live FILE`; and before `leveret run -c FILE`, stop what runs \
         these processes now.",
    ));
    if recording.unseen > 0 {
        let consumers = counted(recording.unseen.into(), "consumer is", "consumers are");
        head.push_str(&comment(
            0,
            &format!(
                "{consumers} of other users of this machine and missing here: run `leveret observe` as root."
            ),
        ));
    }
    if !recording.proxies.is_empty() {
        let names: Vec<&str> = recording.proxies.iter().map(String::as_str).collect();
        head.push_str(&comment(
            0,
            &format!(
                "Whoever consumes through {} is missing here, since it hides them.",
                names.join(" and ")
            ),
        ));
    }
    head
}

/// A name for each virtual host: `default` for that of the most processes.
fn brokers(programs: &[(Program, Verdict)]) -> Brokers<'_> {
    let mut sizes: BTreeMap<&str, u32> = BTreeMap::new();
    for (program, _) in programs {
        if let Some(vhost) = program.vhost() {
            *sizes.entry(vhost).or_default() += program.processes;
        }
    }
    let mut vhosts: Vec<(&str, u32)> = sizes.into_iter().collect();
    vhosts.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let name =
        |number: usize| if number == 0 { "default".to_owned() } else { format!("broker{}", number + 1) };
    vhosts.into_iter().enumerate().map(|(number, (vhost, _))| (vhost, name(number))).collect()
}

fn broker(name: &str, vhost: &str, called: Option<&Called>, management: &ManagementSpec) -> String {
    let variable =
        if name == "default" { "AMQP_URL".to_owned() } else { format!("AMQP_URL_{}", name.to_uppercase()) };
    let endpoint = called.and_then(|called| called.endpoint.as_deref()).and_then(host_and_port);
    let scheme = if called.is_some_and(|called| called.is_encrypted) { "amqps" } else { "amqp" };
    let user = called.and_then(|called| called.user.as_deref());
    let path = encode_in_address(vhost);
    let (url, said) = match (&endpoint, user) {
        (Some(endpoint), Some(GUEST)) => {
            (format!("${{{variable}:-{scheme}://{GUEST}:{GUEST}@{endpoint}/{path}}}"), String::new())
        }
        (endpoint, user) => {
            let user = user.map_or_else(|| "USER".to_owned(), encode_in_address);
            let endpoint = endpoint.as_deref().unwrap_or("HOST:5672");
            let said = format!(
                "Set {variable}={scheme}://{user}:PASSWORD@{endpoint}/{path} in Leveret's environment."
            );
            (format!("${{{variable}}}"), comment(2, &said))
        }
    };
    // Where nothing is written, scaling goes by what AMQP tells.
    let usual = match (management.user.as_str(), management.password.reveal()) {
        (GUEST, GUEST) => management.address.replacen("://", &format!("://{GUEST}:{GUEST}@"), 1),
        _ => String::new(),
    };
    let management = format!("${{{VARIABLE}:-{usual}}}");
    format!("{said}  {name}: {{url: {}, management: {}}}\n", quoted(&url), quoted(&management))
}

/// As an address takes it. The configuration takes no IPv6 addresses.
fn host_and_port(endpoint: &str) -> Option<String> {
    let (host, port) = endpoint.rsplit_once(':')?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    port.parse::<u16>().ok().filter(|_| host.chars().all(is_plain))?;
    match host.trim_matches(['[', ']']) {
        "::1" => Some(format!("localhost:{port}")),
        host if host.is_empty() || host.contains(':') => None,
        _ => Some(endpoint.to_owned()),
    }
}

/// Programs beside this one that take from one of its queues.
fn sharing<'a>(program: &Program, programs: &'a [(Program, Verdict)]) -> Vec<&'a str> {
    let shares = |other: &Program| {
        other.name != program.name && other.queues.iter().any(|name| program.queues.contains(name))
    };
    programs.iter().filter(|(other, _)| shares(other)).map(|(other, _)| other.name.as_str()).collect()
}

fn entry(
    result: &Outcome<'_>,
    program: &Program,
    verdict: &Verdict,
    others: &[&str],
    brokers: &Brokers<'_>,
) -> String {
    let mut sentences = vec![who(program)];
    sentences.extend(doubts(result.recording, program, others));
    let wait = result.circumstances.wait;
    match verdict {
        Verdict::Compared(compared) => {
            sentences.push(compared.seen());
            sentences.extend(compared.sentences(&program.name, wait));
        }
        Verdict::Unsure(why) => sentences.push(format!(
            "Not compared: {why}. With `mode: dry-run` as many run as now, and `leveret explain {}` says how many it would be.",
            program.name
        )),
        Verdict::NotScaled(why) => sentences.push(format!("Not scaled: {why}.")),
    }
    let mut entry: String = sentences.iter().map(|sentence| comment(2, sentence)).collect();
    entry.push_str(&format!("  {}:\n    command: {}\n", text(&program.name), command(&program.shown.words)));
    let launch = &program.launch;
    for (key, value) in [("directory", &launch.directory), ("user", &launch.user), ("group", &launch.group)] {
        if let Some(value) = value {
            entry.push_str(&format!("    {key}: {}\n", text(value)));
        }
    }
    entry.push_str(&format!("    {}\n", number(program, verdict, wait, brokers, result.recording)));
    entry
}

/// Who they are.
fn who(program: &Program) -> String {
    let runners = runners(program);
    let by = if runners.is_empty() { String::new() } else { format!(", run by {}", runners.join(" and ")) };
    let pids: Vec<String> = program.pids.iter().map(i32::to_string).collect();
    let word = if pids.len() == 1 { "pid" } else { "pids" };
    format!("{}{by}; {word} {}.", processes(program.processes), some(&pids))
}

/// Who runs them, each with what it calls them.
fn runners(program: &Program) -> Vec<String> {
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for runner in &program.runners {
        let (who, name) = match runner {
            Runner::Leveret(name) => ("a Leveret already", Some(name)),
            Runner::Supervisord(name) => ("supervisord", Some(name)),
            Runner::Systemd(unit) => ("systemd", Some(unit)),
            Runner::Container => ("a container's own manager", None),
            Runner::Parent(name) => (name.as_str(), None),
            Runner::Unknown => continue,
        };
        names.entry(who).or_default().extend(name.cloned());
    }
    let told = |(who, names): (&str, Vec<String>)| match names.as_slice() {
        [] => who.to_owned(),
        names => format!("{who} as {}", some(names)),
    };
    names.into_iter().map(told).collect()
}

/// The first of a list, and how many more there are.
fn some(items: &[String]) -> String {
    let more = items.len().saturating_sub(NAMED_MAX);
    let named = items.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// What somebody has to look at.
fn doubts(recording: &Recording, program: &Program, others: &[&str]) -> Vec<String> {
    let mut doubts = Vec::new();
    if program.launch.is_changed {
        doubts.push(
            "This is the title that it shows, or it is not all text: write the command that starts it."
                .to_owned(),
        );
    }
    if program.launch.directory.is_none() || program.launch.user.is_none() {
        doubts.push("Its directory or user may not be seen: run `leveret observe` as root.".to_owned());
    }
    if !program.shown.variables.is_empty() {
        doubts.push(format!(
            "Something on its command line looked like a secret and was left out: set {} in Leveret's environment.",
            program.shown.variables.join(", ")
        ));
    }
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(|other| (*other).to_owned()).collect();
        doubts.push(format!(
            "{} on the same queue: what is said of its load is said of all together; make them one program where they are alike.",
            some(&others)
        ));
    }
    let of = |name: &QueueName| recording.queues.get(name);
    let records: Vec<_> = program.queues.iter().filter_map(of).collect();
    if records.iter().any(|record| record.is_unlimited) {
        doubts.push(
            "Its consumers take messages without a limit (prefetch 0), so that they wait within one process where no other can \
             help: set a prefetch of 1, or a few."
                .to_owned(),
        );
    }
    if records.iter().any(|record| record.is_polled) {
        doubts.push(
            "It takes messages one by one (basic.get), and no broker tells from which queue: this is the one that its command \
             names, or the only one that anybody polls."
                .to_owned(),
        );
    }
    let elsewhere = records.iter().map(|record| record.last().elsewhere).max();
    if let Some(consumers) = elsewhere.filter(|consumers| *consumers > 0) {
        let addresses: Vec<String> =
            records.iter().flat_map(|record| &record.elsewhere).map(ToString::to_string).collect();
        let from = if addresses.is_empty() { String::new() } else { format!(" ({})", some(&addresses)) };
        doubts.push(format!(
            "{} of its queue {} elsewhere{from}: where Leveret is to run them too, each server has `share: {{part: 1, of: 2}}` \
             under `scale`, with its own part.",
            counted(consumers.into(), "consumer", "consumers"),
            if consumers == 1 { "is" } else { "are" },
        ));
    }
    doubts
}

/// How many there are to be.
fn number(
    program: &Program,
    verdict: &Verdict,
    wait: Duration,
    brokers: &Brokers<'_>,
    recording: &Recording,
) -> String {
    let now = program.processes.min(PROCESSES_MOST);
    let (min, max, more) = match verdict {
        Verdict::NotScaled(_) => return format!("processes: {now}"),
        Verdict::Unsure(_) => (now, (2 * now).min(PROCESSES_MOST), ", mode: dry-run".to_owned()),
        Verdict::Compared(compared) => (compared.min, compared.max, profile_key(compared.profile)),
    };
    let wait = human(wait).replace(' ', "");
    let queues = match program.queues.as_slice() {
        [only] => format!("queue: {}, wait: {wait}", text(&only.queue)),
        several => {
            let one = |name: &QueueName| format!("{{name: {}, wait: {wait}}}", text(&name.queue));
            format!("queues: [{}]", several.iter().map(one).collect::<Vec<_>>().join(", "))
        }
    };
    let broker = match program.vhost().and_then(|vhost| brokers.get(vhost)) {
        Some(name) if brokers.len() > 1 => format!(", broker: {name}"),
        Some(_) | None => String::new(),
    };
    let hands = hands(program, recording);
    format!("scale: {{{queues}, min: {min}, max: {max}{hands}{more}{broker}}}")
}

/// How many messages a process works on and takes ahead, where that is not one and none.
fn hands(program: &Program, recording: &Recording) -> String {
    let [only] = program.queues.as_slice() else { return String::new() };
    let Some(record) = recording.queues.get(only) else { return String::new() };
    let concurrency = program.consumers_each.min(CONCURRENCY_MOST);
    let places = if concurrency > 1 { format!(", concurrency: {concurrency}") } else { String::new() };
    let all = |each: u64| each.saturating_mul(concurrency.into()).min(PREFETCH_MOST);
    match record.prefetch.map(all) {
        _ if record.is_unlimited => format!("{places}, prefetch: 0"),
        Some(prefetch) if prefetch > u64::from(concurrency) => format!("{places}, prefetch: {prefetch}"),
        Some(_) | None => places,
    }
}

fn profile_key(profile: Profile) -> String {
    match profile {
        Profile::Balanced => String::new(),
        Profile::Economy | Profile::Latency | Profile::Calm => format!(", profile: {}", profile.as_str()),
    }
}
