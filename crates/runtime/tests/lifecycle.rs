//! Containers from their start to their end.

mod support;

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use strata_runtime::spec::{Stdin, TerminalSize};
use strata_runtime::{Attach, Error, Outcome, Status, Stream, logs};
use strata_sys::signal::Signal;
use support::{code, read_until};

#[test]
fn a_program_writes_and_its_exit_code_is_told() {
    let fixture = container!("sh", "-c", "echo out; echo err >&2; exit 3");
    assert_eq!(fixture.run(), (3, "out\n".to_owned(), "err\n".to_owned()));
    let state = fixture.container.state().unwrap();
    assert_eq!((state.status, state.exit_code, state.pid, state.error.as_str()), (Status::Exited, 3, 0, ""));
    assert!(state.started_at < state.finished_at);
}

#[test]
fn nothing_is_left_after_the_end() {
    let fixture = container!("true");
    assert_eq!(fixture.run().0, 0);
    let id = fixture.spec.id.as_str();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        assert!(!hierarchy.path().join("strata").join(id).exists(), "{hierarchy:?}");
    }
    assert!(!fixture.dir.path().join("run/c").join(id).exists(), "the socket is gone");
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(!mounts.contains(id), "{mounts}");
}

#[test]
fn a_program_that_is_not_there_is_127_and_one_that_cannot_be_executed_126() {
    let mut fixture = container!("nosuch");
    let mut check = |program: &str, code: u8, text: &str| {
        fixture.spec.process.args = vec![program.to_owned()];
        let error = fixture.refused();
        assert_eq!((error.exit_code(), error.to_string()), (code, text.to_owned()));
        let state = fixture.container.state().unwrap();
        assert_eq!((state.status, state.exit_code, state.error.as_str()), (Status::Created, i32::from(code), text));
    };
    check("nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH");
    check("/nosuch", 127, "exec: \"/nosuch\": stat /nosuch: no such file or directory");
    check("/etc", 126, "exec: \"/etc\": is a directory");
    check("/etc/passwd", 126, "exec: \"/etc/passwd\": permission denied");
}

#[test]
fn a_signal_that_ends_it_is_128_and_its_number() {
    let fixture = container!("sh", "-c", "kill -9 $$");
    // Process 1 ignores signals from inside; from outside KILL always works.
    let fixture = {
        drop(fixture);
        container!("sleep", "1000")
    };
    fixture.start();
    assert_eq!(fixture.container.state().unwrap().status, Status::Running);
    fixture.container.kill(Signal::KILL).unwrap();
    let state = fixture.container.wait().unwrap();
    assert_eq!((state.status, state.exit_code), (Status::Exited, 137));
    assert!(matches!(fixture.container.kill(Signal::KILL), Err(Error::NotRunning(_))));
}

#[test]
fn stopping_asks_first_and_kills_then() {
    let fixture = container!("sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    let (read, write) = std::io::pipe().unwrap();
    let attach = Attach { stdout: Some(write.as_fd()), ..Attach::default() };
    let started = fixture.container.start(&fixture.spec, Some(attach)).unwrap();
    read_until(&read.into(), "ready");
    let state = fixture.container.stop(Signal::TERM, Some(Duration::from_secs(20))).unwrap();
    assert_eq!(state.exit_code, 7);
    assert_eq!(code(started.session.unwrap()), 7);
    // Nobody handles TERM here: process 1 does not even get it.
    let stubborn = container!("sleep", "1000");
    stubborn.start();
    let state = stubborn.container.stop(Signal::TERM, Some(Duration::from_millis(10))).unwrap();
    assert_eq!(state.exit_code, 137);
}

#[test]
fn init_passes_signals_on_and_reaps() {
    let mut fixture = container!("sh", "-c", "echo pid $$; exec sleep 1000");
    fixture.spec.init = true;
    let (read, write) = std::io::pipe().unwrap();
    let attach = Attach { stdout: Some(write.as_fd()), ..Attach::default() };
    let started = fixture.container.start(&fixture.spec, Some(attach)).unwrap();
    drop(write);
    let output = OwnedFd::from(read);
    assert_eq!(read_until(&output, "\n"), "pid 2\n");
    started.session.as_ref().unwrap().signal(Signal::TERM).unwrap();
    assert_eq!(code(started.session.unwrap()), 143);
    assert_eq!(support::all(output), "", "init keeps nobody's descriptors");
    fixture.spec.process.args = support::strings(&["nosuch"]);
    assert_eq!(fixture.refused().exit_code(), 127);
}

#[test]
fn input_comes_from_a_pipe_and_ends_with_it() {
    let mut fixture = container!("sh", "-c", "cat; echo end");
    fixture.spec.process.stdin = Stdin::Once;
    let (read_in, write_in) = std::io::pipe().unwrap();
    let (read, write) = std::io::pipe().unwrap();
    let attach = Attach { stdin: Some(read_in.as_fd()), stdout: Some(write.as_fd()), ..Attach::default() };
    let started = fixture.container.start(&fixture.spec, Some(attach)).unwrap();
    drop((read_in, write));
    let big = vec![b'x'; 300_000];
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut { write_in }, &big).unwrap());
    let output = support::all(read.into());
    writer.join().unwrap();
    assert_eq!(output.len(), 300_004);
    assert!(output.ends_with("xend\n"));
    assert_eq!(code(started.session.unwrap()), 0);
}

#[test]
fn without_input_reads_end_at_once() {
    let fixture = container!("cat");
    assert_eq!(fixture.run(), (0, String::new(), String::new()));
}

#[test]
fn a_terminal_is_one_and_has_the_size_that_is_told() {
    let mut fixture =
        container!("sh", "-c", "tty; ls -l /dev/console >/dev/null && stty size; read x; stty size; exit 5");
    fixture.spec.process.tty = true;
    fixture.spec.process.stdin = Stdin::Open;
    fixture.spec.process.terminal_size = Some(TerminalSize { rows: 33, columns: 77 });
    let (read_in, write_in) = std::io::pipe().unwrap();
    let (read, write) = std::io::pipe().unwrap();
    let attach = Attach { stdin: Some(read_in.as_fd()), stdout: Some(write.as_fd()), ..Attach::default() };
    let started = fixture.container.start(&fixture.spec, Some(attach)).unwrap();
    let output = OwnedFd::from(read);
    let text = read_until(&output, "33 77");
    assert!(text.contains("/dev/pts/0"), "{text}");
    fixture.container.resize(TerminalSize { rows: 10, columns: 20 }).unwrap();
    rustix::io::write(&write_in, b"go\n").unwrap();
    read_until(&output, "10 20");
    assert_eq!(code(started.session.unwrap()), 5);
}

#[test]
fn detach_keys_leave_and_others_may_attach() {
    let mut fixture = container!("sh", "-c", "while read line; do echo got $line; done");
    fixture.spec.process.tty = true;
    fixture.spec.process.stdin = Stdin::Open;
    let (read_in, write_in) = std::io::pipe().unwrap();
    let (read, write) = std::io::pipe().unwrap();
    let attach = || Attach {
        stdin: Some(read_in.as_fd()),
        stdout: Some(write.as_fd()),
        detach_keys: vec![16, 17],
        ..Attach::default()
    };
    let started = fixture.container.start(&fixture.spec, Some(attach())).unwrap();
    let output = OwnedFd::from(read);
    rustix::io::write(&write_in, b"one\n").unwrap();
    read_until(&output, "got one");
    rustix::io::write(&write_in, b"\x10\x11").unwrap();
    assert_eq!(started.session.unwrap().wait().unwrap(), Outcome::Detached);
    assert_eq!(fixture.container.state().unwrap().status, Status::Running);
    fixture.container.resize(TerminalSize { rows: 24, columns: 80 }).unwrap();
    let again = fixture.container.attach(attach()).unwrap();
    rustix::io::write(&write_in, b"two\n").unwrap();
    read_until(&output, "got two");
    fixture.container.kill(Signal::KILL).unwrap();
    assert_eq!(again.wait().unwrap(), Outcome::Exited(137));
    let told = std::fs::read_to_string(fixture.dir.path().join("run/events.jsonl")).unwrap();
    let told: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let acts: Vec<&str> = told.iter().map(|event| event["Action"].as_str().unwrap()).collect();
    assert_eq!(acts[..3], ["start", "detach", "resize"]);
    let size = ["height", "width"].map(|name| told[2]["Actor"]["Attributes"][name].as_str().unwrap());
    assert_eq!(size, ["24", "80"]);
}

#[test]
fn a_container_outlives_the_client_that_started_it() {
    let mut fixture = container!("sh", "-c", "cat; echo end; sleep 1000");
    fixture.spec.process.stdin = Stdin::Once;
    let (read_in, _write_in) = std::io::pipe().unwrap();
    let attach = Attach { stdin: Some(read_in.as_fd()), ..Attach::default() };
    // A client that is killed leaves no more than its closed socket.
    drop(fixture.container.start(&fixture.spec, Some(attach)).unwrap().session);
    let mut text = String::new();
    let follow = logs::Filter { follow: true, ..logs::Filter::default() };
    let mut each = |entry: logs::Entry| {
        text.push_str(&String::from_utf8_lossy(&entry.bytes));
        false
    };
    fixture.container.logs().read(&follow, None, &mut each).unwrap();
    assert_eq!(text, "end\n", "its input has ended");
    assert_eq!(fixture.container.state().unwrap().status, Status::Running);
}

#[test]
fn when_the_shim_is_killed_its_container_dies_and_that_is_said() {
    let fixture = container!("sleep", "1000");
    fixture.start();
    let state = fixture.container.state().unwrap();
    let first = strata_sys::process::open(state.pid).unwrap();
    let shim = strata_sys::process::open(state.shim_pid).unwrap();
    strata_sys::signal::send(shim.as_fd(), Signal::KILL).unwrap();
    let mut ended = [rustix::event::PollFd::new(&first, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ended, Some(&limit)).unwrap(), 1, "the process has ended");
    assert_eq!(fixture.container.wait().unwrap().status, Status::Dead);
    assert!(matches!(fixture.container.attach(Attach::default()), Err(Error::NotRunning(_))));
    fixture.container.cleanup().unwrap();
    fixture.container.cleanup().unwrap();
}

#[test]
fn output_is_kept_and_followed_to_the_end() {
    let fixture = container!("sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.02; done; echo bad >&2");
    fixture.start();
    let mut lines = Vec::new();
    let follow = logs::Filter { follow: true, ..logs::Filter::default() };
    let mut each = |entry: logs::Entry| {
        lines.push((entry.stream, String::from_utf8(entry.bytes).unwrap()));
        true
    };
    fixture.container.logs().read(&follow, None, &mut each).unwrap();
    let expected = [
        (Stream::Stdout, "line 1\n"),
        (Stream::Stdout, "line 2\n"),
        (Stream::Stdout, "line 3\n"),
        (Stream::Stderr, "bad\n"),
    ];
    assert_eq!(lines, expected.map(|(stream, text)| (stream, text.to_owned())));
}

#[test]
fn a_paused_container_stands_still_and_can_be_stopped() {
    let fixture = container!("sleep", "1000");
    fixture.start();
    assert!(matches!(fixture.container.unpause(), Err(Error::NotPaused(_))));
    fixture.container.pause().unwrap();
    assert_eq!(fixture.container.state().unwrap().status, Status::Paused);
    assert!(matches!(fixture.container.pause(), Err(Error::Paused(_))));
    fixture.container.unpause().unwrap();
    assert_eq!(fixture.container.state().unwrap().status, Status::Running);
    fixture.container.pause().unwrap();
    fixture.container.kill(Signal::KILL).unwrap();
    assert_eq!(fixture.container.wait().unwrap().exit_code, 137);
}

#[test]
fn much_output_arrives_whole_at_a_slow_client() {
    let fixture = container!(
        "sh",
        "-c",
        "yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -c 3000000"
    );
    let (_, out, _) = fixture.run();
    assert_eq!(out.len(), 3_000_000);
}

#[test]
fn a_client_whose_output_is_closed_is_told() {
    let fixture = container!("yes");
    let (read, write) = std::io::pipe().unwrap();
    let attach = Attach { stdout: Some(write.as_fd()), ..Attach::default() };
    let started = fixture.container.start(&fixture.spec, Some(attach)).unwrap();
    drop((read, write));
    assert_eq!(started.session.unwrap().wait().unwrap(), Outcome::OutputClosed);
}

#[test]
fn one_that_runs_is_not_started_again() {
    let fixture = container!("sleep", "1000");
    fixture.start();
    assert!(matches!(fixture.refused(), Error::AlreadyRunning(_)));
    fixture.container.stop(Signal::KILL, None).unwrap();
    fixture.start();
    assert_eq!(fixture.container.pids().unwrap().len(), 1);
}

#[test]
fn a_command_follows_when_nobody_is_there() {
    let mut fixture = container!("sleep", "1000");
    let made = fixture.dir.path().join("made");
    fixture.spec.when_done = vec![made.to_str().unwrap().to_owned()];
    fixture.start();
    let shim = strata_sys::process::open(fixture.container.state().unwrap().shim_pid).unwrap();
    fixture.container.kill(Signal::KILL).unwrap();
    let mut ended = [rustix::event::PollFd::new(&shim, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ended, Some(&limit)).unwrap(), 1);
    assert_eq!(std::fs::read_to_string(made).unwrap(), "done");
}
