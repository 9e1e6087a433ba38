//! One named pipe on its way into its sink, a bounded piece at a time.
//!
//! Bytes leave the pipe only when they are where they belong, or when they are given up because the sink refuses
//! them: a pipe that nobody empties would halt the process behind it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::awaited::{Awaited, Sight};
use super::dress::Dress;
use super::file::{Files, LogFile, Place, Rotation};
use super::lines::{Gathered, LINE_BYTES_MAX, gather, gather_unfinished};
use super::plumbing::{Plumbing, ROUND_BYTES, is_full, transfer, waiting_bytes};
use super::reason::reason;
use super::refusals::{Refusals, Refused, refusal};
use super::remarks::{Remarks, remark};
use super::source::{LAST_LINE_CHARACTERS_MAX, PumpEvent, Sink, Source};
use super::stdout::Stdout;
use crate::core::time::Time;
use crate::sys::{clock, shortage};

/// How often a sink that refused output is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What all streams work with.
pub(super) struct Equipment {
    pub(super) plumbing: Plumbing,
    pub(super) files: Files,
    pub(super) stdout: Stdout,
    pub(super) refusals: Refusals,
    pub(super) events: Box<dyn Fn(PumpEvent) + Send>,
}

/// What is to be done about a stream after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// There may be more to move at once.
    More,
    /// The pipe is empty.
    Quiet,
    /// The pipe holds a part of a line, which stays there until it is whole, or output whose file cannot be opened yet.
    ///
    /// The next write may come without an event: Linux tells readers of a pipe that is not empty when a write is
    /// complete (pipe_write() in fs/pipe.c), and one that is larger than the room in the pipe waits for us.
    Unfinished,
    /// Leveret's own output has to move first.
    Blocked,
}

/// One pipe and its sink.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) source: Source,
    pub(super) pipe: File,
    /// Nobody will print to it any more.
    pub(super) finishing: bool,
    /// Whether its turn is to come.
    pub(super) queued: bool,
    /// When to look at an unfinished line again, and after how long that is.
    pub(super) look_again: Option<(Time, Duration)>,
    /// The number of bytes in the pipe of which a copy is being written to Leveret's own output.
    in_flight: Option<usize>,
    fault: Option<Fault>,
    /// Bytes that have left the pipe.
    taken: u64,
    remarks: Remarks,
    /// Where nothing but the last line is of interest.
    last_line: Option<String>,
    /// What is waited for.
    awaited: Option<Awaited>,
    /// How much of what is in the pipe may leave it in this turn.
    most: usize,
}

/// Since the sink refused output.
#[derive(Debug)]
struct Fault {
    retry_at: Time,
    refused: Refused,
    /// Whether nothing but a file descriptor is missing.
    is_short: bool,
}

impl Stream {
    pub(super) fn new(source: Source, pipe: File) -> Self {
        Self {
            awaited: source.awaited.as_deref().and_then(Awaited::new),
            most: ROUND_BYTES,
            source,
            pipe,
            finishing: false,
            queued: false,
            look_again: None,
            in_flight: None,
            fault: None,
            taken: 0,
            remarks: Remarks::default(),
            last_line: None,
        }
    }

    /// Moves at most about [`ROUND_BYTES`].
    ///
    /// # Errors
    /// The pipe itself failed, which no retry will mend.
    pub(super) fn turn(&mut self, token: u64, equipment: &mut Equipment, now: Time) -> io::Result<Flow> {
        if self.in_flight.is_some() {
            return Ok(Flow::Blocked);
        }
        if let Some(flow) = self.look(equipment)? {
            return Ok(flow);
        }
        if self.fault.as_ref().is_some_and(|fault| now < fault.retry_at) {
            return self.give_way(equipment);
        }
        match self.write_some(token, equipment, now) {
            Ok(Moved { bytes, flow }) => {
                if self.in_flight.is_none() {
                    self.took(bytes, equipment, now);
                }
                if bytes > 0 && self.in_flight.is_none() {
                    self.recovered(equipment, now);
                }
                Ok(flow)
            }
            Err(error) => {
                self.refused(&error, equipment, now);
                self.give_way(equipment)
            }
        }
    }

    /// It is to be moved in another way from now on.
    pub(super) fn change(&mut self, source: Source) {
        if self.source.awaited != source.awaited {
            self.awaited = source.awaited.as_deref().and_then(Awaited::new);
        }
        self.source = source;
    }

    /// Looks for what is waited for, before it leaves the pipe, and says how much of it may: whole lines. Where nothing may,
    /// it says what is to be done about the stream.
    fn look(&mut self, equipment: &mut Equipment) -> io::Result<Option<Flow>> {
        self.most = ROUND_BYTES;
        let Some(awaited) = &self.awaited else { return Ok(None) };
        let waiting = waiting_bytes(&self.pipe)?;
        let seen = equipment.plumbing.peek(&self.pipe, ROUND_BYTES)?;
        if seen.is_empty() {
            return Ok(None);
        }
        let is_all = self.finishing || seen.len() < waiting.min(LINE_BYTES_MAX + 1) || is_full(&self.pipe)?;
        match awaited.look(seen, is_all) {
            Sight::Match => {
                let pattern = awaited.pattern.clone();
                (equipment.events)(PumpEvent::Matched(self.source.incarnation, pattern));
                self.awaited = None;
                Ok(None)
            }
            Sight::Clear(bytes) => {
                self.most = bytes;
                Ok(None)
            }
            Sight::Unfinished => Ok(Some(Flow::Unfinished)),
        }
    }

    /// Takes note that a copy was written to Leveret's own output, or was not: either way its original goes.
    ///
    /// # Errors
    /// As for [`Stream::turn`].
    pub(super) fn written(
        &mut self,
        result: &io::Result<()>,
        equipment: &mut Equipment,
        now: Time,
    ) -> io::Result<()> {
        let Some(bytes) = self.in_flight.take() else { return Ok(()) };
        let gone = equipment.plumbing.discard(&self.pipe, bytes)?;
        self.took(gone, equipment, now);
        match result {
            Ok(()) => self.recovered(equipment, now),
            Err(error) => {
                self.refused(error, equipment, now);
                self.count_dropped(gone, equipment);
            }
        }
        Ok(())
    }

    /// Ends the last line of a finished process in a file of its own, so that the next process begins a line.
    ///
    /// A file that another process has begun to write to by now is left alone.
    pub(super) fn end_last_line(&self, equipment: &mut Equipment, now: Time) {
        let Sink::Own(path) = &self.source.sink else { return };
        if self.fault.is_some() || equipment.files.users(path) != 1 || !path.is_file() {
            return;
        }
        let done = equipment.files.file(path, now).and_then(end_line);
        if let Err(error) = done {
            (equipment.events)(PumpEvent::Trouble(refusal(&self.source, &error)));
        }
    }

    /// Whether something of it has not been written yet.
    pub(super) fn has_more(&self) -> bool {
        // A pipe that cannot be asked cannot be read either, which its next turn tells.
        waiting_bytes(&self.pipe).is_ok_and(|bytes| bytes > 0)
    }

    /// Has a line of Leveret's own written when all is written that is in the pipe now.
    pub(super) fn say_later(&mut self, text: String) {
        let waiting = waiting_bytes(&self.pipe).unwrap_or(0) as u64;
        self.remarks.push(self.taken + waiting, text);
    }

    /// Writes the lines of Leveret's own that still wait: nothing more will come.
    pub(super) fn say_all(&mut self, equipment: &mut Equipment, now: Time) {
        while let Some(text) = self.remarks.next(u64::MAX) {
            remark(&self.source, &text, equipment, now);
        }
    }

    /// So many bytes have left the pipe: what waited for them is said.
    fn took(&mut self, bytes: usize, equipment: &mut Equipment, now: Time) {
        self.taken += bytes as u64;
        while let Some(text) = self.remarks.next(self.taken) {
            remark(&self.source, &text, equipment, now);
        }
    }

    /// Its output goes elsewhere from now on.
    pub(super) fn leave_place(&mut self, equipment: &mut Equipment, now: Time) {
        self.close(equipment, now);
        self.fault = None;
    }

    /// Says that nothing more of it will be dropped, because nothing more will come.
    pub(super) fn close(&self, equipment: &mut Equipment, now: Time) {
        if let Some(fault) = &self.fault {
            equipment.refusals.end(&fault.refused, &self.source, false, now);
        }
    }

    fn write_some(&mut self, token: u64, equipment: &mut Equipment, now: Time) -> io::Result<Moved> {
        match &self.source.sink {
            Sink::Own(path) => self.splice_into(path, equipment, now),
            Sink::Lines(path) => self.write_lines_into(path, equipment, now),
            Sink::LastLine => self.keep_last_line(equipment),
            Sink::Stdout => {
                let moved = self.copy_lines(token, equipment)?;
                self.in_flight = (moved.bytes > 0).then_some(moved.bytes);
                Ok(moved)
            }
        }
    }

    fn splice_into(&self, path: &Path, equipment: &mut Equipment, now: Time) -> io::Result<Moved> {
        let mut moved = 0;
        while moved < self.most {
            // An empty pipe must not open a file.
            if waiting_bytes(&self.pipe)? == 0 {
                return Ok(Moved { bytes: moved, flow: Flow::Quiet });
            }
            let bounds = equipment.files.bounds(path, self.source.keeping, now)?;
            let file = equipment.files.file(path, now)?;
            if self.fault.is_some() && moved == 0 {
                // Lines were dropped since: what comes now begins a line.
                end_line(file)?;
            }
            let left = self.most - moved;
            moved += match file.place(bounds)? {
                Place::Rotate => {
                    self.rotate(path, equipment, now);
                    continue;
                }
                Place::Here { offset, room } => {
                    let bytes_max = at_most(left, room);
                    splice_or_copy(&self.pipe, file, offset, bytes_max, &mut equipment.plumbing)?
                }
                Place::ToLineEnd { offset, room } => {
                    let seen = equipment.plumbing.peek(&self.pipe, at_most(left, room))?;
                    let line_end = seen.iter().position(|byte| *byte == b'\n');
                    let bytes_max = line_end.map_or(seen.len(), |end| end + 1);
                    splice_or_copy(&self.pipe, file, offset, bytes_max, &mut equipment.plumbing)?
                }
            };
        }
        Ok(Moved { bytes: moved, flow: Flow::More })
    }

    fn write_lines_into(&self, path: &Path, equipment: &mut Equipment, now: Time) -> io::Result<Moved> {
        let dress = Dress::of(&self.source, clock::wall_seconds());
        let mut gathered = match self.gather(&dress, ROUND_BYTES, &mut equipment.plumbing)? {
            Front::Lines(gathered) => gathered,
            Front::NoLine(flow) => return Ok(Moved { bytes: 0, flow }),
        };
        let bounds = equipment.files.bounds(path, self.source.keeping, now)?;
        let mut size = equipment.files.file(path, now)?.size()?;
        if bounds.are_reached(size) {
            self.rotate(path, equipment, now);
            size = equipment.files.file(path, now)?.size()?;
        }
        if bounds.max_size > size && gathered.text.len() as u64 > bounds.max_size - size {
            let room = at_most(ROUND_BYTES, bounds.max_size - size);
            if let Front::Lines(fewer) = self.gather(&dress, room, &mut equipment.plumbing)? {
                gathered = fewer;
            }
        }
        let file = equipment.files.file(path, now)?;
        if !file.ends_line(size)? {
            // Whoever wrote here before was killed, or is an editor: our lines are lines of their own.
            gathered.text.insert(0, b'\n');
        }
        file.write_lines(&gathered.text, size)?;
        equipment.plumbing.discard(&self.pipe, gathered.consumed)?;
        Ok(Moved { bytes: gathered.consumed, flow: Flow::More })
    }

    fn keep_last_line(&mut self, equipment: &mut Equipment) -> io::Result<Moved> {
        let plain = Dress::Prefix(Vec::new());
        let gathered = match self.gather(&plain, ROUND_BYTES, &mut equipment.plumbing)? {
            Front::Lines(gathered) => gathered,
            Front::NoLine(flow) => return Ok(Moved { bytes: 0, flow }),
        };
        let text = String::from_utf8_lossy(&gathered.text);
        if let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            self.last_line = Some(line.chars().take(LAST_LINE_CHARACTERS_MAX).collect());
        }
        equipment.plumbing.discard(&self.pipe, gathered.consumed)?;
        Ok(Moved { bytes: gathered.consumed, flow: Flow::More })
    }

    /// Tells what was printed last, where nothing else is of interest.
    pub(super) fn tell_last_line(&mut self, equipment: &mut Equipment) {
        if let Some(line) = self.last_line.take() {
            (equipment.events)(PumpEvent::LastLine(self.source.incarnation, line));
        }
    }

    /// Hands a copy of some lines to the thread that writes to Leveret's own output.
    fn copy_lines(&self, token: u64, equipment: &mut Equipment) -> io::Result<Moved> {
        let room = equipment.stdout.room();
        if room == 0 {
            return Ok(Moved { bytes: 0, flow: Flow::Blocked });
        }
        let dress = Dress::of(&self.source, clock::wall_seconds());
        let text_bytes_max = room.min(ROUND_BYTES);
        let gathered = match self.gather(&dress, text_bytes_max, &mut equipment.plumbing)? {
            Front::Lines(gathered) => gathered,
            Front::NoLine(flow) => return Ok(Moved { bytes: 0, flow }),
        };
        equipment.stdout.write(token, gathered.text)?;
        Ok(Moved { bytes: gathered.consumed, flow: Flow::Blocked })
    }

    /// The lines at the front of the pipe, of which at most about `text_bytes_max` are taken. The last words of a
    /// finished process are a line, and so is what cannot become longer: a part of a line that fills the pipe, or
    /// all that the kernel lets us see of it.
    fn gather(&self, dress: &Dress, text_bytes_max: usize, plumbing: &mut Plumbing) -> io::Result<Front> {
        let waiting = waiting_bytes(&self.pipe)?;
        let seen = plumbing.peek(&self.pipe, self.most)?;
        let gathered = gather(seen, dress, text_bytes_max);
        if gathered.consumed > 0 {
            return Ok(Front::Lines(gathered));
        }
        if seen.is_empty() {
            return Ok(Front::NoLine(Flow::Quiet));
        }
        let hidden = seen.len() < waiting.min(LINE_BYTES_MAX + 1);
        if self.finishing || hidden || is_full(&self.pipe)? {
            return Ok(Front::Lines(gather_unfinished(seen, dress)));
        }
        Ok(Front::NoLine(Flow::Unfinished))
    }

    fn rotate(&self, path: &Path, equipment: &mut Equipment, now: Time) {
        match equipment.files.rotate(path, self.source.keeping, now) {
            Rotation::Done | Rotation::StillFailing => (),
            Rotation::Failed(error) => {
                let sentence = format!(
                    "the output of {} cannot be rotated at {}: {}; the file grows until that works",
                    self.source.label,
                    path.display(),
                    reason(&error)
                );
                (equipment.events)(PumpEvent::Trouble(sentence));
            }
        }
    }

    /// Has the output wait where only a file descriptor is missing, because they come back; else gives up some of it.
    fn give_way(&mut self, equipment: &mut Equipment) -> io::Result<Flow> {
        match self.fault.as_ref().is_some_and(|fault| fault.is_short) {
            true => Ok(Flow::Unfinished),
            false => self.drop_some(equipment),
        }
    }

    /// Gives up what is in the pipe, by whole lines, so that what is written later begins with one.
    fn drop_some(&mut self, equipment: &mut Equipment) -> io::Result<Flow> {
        let plain = Dress::Prefix(Vec::new());
        let bytes = match self.gather(&plain, ROUND_BYTES, &mut equipment.plumbing)? {
            Front::Lines(gathered) => gathered.consumed,
            Front::NoLine(flow) => return Ok(flow),
        };
        let gone = equipment.plumbing.discard(&self.pipe, bytes)?;
        self.taken += gone as u64;
        self.count_dropped(gone, equipment);
        Ok(if gone > 0 { Flow::More } else { Flow::Quiet })
    }

    fn count_dropped(&mut self, bytes: usize, equipment: &mut Equipment) {
        if let Some(fault) = &self.fault {
            equipment.refusals.count(&fault.refused, &self.source, bytes);
        }
    }

    fn refused(&mut self, error: &io::Error, equipment: &mut Equipment, now: Time) {
        let retry_at = now + RETRY_INTERVAL;
        let refused = Refused::new(&self.source.sink, error);
        if let Some(event) = equipment.refusals.begin(&refused, &self.source, error) {
            (equipment.events)(event);
        }
        self.fault = Some(Fault { retry_at, refused, is_short: shortage::is_of_descriptors(error) });
    }

    fn recovered(&mut self, equipment: &mut Equipment, now: Time) {
        if let Some(fault) = self.fault.take() {
            equipment.refusals.end(&fault.refused, &self.source, true, now);
        }
    }
}

/// What a turn has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moved {
    bytes: usize,
    flow: Flow,
}

/// What is at the front of a pipe whose output is written by lines.
enum Front {
    Lines(Gathered),
    NoLine(Flow),
}

/// Splices, or writes a copy before it empties the pipe where the file cannot be spliced into (some devices, some
/// network file systems): a kill then may repeat bytes, but does not lose one.
fn splice_or_copy(
    pipe: &File,
    file: &LogFile,
    offset: u64,
    bytes_max: usize,
    plumbing: &mut Plumbing,
) -> io::Result<usize> {
    match transfer(pipe, &file.file, offset, bytes_max) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let seen = plumbing.peek(pipe, bytes_max)?;
            let written = std::os::unix::fs::FileExt::write_at(&file.file, seen, offset)?;
            plumbing.discard(pipe, written)
        }
        other => other,
    }
}

fn end_line(file: &mut LogFile) -> io::Result<()> {
    let size = file.size()?;
    if file.ends_line(size)? { Ok(()) } else { file.write_lines(b"\n", size) }
}

/// A number of bytes that is in both bounds.
fn at_most(bytes: usize, room: u64) -> usize {
    usize::try_from(room).map_or(bytes, |room| room.min(bytes))
}
