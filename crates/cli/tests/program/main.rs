//! The program as a process: pipes that close, Ctrl-C.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made must fail the test")]

mod flags;
mod help;
mod pull;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use strata_testkit::host;

/// strata with a store of its own.
fn strata(dir: &tempfile::TempDir) -> Command {
    let mut command = Command::new(host::strata());
    command.arg("--root").arg(dir.path().join("root")).arg("--run-dir").arg(dir.path().join("run"));
    command.env_clear().env("HOME", dir.path()).stdin(Stdio::null());
    command
}

#[test]
fn output_that_nobody_reads_ends_the_program_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(host::strata()).arg("--help").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(141), &b""[..]));
}

#[test]
fn a_full_disk_for_output_is_told() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(host::strata()).arg("--help").stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("strata: no space left on device"));
}

#[test]
fn ctrl_c_ends_a_pull_from_a_silent_registry() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/x", listener.local_addr().unwrap());
    let mut child = strata(&dir).args(["pull", &name]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The pull is under way once it has connected; then it waits for an answer that never comes.
    let (_connection, _) = listener.accept().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let asked = Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(10));
    let images = strata(&dir).args(["images", "-qa"]).output().unwrap();
    assert_eq!((images.status.code(), images.stdout.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn words_are_completed_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let complete = |words: &[&str]| {
        let output = strata(&dir).arg("__complete").args(words).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["unp"]), ["unpause"]);
    assert_eq!(complete(&["--root", "/x", "unp"]), ["unpause"]);
    assert_eq!(complete(&["--log-level", "e"]), ["error"]);
    assert_eq!(complete(&["--root", ""]), [""; 0]);
    assert_eq!(complete(&["help", "unp"]), ["unpause"]);
    assert_eq!(complete(&["run", "--restart", ""]), ["always", "no", "on-failure", "unless-stopped"]);
    assert_eq!(complete(&["run", "-it", "--pull", "m"]), ["missing"]);
    assert_eq!(complete(&["kill", "-s", "SIGK"]), ["SIGKILL"]);
    assert_eq!(complete(&["inspect", "--type", "v"]), ["volume"]);
    assert_eq!(complete(&["completion", ""]), ["bash", "fish", "zsh"]);
    assert_eq!(complete(&["run", "--name", ""]), [""; 0]);
    if host::root().is_ok() {
        assert_eq!(complete(&["network", "inspect", ""]), ["bridge", "host", "none"]);
        assert_eq!(complete(&["run", "--network", "b"]), ["bridge"]);
        let made = strata(&dir).args(["volume", "create", "data"]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        assert_eq!(complete(&["volume", "rm", ""]), ["data"]);
        assert_eq!(complete(&["inspect", "da"]), ["data"]);
    }
}
