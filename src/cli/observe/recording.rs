//! What was seen while observing: who took messages at each look, and how the queues stood at each question. Values only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::process::{Identity, LocalProcess};
use crate::amqp::fact::{Counters, NoFlow, Trap};
use crate::amqp::management::census::{Found, QueueName, Standing, Taker, Takes};

/// Programs that pass connections on, so that who is behind them is not known.
const PROXIES: [&str; 9] =
    ["haproxy", "nginx", "envoy", "stunnel", "stunnel4", "ssh", "sshd", "docker-proxy", "traefik"];

/// Where the other end of a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A process of this machine.
    Here(Identity),
    /// This machine, and nobody that may be looked at.
    Unseen,
    /// Another machine, a container, or something in between.
    Elsewhere,
}

/// How a queue stood at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Milliseconds after the begin.
    pub(super) at_ms: u64,
    pub(super) ready: u64,
    pub(super) unacknowledged: u64,
    pub(super) flow: Result<Counters, NoFlow>,
}

/// Who took messages from a queue at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Consumers {
    /// Of processes of this machine.
    pub(super) here: u32,
    /// Of others, and of those that may not be looked at.
    pub(super) elsewhere: u32,
}

impl Consumers {
    /// All of them.
    pub(super) fn all(self) -> u32 {
        self.here + self.elsewhere
    }
}

/// Everything about a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct QueueRecord {
    pub(super) samples: Vec<Sample>,
    /// One for each look since somebody here was seen at it, with when that was in milliseconds after the begin.
    pub(super) consumers: Vec<(u64, Consumers)>,
    /// From where others take.
    pub(super) elsewhere: BTreeSet<IpAddr>,
    /// The largest number of messages that a consumer takes ahead; 0 is without a limit.
    pub(super) prefetch: Option<u64>,
    /// Whether a consumer takes them without a limit.
    pub(super) is_unlimited: bool,
    /// Whether somebody takes them one by one.
    pub(super) is_polled: bool,
    pub(super) trap: Option<Trap>,
}

/// A process of this machine that takes messages.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) process: LocalProcess,
    /// From where, as far as that is known.
    pub(super) queues: BTreeSet<QueueName>,
    /// The virtual hosts in which it polls queues that nobody names.
    pub(super) polls: BTreeSet<String>,
    /// The most consumers that it had at one queue.
    pub(super) consumers: u32,
    /// The looks at which it was there.
    pub(super) looks: BTreeSet<u32>,
}

/// How the broker of a virtual host is called by those that were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) endpoint: Option<String>,
    pub(super) user: Option<String>,
    pub(super) is_encrypted: bool,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Recording {
    pub(super) version: Option<String>,
    pub(super) processes: BTreeMap<Identity, Seen>,
    pub(super) queues: BTreeMap<QueueName, QueueRecord>,
    pub(super) called: BTreeMap<String, Called>,
    /// Proxies of this machine, by name.
    pub(super) proxies: BTreeSet<String>,
    /// Takers of this machine that may not be looked at, at the last look.
    pub(super) unseen: u32,
    /// Takers elsewhere at the last look, by where from.
    pub(super) elsewhere: BTreeMap<Option<IpAddr>, u32>,
    looks: u32,
}

impl Recording {
    /// Takes what a look found, so many milliseconds after the begin. `place` says where the other end of a connection is, `process` what is known of a process that
    /// was not seen before.
    pub(super) fn note_look(
        &mut self,
        at_ms: u64,
        found: &Found,
        place: impl Fn(SocketAddr) -> Place,
        process: impl Fn(Identity) -> Option<LocalProcess>,
    ) {
        self.looks += 1;
        self.version.clone_from(&found.version);
        (self.unseen, self.elsewhere) = (0, BTreeMap::new());
        let mut consumers: BTreeMap<QueueName, Consumers> = BTreeMap::new();
        let mut held: BTreeMap<(Identity, QueueName), u32> = BTreeMap::new();
        for taker in &found.takers {
            let identity = match taker.peer.map_or(Place::Elsewhere, &place) {
                Place::Here(identity) => self.is_ours(identity, &process).then_some(identity),
                Place::Unseen => {
                    self.unseen += 1;
                    None
                }
                Place::Elsewhere => {
                    *self.elsewhere.entry(taker.peer.map(|peer| peer.ip())).or_default() += 1;
                    None
                }
            };
            let Some(identity) = identity else {
                if let Some(name) = consumed(taker) {
                    consumers.entry(name.clone()).or_default().elsewhere += 1;
                    let record = self.queues.entry(name).or_default();
                    record.elsewhere.extend(taker.peer.map(|peer| peer.ip()));
                    record.note_taking(&taker.takes);
                }
                continue;
            };
            for name in self.note_taker(identity, taker, &found.polled) {
                consumers.entry(name.clone()).or_default().here += 1;
                *held.entry((identity, name)).or_default() += 1;
            }
        }
        for ((identity, _), count) in held {
            if let Some(seen) = self.processes.get_mut(&identity) {
                seen.consumers = seen.consumers.max(count);
            }
        }
        let ours: BTreeSet<QueueName> = self.names();
        self.queues.retain(|name, _| ours.contains(name));
        for (name, record) in &mut self.queues {
            record.consumers.push((at_ms, consumers.get(name).copied().unwrap_or_default()));
        }
    }

    /// Takes how the queues stood, so many milliseconds after the begin.
    pub(super) fn note_standings(&mut self, at_ms: u64, standings: &BTreeMap<QueueName, Standing>) {
        for (name, standing) in standings {
            let Some(record) = self.queues.get_mut(name) else { continue };
            record.trap = standing.trap;
            let Some(figures) = standing.figures else { continue };
            let (ready, unacknowledged) = (figures.ready, figures.unacknowledged);
            record.samples.push(Sample { at_ms, ready, unacknowledged, flow: figures.flow });
        }
    }

    /// The queues that processes of this machine take from.
    pub(super) fn names(&self) -> BTreeSet<QueueName> {
        self.processes.values().flat_map(|seen| seen.queues.iter().cloned()).collect()
    }

    /// Processes that were there at the last look.
    pub(super) fn living(&self) -> usize {
        self.processes.values().filter(|seen| seen.looks.contains(&self.looks)).count()
    }

    /// The most of some processes that were there at one time.
    pub(super) fn most_at_once<'a>(&self, processes: impl Iterator<Item = &'a Seen>) -> u32 {
        let mut by_look: BTreeMap<u32, u32> = BTreeMap::new();
        for look in processes.flat_map(|seen| &seen.looks) {
            *by_look.entry(*look).or_default() += 1;
        }
        by_look.into_values().max().unwrap_or(0)
    }

    /// Whether a process consumes for itself. One that is gone by now, or that passes connections on, does not.
    fn is_ours(&mut self, identity: Identity, process: impl Fn(Identity) -> Option<LocalProcess>) -> bool {
        if self.processes.contains_key(&identity) {
            return true;
        }
        let Some(process) = process(identity) else { return false };
        // Of a title that was written over the command, as nginx does, the first word tells.
        let name = process.launch.words.first().and_then(|word| word.split(' ').next()).unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or(name).trim_end_matches(':');
        if PROXIES.contains(&name) {
            self.proxies.insert(name.to_owned());
            return false;
        }
        let seen = Seen {
            process,
            queues: BTreeSet::new(),
            polls: BTreeSet::new(),
            consumers: 1,
            looks: BTreeSet::new(),
        };
        self.processes.insert(identity, seen);
        true
    }

    /// Notes from where a process of this machine takes, and gives the queues.
    fn note_taker(
        &mut self,
        identity: Identity,
        taker: &Taker,
        polled: &BTreeSet<QueueName>,
    ) -> Vec<QueueName> {
        let Some(seen) = self.processes.get_mut(&identity) else { return Vec::new() };
        seen.looks.insert(self.looks);
        let called = Called {
            endpoint: taker.endpoint.clone(),
            user: taker.user.clone(),
            is_encrypted: taker.is_encrypted,
        };
        self.called.entry(taker.vhost.clone()).or_insert(called);
        let names = match consumed(taker) {
            Some(name) => vec![name],
            None => {
                let of_vhost = polled.iter().filter(|name| name.vhost == taker.vhost);
                let likely = likely(&seen.process.launch.words, of_vhost.collect());
                if likely.is_empty() {
                    seen.polls.insert(taker.vhost.clone());
                }
                likely
            }
        };
        seen.queues.extend(names.iter().cloned());
        if !names.is_empty() {
            seen.polls.remove(&taker.vhost);
        }
        for name in &names {
            self.queues.entry(name.clone()).or_default().note_taking(&taker.takes);
        }
        names
    }
}

impl QueueRecord {
    /// Who took from it at the last look.
    pub(super) fn last(&self) -> Consumers {
        self.consumers.last().map_or_else(Consumers::default, |(_, last)| *last)
    }

    /// Consumers in the mean over time; looks come at uneven distances.
    pub(super) fn mean_consumers(&self) -> f64 {
        let (mut sum, mut lasted) = (0.0, 0.0);
        for pair in self.consumers.windows(2) {
            let [(from_ms, before), (to_ms, after)] = pair else { continue };
            let distance = to_ms.saturating_sub(*from_ms) as f64;
            sum += f64::from(before.all() + after.all()) / 2.0 * distance;
            lasted += distance;
        }
        if lasted > 0.0 { sum / lasted } else { f64::from(self.last().all()) }
    }

    fn note_taking(&mut self, takes: &Takes) {
        match takes {
            Takes::Consumes { prefetch, .. } => {
                self.is_unlimited |= *prefetch == Some(0);
                self.prefetch = self.prefetch.max(*prefetch);
            }
            Takes::Polls => self.is_polled = true,
        }
    }
}

fn consumed(taker: &Taker) -> Option<QueueName> {
    match &taker.takes {
        Takes::Consumes { queue, .. } => Some(QueueName { vhost: taker.vhost.clone(), queue: queue.clone() }),
        Takes::Polls => None,
    }
}

/// Which queues a process polls: the only one that anybody polls, or those that its command names.
fn likely(words: &[String], polled: Vec<&QueueName>) -> Vec<QueueName> {
    if let [only] = polled[..] {
        return vec![only.clone()];
    }
    let is_named = |queue: &str| {
        let apart = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        words.iter().any(|word| word == queue || word.split(apart).any(|part| part == queue))
    };
    polled.into_iter().filter(|name| is_named(&name.queue)).cloned().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::observe::process::{Launch, Runner};

    pub(in crate::cli::observe) fn name(queue: &str) -> QueueName {
        QueueName { vhost: "/".to_owned(), queue: queue.to_owned() }
    }

    pub(in crate::cli::observe) fn taker(port: u16, takes: Takes) -> Taker {
        Taker {
            peer: Some(SocketAddr::from(([127, 0, 0, 1], port))),
            vhost: "/".to_owned(),
            user: Some("guest".to_owned()),
            endpoint: Some("127.0.0.1:5672".to_owned()),
            is_encrypted: false,
            takes,
        }
    }

    pub(in crate::cli::observe) fn consumes(queue: &str) -> Takes {
        Takes::Consumes { queue: queue.to_owned(), prefetch: Some(1), acknowledges: true }
    }

    pub(in crate::cli::observe) fn launched(command: &str) -> LocalProcess {
        let launch = Launch {
            words: command.split(' ').map(str::to_owned).collect(),
            directory: Some("/srv/shop".to_owned()),
            user: Some("www-data".to_owned()),
            ..Launch::default()
        };
        LocalProcess { launch, runner: Runner::Unknown }
    }

    /// The number of a process is that of its port.
    pub(in crate::cli::observe) fn place(peer: SocketAddr) -> Place {
        match peer.port() {
            0..100 => Place::Unseen,
            100..200 => Place::Elsewhere,
            port => Place::Here(Identity { pid: i32::from(port), start_ticks: 1 }),
        }
    }

    fn looked(takers: Vec<Taker>, polled: &[&str], command: fn(i32) -> &'static str) -> Recording {
        let polled = polled.iter().map(|queue| name(queue)).collect();
        let found = Found { version: None, takers, polled };
        let mut recording = Recording::default();
        recording.note_look(0, &found, place, |identity| Some(launched(command(identity.pid))));
        recording
    }

    #[test]
    fn takers_are_told_apart_by_where_they_are() {
        let takers = vec![
            taker(1_000, consumes("orders")),
            taker(1_000, consumes("orders")),
            taker(1_001, consumes("orders")),
            taker(1, consumes("orders")),
            taker(100, consumes("orders")),
            taker(101, consumes("foreign")),
            taker(2_000, consumes("proxied")),
            taker(2_001, consumes("proxied")),
        ];
        let command = |pid| match pid {
            2_000 => "/usr/sbin/haproxy -f x",
            2_001 => "nginx: worker process",
            _ => "php work.php",
        };
        let recording = looked(takers, &[], command);
        assert_eq!(recording.names(), [name("orders")].into());
        assert_eq!(recording.queues.keys().collect::<Vec<_>>(), [&name("orders")]);
        let record = &recording.queues[&name("orders")];
        assert_eq!(record.consumers, [(0, Consumers { here: 3, elsewhere: 2 })]);
        assert_eq!(record.mean_consumers(), 5.0);
        assert_eq!((recording.unseen, recording.living()), (1, 2));
        assert_eq!(recording.elsewhere.values().sum::<u32>(), 2);
        assert_eq!(recording.processes.values().map(|seen| seen.consumers).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(recording.proxies, ["haproxy", "nginx"].map(str::to_owned).into());
    }

    #[test]
    fn a_polling_worker_has_the_queue_that_its_command_names_or_the_only_one() {
        let polls = || vec![taker(1_000, Takes::Polls)];
        let named =
            looked(polls(), &["orders", "mails", "or"], |_| "php artisan queue:work --queue=mails,or");
        assert_eq!(named.names(), [name("mails"), name("or")].into());
        assert!(named.queues[&name("or")].is_polled);
        let only = looked(polls(), &["orders"], |_| "php worker.php");
        assert_eq!(only.names(), [name("orders")].into());
        let unknown = looked(polls(), &["orders", "mails"], |_| "php worker.php");
        assert_eq!(unknown.names(), BTreeSet::new());
        assert!(unknown.processes.values().all(|seen| seen.polls.contains("/")));
    }

    #[test]
    fn consumers_are_weighed_by_the_time_between_looks() {
        let at = |at_ms, here| (at_ms, Consumers { here, elsewhere: 0 });
        let consumers = vec![at(0, 2), at(1_000, 4), at(31_000, 4)];
        let record = QueueRecord { consumers, ..QueueRecord::default() };
        assert_eq!(record.mean_consumers(), (3.0 + 120.0) / 31.0);
        assert_eq!(QueueRecord::default().mean_consumers(), 0.0);
    }

    #[test]
    fn a_process_that_was_replaced_by_another_is_counted_once_at_a_time() {
        let mut recording = Recording::default();
        for ports in [[1_000, 1_001], [1_001, 1_002], [1_002, 1_003]] {
            let takers = ports.map(|port| taker(port, consumes("orders"))).to_vec();
            let found = Found { takers, ..Found::default() };
            recording.note_look(0, &found, place, |_| Some(launched("php work.php")));
        }
        assert_eq!(recording.processes.len(), 4);
        assert_eq!(recording.most_at_once(recording.processes.values()), 2);
        assert_eq!(recording.living(), 2);
    }
}
