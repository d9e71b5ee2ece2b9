//! A container whose root is a directory with busybox in it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part")]

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use strata_runtime::spec::*;
use strata_runtime::{Attach, Container, Error, ExecSpec, Outcome, Session, Spec, Started};
use strata_sys::caps::CapSet;
use strata_types::ContainerId;
use strata_types::mount::{Access, MountPlan};

/// Where Debian's busybox-static is.
const BUSYBOX: &str = "/usr/bin/busybox";
const APPLETS: &str = "sh echo cat sleep ls true false id stty tty env pwd grep readlink mount umount unshare hostname \
                       kill seq head tail dd mkdir touch ps sync test stat yes wc ulimit ping ip sed";

/// One container in a place of its own, in a mount namespace of its own.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) container: Container,
    pub(crate) spec: Spec,
}

/// What this host lacks for containers, if anything.
pub(crate) fn lacks() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("root");
    }
    if !Path::new(BUSYBOX).exists() {
        return Some("busybox-static");
    }
    None
}

/// Ends the test where the host cannot run it.
#[macro_export]
macro_rules! container {
    ($($arg:expr),+) => {
        match $crate::support::lacks() {
            Some(what) => {
                println!("skipped: needs {what}");
                return;
            }
            None => $crate::support::Fixture::new(&[$($arg),+]),
        }
    };
}

impl Fixture {
    /// A container that will run `args`.
    pub(crate) fn new(args: &[&str]) -> Self {
        strata_testkit::private::mounts();
        let dir = tempfile::tempdir().unwrap();
        let id = ContainerId::from_random(strata_sys::random::bytes());
        let files = dir.path().join("root/containers").join(id.as_str());
        std::fs::create_dir_all(&files).unwrap();
        let rootfs = dir.path().join("fs");
        make_root(&rootfs);
        let container = Container::at(id.clone(), &files, &dir.path().join("run"))
            .with_program(Path::new(env!("CARGO_BIN_EXE_strata-runtime-shim")));
        Self { spec: spec(id, rootfs, args), dir, container }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("fs")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.dir.path().join("root/containers").join(self.spec.id.as_str())
    }

    /// Runs it to its end: exit code, standard output and error.
    pub(crate) fn run(&self) -> (i32, String, String) {
        let (read_out, out) = std::io::pipe().unwrap();
        let (read_err, err) = std::io::pipe().unwrap();
        let attach = Attach { stdout: Some(out.as_fd()), stderr: Some(err.as_fd()), ..Attach::default() };
        let started = self.container.start(&self.spec, Some(attach)).unwrap();
        drop((out, err));
        let (out, err) = (all(read_out.into()), all(read_err.into()));
        (code(started.session.unwrap()), out, err)
    }

    /// Starts it with nobody attached.
    pub(crate) fn start(&self) -> Started {
        self.container.start(&self.spec, None).unwrap()
    }

    /// Why it cannot be started.
    pub(crate) fn refused(&self) -> Error {
        self.container.start(&self.spec, None).map(|_| ()).unwrap_err()
    }

    /// Runs a further process in it to its end: exit code and both outputs.
    pub(crate) fn exec(&self, args: &[&str]) -> (i32, String) {
        let mut process = self.spec.process.clone();
        process.args = strings(args);
        process.tty = false;
        process.stdin = Stdin::Empty;
        self.exec_as(process)
    }

    pub(crate) fn exec_as(&self, process: Process) -> (i32, String) {
        let (read, write) = std::io::pipe().unwrap();
        let attach = Attach { stdout: Some(write.as_fd()), stderr: Some(write.as_fd()), ..Attach::default() };
        let started = self.container.exec(&ExecSpec { id: String::new(), process }, Some(attach)).unwrap();
        drop(write);
        let output = all(read.into());
        (code(started.session.unwrap()), output)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // A test that failed in the middle must not leave a container behind.
        if let Err(error) = self.container.stop(strata_sys::signal::Signal::KILL, Some(Duration::from_secs(10))) {
            eprintln!("not stopped: {error}");
        }
        if let Err(error) = self.container.cleanup() {
            eprintln!("not cleaned up: {error}");
        }
    }
}

/// Everything until the end.
pub(crate) fn all(fd: OwnedFd) -> String {
    let mut bytes = Vec::new();
    File::from(fd).read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `wanted` was read.
pub(crate) fn read_until(fd: &OwnedFd, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0_u8; 4096];
    while !text.contains(wanted) {
        let timeout = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
        assert!(rustix::event::poll(&mut fds, Some(&timeout)).unwrap() > 0, "`{wanted}` did not come, only `{text}`");
        let read = rustix::io::read(fd, &mut buffer).unwrap();
        assert!(read > 0, "`{wanted}` did not come, only `{text}`");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    text
}

/// How a session ended.
pub(crate) fn code(session: Session) -> i32 {
    match session.wait().unwrap() {
        Outcome::Exited(code) => code,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

fn make_root(root: &Path) {
    for dir in ["bin", "etc", "proc", "dev", "sys", "tmp", "root"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:100:101::/home/app:/bin/sh\n")
        .unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\napp:x:101:\nextra:x:7:app\n").unwrap();
}

/// What Docker would run `args` with.
pub(crate) fn spec(id: ContainerId, rootfs: PathBuf, args: &[&str]) -> Spec {
    let process = Process {
        args: strings(args),
        env: strings(&["PATH=/bin", "TERM=xterm"]),
        cwd: "/".to_owned(),
        user: User::default(),
        named_user: None,
        tty: false,
        stdin: Stdin::Empty,
        capabilities: Capabilities::docker(CapSet::DOCKER),
        seccomp: Seccomp::Default,
        no_new_privileges: false,
        label: None,
        rlimits: Vec::new(),
        oom_score_adj: None,
        terminal_size: None,
    };
    Spec {
        id,
        process,
        when_done: Vec::new(),
        is_step: false,
        hostname: Some("box".to_owned()),
        domainname: None,
        rootfs: MountPlan { root: strata_types::mount::Mount::Dir(rootfs), access: Access::ReadWrite },
        read_only: false,
        mounts: Vec::new(),
        shared_memory: SharedMemory::Own,
        shm_size_bytes: 64 << 20,
        devices: Vec::new(),
        namespaces: Namespaces {
            network: Network::None,
            pid: true,
            pid_of: None,
            ipc: true,
            ipc_of: None,
            uts: true,
            user: None,
        },
        sysctls: Default::default(),
        masked_paths: strings(&["/proc/asound", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"]),
        readonly_paths: strings(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
        system_writable: false,
        limits: Limits::default(),
        device_rules: DeviceRules::Allow(Vec::new()),
        runtime: None,
        emulator: None,
        init: false,
        log: Log { keep: true, max_files: 1, ..Log::default() },
        restart: Restart::No,
        health: None,
        attributes: Default::default(),
        volumes: Vec::new(),
        end: Default::default(),
    }
}
