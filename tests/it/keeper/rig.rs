//! A real keeper in a process of its own, and a controller whose words are the test's.
//!
//! Both are this test binary again. The keeper's process runs the ignored test `a_keeper_process`; the controller that
//! the keeper starts runs `a_controller_process`, which hands its end of the connection to the test and lives on until
//! the test kills it or tells it to exit.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use leveret::core::command::Scope;
use leveret::core::exit::ExitStatus;
use leveret::core::ids::Incarnation;
use leveret::keeper::frame::{FrameReader, FrameWriter, WAITING_BYTES_MAX};
use leveret::keeper::protocol::{Fact, Inventory, Order, SpawnOrder};
use leveret::keeper::{KeeperOptions, run};
use leveret::sys::process;
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const SOCKET_VARIABLE: &str = "LEVERET_TEST_SOCKET";

/// How long a test waits for what must come before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The keeper under test.
pub(super) struct Rig {
    pub(super) directory: TempDir,
    keeper: Child,
    listener: UnixListener,
    last_incarnation: u64,
    /// What a killed keeper left behind, with start times; ended with the test.
    left: Vec<(i32, u64)>,
}

/// The test's end of the connection that the keeper gave to its controller.
pub(super) struct Controller {
    pub(super) pid: i32,
    /// The first fact.
    pub(super) inventory: Inventory,
    process: UnixStream,
    socket: OwnedFd,
    reader: FrameReader,
    writer: FrameWriter,
}

impl Rig {
    pub(super) fn start() -> Self {
        Self::start_after(":")
    }

    /// Starts the keeper from a shell that ran this before.
    pub(super) fn start_after(shell: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("controller.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let keeper = Self::start_keeper(directory.path(), shell);
        Self { directory, keeper, listener, last_incarnation: 0, left: Vec::new() }
    }

    fn start_keeper(directory: &Path, shell: &str) -> Child {
        // The test harness of the keeper's process has a second thread, which must not take the keeper's signals.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap();
        let keeper = Command::new("sh")
            .args(["-c", &format!("{shell}; exec \"$@\""), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "keeper::a_keeper_process", "--nocapture"])
            .env(SOCKET_VARIABLE, directory.join("controller.sock"))
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        mask.thread_set_mask().unwrap();
        keeper
    }

    /// Kills the keeper; its processes go on.
    #[expect(clippy::disallowed_methods, reason = "the test's own child")]
    pub(super) fn kill_keeper(&mut self) {
        // Frozen, so that it starts and reaps nothing while they are listed.
        self.signal_keeper(Signal::STOP);
        let living = descendants(self.keeper_pid());
        let started = |pid: i32| Some((pid, process::stat(pid).ok()?.start_time_ticks));
        self.left.extend(living.into_iter().filter_map(started));
        self.signal_keeper(Signal::KILL);
        self.keeper.wait().unwrap();
    }

    /// Another keeper after [`Rig::kill_keeper`], told to take over from `lives`; its controller with the inventory of that.
    pub(super) fn start_again(&mut self) -> Controller {
        self.keeper = Self::start_keeper(self.directory.path(), ":");
        self.adopting_controller()
    }

    /// The controller of a keeper that is told to keep records in `lives`, once it does.
    pub(super) fn adopting_controller(&self) -> Controller {
        let mut controller = self.controller();
        controller.send(&Order::Adopt { records: self.path("lives") });
        controller.inventory = controller.wait_for(|fact| {
            let Fact::Inventory(inventory) = fact else { return None };
            Some(inventory.clone())
        });
        controller
    }

    /// The controller that the keeper started last.
    pub(super) fn controller(&self) -> Controller {
        readable(&self.listener);
        Controller::take_over(self.listener.accept().unwrap().0)
    }

    pub(super) fn keeper_pid(&self) -> i32 {
        self.keeper.id() as i32
    }

    pub(super) fn signal_keeper(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.keeper), signal).unwrap();
    }

    /// What the keeper wrote to stderr.
    pub(super) fn stderr(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An order for a command, with an incarnation and a pipe of its own and the mark of the incarnation.
    pub(super) fn order(&mut self, argv: &[&str]) -> SpawnOrder {
        self.last_incarnation += 1;
        let number = self.last_incarnation;
        let environment =
            [("PATH", std::env::var("PATH").unwrap()), ("LEVERET_INCARNATION", number.to_string())];
        SpawnOrder {
            incarnation: Incarnation(number),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            output: self.path(&format!("{number}.out")),
            note: serde_json::json!({ "number": number }),
            ..SpawnOrder::default()
        }
    }

    pub(super) fn shell(&mut self, script: &str) -> SpawnOrder {
        self.order(&["sh", "-c", script])
    }

    /// The keeper's exit code, once it has ended.
    #[expect(clippy::disallowed_methods, reason = "the test's own child")]
    pub(super) fn exit_code(&mut self) -> Option<i32> {
        let pidfd =
            rustix::process::pidfd_open(Pid::from_child(&self.keeper), rustix::process::PidfdFlags::empty());
        readable(pidfd.unwrap());
        self.keeper.wait().unwrap().code()
    }

    /// How many file descriptors the keeper has open.
    pub(super) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.keeper.id())).unwrap().count()
    }
}

impl Drop for Rig {
    #[expect(clippy::disallowed_methods, reason = "the test's own child")]
    fn drop(&mut self) {
        // A test that failed half way leaves nothing behind: the keeper is frozen, so it starts and reaps nothing now.
        let keeper = Pid::from_child(&self.keeper);
        if self.keeper.try_wait().unwrap().is_none() {
            kill_process(keeper, Signal::STOP).unwrap();
            for pid in descendants(self.keeper_pid()) {
                // It may have ended by itself.
                let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            }
            kill_process(keeper, Signal::KILL).unwrap();
            self.keeper.wait().unwrap();
        }
        for (pid, start_time_ticks) in &self.left {
            if process::stat(*pid).is_ok_and(|stat| stat.start_time_ticks == *start_time_ticks) {
                // It may have ended by itself.
                let _ = kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL);
            }
        }
    }
}

fn descendants(pid: i32) -> Vec<i32> {
    let mut found = process::children(pid).unwrap_or_default();
    for child in found.clone() {
        found.extend(descendants(child));
    }
    found
}

impl Controller {
    fn take_over(process: UnixStream) -> Self {
        let mut pid = [0u8; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        readable(&process);
        recvmsg(&process, &mut [IoSliceMut::new(&mut pid)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let Some(RecvAncillaryMessage::ScmRights(mut descriptors)) = control.drain().next() else {
            panic!("the controller sent no socket");
        };
        let socket = descriptors.next().unwrap();
        let mut controller = Self {
            pid: i32::from_le_bytes(pid),
            inventory: Inventory::default(),
            process,
            socket,
            reader: FrameReader::new(WAITING_BYTES_MAX),
            writer: FrameWriter::new(WAITING_BYTES_MAX),
        };
        let (Fact::Inventory(inventory), None) = controller.next() else { panic!("no inventory") };
        controller.inventory = inventory;
        controller
    }

    pub(super) fn next(&mut self) -> (Fact, Option<OwnedFd>) {
        loop {
            if let Some(fact) = self.reader.take().unwrap() {
                return fact;
            }
            readable(&self.socket);
            assert_ne!(self.reader.fill(&self.socket).unwrap(), 0, "the keeper has closed the connection");
        }
    }

    /// The first fact that `pick` likes; those before it are dropped.
    pub(super) fn wait_for<T>(&mut self, mut pick: impl FnMut(&Fact) -> Option<T>) -> T {
        loop {
            let (fact, _) = self.next();
            if let Some(picked) = pick(&fact) {
                return picked;
            }
        }
    }

    pub(super) fn send(&mut self, order: &Order) {
        self.send_with(order, None);
    }

    pub(super) fn send_with(&mut self, order: &Order, descriptor: Option<OwnedFd>) {
        self.writer.push(order, descriptor.map(Arc::new)).unwrap();
        while let Err(error) = self.writer.flush(&self.socket) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            wait_for(&self.socket, PollFlags::OUT);
        }
    }

    /// A frame that no keeper understands.
    pub(super) fn send_nonsense(&mut self) {
        rustix::io::write(&self.socket, b"\x02\0\0\0{}").unwrap();
    }

    pub(super) fn spawn(&mut self, order: &SpawnOrder) {
        self.send(&Order::Spawn(Box::new(order.clone())));
    }

    pub(super) fn signal(&mut self, order: &SpawnOrder, signal: i32, scope: Scope) {
        self.send(&Order::Signal { incarnation: order.incarnation, signal, scope });
    }

    /// Spawns and waits for the exec; the leader's process id.
    pub(super) fn spawned(&mut self, order: &SpawnOrder) -> i32 {
        self.spawn(order);
        self.wait_spawned(order)
    }

    pub(super) fn wait_spawned(&mut self, order: &SpawnOrder) -> i32 {
        self.wait_for(|fact| {
            assert!(!matches!(fact, Fact::CouldNotSpawn { .. }), "{fact:?}");
            let Fact::Spawned { incarnation, pid, .. } = fact else { return None };
            (*incarnation == order.incarnation).then_some(*pid)
        })
    }

    /// How the leader ended, and how many it left.
    pub(super) fn wait_exited(&mut self, order: &SpawnOrder) -> (ExitStatus, u32) {
        self.wait_for(|fact| {
            let Fact::Exited { incarnation, status, left, .. } = fact else { return None };
            (*incarnation == order.incarnation).then_some((*status, *left))
        })
    }

    pub(super) fn wait_left(&mut self, order: &SpawnOrder, count: u32) {
        self.wait_for(|fact| {
            let Fact::Left { incarnation, left, .. } = fact else { return None };
            (*incarnation == order.incarnation && *left == count).then_some(())
        });
    }

    /// How the leader ended, once the keeper has found that it left so many.
    pub(super) fn wait_exited_leaving(&mut self, order: &SpawnOrder, count: u32) -> ExitStatus {
        let (status, left) = self.wait_exited(order);
        if left != count {
            self.wait_left(order, count);
        }
        status
    }

    pub(super) fn wait_could_not_spawn(&mut self, order: &SpawnOrder) -> (String, String) {
        self.wait_for(|fact| {
            let Fact::CouldNotSpawn { incarnation, step, cause, .. } = fact else { return None };
            (*incarnation == order.incarnation).then(|| (step.clone(), cause.clone()))
        })
    }

    /// SIGKILL, as the kernel or an administrator would.
    pub(super) fn kill(self) {
        kill_process(Pid::from_raw(self.pid).unwrap(), Signal::KILL).unwrap();
    }

    /// Exits by itself.
    pub(super) fn exit(mut self, code: u8) {
        self.process.write_all(&[code]).unwrap();
    }
}

/// Waits until a descriptor has something to read.
pub(super) fn readable(descriptor: impl std::os::fd::AsFd) {
    wait_for(descriptor, PollFlags::IN);
}

fn wait_for(descriptor: impl std::os::fd::AsFd, what: PollFlags) {
    let descriptor = descriptor.as_fd();
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let found = poll(&mut [PollFd::new(&descriptor, what)], Some(&patience)).unwrap();
    assert_eq!(found, 1, "nothing came within {PATIENCE:?}");
}

/// A named pipe whose first line tells something, as a process id: the reader waits for it.
pub(super) fn read_line(path: &Path) -> String {
    let mut file = open_pipe(path);
    let mut line = String::new();
    while !line.ends_with('\n') {
        readable(&file);
        let mut byte = [0u8; 1];
        assert_eq!(file.read(&mut byte).unwrap(), 1);
        line.push(byte[0] as char);
    }
    line.trim_end().to_owned()
}

/// All that is in a pipe at this moment.
pub(super) fn drain(path: &Path) -> String {
    let mut text = Vec::new();
    let error = open_pipe(path).read_to_end(&mut text).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    String::from_utf8(text).unwrap()
}

fn open_pipe(path: &Path) -> File {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).unwrap().into()
}

/// Whether a process lives; a zombie does not.
pub(super) fn is_alive(pid: i32) -> bool {
    process::stat(pid).is_ok_and(|stat| !stat.is_zombie())
}

/// The keeper's process.
pub(super) fn keeper_process() {
    if std::env::var_os(SOCKET_VARIABLE).is_none() {
        return;
    }
    let this = std::env::current_exe().unwrap();
    let arguments = ["--ignored", "--exact", "keeper::a_controller_process", "--nocapture"];
    let code = run(KeeperOptions {
        binary: env!("CARGO_BIN_EXE_leveret").into(),
        controller: this,
        controller_argv: arguments.map(Into::into).into(),
        path: None,
        preflight_argv: Vec::new(),
    });
    std::process::exit(code.unwrap().into());
}

/// The controller's process.
pub(super) fn controller_process() {
    let Some(path) = std::env::var_os(SOCKET_VARIABLE) else { return };
    let mut test = UnixStream::connect(path).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let stdin = io::stdin();
    let socket = [stdin.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&socket));
    let pid = (std::process::id() as i32).to_le_bytes();
    sendmsg(&test, &[IoSlice::new(&pid)], &mut control, SendFlags::empty()).unwrap();
    let mut code = [0u8];
    let read = test.read(&mut code).unwrap();
    std::process::exit(if read == 1 { code[0].into() } else { 0 });
}
