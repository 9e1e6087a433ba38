//! The keeper with real processes: every fault that it is there for.

mod adoption;
mod rig;
mod standby;

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use leveret::core::command::Scope;
use leveret::core::exit::ExitStatus;
use leveret::core::ids::Incarnation;
use leveret::keeper::protocol::{Fact, InventoryState, Order};
use leveret::sys::process;
use rig::{Controller, Rig, drain, is_alive, read_line};
use rustix::process::{Pid, Signal, kill_process};

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGSTOP: i32 = 19;

#[test]
#[ignore = "a process of the tests below"]
fn a_keeper_process() {
    rig::keeper_process();
}

#[test]
#[ignore = "a process of the tests below"]
fn a_controller_process() {
    rig::controller_process();
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Waits until a process is gone; the keeper reaps it.
fn wait_gone(pid: i32) {
    // A descriptor of a process becomes readable when it ends.
    match rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), rustix::process::PidfdFlags::empty()) {
        Ok(descriptor) => rig::readable(&descriptor),
        Err(error) => assert_eq!(error, rustix::io::Errno::SRCH),
    }
}

/// A named pipe that scripts read a line from (`read line < PATH`) before they go on.
struct Gate {
    path: PathBuf,
    /// Open for reading too, so that nobody waits to open it.
    file: File,
}

impl Gate {
    fn new(rig: &Rig) -> Self {
        let path = rig.path("gate");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        Self { path, file }
    }

    fn let_through(&mut self, count: usize) {
        self.file.write_all(&vec![b'\n'; count]).unwrap();
    }
}

#[test]
fn a_process_is_started_with_exactly_what_was_ordered_and_its_exit_is_told() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let mut order = rig.order(&["sh", "-c", "env; pwd; umask; nice; echo on stderr >&2; exit 3"]);
    order.environment.insert("GREETING".to_owned(), "hello\nworld".to_owned());
    order.environment.insert("PWD".to_owned(), "/usr".to_owned());
    order.directory = Some("/usr".into());
    order.umask = Some(0o027);
    order.nice = Some(3);
    let pid = controller.spawned(&order);
    assert!(pid > 0);
    assert_eq!(controller.wait_exited(&order), (ExitStatus::Code(3), 0));
    controller.wait_left(&order, 0);

    let text = drain(&order.output);
    let (environment, rest) = text.split_at(text.find("/usr\n0027").unwrap());
    let mut expected: Vec<String> =
        order.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    expected.push("GREETING=hello\nworld".to_owned());
    for line in environment.lines() {
        let is_set_by_the_shell = line.starts_with("_=") || line.starts_with("OLDPWD=");
        let is_ordered = expected.iter().any(|variable| variable.lines().any(|part| part == line));
        assert!(is_ordered || is_set_by_the_shell, "{line} was not ordered");
    }
    assert!(environment.contains("GREETING=hello\nworld\n"), "{text}");
    assert_eq!(rest, "/usr\n0027\n3\non stderr\n");
}

#[test]
fn a_signal_reaches_the_leader_and_is_told_as_its_end() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let order = rig.order(&["sleep", "1000"]);
    controller.spawned(&order);
    // A stopped process cannot act on SIGTERM unless it is continued.
    controller.signal(&order, SIGSTOP, Scope::Main);
    controller.signal(&order, SIGTERM, Scope::Main);
    assert_eq!(controller.wait_exited(&order), (ExitStatus::Signal(SIGTERM), 0));

    let realtime = rig.shell("kill -34 $$");
    controller.spawned(&realtime);
    assert_eq!(controller.wait_exited(&realtime).0, ExitStatus::Signal(34));

    // To one that has ended, and to one that never was, it does nothing.
    controller.signal(&order, SIGKILL, Scope::Main);
    controller.send(&Order::Signal { incarnation: Incarnation(99), signal: SIGKILL, scope: Scope::Tree });
    let next = rig.order(&["true"]);
    controller.spawned(&next);
    assert_eq!(controller.wait_exited(&next).0, ExitStatus::Code(0));
}

#[test]
fn a_start_that_fails_names_the_step_and_leaves_nothing() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let mut chdir = rig.order(&["true"]);
    chdir.directory = Some("/srv/nope".into());
    let exec = rig.order(&["./server-that-is-not-there"]);
    let not_executable = rig.order(&["/etc/passwd"]);
    let mut user = rig.order(&["true"]);
    user.user = Some("nobody-has-this-name".to_owned());
    let mut output = rig.order(&["true"]);
    output.output = rig.path("no-such-directory/1.out");
    let mut empty = rig.order(&[]);
    empty.argv.clear();
    let cases = [
        (chdir, "chdir /srv/nope".to_owned(), "No such file or directory"),
        (exec, "exec ./server-that-is-not-there".to_owned(), "No such file or directory"),
        (not_executable, "exec /etc/passwd".to_owned(), "Permission denied"),
        (user, "user nobody-has-this-name".to_owned(), "no such user"),
        (output.clone(), format!("make pipe {}", output.output.display()), "No such file or directory"),
        (empty, "order".to_owned(), "there is no command"),
    ];
    for (order, step, cause) in &cases {
        controller.spawn(order);
        assert_eq!(controller.wait_could_not_spawn(order), (step.clone(), (*cause).to_owned()));
        assert!(!order.output.exists(), "{step}");
        controller.send(&Order::Release { incarnation: order.incarnation });
    }
    let (first, _, _) = &cases[0];
    controller.spawn(first);
    let (step, cause) = controller.wait_could_not_spawn(first);
    assert_eq!((step.as_str(), cause.as_str()), ("order", "incarnation 1 was ordered before"));

    let works = rig.order(&["true"]);
    controller.spawned(&works);
    controller.wait_left(&works, 0);
    controller.send(&Order::Release { incarnation: works.incarnation });
    controller.send(&Order::Exit { code: 7 });
    controller.exit(0);
    assert_eq!(rig.exit_code(), Some(7));
    assert!(!works.output.exists());
}

#[test]
fn descriptors_are_closed_when_incarnations_are_released() {
    const ROUNDS: usize = 30;
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let first = rig.order(&["true"]);
    controller.spawned(&first);
    controller.wait_left(&first, 0);
    controller.send(&Order::Release { incarnation: first.incarnation });
    standby::wait_for_one(&rig);
    let open_files = rig.open_files();
    for _ in 0..ROUNDS {
        let mut bad = rig.order(&["true"]);
        bad.directory = Some("/srv/nope".into());
        controller.spawn(&bad);
        controller.wait_could_not_spawn(&bad);
        let good = rig.order(&["true"]);
        controller.spawned(&good);
        controller.wait_left(&good, 0);
        assert!(good.output.exists());
        controller.send(&Order::Release { incarnation: good.incarnation });
        // An answer to a later order: the release was done before.
        let refused = rig.order(&[]);
        controller.spawn(&refused);
        controller.wait_could_not_spawn(&refused);
        assert!(!good.output.exists());
    }
    // Either count may be taken while the keeper starts a shim or looks through `/proc`, so that they differ by a few;
    // one that is left behind in each round is many.
    let open_files_now = rig.open_files();
    assert!(open_files_now < open_files + ROUNDS / 2, "{open_files} at first, {open_files_now} now");
}

#[test]
fn a_program_runs_as_its_user_and_can_open_its_output_again() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let mut order = rig.shell("echo $(id -un) $(id -gn) $(id -Gn) > /dev/stdout");
    order.user = Some("nobody".to_owned());
    controller.spawn(&order);
    if nix::unistd::Uid::effective().is_root() {
        assert_eq!(controller.wait_exited(&order).0, ExitStatus::Code(0));
        assert_eq!(drain(&order.output), "nobody nogroup nogroup\n");
    } else {
        let (step, cause) = controller.wait_could_not_spawn(&order);
        assert_eq!(cause, "Operation not permitted", "{step}");
    }
}

#[test]
fn two_hundred_processes_that_exit_at_once_leave_no_zombie() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let mut gate = Gate::new(&rig);
    let script = format!("read line < {}; exit 4", gate.path.display());
    let orders: Vec<_> = (0..200).map(|_| rig.shell(&script)).collect();
    for order in &orders {
        controller.spawn(order);
    }
    for _ in &orders {
        controller.wait_for(|fact| matches!(fact, Fact::Spawned { .. }).then_some(()));
    }
    gate.let_through(200);
    let (mut exited, mut gone) = (0, 0);
    while gone < 200 {
        let fact = controller.next().0;
        if let Fact::Exited { status, .. } = fact {
            assert_eq!(status, ExitStatus::Code(4));
            exited += 1;
        } else if let Fact::Left { left, .. } = fact {
            gone += u32::from(left == 0);
        } else {
            panic!("{fact:?}");
        }
    }
    assert_eq!(exited, 200);
    standby::wait_for_nothing_else(&rig, &controller);
}

#[test]
fn a_grandchild_in_another_session_that_ignores_the_stop_signal_is_killed_with_the_tree() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let script = "trap '' TERM; setsid sh -c 'echo $$; exec sleep 1000' & trap - TERM; wait";
    let order = rig.shell(script);
    controller.spawned(&order);
    let grandchild: i32 = read_line(&order.output).parse().unwrap();
    assert_eq!(process::stat(grandchild).unwrap().session, grandchild);
    controller.signal(&order, SIGTERM, Scope::Main);
    controller.wait_exited_leaving(&order, 1);
    controller.signal(&order, SIGTERM, Scope::Tree);
    controller.send(&Order::Exit { code: 0 });
    assert!(is_alive(grandchild));
    controller.signal(&order, SIGKILL, Scope::Tree);
    controller.wait_left(&order, 0);
    assert!(!is_alive(grandchild));
    controller.send(&Order::Exit { code: 0 });
    controller.exit(0);
    assert_eq!(rig.exit_code(), Some(0));
    assert!(rig.stderr().contains("refused, because processes are left"), "{}", rig.stderr());
}

#[test]
fn a_tree_is_killed_together_with_its_living_leader() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let order = rig.shell("setsid sh -c 'sleep 1000 & echo $! $$; wait' & wait");
    let leader = controller.spawned(&order);
    let line = read_line(&order.output);
    let pids: Vec<i32> = line.split(' ').map(|pid| pid.parse().unwrap()).collect();
    controller.signal(&order, SIGKILL, Scope::Tree);
    assert_eq!(controller.wait_exited(&order).0, ExitStatus::Signal(SIGKILL));
    controller.wait_left(&order, 0);
    assert!(!is_alive(leader) && !pids.iter().any(|pid| is_alive(*pid)));
}

/// A process that leaves its parent, its session and its environment behind; its pid is the first line of the output.
const DAEMONIZES: &str = "setsid env -i sh -c 'echo $$; exec sleep 1000'";

#[test]
fn a_process_that_cleaned_its_environment_and_left_the_session_stays_proven_if_it_was_seen() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let order = rig.shell(&format!("{DAEMONIZES} & wait"));
    controller.spawned(&order);
    let daemon: i32 = read_line(&order.output).parse().unwrap();
    assert_eq!(process::environ_value(daemon, "LEVERET_INCARNATION").unwrap(), None);
    // The stop signal is what makes the keeper look at the tree while it hangs together.
    controller.signal(&order, SIGTERM, Scope::Main);
    controller.wait_exited_leaving(&order, 1);
    assert!(is_alive(daemon));
    controller.signal(&order, SIGKILL, Scope::Tree);
    controller.wait_left(&order, 0);
    assert!(!is_alive(daemon));
}

#[test]
fn an_orphan_without_proof_is_never_killed() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    // It is let go before anybody looks at the tree: the shell between them ends first.
    let order = rig.shell(&format!("({DAEMONIZES} &); sleep 1000"));
    controller.spawned(&order);
    let stranger: i32 = read_line(&order.output).parse().unwrap();
    while process::stat(stranger).unwrap().parent != rig.keeper_pid() {
        std::thread::yield_now();
    }
    controller.signal(&order, SIGKILL, Scope::Tree);
    controller.wait_left(&order, 0);
    assert!(is_alive(stranger));
    kill(stranger);
    wait_gone(stranger);
    // It is nobody's process, but it is reaped like all others.
    let next = rig.order(&["true"]);
    controller.spawned(&next);
    controller.wait_left(&next, 0);
    standby::wait_for_nothing_else(&rig, &controller);
}

#[test]
fn what_a_leader_leaves_in_its_group_is_counted_until_it_is_gone() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let order = rig.shell("sleep 1000 & sleep 1001 & echo $!; exit 0");
    controller.spawn(&order);
    let (status, left) = controller.wait_exited(&order);
    assert_eq!(status, ExitStatus::Code(0));
    assert!(left >= 1, "{left}");
    controller.wait_left(&order, 2);
    kill(read_line(&order.output).parse().unwrap());
    controller.wait_left(&order, 1);
    // The leader is gone: what is meant for it goes to whatever it left.
    controller.signal(&order, SIGTERM, Scope::Main);
    controller.wait_left(&order, 0);
}

#[test]
fn a_busy_worker_finishes_after_its_wrapper_died_of_the_stop_signal() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let mut gate = Gate::new(&rig);
    let worker = format!("echo begin; read line < {}; echo end", gate.path.display());
    let order = rig.shell(&format!("sh -c '{worker}' & wait"));
    controller.spawned(&order);
    assert_eq!(read_line(&order.output), "begin");
    controller.signal(&order, SIGTERM, Scope::Main);
    assert_eq!(controller.wait_exited(&order), (ExitStatus::Signal(SIGTERM), 1));
    gate.let_through(1);
    controller.wait_left(&order, 0);
    assert_eq!(read_line(&order.output), "end");
}

#[test]
fn a_signal_to_the_group_reaches_the_leaders_children_but_no_other_session() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let order = rig.shell("sleep 1000 & setsid sh -c 'echo $$; exec sleep 1001' & wait");
    controller.spawned(&order);
    let elsewhere: i32 = read_line(&order.output).parse().unwrap();
    controller.signal(&order, SIGHUP, Scope::Group);
    assert_eq!(controller.wait_exited_leaving(&order, 1), ExitStatus::Signal(SIGHUP));
    assert!(is_alive(elsewhere));
    // Nobody of the group is left, so its number is not signalled any more.
    controller.signal(&order, SIGKILL, Scope::Group);
    controller.signal(&order, SIGTERM, Scope::Tree);
    controller.wait_left(&order, 0);
}

#[test]
fn a_new_controller_finds_the_same_processes_what_was_kept_and_every_exit() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    assert_eq!(controller.inventory.controllers_before, 0);
    assert_eq!(controller.inventory.keeper_pid, rig.keeper_pid());
    let mut gate = Gate::new(&rig);
    let lives = rig.order(&["sleep", "1000"]);
    let ends =
        rig.shell(&format!("echo before; read line < {}; echo last words; exit 9", gate.path.display()));
    let mut fails = rig.order(&["true"]);
    fails.directory = Some("/srv/nope".into());
    let pid = controller.spawned(&lives);
    let ending_pid = controller.spawned(&ends);
    controller.spawn(&fails);
    controller.wait_could_not_spawn(&fails);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"the lock").unwrap();
    let keep = Order::Keep { key: "lock".to_owned() };
    controller.send_with(&keep, Some(file.try_clone().unwrap().into()));
    controller.send_with(&keep, Some(file.into()));
    controller
        .send_with(&Order::Keep { key: "other".to_owned() }, Some(tempfile::tempfile().unwrap().into()));
    controller.send(&Order::Drop { key: "other".to_owned() });
    controller.send(&Order::Note { incarnation: lives.incarnation, note: "a later note".into() });
    controller.kill();

    let mut second = rig.controller();
    // It exits while this controller is there but does not listen; the one after it must know all the same.
    gate.let_through(1);
    wait_gone(ending_pid);
    assert_eq!(second.inventory.controllers_before, 1);
    assert_eq!(second.inventory.kept, ["lock"]);
    let (fact, descriptor) = second.next();
    assert_eq!(fact, Fact::Kept { key: "lock".to_owned() });
    let mut kept = std::fs::File::from(descriptor.unwrap());
    let mut text = String::new();
    kept.rewind().unwrap();
    kept.read_to_string(&mut text).unwrap();
    assert_eq!(text, "the lock");
    second.wait_left(&ends, 0);
    second.kill();

    let mut third = rig.controller();
    let inventory = &third.inventory;
    assert_eq!(inventory.controllers_before, 2);
    assert_eq!(inventory.last_incarnation, Incarnation(3));
    let states: Vec<_> = inventory.processes.iter().map(|process| &process.state).collect();
    assert!(matches!(states[0], InventoryState::Running { pid: same, .. } if *same == pid), "{states:?}");
    assert!(
        matches!(states[1], InventoryState::Exited { pid, status: ExitStatus::Code(9), left: 0, .. }
            if *pid == ending_pid),
        "{states:?}"
    );
    assert!(
        matches!(states[2], InventoryState::CouldNotSpawn { step, .. } if step == "chdir /srv/nope"),
        "{states:?}"
    );
    assert_eq!(inventory.processes[0].note, "a later note");
    assert_eq!(inventory.processes[1].note, serde_json::json!({ "number": 2 }));
    assert_eq!(drain(&ends.output), "before\nlast words\n");
    // The keeper goes on with the numbers that it has seen.
    let repeated = fails.clone();
    third.spawn(&repeated);
    assert_eq!(third.wait_could_not_spawn(&repeated).0, "order");
    let told = rig.stderr();
    let expected =
        "leveret: the controller was killed by SIGKILL; started again, 2 processes go on unchanged\n";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn the_controller_killed_many_times_changes_no_process() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let orders: Vec<_> = (0..5).map(|_| rig.order(&["sleep", "1000"])).collect();
    let pids: Vec<i32> = orders.iter().map(|order| controller.spawned(order)).collect();
    for round in 1..=5 {
        controller.kill();
        controller = rig.controller();
        assert_eq!(controller.inventory.controllers_before, round);
        let found: Vec<i32> = controller.inventory.processes.iter().map(running_pid).collect();
        assert_eq!(found, pids);
    }
}

fn running_pid(process: &leveret::keeper::protocol::InventoryProcess) -> i32 {
    let InventoryState::Running { pid, .. } = process.state else { panic!("{process:?}") };
    pid
}

#[test]
fn a_shortage_of_descriptors_is_told_and_passes() {
    let mut rig = Rig::start_after("ulimit -n 64");
    let mut controller = rig.controller();
    let orders: Vec<_> = (0..60).map(|_| rig.order(&["sleep", "1000"])).collect();
    for order in &orders {
        controller.spawn(order);
    }
    let (mut living, mut refused) = (Vec::new(), 0);
    while living.len() + refused < orders.len() {
        let fact = controller.next().0;
        if let Fact::Spawned { incarnation, .. } = fact {
            living.push(incarnation);
        } else if let Fact::CouldNotSpawn { incarnation, step, cause, .. } = fact {
            assert_eq!(cause, "Too many open files (`ulimit -n`, LimitNOFILE)", "{step}");
            controller.send(&Order::Release { incarnation });
            refused += 1;
        } else {
            panic!("{fact:?}");
        }
    }
    assert!(!living.is_empty() && refused > 0, "{} live, {refused} refused", living.len());
    // Even now a controller can be replaced and a tree can be found.
    controller.kill();
    let mut controller = rig.controller();
    assert_eq!(controller.inventory.processes.len(), living.len());
    let first = orders.iter().find(|order| order.incarnation == living[0]).unwrap();
    controller.signal(first, SIGKILL, Scope::Tree);
    controller.wait_left(first, 0);
    controller.send(&Order::Release { incarnation: first.incarnation });
    let later = rig.order(&["true"]);
    controller.spawned(&later);
    assert_eq!(controller.wait_exited(&later).0, ExitStatus::Code(0));
}

#[test]
fn a_child_has_clean_signals_and_the_limit_that_leveret_was_started_with() {
    let leaks = "exec 7< /dev/null";
    let mut rig =
        Rig::start_after(&format!("{leaks}; trap '' HUP INT QUIT USR1 TTOU PIPE; ulimit -S -n 256"));
    let mut controller = rig.controller();
    // Not through a shell, which would change what it inherits.
    let status = rig.order(&["cat", "/proc/self/status", "/proc/self/limits"]);
    controller.spawned(&status);
    controller.wait_exited(&status);
    let text = drain(&status.output);
    for name in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
        let mask = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
        // Signals 32 and 33 belong to the C library, which lets nobody change them.
        let mask = u64::from_str_radix(mask, 16).unwrap() & !(0b11 << 31);
        assert_eq!(mask, 0, "{name}: {mask:#x}");
    }
    let limit = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(limit.split_ascii_whitespace().nth(3), Some("256"), "{limit}");
    let files = rig.order(&["ls", "/proc/self/fd"]);
    controller.spawned(&files);
    controller.wait_exited(&files);
    // 3 is the directory that ls reads.
    assert_eq!(drain(&files.output), "0\n1\n2\n3\n");
}

#[test]
fn a_configuration_error_at_the_first_start_ends_the_keeper_with_its_code() {
    let mut rig = Rig::start();
    rig.controller().exit(2);
    assert_eq!(rig.exit_code(), Some(2));
    // The controller has said why; the keeper neither adds to it nor tries again.
    assert_eq!(rig.stderr(), "");
}

#[test]
fn a_controller_that_crashes_at_the_first_start_or_exits_later_is_started_again() {
    let mut rig = Rig::start();
    rig.controller().kill();
    let mut controller = rig.controller();
    let order = rig.order(&["sleep", "1000"]);
    controller.spawned(&order);
    controller.exit(2);
    let controller = rig.controller();
    assert_eq!(controller.inventory.processes.len(), 1);
    assert!(
        rig.stderr().contains("ended with exit code 2; started again, 1 process goes on"),
        "{}",
        rig.stderr()
    );
}

#[test]
fn a_signal_to_leveret_is_told_and_a_request_to_end_outlives_the_controller() {
    let rig = Rig::start();
    let mut controller = rig.controller();
    rig.signal_keeper(Signal::HUP);
    assert_eq!(controller.next().0, Fact::Signalled { signal: SIGHUP });
    rig.signal_keeper(Signal::TERM);
    assert_eq!(controller.next().0, Fact::Signalled { signal: SIGTERM });
    controller.kill();
    assert_eq!(rig.controller().inventory.signals, [SIGTERM]);
}

#[test]
fn a_controller_that_talks_nonsense_is_replaced() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let order = rig.order(&["sleep", "1000"]);
    let pid = controller.spawned(&order);
    controller.send_nonsense();
    // It does not end by itself, so the keeper kills it.
    wait_gone(controller.pid);
    let controller: Controller = rig.controller();
    assert_eq!(running_pid(&controller.inventory.processes[0]), pid);
    assert!(rig.stderr().contains("a frame could not be understood"), "{}", rig.stderr());
}

#[test]
fn without_any_working_controller_a_request_to_end_is_carried_out_by_the_keeper() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let polite = rig.order(&["sleep", "1000"]);
    let stubborn = rig.shell("trap '' TERM; echo ready; sleep 1000 & wait; sleep 1001");
    let pids = [controller.spawned(&polite), controller.spawned(&stubborn)];
    assert_eq!(read_line(&stubborn.output), "ready");
    controller.kill();
    rig.signal_keeper(Signal::TERM);
    for _ in 0..3 {
        rig.controller().kill();
    }
    wait_gone(pids[0]);
    assert!(is_alive(pids[1]));
    rig.signal_keeper(Signal::TERM);
    assert_eq!(rig.exit_code(), Some(1));
    assert!(!is_alive(pids[1]));
    assert!(!polite.output.exists() && !stubborn.output.exists());
}

#[test]
fn what_a_release_names_is_forgotten_only_when_all_of_it_is_gone() {
    let mut rig = Rig::start();
    let mut controller = rig.controller();
    let order = rig.shell("sleep 1000 & exit 0");
    controller.spawned(&order);
    controller.send(&Order::Release { incarnation: order.incarnation });
    controller.wait_exited(&order);
    controller.send(&Order::Release { incarnation: order.incarnation });
    assert!(order.output.exists());
    controller.signal(&order, SIGKILL, Scope::Tree);
    controller.wait_left(&order, 0);
    controller.kill();
    assert_eq!(rig.controller().inventory.processes, []);
    assert!(!order.output.exists());
}
