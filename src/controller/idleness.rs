//! Which of our processes hold messages: from the channels that a broker tells of to the processes behind them, by the
//! sockets that these have open. `/proc` is read on a thread of its own, never by the loop.
//!
//! A channel whose connection comes from this machine is found by its port. Where something stands between, a proxy or
//! another network namespace, the name of the connection tells, if its client put `LEVERET_PROCESS` into it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use super::control::Control;
use crate::amqp::fact::{Channel, ManagementState};
use crate::amqp::management::Names;
use crate::core::event::Fact;
use crate::core::ids::{Incarnation, ProcessId, ProgramName, processes_in};
use crate::core::readiness::Work;
use crate::core::time::Time;
use crate::core::world::Program;
use crate::scaling::hands::Hands;
use crate::sys::clock;
use crate::sys::sockets::{self, Inode};

/// How long what a broker told of channels counts, where it tells no more.
const FRESH: Duration = Duration::from_secs(16);

/// How often at most it is found out whether a broker is to be asked.
const CONSIDERED: Duration = Duration::from_secs(2);

/// After so many answers without any of our processes in them, none is waited for.
const FRUITLESS_MOST: u32 = 3;

/// What is to be known of consumers without a prefetch.
const UNLIMITED: &str = "its consumers take messages without a limit (prefetch 0), so messages wait within one process where \
                         no other can help: set a prefetch of 1, or a few";

/// What is to be known where no channel is found to be one of ours.
const UNSEEN: &str = "the management API shows no channels of these processes, so who is idle is not known: its user needs \
                      the tag monitoring, and behind a proxy the name of a connection has to contain LEVERET_PROCESS";

/// A process that may hold messages.
#[derive(Clone, Debug)]
struct Consumer {
    incarnation: Incarnation,
    process: ProcessId,
    pid: i32,
}

/// What is known of the work of processes, by broker.
#[derive(Debug, Default)]
pub(crate) struct Idleness {
    running: Option<JoinHandle<Found>>,
    /// Channels that came while others were looked at: the newest of each broker.
    waiting: BTreeMap<String, (Vec<Channel>, Time)>,
    known: BTreeMap<String, Known>,
    /// When it was last found out whether a broker is to be asked.
    considered: BTreeMap<String, Time>,
}

/// What one broker told last.
#[derive(Debug)]
struct Known {
    at: Time,
    /// Whether messages were held, by life.
    held: BTreeMap<Incarnation, bool>,
    /// How often in a row it told of nobody who was looked for.
    fruitless: u32,
    /// How those take messages who have consumers.
    taken: BTreeMap<Incarnation, Hands>,
}

/// What was found out of the channels of one broker.
#[derive(Debug)]
pub(super) struct Found {
    broker: String,
    at: Time,
    held: BTreeMap<Incarnation, bool>,
    /// All that were looked for.
    consumers: Vec<Incarnation>,
    /// How those take messages who have consumers.
    taken: BTreeMap<Incarnation, Hands>,
    /// Whether names of connections may tell more than ports.
    needs_names: bool,
}

impl Known {
    /// How the processes of a program take messages.
    fn of(&self, program: &Program) -> impl Iterator<Item = Hands> {
        let lives = program.slots.values().filter_map(|slot| slot.phase.life());
        lives.filter_map(|life| self.taken.get(&life.incarnation).copied())
    }
}

impl Idleness {
    /// Waits until channels have been looked at, for ever if none are being. Nothing is lost when it is dropped before its
    /// end.
    pub(super) async fn found(&mut self) -> Found {
        let Some(task) = &mut self.running else { return pending().await };
        let joined = task.await;
        self.running = None;
        joined.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    /// When what a broker told ceases to count.
    pub(super) fn due(&self) -> Option<Time> {
        self.known.values().map(|known| known.at + FRESH).min()
    }

    /// What each life's channels say now. `None` where it has none that are known.
    fn take_over(&mut self, found: &Found) -> Vec<(Incarnation, Option<Work>)> {
        let (held, taken) = (found.held.clone(), found.taken.clone());
        let fruitless = match self.known.get(&found.broker) {
            _ if !held.is_empty() => 0,
            before => before.map_or(0, |before| before.fruitless) + 1,
        };
        let before = self.known.insert(found.broker.clone(), Known { at: found.at, held, fruitless, taken });
        let was_idle = |incarnation: &Incarnation| {
            before.as_ref().and_then(|before| before.held.get(incarnation)) == Some(&false)
        };
        let work = |incarnation: &Incarnation| match found.held.get(incarnation)? {
            true => Some(Work::Busy),
            false if was_idle(incarnation) => Some(Work::Idle),
            false => Some(Work::Unclear),
        };
        found.consumers.iter().map(|incarnation| (*incarnation, work(incarnation))).collect()
    }

    /// What a person should know of what a broker tells of the channels of a program, one sentence each.
    pub(super) fn remarks(&self, broker: &str, program: &Program) -> Vec<String> {
        let Some(known) = self.known.get(broker) else { return Vec::new() };
        let is_unlimited = known.of(program).any(|hands| hands.prefetch == 0);
        let unlimited = is_unlimited.then(|| UNLIMITED.to_owned());
        unlimited.into_iter().chain((!self.is_of_use(broker)).then(|| UNSEEN.to_owned())).collect()
    }

    /// How the processes of a program take messages, as its broker told last: those that take most, where they differ.
    fn hands(&self, broker: &str, program: &Program) -> Option<Hands> {
        let known = self.known.get(broker)?;
        let is_one_queue = program.spec.scale().is_some_and(|scale| scale.more.is_empty());
        let more = |one: Hands, other: Hands| Hands {
            concurrency: one.concurrency.max(other.concurrency),
            prefetch: if one.prefetch.min(other.prefetch) == 0 {
                0
            } else {
                one.prefetch.max(other.prefetch)
            },
        };
        let told = known.of(program).reduce(more)?;
        // Which consumer of a process is for which of several queues is not told.
        let is_known = is_one_queue || told.prefetch == 0;
        let concurrency = if is_one_queue { told.concurrency } else { 1 };
        Some(if is_known { Hands { concurrency, ..told } } else { Hands::default() })
    }

    /// Whether what a broker tells is of use.
    fn is_of_use(&self, broker: &str) -> bool {
        self.known.get(broker).is_none_or(|known| known.fruitless < FRUITLESS_MOST)
    }

    /// Those of whom nothing has been told for too long, by broker.
    fn forget(&mut self, now: Time) -> Vec<(String, Vec<Incarnation>)> {
        let gone = |known: &Known| known.at + FRESH <= now;
        let lives =
            |(broker, known): (&String, &Known)| (broker.clone(), known.held.keys().copied().collect());
        let forgotten = self.known.iter().filter(|(_, known)| gone(known)).map(lives).collect();
        self.known.retain(|_, known| !gone(known));
        forgotten
    }
}

impl Control {
    /// A broker has told of queues: whether it is to tell of channels as well. With one process there is no choice who ends.
    pub(super) fn ask_for_channels(&mut self, broker: &str) {
        let now = clock::now();
        // It tells of a thousand queues at one moment.
        if self.idleness.considered.get(broker).is_some_and(|at| now.since(*at) < CONSIDERED) {
            return;
        }
        self.idleness.considered.insert(broker.to_owned(), now);
        let programs = self.machine.world().programs.values();
        let is_choice = programs
            .filter(|program| reads(program, broker))
            .any(|program| program.slots.values().filter(|slot| slot.phase.main().is_some()).count() > 1);
        self.brokers.ask_for_channels(broker, is_choice);
    }

    /// A broker has told of its channels.
    pub(super) fn channels_were_told(&mut self, broker: String, channels: Vec<Channel>, at: Time) {
        self.idleness.waiting.insert(broker, (channels, at));
        self.look_for_channels();
    }

    fn look_for_channels(&mut self) {
        if self.idleness.running.is_some() {
            return;
        }
        let Some((broker, (channels, at))) = self.idleness.waiting.pop_first() else { return };
        let programs = self.machine.world().programs.values().filter(|program| reads(program, &broker));
        let consumers: Vec<Consumer> = programs.flat_map(consumers_of).collect();
        self.idleness.running = Some(spawn_blocking(move || look(broker, &channels, &consumers, at)));
    }

    /// It was found out whose channels they are.
    pub(super) fn channels_were_found(&mut self, found: &Found) {
        let read = self.idleness.take_over(found);
        let names = if found.needs_names { Names::Asked } else { Names::NotAsked };
        self.brokers.ask_for_names(&found.broker, names);
        self.ask_for_channels(&found.broker);
        // The next controller asks again, so that there is nothing to write down.
        let (broker, tells) = (found.broker.clone(), self.idleness.is_of_use(&found.broker));
        let programs = self.machine.world().programs.values().filter(|program| reads(program, &broker));
        let told: Vec<(ProgramName, Hands)> = programs
            .filter_map(|program| {
                let hands = self.idleness.hands(&broker, program)?;
                let before = program.scaler.as_ref().and_then(|scaler| scaler.hands_told);
                (before != Some(hands)).then(|| (program.spec.name.clone(), hands))
            })
            .collect();
        for (program, hands) in told {
            self.machine.observe(Fact::Takes { program, hands });
        }
        self.machine.observe(Fact::TellsWork { broker: broker.clone(), tells });
        self.machine.observe(Fact::AtWork { broker, read, at: found.at });
        self.look_for_channels();
    }

    /// The state of a broker's management API changed: whether word of channels is worth waiting for.
    pub(super) fn management_changed(&mut self, broker: &str, state: &ManagementState) {
        let tells = match state {
            ManagementState::Answers => self.idleness.is_of_use(broker),
            ManagementState::Connecting | ManagementState::Limited(_) | ManagementState::Fails(_) => false,
        };
        self.machine.observe(Fact::TellsWork { broker: broker.to_owned(), tells });
    }

    /// What was told too long ago counts no more.
    pub(super) fn forget_old_channels(&mut self, now: Time) {
        for (broker, lives) in self.idleness.forget(now) {
            let read = lives.into_iter().map(|incarnation| (incarnation, None)).collect();
            // Nobody waits to see hands empty of which nothing is told any more.
            let programs = self.machine.world().programs.values().filter(|program| reads(program, &broker));
            let unlimited = programs.filter_map(|program| {
                let told = program.scaler.as_ref()?.hands_told.filter(|told| told.prefetch == 0)?;
                Some((program.spec.name.clone(), Hands { prefetch: told.concurrency, ..told }))
            });
            for (program, hands) in unlimited.collect::<Vec<_>>() {
                self.machine.observe(Fact::Takes { program, hands });
            }
            self.machine.observe(Fact::AtWork { broker, read, at: now });
        }
    }
}

fn reads(program: &Program, broker: &str) -> bool {
    program.spec.scale().is_some_and(|scale| scale.broker == broker)
}

fn consumers_of(program: &Program) -> impl Iterator<Item = Consumer> {
    program.slots.iter().filter_map(|(number, slot)| {
        let process = ProcessId::new(program.spec.name.clone(), *number);
        Some(Consumer { incarnation: slot.phase.life()?.incarnation, process, pid: slot.phase.main()?.pid })
    })
}

/// Reads `/proc` and puts both sides together.
fn look(broker: String, channels: &[Channel], consumers: &[Consumer], at: Time) -> Found {
    let peers: BTreeSet<SocketAddr> = channels.iter().filter_map(|channel| channel.peer).collect();
    // Where it cannot be read, no channel is found, and that is what is said.
    let connections = sockets::connections().unwrap_or_default();
    let of_peers: BTreeMap<Inode, SocketAddr> = connections
        .into_iter()
        .filter(|(address, _)| peers.contains(address))
        .map(|(address, inode)| (inode, address))
        .collect();
    let mut owners = BTreeMap::new();
    if !of_peers.is_empty() {
        for consumer in consumers {
            let sockets = sockets::of_tree(consumer.pid);
            let held = sockets.iter().filter_map(|inode| of_peers.get(inode));
            owners.extend(held.map(|address| (*address, consumer.incarnation)));
        }
    }
    put_together(broker, channels, consumers, &owners, at)
}

/// Whose channels are whose, by `owners` of connections and else by name.
fn put_together(
    broker: String,
    channels: &[Channel],
    consumers: &[Consumer],
    owners: &BTreeMap<SocketAddr, Incarnation>,
    at: Time,
) -> Found {
    let by_process: BTreeMap<&ProcessId, Incarnation> =
        consumers.iter().map(|consumer| (&consumer.process, consumer.incarnation)).collect();
    let mut held: BTreeMap<Incarnation, Option<bool>> = BTreeMap::new();
    let mut taken: BTreeMap<Incarnation, Hands> = BTreeMap::new();
    let mut is_any_unowned = false;
    for channel in channels {
        let by_port = channel.peer.and_then(|peer| owners.get(&peer));
        is_any_unowned |= by_port.is_none();
        let named =
            || processes_in(channel.connection_name.as_deref()?).find_map(|process| by_process.get(&process));
        let Some(owner) = by_port.or_else(named) else { continue };
        if let Some(prefetch) = channel.prefetch {
            let hands = Hands { concurrency: channel.consumers, prefetch };
            taken.entry(*owner).and_modify(|before| *before = together(*before, hands)).or_insert(hands);
        }
        // One that holds nothing says nothing against another one that holds a message; one that is not known yet does.
        let held = held.entry(*owner).or_insert(Some(false));
        *held = match (*held, channel.unacknowledged) {
            (Some(true), _) | (_, Some(1..)) => Some(true),
            (None, _) | (_, None) => None,
            (Some(false), Some(0)) => Some(false),
        };
    }
    let found_by_port: BTreeSet<Incarnation> = owners.values().copied().collect();
    let is_any_lost = consumers.iter().any(|consumer| !found_by_port.contains(&consumer.incarnation));
    Found {
        broker,
        at,
        held: held.into_iter().filter_map(|(incarnation, held)| Some((incarnation, held?))).collect(),
        consumers: consumers.iter().map(|consumer| consumer.incarnation).collect(),
        taken,
        needs_names: is_any_unowned && is_any_lost,
    }
}

/// What two channels of one process take. Which queue a channel is for is not told: beside one with a limit, one without is
/// taken to be for something else, as that on which a worker is spoken to.
fn together(one: Hands, other: Hands) -> Hands {
    match (one.prefetch, other.prefetch) {
        (0, 1..) => other,
        (1.., 0) => one,
        (before, more) => Hands {
            concurrency: one.concurrency.saturating_add(other.concurrency),
            prefetch: before.saturating_add(more),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn consumer(number: u32) -> Consumer {
        let process = ProcessId::new(ProgramName::new("orders").unwrap(), number);
        Consumer { incarnation: Incarnation(u64::from(number)), process, pid: 5_000_000 }
    }

    fn channel(peer: Option<&str>, name: Option<&str>, unacknowledged: Option<u64>) -> Channel {
        let peer = peer.map(|peer| peer.parse().unwrap());
        let connection_name = name.map(str::to_owned);
        Channel { peer, connection_name, unacknowledged, consumers: 1, prefetch: Some(5) }
    }

    fn found(channels: &[Channel], owned: &[(&str, u32)]) -> Found {
        let consumers: Vec<Consumer> = (0..3).map(consumer).collect();
        let owners =
            owned.iter().map(|(peer, number)| (peer.parse().unwrap(), Incarnation(u64::from(*number))));
        put_together("mq".to_owned(), channels, &consumers, &owners.collect(), Time::from_millis(1))
    }

    #[test]
    fn a_process_holds_what_any_of_its_channels_holds_and_is_unknown_where_one_of_them_is() {
        let (a, b, c) = ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3");
        let owned = [(a, 0), (b, 1), (c, 2)];
        let channels = [
            channel(Some(a), None, Some(0)),
            channel(Some(a), None, Some(2)),
            channel(Some(a), None, None),
            channel(Some(b), None, Some(0)),
            channel(Some(c), None, Some(0)),
            channel(Some(c), None, None),
            channel(Some("10.0.0.9:1"), None, Some(7)),
        ];
        let found = found(&channels, &owned);
        assert_eq!(found.held, [(Incarnation(0), true), (Incarnation(1), false)].into());
        assert_eq!(
            found.taken[&Incarnation(0)],
            Hands { concurrency: 3, prefetch: 15 },
            "it has three channels"
        );
        assert!(!found.needs_names, "all were found by their ports");
    }

    #[test]
    fn a_channel_without_a_limit_beside_one_with_a_limit_says_nothing_of_the_work() {
        let a = "127.0.0.1:1";
        let spoken_to = Channel { prefetch: Some(0), ..channel(Some(a), None, Some(0)) };
        for channels in [
            [channel(Some(a), None, Some(1)), spoken_to.clone()],
            [spoken_to.clone(), channel(Some(a), None, Some(1))],
        ] {
            assert_eq!(
                found(&channels, &[(a, 0)]).taken[&Incarnation(0)],
                Hands { concurrency: 1, prefetch: 5 }
            );
        }
        let both = found(&[spoken_to.clone(), spoken_to], &[(a, 0)]);
        assert_eq!(both.taken[&Incarnation(0)], Hands { concurrency: 2, prefetch: 0 });
    }

    #[test]
    fn behind_a_proxy_the_name_of_the_connection_tells() {
        let proxy = Some("10.0.0.1:7");
        let channels = [
            channel(proxy, Some("shop [orders:1]@web1"), Some(1)),
            channel(proxy, Some("orders:2"), Some(0)),
            channel(proxy, Some("orders:22"), Some(1)),
            channel(None, Some("preorders:0"), Some(1)),
        ];
        let found = found(&channels, &[]);
        assert_eq!(found.held, [(Incarnation(1), true), (Incarnation(2), false)].into());
        assert!(found.needs_names);
    }

    #[test]
    fn who_holds_nothing_is_idle_the_second_time_and_forgotten_when_nothing_more_is_told() {
        let mut idleness = Idleness::default();
        let mut told = |seconds: u64, held: &[(u64, bool)]| {
            let held = held.iter().map(|(life, held)| (Incarnation(*life), *held)).collect();
            let (broker, at) = ("mq".to_owned(), Time::from_millis(seconds * 1_000));
            let consumers = (0..2).map(Incarnation).collect();
            let read = idleness.take_over(&Found {
                broker,
                at,
                held,
                consumers,
                taken: BTreeMap::new(),
                needs_names: false,
            });
            read.into_iter().map(|(_, work)| work).collect::<Vec<_>>()
        };
        assert_eq!(told(0, &[(0, true), (1, false)]), [Some(Work::Busy), Some(Work::Unclear)]);
        assert_eq!(told(5, &[(0, false), (1, false)]), [Some(Work::Unclear), Some(Work::Idle)]);
        assert_eq!(told(10, &[(0, false)]), [Some(Work::Idle), None]);
        assert_eq!(told(15, &[(0, false), (1, false)]), [Some(Work::Idle), Some(Work::Unclear)]);
        assert_eq!(idleness.due(), Some(Time::from_millis(31_000)));
        assert_eq!(idleness.forget(Time::from_millis(30_999)), []);
        let both = ("mq".to_owned(), vec![Incarnation(0), Incarnation(1)]);
        assert_eq!(idleness.forget(Time::from_millis(31_000)), [both]);
        assert_eq!(idleness.due(), None);
    }

    #[test]
    fn word_is_not_waited_for_from_a_broker_that_never_tells_of_our_processes() {
        let mut idleness = Idleness::default();
        let mut tell = |held: &[(u64, bool)]| {
            let held = held.iter().map(|(life, held)| (Incarnation(*life), *held)).collect();
            let (broker, at, consumers) = ("mq".to_owned(), Time::from_millis(1), vec![Incarnation(0)]);
            idleness.take_over(&Found {
                broker,
                at,
                held,
                consumers,
                taken: BTreeMap::new(),
                needs_names: false,
            });
            idleness.is_of_use("mq")
        };
        assert!(tell(&[]) && tell(&[]), "they may just have started");
        assert!(!tell(&[]) && !tell(&[]));
        assert!(tell(&[(0, false)]));
    }

    #[test]
    fn a_real_connection_is_found_at_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = stream.local_addr().unwrap();
        let channel = Channel { prefetch: Some(0), ..channel(Some(&peer.to_string()), None, Some(3)) };
        let own = Consumer { pid: std::process::id() as i32, ..consumer(0) };
        let found = look("mq".to_owned(), &[channel], &[own, consumer(1)], Time::from_millis(1));
        assert_eq!(found.held, [(Incarnation(0), true)].into());
        assert_eq!(found.taken, [(Incarnation(0), Hands { concurrency: 1, prefetch: 0 })].into());
        assert!(!found.needs_names, "whose channel it is is known");
    }
}
