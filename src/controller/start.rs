//! How a controller comes up: from the keeper's inventory and what it kept, or, the first time, from the configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::control::{Control, Parts};
use super::earlier;
use super::executor::PIPES;
use super::handle::Handle;
use super::hearing::Hearing;
use super::kept::{self, Running};
use super::leaving::Servers;
use super::locks::{hold_until_the_end, lock_after_a_killed_keeper};
use super::printed::Printed;
use super::{sockets, takeover};
use crate::config;
use crate::core::ids::Incarnation;
use crate::http::{self, HttpSettings, Token};
use crate::keeper::link::{ControllerLink, LinkError};
use crate::keeper::protocol::{self, Fact, Inventory, Order, Recording};
use crate::logs::Pump;
use crate::store::journal::Journal;
use crate::sys::lock::LockError;
use crate::sys::notify;
use crate::sys::service;

/// How many requests of the page and the API may wait for the loop.
const REQUESTS_WAITING_MAX: usize = 256;

/// How many facts of the probes may wait for the loop.
const PROBE_FACTS_WAITING_MAX: usize = 4_096;

/// Why a controller could not come up or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has mistakes; they were printed. Exit code 2.
    #[error("{0}")]
    Configuration(config::Problems),
    /// The connection to the keeper.
    #[error("the connection to the keeper failed")]
    Link(#[from] LinkError),
    /// The keeper is of another version.
    #[error(
        "the keeper speaks version {keeper} of the protocol and this controller version {own}; start Leveret again"
    )]
    Version {
        /// The keeper's version.
        keeper: u32,
        /// This controller's version.
        own: u32,
    },
    /// The keeper went away before it said what there is.
    #[error("the keeper went away")]
    KeeperGone,
    /// A directory is in use by another Leveret, or cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A socket cannot be opened.
    #[error(transparent)]
    Listen(#[from] kept::ListenError),
    /// What a service manager has opened for the page.
    #[error("the socket that the service manager passes cannot be the page's: {0}")]
    Passed(String),
    /// Anything else of the system.
    #[error("cannot {action}")]
    System {
        /// What was being done.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl StartError {
    fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }

    /// The exit code: 2 for a bad configuration, 1 for anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 2,
            Self::Link(_)
            | Self::Version { .. }
            | Self::KeeperGone
            | Self::Lock(_)
            | Self::Listen(_)
            | Self::Passed(_)
            | Self::System { .. } => 1,
        }
    }
}

/// Runs a controller on the socket that is its standard input, until Leveret ends, and returns the exit code.
///
/// # Errors
/// See [`StartError`].
pub async fn run(configuration: PathBuf) -> Result<u8, StartError> {
    let mut link = ControllerLink::from_stdin()?;
    let (mut inventory, mut kept) = receive_inventory(&mut link).await?;
    let environment = environment();
    let first = !kept.contains_key(kept::CONFIGURATION);
    let mut running = match kept.remove(kept::CONFIGURATION) {
        Some(descriptor) => read_running(&descriptor)?,
        None => {
            let settings = config::load(&configuration, &environment).map_err(StartError::Configuration)?;
            Running { settings, retiring: Vec::new() }
        }
    };
    // The keeper takes the first order as the word that all is well, so everything that can fail comes before it.
    let mut to_keep = Vec::new();
    if first {
        take_directories(&running, &inventory, &kept, &mut to_keep).await?;
        to_keep.push((kept::CONFIGURATION, memory_of(&running)?));
    }
    for lock in [kept::STATE_LOCK, kept::RUNTIME_LOCK].into_iter().filter_map(|key| kept.remove(key)) {
        hold_until_the_end(lock);
    }
    let tcp = tcp_listener(kept.remove(kept::TCP), &running, inventory.keeper_pid, &mut to_keep)?;
    let unix = unix_listener(kept.remove(kept::UNIX), &running, &mut to_keep)?;
    let token = token(kept.remove(kept::TOKEN), &mut to_keep)?;
    let runtime_dir = running.settings.runtime_dir.clone();
    sockets::make_directory(&runtime_dir)
        .map_err(StartError::system(format!("make {}", notify::directory(&runtime_dir).display())))?;
    let said_before = memory_kept(kept.remove(kept::HEARD), kept::HEARD, &mut to_keep)?;
    let printed_before = memory_kept(kept.remove(kept::PRINTED), kept::PRINTED, &mut to_keep)?;
    let known: BTreeSet<Incarnation> =
        inventory.processes.iter().map(|process| process.incarnation).collect();
    let (note, printed) =
        Printed::open(printed_before, &known).map_err(StartError::system("remember what processes print"))?;

    let (requests_in, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
    let (probe_facts_in, probe_facts) = mpsc::channel(PROBE_FACTS_WAITING_MAX);
    let (pump_events_in, pump_events) = mpsc::unbounded_channel();
    let (changed, changes) = watch::channel(0);
    // The pump's events are few: one or two for each life. The receiver is gone only when the controller ends.
    let tell = move |event| {
        note.take_note(&event);
        drop(pump_events_in.send(event));
    };
    let pump = Pump::start(tell).map_err(StartError::system("start the thread that moves output"))?;
    let sockets: Vec<(Incarnation, OwnedFd)> = kept
        .into_iter()
        .filter_map(|(key, descriptor)| Some((protocol::notified(&key)?, descriptor)))
        .collect();
    let (heard_in, heard) = mpsc::unbounded_channel();
    // They are told together, ten times a second. The receiver is gone only when the controller ends.
    let (hearing, said) = Hearing::start(said_before, sockets, move |heard| drop(heard_in.send(heard)))
        .map_err(StartError::system("listen to what processes say"))?;
    let handle = Handle::new(requests_in, changes);
    let remarks = handle.remarks_in();
    let state_dir = running.settings.state_dir.clone();
    let journal = Journal::open(&state_dir)
        .map_err(StartError::system(format!("read the journal in {}", state_dir.display())))?;
    let listen = tcp.local_addr().map_err(StartError::system("read the address of the page"))?;
    for (key, descriptor) in to_keep {
        link.send(&Order::Keep { key: key.to_owned() }, Some(descriptor))?;
    }
    let is_new_keeper = inventory.recording == Recording::No;
    if is_new_keeper {
        inventory = adopt(&mut link, inventory, runtime_dir.join("lives")).await?;
        // Earlier versions had them in the state directory.
        for pipes in [runtime_dir.join(PIPES), state_dir.join(PIPES)] {
            remove_other_pipes(&pipes, &inventory);
        }
        open_sockets_again(&mut link, &hearing, &runtime_dir, &inventory)?;
        let mut known = running.settings.programs.clone();
        known.extend(running.retiring.iter().cloned());
        running.retiring.extend(earlier::of_lives(&state_dir, &inventory, &known));
    }
    let mut control = Control::new(Parts {
        configuration,
        environment,
        running,
        listen,
        inventory,
        link,
        pump,
        requests,
        probe_facts,
        probe_facts_in,
        pump_events,
        changed,
        remarks,
        journal,
        hearing,
        heard,
        said,
        printed,
        first,
    });
    if is_new_keeper {
        // With programs that were removed while there was no Leveret.
        control.keep_configuration()?;
    }
    if control.can_upgrade {
        control.order(&Order::Up);
    }
    serve(tcp, unix, token, listen, &mut control, &handle);
    control.announce_up();
    let ending = control.servers.ending();
    let code = control.run().await?;
    ending.cancel();
    Ok(code)
}

fn serve(
    tcp: TcpListener,
    unix: UnixListener,
    token: Token,
    listen: std::net::SocketAddr,
    control: &mut Control,
    handle: &Handle,
) {
    let mut servers = Servers::new(CancellationToken::new());
    let settings = Arc::new(HttpSettings { allowed_hosts: control.allowed_hosts(), listen });
    let (over_tcp, over_unix) = (handle.clone(), handle.clone());
    let (tcp_ending, unix_ending) = (servers.ending(), servers.ending());
    servers.spawn(async move {
        if let Err(error) = http::serve_tcp(tcp, over_tcp, settings, token, tcp_ending).await {
            tracing::error!("the page cannot be served any longer: {error}");
        }
    });
    servers.spawn(async move {
        if let Err(error) = http::serve_unix(unix, over_unix, unix_ending).await {
            tracing::error!("the command line cannot be served any longer: {error}");
        }
    });
    control.servers = servers;
}

async fn receive_inventory(
    link: &mut ControllerLink,
) -> Result<(Inventory, BTreeMap<String, OwnedFd>), StartError> {
    let inventory = match link.next().await? {
        Some((Fact::Inventory(inventory), _)) => inventory,
        Some(_) | None => return Err(StartError::KeeperGone),
    };
    if inventory.version != protocol::VERSION {
        return Err(StartError::Version { keeper: inventory.version, own: protocol::VERSION });
    }
    let mut kept = BTreeMap::new();
    for _ in &inventory.kept {
        match link.next().await? {
            Some((Fact::Kept { key }, Some(descriptor))) => drop(kept.insert(key, descriptor)),
            Some(_) | None => return Err(StartError::KeeperGone),
        }
    }
    Ok((inventory, kept))
}

/// Has the keeper take over what an earlier one left, if that was killed, and keep records itself from now on.
async fn adopt(
    link: &mut ControllerLink,
    before: Inventory,
    records: PathBuf,
) -> Result<Inventory, StartError> {
    link.send(&Order::Adopt { records }, None)?;
    // Requests to end are told again; other signals are told once, and not in the inventory that follows.
    let mut signals = before.signals;
    signals.retain(|signal| !takeover::is_request_to_end(*signal));
    loop {
        match link.next().await? {
            Some((Fact::Inventory(mut inventory), _)) => {
                signals.append(&mut inventory.signals);
                return Ok(Inventory { signals, ..inventory });
            }
            Some((Fact::Signalled { signal }, _)) if !takeover::is_request_to_end(signal) => {
                signals.push(signal);
            }
            // The inventory that follows has it.
            Some(_) => {}
            None => return Err(StartError::KeeperGone),
        }
    }
}

/// Opens the sockets of what an earlier keeper started, and has this one hold them.
fn open_sockets_again(
    link: &mut ControllerLink,
    hearing: &Hearing,
    runtime_dir: &Path,
    inventory: &Inventory,
) -> Result<(), StartError> {
    for (incarnation, socket) in sockets::open_again(runtime_dir, inventory) {
        let copy = socket.try_clone().map_err(StartError::system("duplicate a socket"))?;
        link.send(&Order::Keep { key: protocol::notify_key(incarnation) }, Some(copy))?;
        hearing.listen(incarnation, socket);
    }
    Ok(())
}

/// A memory of what processes say or print.
fn memory_kept(
    kept: Option<OwnedFd>,
    key: &'static str,
    to_keep: &mut ToKeep,
) -> Result<OwnedFd, StartError> {
    let fail = || StartError::system("remember what processes say");
    match kept {
        Some(memory) => Ok(memory),
        None => {
            let memory = kept::memory_file(&format!("leveret {key}"), &[]).map_err(fail())?;
            to_keep.push((key, memory.try_clone().map_err(fail())?));
            Ok(memory)
        }
    }
}

/// Removes the named pipes of lives that nobody knows any more. The lock says that they are not another Leveret's.
fn remove_other_pipes(pipes: &Path, inventory: &Inventory) {
    let all = inventory.processes.iter().flat_map(|process| [Some(&process.output), process.errors.as_ref()]);
    let known: BTreeSet<&Path> = all.flatten().map(PathBuf::as_path).collect();
    let entries = fs::read_dir(pipes).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| !known.contains(path.as_path())) {
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!("cannot remove {}: {}", path.display(), crate::sys::cause::plain(error));
        }
    }
}

/// Leveret's own environment; variables that are not UTF-8 cannot be written in a configuration and are left out.
pub(super) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        // It is about the keeper alone.
        .filter(|(name, _)| name != crate::keeper::HANDOVER_VARIABLE)
        .filter_map(|(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        })
        .collect()
}

fn read_running(descriptor: &OwnedFd) -> Result<Running, StartError> {
    let bytes =
        kept::read_memory_file(descriptor).map_err(StartError::system("read the kept configuration"))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| StartError::system("understand the kept configuration")(error.into()))
}

/// The running configuration as the keeper holds it, for the next controller.
pub(crate) fn memory_of(running: &Running) -> Result<OwnedFd, StartError> {
    let fail = || StartError::system("keep the configuration in memory");
    let bytes = serde_json::to_vec(running).map_err(|error| fail()(error.into()))?;
    kept::memory_file("leveret configuration", &bytes).map_err(fail())
}

/// What the keeper is to hold, by key.
type ToKeep = Vec<(&'static str, OwnedFd)>;

async fn take_directories(
    running: &Running,
    inventory: &Inventory,
    kept: &BTreeMap<String, OwnedFd>,
    to_keep: &mut ToKeep,
) -> Result<(), StartError> {
    let settings = &running.settings;
    // The keeper holds a lock already where the controller before was killed while it handed over what is to be kept.
    if !kept.contains_key(kept::STATE_LOCK) {
        let lock = lock_after_a_killed_keeper(&settings.state_dir, inventory.keeper_pid).await?;
        hold_until_the_end(lock.try_clone().map_err(StartError::system("duplicate a lock"))?);
        to_keep.push((kept::STATE_LOCK, lock));
    }
    if settings.runtime_dir != settings.state_dir && !kept.contains_key(kept::RUNTIME_LOCK) {
        let lock = lock_after_a_killed_keeper(&settings.runtime_dir, inventory.keeper_pid).await?;
        hold_until_the_end(lock.try_clone().map_err(StartError::system("duplicate a lock"))?);
        to_keep.push((kept::RUNTIME_LOCK, lock));
    }
    for directory in [settings.runtime_dir.join(PIPES), settings.state_dir.join("logs")] {
        fs::create_dir_all(&directory)
            .map_err(StartError::system(format!("make {}", directory.display())))?;
    }
    Ok(())
}

fn tcp_listener(
    kept: Option<OwnedFd>,
    running: &Running,
    keeper_pid: i32,
    to_keep: &mut ToKeep,
) -> Result<TcpListener, StartError> {
    if let Some(descriptor) = kept {
        return Ok(TcpListener::from(descriptor));
    }
    let listener = match passed_listener(keeper_pid)? {
        Some(listener) => listener,
        None => kept::listen_tcp(&running.settings)?,
    };
    let copy = listener.try_clone().map_err(StartError::system("duplicate the page's socket"))?;
    to_keep.push((kept::TCP, copy.into()));
    Ok(listener)
}

/// The page's socket, if a service manager has opened it: the only one, or the one that it calls `page`.
fn passed_listener(keeper_pid: i32) -> Result<Option<TcpListener>, StartError> {
    let mut passed = service::passed(keeper_pid.unsigned_abs())
        .map_err(StartError::system("take the sockets that the service manager has opened (LISTEN_FDS)"))?;
    if passed.len() > 1 {
        passed.retain(|socket| socket.name == PAGE_SOCKET);
    } else if passed.is_empty() {
        return Ok(None);
    }
    let refuse = |why: &str| Err(StartError::Passed(why.to_owned()));
    let Some(socket) = passed.pop().filter(|_| passed.is_empty()) else {
        return refuse("of several sockets, exactly one must be called `page` (FileDescriptorName=page)");
    };
    let is_listening = rustix::net::sockopt::socket_acceptconn(&socket.descriptor);
    let listener = TcpListener::from(socket.descriptor);
    match (is_listening, listener.local_addr()) {
        (Ok(true), Ok(_)) => Ok(Some(listener)),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => {
            refuse("it is not a listening TCP socket (ListenStream=127.0.0.1:7865)")
        }
    }
}

/// The name of the page's socket where there are several.
const PAGE_SOCKET: &str = "page";

fn unix_listener(
    kept: Option<OwnedFd>,
    running: &Running,
    to_keep: &mut ToKeep,
) -> Result<UnixListener, StartError> {
    if let Some(descriptor) = kept {
        return Ok(UnixListener::from(descriptor));
    }
    let listener = kept::listen_unix(&running.settings)?;
    let copy = listener.try_clone().map_err(StartError::system("duplicate the command line's socket"))?;
    to_keep.push((kept::UNIX, copy.into()));
    Ok(listener)
}

/// The change token stays the same over controllers, so that a page that was opened before goes on working.
fn token(kept: Option<OwnedFd>, to_keep: &mut ToKeep) -> Result<Token, StartError> {
    let fail = || StartError::system("make the page's change token");
    if let Some(descriptor) = kept {
        let bytes = kept::read_memory_file(&descriptor).map_err(fail())?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| fail()(io::ErrorKind::InvalidData.into()))?;
        return Ok(Token::from_bytes(bytes));
    }
    let token = Token::generate().map_err(fail())?;
    to_keep.push((kept::TOKEN, kept::memory_file("leveret token", token.as_bytes()).map_err(fail())?));
    Ok(token)
}

/// Sends what the controller has to tell to stderr. `LEVERET_LOG` chooses how much, as in `LEVERET_LOG=debug`.
pub fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::builder()
        .with_env_var("LEVERET_LOG")
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .from_env_lossy()
        // lapin calls errors what its caller treats as facts, and at trace level it shows logins.
        .add_directive("lapin=off".parse().expect("a constant that parses"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&io::stderr()))
        .init();
}

/// Prints why a controller could not come up, for the person who started Leveret.
pub fn print(error: &StartError) -> io::Result<()> {
    let mut out = io::stderr().lock();
    match error {
        StartError::Configuration(problems) => writeln!(out, "{problems}"),
        StartError::Link(_)
        | StartError::Version { .. }
        | StartError::KeeperGone
        | StartError::Lock(_)
        | StartError::Listen(_)
        | StartError::Passed(_)
        | StartError::System { .. } => {
            let mut text = format!("leveret: {error}");
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            writeln!(out, "{}", crate::sys::cause::plain(text))
        }
    }
}
