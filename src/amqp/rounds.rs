//! What is asked over one connection, and when: round after round for the queues that answer, and apart from them
//! the ones in quarantine.

use std::collections::BTreeSet;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::{Channel, Event};
use tokio::sync::watch::Receiver;
use tokio::time::Interval;

use super::address::NAME_BYTES_MAX;
use super::fact::Reading;
use super::quarantine::Quarantine;
use super::reader::{Alone, Aside, End, Lane, Lost, Reader};
use crate::core::time::Time;
use crate::sys::clock;

/// How many queues are asked for on one channel, where each waits for the answers before it.
const LANE_QUEUES: usize = 25;
/// How many quarantined queues are asked for at one time, each on a channel of its own.
const ALONE_MAX: usize = 8;

/// Everything that is under way over one connection.
pub(super) struct Rounds<'a> {
    reader: &'a Reader<'a>,
    quarantine: &'a mut Quarantine,
    /// Open channels with nothing outstanding.
    channels: Vec<Channel>,
    /// The round that is under way: a number of queues on each channel.
    lanes: FuturesUnordered<BoxFuture<'a, Lane<'a>>>,
    round_since: Option<Time>,
    /// Quarantined queues that have been asked for.
    alone: FuturesUnordered<BoxFuture<'a, Alone<'a>>>,
    /// Those among them, and others, that keep the broker busy.
    hanging: FuturesUnordered<BoxFuture<'a, Alone<'a>>>,
    /// Whether the connection is to be exchanged as soon as the round is over.
    worn: bool,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(reader: &'a Reader<'a>, quarantine: &'a mut Quarantine) -> Self {
        Self {
            reader,
            quarantine,
            channels: Vec::new(),
            lanes: FuturesUnordered::new(),
            round_since: None,
            alone: FuturesUnordered::new(),
            hanging: FuturesUnordered::new(),
            worn: false,
        }
    }

    /// Reads at every tick, until the connection is lost. A tick during a round starts no other round.
    pub(super) async fn run(
        mut self,
        queues: &mut Receiver<BTreeSet<String>>,
        ticker: &mut Interval,
    ) -> Lost {
        let connection = self.reader.connection();
        let mut events = connection.events_listener();
        loop {
            let happened = tokio::select! {
                biased;
                Some(event) = events.next() => {
                    // Other events do not concern a reader, and the errors of channels are told to those who use them.
                    if let Event::Error(error) = event && !connection.status().connected() {
                        Err(self.reader.lost_by(&error))
                    } else {
                        Ok(())
                    }
                }
                Some(lane) = self.lanes.next() => self.end_lane(lane).await,
                Some(alone) = self.alone.next() => self.end_alone(alone),
                Some(alone) = self.hanging.next() => self.end_alone(alone),
                _ = ticker.tick() => {
                    let wanted = queues.borrow_and_update().clone();
                    self.begin_round(wanted).await
                }
            };
            if let Err(lost) = happened.and_then(|()| self.ask_due()) {
                return lost;
            }
        }
    }

    /// Asks for every wanted queue that is not in quarantine, unless the last round is still under way.
    async fn begin_round(&mut self, wanted: BTreeSet<String>) -> Result<(), Lost> {
        self.quarantine.keep(&wanted);
        if !self.lanes.is_empty() || self.worn {
            return Ok(());
        }
        let well = wanted.into_iter().filter(|queue| !self.quarantine.contains(queue));
        let (askable, too_long): (Vec<_>, Vec<_>) = well.partition(|queue| queue.len() <= NAME_BYTES_MAX);
        for queue in too_long {
            let text = format!("a queue's name has at most {NAME_BYTES_MAX} bytes");
            self.reader.tell(&queue, Reading::Refused(text)).await?;
        }
        self.round_since = (!askable.is_empty()).then(clock::now);
        for queues in askable.chunks(LANE_QUEUES) {
            let lane = self.reader.read_together(self.channels.pop(), queues.to_vec());
            self.lanes.push(lane.boxed());
        }
        Ok(())
    }

    async fn end_lane(&mut self, lane: Lane<'a>) -> Result<(), Lost> {
        let now = clock::now();
        self.channels.extend(lane.channel);
        for (queue, aside) in lane.aside {
            match aside {
                Aside::Refused => self.quarantine.admit_refused(queue, now),
                Aside::Suspect => self.quarantine.admit_suspect(queue, now),
                Aside::Hanging(waiting) => {
                    self.quarantine.admit_hanging(queue, now);
                    self.hanging.push(waiting);
                }
            }
        }
        self.lose(lane.lost)?;
        if self.lanes.is_empty()
            && !self.worn
            && let Some(since) = self.round_since.take()
        {
            self.reader.tell_round(clock::now().since(since)).await?;
        }
        Ok(())
    }

    fn end_alone(&mut self, alone: Alone<'a>) -> Result<(), Lost> {
        match alone.end {
            End::Well => self.quarantine.release(&alone.queue),
            End::Refused => self.quarantine.refused(&alone.queue, clock::now()),
            End::Hanging(waiting) => self.hanging.push(waiting),
            End::Lost(lost) => return self.lose(Some(lost)),
        }
        Ok(())
    }

    /// A worn connection is used until the round is over.
    fn lose(&mut self, lost: Option<Lost>) -> Result<(), Lost> {
        match lost {
            None => Ok(()),
            Some(Lost::Worn) => {
                self.worn = true;
                Ok(())
            }
            Some(lost @ (Lost::Broken(_) | Lost::Unwanted)) => Err(lost),
        }
    }

    fn ask_due(&mut self) -> Result<(), Lost> {
        if self.worn {
            return if self.lanes.is_empty() { Err(Lost::Worn) } else { Ok(()) };
        }
        let room = ALONE_MAX.saturating_sub(self.alone.len());
        for queue in self.quarantine.take_due(clock::now(), room) {
            self.alone.push(self.reader.read_alone(queue).boxed());
        }
        Ok(())
    }
}
