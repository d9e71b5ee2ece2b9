//! Containers from their start to their end.

mod support;

#[test]
fn a_program_writes_and_its_exit_code_is_told() {
    let fixture = container!("sh", "-c", "echo out; echo err >&2; exit 3");
    assert_eq!(fixture.run(), (3, "out\n".to_owned(), "err\n".to_owned()));
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
