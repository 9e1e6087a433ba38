//! Looks on until the time is over or somebody ends it. It only reads: the management API and `/proc`.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use super::access::Access;
use super::arguments::ObserveArgs;
use super::process;
use super::recording::{Place, Recording};
use crate::amqp::management::census::Census;
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::holders::{Holder, Holders};
use crate::cli::text;
use crate::cli::watch::Ends;
use crate::core::time::{Time, human};
use crate::core::words::{count, counted, processes};
use crate::sys::cause::plain;
use crate::sys::clock;

/// The time between two looks at who consumes. The list is long where many do, and changes seldom.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long somebody is waited for, and looked for at every round: a broker tells of a consumer some seconds late.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many places are named where others consume.
const NAMED_MAX: usize = 5;

/// What is going on.
struct Watch<'a> {
    access: &'a Access,
    census: Census,
    recording: Recording,
    began: Time,
    looked_at: Option<Time>,
    /// Rounds that failed, and why the last one did.
    missed: Option<(u32, String)>,
}

/// Looks on, and gives what was seen and how long that took.
///
/// # Errors
/// The management API does not answer at the begin, or nobody of this machine consumes.
pub(super) async fn watch(
    access: &Access,
    arguments: &ObserveArgs,
    ends: &mut Ends,
    console: &mut Console<'_>,
) -> Result<(Recording, Duration), Failure> {
    let census = Census::new(&access.spec)
        .ok_or_else(|| Failure::Usage("this login cannot be sent over HTTP".to_owned()))?;
    let began = clock::now();
    let recording = Recording::default();
    let mut watch = Watch { access, census, recording, began, looked_at: None, missed: None };
    let mut told = String::new();
    loop {
        let asked_at = clock::now();
        tokio::select! {
            () = ends.one() => break,
            round = watch.round() => round?,
        }
        let lasted = clock::now().since(began);
        if !watch.recording.processes.is_empty() {
            watch.tell(arguments.lasts, lasted, &mut told, console);
        } else if lasted >= PATIENCE.min(arguments.lasts) {
            break;
        }
        if lasted >= arguments.lasts {
            break;
        }
        let next = arguments.every.saturating_sub(clock::now().since(asked_at));
        tokio::select! {
            () = ends.one() => break,
            () = sleep(next.min(arguments.lasts - lasted)) => {}
        }
    }
    if console.live {
        drop(write!(console.err, "\r\x1b[K"));
    }
    let Watch { recording, missed, .. } = watch;
    if recording.processes.is_empty() {
        return Err(Failure::Failed(nobody(access, &recording)));
    }
    if let Some((rounds, why)) = missed {
        console
            .note(format_args!("warning: {} without an answer: {why}", count(rounds as usize, "question")));
    }
    Ok((recording, clock::now().since(began)))
}

impl Watch<'_> {
    /// Asks once. A failure at the begin is one of the command; later it is counted.
    async fn round(&mut self) -> Result<(), Failure> {
        if let Err(why) = self.ask().await? {
            if self.looked_at.is_none() {
                return Err(Failure::Failed(format!("{why}{}", self.access.hint())));
            }
            let rounds = self.missed.as_ref().map_or(0, |(rounds, _)| *rounds);
            self.missed = Some((rounds + 1, why));
        }
        Ok(())
    }

    /// The inner error is of the management API.
    async fn ask(&mut self) -> Result<Result<(), String>, Failure> {
        let now = clock::now();
        let is_due = |at: Time| now.since(self.began) <= PATIENCE || now.since(at) >= LOOK_EVERY;
        if self.looked_at.is_none_or(is_due) {
            let found = match self.census.look().await {
                Ok(found) => found,
                Err(why) => return Ok(Err(why)),
            };
            let holders = Holders::now().map_err(|error| {
                Failure::Failed(format!(
                    "cannot tell whose the consumers are: /proc cannot be read: {}",
                    plain(&error)
                ))
            })?;
            self.recording.note_look(
                self.now_ms(),
                &found,
                |peer| place(&holders, peer),
                |identity| process::read(identity.pid).ok(),
            );
            self.looked_at = Some(now);
        }
        let names = self.recording.names();
        if names.is_empty() {
            return Ok(Ok(()));
        }
        match self.census.standings(&names).await {
            Ok(standings) => {
                let at_ms = self.now_ms();
                self.recording.note_standings(at_ms, &standings);
                Ok(Ok(()))
            }
            Err(why) => Ok(Err(why)),
        }
    }

    /// Milliseconds since the begin.
    fn now_ms(&self) -> u64 {
        clock::now().since(self.began).as_millis() as u64
    }

    /// Says how far it is: on a terminal in one line that is written over, else when it changes.
    fn tell(&self, lasts: Duration, lasted: Duration, told: &mut String, console: &mut Console<'_>) {
        let living = processes(u32::try_from(self.recording.living()).unwrap_or(u32::MAX));
        let line = format!("observing {living} at {}", count(self.recording.names().len(), "queue"));
        if console.live {
            let (lasted, lasts) = (text::lasted(lasted.as_secs_f64()), human(lasts));
            let line = format!("{line}: {lasted} of {lasts}; Ctrl-C ends it and prints the result");
            // Progress that cannot be shown is no reason to give up.
            drop(write!(console.err, "\r{line}\x1b[K").and_then(|()| console.err.flush()));
        } else if *told != line {
            console.note(format_args!("{line}, for {} in all", human(lasts)));
            *told = line;
        }
    }
}

fn place(holders: &Holders, peer: SocketAddr) -> Place {
    match holders.of(peer) {
        // One that has ended since is as if it had been elsewhere.
        Holder::Process { pid, .. } => process::identity(pid).map_or(Place::Elsewhere, Place::Here),
        Holder::Unseen => Place::Unseen,
        Holder::Elsewhere => Place::Elsewhere,
    }
}

/// Why there is nothing to observe.
fn nobody(access: &Access, recording: &Recording) -> String {
    let at = &access.spec.address;
    let mut text = format!("no process of this machine is seen to take messages from the broker at {at}");
    if recording.unseen > 0 {
        let consumers = counted(recording.unseen.into(), "consumer is", "consumers are");
        text.push_str(&format!(
            "; {consumers} of processes that may not be looked at: run `leveret observe` as root"
        ));
    }
    if !recording.proxies.is_empty() {
        let names: Vec<&str> = recording.proxies.iter().map(String::as_str).collect();
        text.push_str(&format!("; some consume through {}, which hides them", names.join(" and ")));
    }
    if !recording.elsewhere.is_empty() {
        let address = |address: Option<std::net::IpAddr>| {
            address.map_or("an unknown place".to_owned(), |ip| ip.to_string())
        };
        let mut places: Vec<String> =
            recording.elsewhere.iter().map(|(ip, number)| format!("{} ({number})", address(*ip))).collect();
        let more = places.len().saturating_sub(NAMED_MAX);
        places.truncate(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text.push_str(&format!(
            "; consumers are at {}{more}: run it there (what runs in a container has an address of its own)",
            places.join(", ")
        ));
    }
    if recording.unseen == 0 && recording.elsewhere.is_empty() && recording.proxies.is_empty() {
        text.push_str(&format!(
            "; nobody does at all, as far as user {0} may see: a login sees its own connections alone without the tag monitoring \
             (rabbitmqctl set_user_tags {0} monitoring)",
            access.spec.user
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::management::census::Found;
    use crate::cli::observe::access::Origin;
    use crate::cli::observe::recording::tests::{consumes, place as of_port, taker};
    use crate::config::management_address;

    #[test]
    fn where_nobody_of_this_machine_consumes_it_is_said_who_does() {
        let spec = management_address("http://shop:hunter2@mq:15672").unwrap();
        let access = Access { spec, origin: Origin::Named };
        let told = |ports: &[u16]| {
            let takers = ports.iter().map(|port| taker(*port, consumes("orders"))).collect();
            let mut recording = Recording::default();
            recording.note_look(0, &Found { takers, ..Found::default() }, of_port, |_| None);
            nobody(&access, &recording)
        };
        let none = told(&[]);
        assert!(
            none.contains("at http://mq:15672; nobody does at all, as far as user shop may see"),
            "{none}"
        );
        assert!(!none.contains("hunter2"));
        assert!(told(&[1, 2]).ends_with(
            "2 consumers are of processes that may not be looked at: run `leveret observe` as root"
        ));
        assert!(told(&[100, 101]).contains("; consumers are at 127.0.0.1 (2): run it there"));
    }
}
