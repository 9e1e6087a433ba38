//! What a keeper hands to the one that takes its place in the same process: everything that it knows, and every
//! descriptor that it holds. The process, its number, its children and its signal mask stay; the program is another.
//!
//! All of it waits in a socket that is standard input over the exec: first a memory file with the document, then the
//! descriptors in their order. What this process had as standard input before comes along and is put back.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use super::children::{Adopted, Child, Children, Note, Phase, Pipe};
use super::controller::PackedController;
use super::protocol::{Predecessor, Upgrade};
use super::records::Place;
use super::run::Keeper;
use super::shim::ShimReport;
use super::tree::Tree;
use crate::core::exit::ExitStatus;
use crate::core::ids::Incarnation;
use crate::core::time::Time;
use crate::sys::cause::plain;

/// The version of the document.
pub(super) const VERSION: u32 = 1;

/// The variable that tells a keeper that it takes over: its value is the number of the process. It is about Leveret, and
/// no program gets it.
pub const VARIABLE: &str = "LEVERET_HANDOVER";

/// How many descriptors travel in one message; the kernel takes 253 at most (unix(7)).
const DESCRIPTORS_AT_ONCE: usize = 128;

/// The document. Fields may be added with a default; anything else needs another [`VERSION`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handover {
    pub(super) version: u32,
    /// The version of the Leveret that hands over.
    pub(super) leveret: String,
    /// How many descriptors follow.
    pub(super) descriptors: usize,
    pub(super) path: Option<PathBuf>,
    pub(super) controller_argv: Vec<OsString>,
    pub(super) preflight_argv: Vec<OsString>,
    pub(super) started_at: Time,
    pub(super) open_files: Option<u64>,
    pub(super) open_files_max: Option<u64>,
    /// Signals that Leveret was started to ignore.
    pub(super) caught_signals: Vec<i32>,
    pub(super) records: Option<Place>,
    pub(super) predecessors: Vec<Predecessor>,
    pub(super) has_said_unrecorded: bool,
    pub(super) waiting_signals: Vec<i32>,
    /// What the controller had kept, by key.
    pub(super) kept: BTreeMap<String, usize>,
    pub(super) last_incarnation: Incarnation,
    pub(super) children: Vec<PackedChild>,
    pub(super) controller: PackedController,
    pub(super) upgrade: Upgrade,
}

/// One incarnation, with its descriptors as places in their row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackedChild {
    incarnation: Incarnation,
    note: Option<String>,
    phase: PackedPhase,
    tree: Tree,
    is_killed: bool,
    is_released: bool,
    adopted: Option<PackedAdopted>,
    record: Option<PathBuf>,
    output: PathBuf,
    held: Option<usize>,
    #[serde(default)]
    errors: Option<PackedPipe>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedPipe {
    path: PathBuf,
    held: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedAdopted {
    process: Option<usize>,
    empty_looks: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PackedPhase {
    Spawning { pid: i32, report: usize, said: Vec<u8> },
    Running { pid: i32, at: Time },
    CouldNotSpawn { step: String, cause: String, at: Time },
    Exited { pid: i32, started_at: Time, status: ExitStatus, left: u32, is_gone: bool, at: Time },
}

/// Descriptors on their way, in a row.
#[derive(Debug, Default)]
pub(super) struct Row<'a>(Vec<BorrowedFd<'a>>);

impl<'a> Row<'a> {
    /// Adds one and returns its place.
    pub(super) fn add(&mut self, descriptor: &'a impl AsFd) -> usize {
        self.0.push(descriptor.as_fd());
        self.0.len() - 1
    }
}

/// Descriptors that have arrived.
#[derive(Debug)]
pub(super) struct Arrived(Vec<Option<OwnedFd>>);

impl Arrived {
    /// The one of this place, once.
    pub(super) fn take(&mut self, place: usize) -> io::Result<OwnedFd> {
        let found = self.0.get_mut(place).and_then(Option::take);
        found.ok_or_else(|| io::Error::other("a descriptor is missing"))
    }
}

impl Keeper {
    /// Everything, as a document and a row of descriptors.
    pub(super) fn pack(&self, upgrade: Upgrade) -> (Handover, Row<'_>) {
        let mut row = Row::default();
        let kept = self.kept.iter().map(|(key, descriptor)| (key.clone(), row.add(descriptor))).collect();
        let children = self.children.iter().map(|(number, child)| child.pack(*number, &mut row)).collect();
        let controller = self.controller.pack(&mut row);
        let handover = Handover {
            version: VERSION,
            leveret: env!("CARGO_PKG_VERSION").to_owned(),
            descriptors: row.0.len(),
            path: self.path.clone(),
            controller_argv: self.controller.arguments().to_vec(),
            preflight_argv: self.preflight_argv.clone(),
            started_at: self.started_at,
            open_files: self.shim.open_files,
            open_files_max: self.shim.open_files_max,
            caught_signals: self.caught_signals.clone(),
            records: self.shim.records.clone(),
            predecessors: self.predecessors.clone(),
            has_said_unrecorded: self.has_said_unrecorded,
            waiting_signals: self.waiting_signals.clone(),
            kept,
            last_incarnation: self.children.last_incarnation,
            children,
            controller,
            upgrade,
        };
        (handover, row)
    }
}

impl Child {
    fn pack<'a>(&'a self, incarnation: Incarnation, row: &mut Row<'a>) -> PackedChild {
        let phase = match &self.phase {
            Phase::Spawning { pid, report, said } => {
                PackedPhase::Spawning { pid: *pid, report: row.add(report), said: said.clone() }
            }
            Phase::Running { pid, at } => PackedPhase::Running { pid: *pid, at: *at },
            Phase::CouldNotSpawn { failure: ShimReport { step, cause }, at } => {
                PackedPhase::CouldNotSpawn { step: step.clone(), cause: cause.clone(), at: *at }
            }
            Phase::Exited { pid, started_at, status, left, is_gone, at } => PackedPhase::Exited {
                pid: *pid,
                started_at: *started_at,
                status: *status,
                left: *left,
                is_gone: *is_gone,
                at: *at,
            },
        };
        PackedChild {
            incarnation,
            note: self.note.0.as_deref().map(str::to_owned),
            phase,
            tree: self.tree.clone(),
            is_killed: self.is_killed,
            is_released: self.is_released,
            adopted: self.adopted.as_ref().map(|adopted| PackedAdopted {
                process: adopted.process.as_ref().map(|process| row.add(process)),
                empty_looks: adopted.empty_looks,
            }),
            record: self.record.clone(),
            output: self.output.path.clone(),
            held: self.output.held.as_ref().map(|held| row.add(held)),
            errors: self.errors.as_ref().map(|errors| PackedPipe {
                path: errors.path.clone(),
                held: errors.held.as_ref().map(|held| row.add(held)),
            }),
        }
    }

    fn unpack(packed: PackedChild, arrived: &mut Arrived) -> io::Result<Self> {
        let phase = match packed.phase {
            PackedPhase::Spawning { pid, report, said } => {
                Phase::Spawning { pid, report: File::from(arrived.take(report)?), said }
            }
            PackedPhase::Running { pid, at } => Phase::Running { pid, at },
            PackedPhase::CouldNotSpawn { step, cause, at } => {
                Phase::CouldNotSpawn { failure: ShimReport { step, cause }, at }
            }
            PackedPhase::Exited { pid, started_at, status, left, is_gone, at } => {
                Phase::Exited { pid, started_at, status, left, is_gone, at }
            }
        };
        let adopted = match packed.adopted {
            Some(PackedAdopted { process, empty_looks }) => {
                let process = process.map(|place| arrived.take(place)).transpose()?;
                Some(Adopted { process, empty_looks })
            }
            None => None,
        };
        let mut pipe = |path, held: Option<usize>| -> io::Result<Pipe> {
            Ok(Pipe { path, held: held.map(|place| arrived.take(place)).transpose()? })
        };
        Ok(Self {
            note: Note(packed.note.map(String::into_boxed_str)),
            phase,
            tree: packed.tree,
            is_killed: packed.is_killed,
            is_released: packed.is_released,
            adopted,
            record: packed.record,
            output: pipe(packed.output, packed.held)?,
            errors: packed.errors.map(|errors| pipe(errors.path, errors.held)).transpose()?,
            // It is among what is kept.
            notify: None,
        })
    }
}

/// All incarnations of a document.
pub(super) fn unpack_children(
    packed: Vec<PackedChild>,
    last_incarnation: Incarnation,
    arrived: &mut Arrived,
) -> io::Result<Children> {
    let unpack = |packed: PackedChild| Ok((packed.incarnation, Child::unpack(packed, arrived)?));
    let table = packed.into_iter().map(unpack).collect::<io::Result<_>>()?;
    Ok(Children::restored(table, last_incarnation))
}

/// The document in memory, to be read by whoever gets it.
pub(super) fn memory_of(handover: &Handover) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("leveret handover", MemfdFlags::CLOEXEC)?;
    File::from(memory.try_clone()?).write_all(&serde_json::to_vec(handover)?)?;
    Ok(memory)
}

fn read(memory: &File) -> io::Result<Handover> {
    let mut text = vec![0; usize::try_from(memory.metadata()?.len()).map_err(io::Error::other)?];
    memory.read_exact_at(&mut text, 0)?;
    understand(&text).map_err(io::Error::other)
}

/// Reads a document.
fn understand(text: &[u8]) -> Result<Handover, String> {
    #[derive(Deserialize)]
    struct Form {
        version: u32,
    }
    let form: Form = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if form.version != VERSION {
        return Err(format!("it is of version {} and not {VERSION}", form.version));
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// Whether this version could take over from a keeper whose document comes on standard input.
///
/// # Errors
/// Why not, as a part of a sentence.
pub(super) fn check_standard_input() -> Result<(), String> {
    let memory = rustix::stdio::stdin().try_clone_to_owned().map_err(plain)?;
    read(&File::from(memory)).map(drop).map_err(plain)
}

/// Whether this process has just been a keeper that handed over.
pub fn is_due() -> bool {
    std::env::var(VARIABLE).is_ok_and(|pid| pid == std::process::id().to_string())
}

/// Becomes the program at `path`, with the same arguments. It returns only if that failed; then nothing has changed.
pub(super) fn exec(path: &Path, handover: &Handover, row: &Row<'_>) -> io::Error {
    let before = match rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) {
        Ok(before) => before,
        Err(error) => return error.into(),
    };
    let error = match send(handover, row, &before) {
        Ok(socket) => rustix::stdio::dup2_stdin(&socket).map_err(io::Error::from).err(),
        Err(error) => Some(error),
    };
    let error = error.unwrap_or_else(|| become_program(path));
    // What it was before; there is nothing else to do where that fails, and nobody reads it.
    let _ = rustix::stdio::dup2_stdin(&before);
    error
}

fn become_program(path: &Path) -> io::Error {
    let text = |text: Vec<u8>| CString::new(text).expect("the system gives texts without a zero byte");
    let arguments: Vec<CString> = std::env::args_os().map(|word| text(word.into_vec())).collect();
    let own = (OsString::from(VARIABLE), OsString::from(std::process::id().to_string()));
    let environment: Vec<CString> = std::env::vars_os()
        .filter(|(name, _)| name != VARIABLE)
        .chain([own])
        .map(|(name, value)| text([name.into_vec(), value.into_vec()].join(&b'=')))
        .collect();
    match nix::unistd::execve(&text(path.as_os_str().to_owned().into_vec()), &arguments, &environment) {
        Err(error) => error.into(),
    }
}

/// Puts everything into a socket and returns its other end.
fn send(handover: &Handover, row: &Row<'_>, before: &OwnedFd) -> io::Result<OwnedFd> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let memory = memory_of(handover)?;
    send_some(&ours, &[memory.as_fd(), before.as_fd()])?;
    for some in row.0.chunks(DESCRIPTORS_AT_ONCE) {
        send_some(&ours, some)?;
    }
    Ok(theirs)
}

fn send_some(socket: &OwnedFd, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("there are too many descriptors for a message"));
    }
    // Nobody reads yet: what does not fit into the socket must fail instead of waiting.
    sendmsg(socket, &[IoSlice::new(b"+")], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Takes over what waits on standard input, and puts back what was there before.
pub(super) fn receive() -> io::Result<(Handover, Arrived)> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let [memory, before] = <[OwnedFd; 2]>::try_from(receive_some(&socket)?)
        .map_err(|_| io::Error::other("standard input is not what a keeper hands over"))?;
    rustix::stdio::dup2_stdin(&before)?;
    let handover = read(&File::from(memory))?;
    let mut arrived = Vec::with_capacity(handover.descriptors);
    while arrived.len() < handover.descriptors {
        arrived.extend(receive_some(&socket)?.into_iter().map(Some));
    }
    Ok((handover, Arrived(arrived)))
}

fn receive_some(socket: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let mut received = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            received.extend(descriptors);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) || received.is_empty() {
        return Err(io::Error::other("a descriptor could not be received"));
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats;

    #[test]
    fn what_earlier_versions_hand_over_is_understood() {
        for (place, text) in formats::each("handover.json") {
            let handover = understand(text.as_bytes()).unwrap_or_else(|why| panic!("{place}: {why}"));
            let null = || File::open("/dev/null").map(OwnedFd::from).unwrap();
            let mut arrived = Arrived((0..handover.descriptors).map(|_| Some(null())).collect());
            let children =
                unpack_children(handover.children, handover.last_incarnation, &mut arrived).unwrap();
            assert_eq!(children.living(), 5, "{place}");
        }
    }

    #[test]
    fn a_document_of_another_version_is_refused_by_its_number() {
        let refused = understand(b"{\"version\": 2, \"else\": []}").unwrap_err();
        assert_eq!(refused, "it is of version 2 and not 1");
    }

    #[test]
    fn descriptors_arrive_in_their_order_however_many_there_are() {
        let files: Vec<File> = (0..300)
            .map(|number| {
                let mut file = tempfile::tempfile().unwrap();
                write!(file, "{number}").unwrap();
                file
            })
            .collect();
        let mut row = Row::default();
        for file in &files {
            row.add(file);
        }
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        for some in row.0.chunks(DESCRIPTORS_AT_ONCE) {
            send_some(&ours, some).unwrap();
        }
        let mut arrived = Vec::new();
        while arrived.len() < files.len() {
            arrived.extend(receive_some(&theirs).unwrap());
        }
        for (number, descriptor) in arrived.into_iter().enumerate() {
            let mut text = [0; 8];
            let length = File::from(descriptor).read_at(&mut text, 0).unwrap();
            assert_eq!(text[..length], *number.to_string().as_bytes());
        }
    }
}
