//! A machine within the machine: mount and PID namespaces that a test's commands share and that end with the test.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use crate::{host, leftovers};

/// Commands run in it see each other's processes and mounts, and nobody else does. The network is the host's loopback
/// unless [`Machine::isolated`] made it.
#[derive(Debug)]
pub struct Machine {
    holder: Child,
    /// The holder lives as long as this pipe is open: it ends even if the test process is killed.
    _lifeline: ChildStdin,
    init: u32,
    dir: tempfile::TempDir,
    /// Says that somebody has the folder.
    _owner: File,
    network: bool,
}

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The exit status, 128 + signal if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Asserts that it exited with 0 and gives its standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self.out
    }

    /// Asserts that it exited with `code` and gives its standard error.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self.err
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Machine {
    /// Starts one that shares the host's network, so that registries on loopback can be reached.
    pub fn start() -> Self {
        Self::with(false)
    }

    /// Starts one with a network of its own: a loopback interface, nothing else. Needs `ip` or `busybox`.
    pub fn isolated() -> Self {
        Self::with(true)
    }

    fn with(network: bool) -> Self {
        let (dir, owner) = leftovers::folder();
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        if network {
            unshare.arg("--net");
        }
        let loopback = if network { "{ ip link set lo up || busybox ip link set lo up; } &&" } else { "" };
        // Nobody reads what follows `ready`, which some kinds of `cat` would take for a reason to end. The shell stays: the
        // first process has to reap those whose parents were killed.
        let script =
            format!("mount -t tmpfs -o mode=755 tmpfs /run && {loopback} echo ready && {{ cat >/dev/null; exit; }}");
        unshare.args(["sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = unshare.spawn().unwrap();
        let lifeline = holder.stdin.take().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the namespace holder did not start");
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let init = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        Self { holder, _lifeline: lifeline, init, dir, _owner: owner, network }
    }

    /// A folder of the machine's own, removed when it ends.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The store's root directory that [`Machine::strata`] uses.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Where this process finds a path of the machine, with what is mounted there.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.init));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Prepares a command that will run inside, in the machine's folder, with a plain environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--mount", "--pid"]);
        if self.network {
            command.arg("--net");
        }
        command.arg(format!("--wdns={}", self.dir().display())).arg("--").arg(program.as_ref());
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.dir()).env("TERM", "xterm").stdin(Stdio::null());
        // A failpoint, the skip list and coverage of the test run reach the program; nothing else of the caller does.
        for name in ["STRATA_SKIPS", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Prepares `strata --root … ARGS`.
    pub fn strata_command<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(host::strata());
        command.arg("--root").arg(self.root()).args(args);
        command
    }

    /// Runs `strata --root … ARGS` to its end.
    pub fn strata<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.strata_command(args).output().unwrap().into()
    }

    /// The same with bytes on its standard input.
    pub fn strata_with_input<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Ran {
        feed(self.strata_command(args), input)
    }

    /// Kills a command that runs inside, with signal 9, and waits for it. To kill what was spawned would leave it running:
    /// that is only who waits for it outside.
    pub fn kill(mut command: Child) {
        let children = format!("/proc/{0}/task/{0}/children", command.id());
        let inside = loop {
            // It has none for a moment in the beginning.
            if let Ok(inside) = std::fs::read_to_string(&children).unwrap().trim().parse() {
                break rustix::process::Pid::from_raw(inside).unwrap();
            }
            assert_eq!(command.try_wait().unwrap(), None, "it has ended by itself");
        };
        rustix::process::kill_process(inside, rustix::process::Signal::KILL).unwrap();
        command.wait().unwrap();
    }

    /// Runs a shell script inside.
    pub fn sh(&self, script: &str) -> Ran {
        self.command("sh").args(["-c", script]).output().unwrap().into()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let store = File::open(self.seen(&self.root()));
        // The holder's child is PID 1 of the namespace: with it, every process inside ends.
        let _already_gone = self.holder.kill();
        let _reaped = self.holder.wait();
        // The directory is what it was, even if it was mounted inside.
        if let Ok(store) = store {
            leftovers::remove_groups_of(&PathBuf::from(format!("/proc/self/fd/{}", store.as_raw_fd())));
        }
    }
}

/// Runs a command with bytes on its standard input.
pub fn feed(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that does not read its input closes the pipe: that is its own affair.
            let _closed = stdin.write_all(input);
        });
        child.wait_with_output().unwrap().into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_mounts_or_runs_stays_inside() {
        crate::need!(host::root(), host::program("nsenter"));
        let machine = Machine::start();
        assert_eq!(machine.sh("mount -t tmpfs none /mnt && touch /mnt/inside && ls /mnt").ok(), "inside\n");
        assert_eq!(machine.sh("ls /mnt").ok(), "inside\n");
        assert!(!Path::new("/mnt/inside").exists());
        assert!(machine.sh("ps ax | wc -l").ok().trim().parse::<u32>().unwrap() < 10);
        assert_eq!(machine.sh("exit 7").code, 7);
    }
}
