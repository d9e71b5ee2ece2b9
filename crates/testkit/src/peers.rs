//! Other engines, as oracles: what they make we must read, and the other way round.

use std::process::{Child, Command, Stdio};

use crate::machine::Ran;
use crate::{Machine, host};

/// A docker daemon inside a machine with a network of its own; ends with it.
#[derive(Debug)]
pub struct Docker<'m> {
    machine: &'m Machine,
    daemon: Child,
}

const SOCKET: &str = "unix:///run/docker-test.sock";

impl<'m> Docker<'m> {
    /// What it needs: Debian's `docker.io`.
    pub fn available() -> Result<(), String> {
        host::program("dockerd").and_then(|()| client().map(drop))
    }

    /// Starts the daemon and waits until it answers. The machine must be [`Machine::isolated`]: a second daemon would
    /// take down the bridge of one that runs on the host.
    pub fn start(machine: &'m Machine) -> Self {
        Self::start_with(machine, &[])
    }

    /// The same with further options.
    pub fn start_with(machine: &'m Machine, options: &[&str]) -> Self {
        Self::start_as(machine, &[&["--bridge=none"], options].concat())
    }

    /// The same with its default bridge, without rules of a firewall.
    pub fn start_with_bridge(machine: &'m Machine) -> Self {
        Self::start_as(machine, &[])
    }

    fn start_as(machine: &'m Machine, options: &[&str]) -> Self {
        let log = std::fs::File::create(machine.dir().join("dockerd.log")).unwrap();
        let mut command = machine.command("dockerd");
        command.args(["-H", SOCKET, "--exec-root", "/run/docker-test", "--pidfile", "/run/docker-test.pid"]);
        command.args(["--iptables=false", "--storage-driver", "overlay2", "--data-root"]);
        command.arg(machine.dir().join("docker")).args(options).stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = command.spawn().unwrap();
        // The client itself waits for nothing; the shell repeats it until the daemon answers or ten seconds have passed.
        let client = client().unwrap();
        let wait = format!(
            "i=0; until {client} -H {SOCKET} version; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.1; done"
        );
        let ran = machine.sh(&wait);
        let log = std::fs::read_to_string(machine.dir().join("dockerd.log")).unwrap();
        assert_eq!(ran.code, 0, "dockerd did not start: {}\n{log}", ran.err);
        Self { machine, daemon }
    }

    /// Prepares `docker ARGS`.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.machine.command(client().unwrap());
        command.args(["-H", SOCKET]).args(args);
        command
    }

    /// Runs `docker ARGS`.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.command(args).output().unwrap().into()
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        let _already_gone = self.daemon.kill();
        let _reaped = self.daemon.wait();
    }
}

/// Debian's client; another one on the path may be too new for Debian's daemon.
fn client() -> Result<String, String> {
    let debian = "/usr/bin/docker";
    if std::path::Path::new(debian).is_file() {
        Ok(debian.to_owned())
    } else {
        Err("Debian's docker client".to_owned())
    }
}

/// Podman with a store inside a machine.
#[derive(Debug)]
pub struct Podman<'m>(&'m Machine);

impl<'m> Podman<'m> {
    /// What it needs: Debian's `podman`.
    pub fn available() -> Result<(), String> {
        host::program("podman")
    }

    /// Uses podman in that machine.
    pub fn new(machine: &'m Machine) -> Self {
        Self(machine)
    }

    /// Runs `podman ARGS`.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.0.command("podman");
        command.arg("--root").arg(self.0.dir().join("podman"));
        command.args(["--runroot", "/run/podman-test", "--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
        command.args(args).stdin(Stdio::null()).output().unwrap().into()
    }
}
