//! Where the bench runs: private namespaces, a control group that is charged, an ext4 of its own, a registry.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::bench::images;
use crate::shell::{self, Done, workspace};

/// The control group under each hierarchy's root; all commands are in it, the registry is not.
const GROUP: &str = "strata-bench";
/// Room for every engine's copy of the images; sparse.
const STORE_BYTES: &str = "40G";
/// Where the registry listens inside the arena's own network.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";
/// A group stands still that uses less than this between two looks.
const STILL_CPU_S: f64 = 0.001;
/// How long to wait for what goes on behind a command that has ended.
const STILL_LOOKS: u32 = 100;
const STILL_LOOK: Duration = Duration::from_millis(20);
/// The variable that says `cached` for a store whose file is cached, too.
const STORE: &str = "STRATA_BENCH_STORE";

/// Ends, with everything in it, when dropped, and also when this process is killed: `xtask/bench/arena.sh` says how.
pub(crate) struct Arena {
    keeper: Child,
    /// The arena lives as long as this pipe is open.
    lifeline: Option<ChildStdin>,
    /// The first process inside.
    init: u32,
    dir: PathBuf,
    /// Whether what is written to the store's device goes past the cache of its file.
    pub(crate) is_direct: bool,
    daemons: std::cell::RefCell<Vec<Child>>,
}

impl Arena {
    /// Makes the namespaces, the groups and the store's filesystem, and starts the registry.
    pub(crate) fn start() -> Done<Self> {
        let dir = workspace().join("target/bench/arena");
        let script = workspace().join("xtask/bench/arena.sh");
        let mut command = Command::new("sh");
        command.arg(script).arg(&dir).args([GROUP, STORE_BYTES]).args(std::env::var_os(STORE)).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().map_err(|error| format!("cannot start the arena: {error}"))?;
        let lifeline = keeper.stdin.take();
        let mut said = String::new();
        if let Some(output) = keeper.stdout.take() {
            BufReader::new(output).read_line(&mut said).map_err(|error| format!("cannot hear the arena: {error}"))?;
        }
        let is_direct = match said.as_str() {
            "ready direct\n" => true,
            "ready cached\n" => false,
            _ => return Err(format!("cannot make the arena: {}", said.trim())),
        };
        let mut arena = Self { keeper, lifeline, init: 0, dir, is_direct, daemons: std::cell::RefCell::default() };
        arena.init = only_child(only_child(arena.keeper.id())?)?;
        arena.start_registry()?;
        Ok(arena)
    }

    /// A folder on the arena's own filesystem.
    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.dir.join("store").join(name)
    }

    /// A folder beside the stores, for what is not measured.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a script that is not measured; it must succeed.
    pub(crate) fn setup(&self, script: &str) -> Done<String> {
        shell::output(&mut self.command(script))
    }

    /// A command whose CPU time, and that of all its children, is charged.
    pub(crate) fn command(&self, script: &str) -> Command {
        let mut command = self.enter(&format!("/sys/fs/cgroup/*/{GROUP} /sys/fs/cgroup/{GROUP}/commands"), "sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    /// The same, started and waiting for a line on its standard input: joining control groups of version 1 takes longer than
    /// many a command.
    pub(crate) fn stand_by(&self, script: &str) -> Done<Child> {
        let mut command = self.command(&format!("echo; read -r go; exec </dev/null; {script}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot start {script}: {error}"))?;
        let ready = child.stdout.as_mut().map(|stdout| stdout.read_exact(&mut [0]));
        match ready {
            Some(Ok(())) => Ok(child),
            _ => Err(format!("cannot start {script}: its shell has ended")),
        }
    }

    /// Starts a daemon whose CPU time is charged; it ends with the arena.
    pub(crate) fn daemon(&self, script: &str, log: &str) -> Done {
        let path = self.dir.join(log);
        let log = std::fs::File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = self.command(&format!("exec {script}"));
        command.stdout(log).stderr(errors);
        self.daemons.borrow_mut().push(command.spawn().map_err(|error| format!("cannot start {script}: {error}"))?);
        Ok(())
    }

    /// The CPU time charged so far, in seconds.
    pub(crate) fn cpu_s(&self) -> f64 {
        let v1 = format!("/sys/fs/cgroup/cpuacct/{GROUP}/cpuacct.usage");
        if let Ok(text) = std::fs::read_to_string(v1) {
            return text.trim().parse::<f64>().unwrap_or(0.0) / 1e9;
        }
        let stat = std::fs::read_to_string(format!("/sys/fs/cgroup/{GROUP}/cpu.stat")).unwrap_or_default();
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        usage.and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) / 1e6
    }

    /// Waits until nothing in the group works any more: daemons tidy up behind commands that have ended.
    pub(crate) fn wait_until_still(&self) {
        let mut before = self.cpu_s();
        for _ in 0..STILL_LOOKS {
            strata_sys::clock::pause(STILL_LOOK);
            let now = self.cpu_s();
            if now - before < STILL_CPU_S {
                return;
            }
            before = now;
        }
    }

    /// Repeats a check until it succeeds, 30 s at most.
    pub(crate) fn wait_for(&self, check: &str) -> Done {
        self.setup(&format!("for i in $(seq 300); do {check} && exit 0; sleep 0.1; done; exit 1")).map(drop)
    }

    /// A program inside the namespaces and in those of `groups` that are there; it joins from outside, as with version 2 it must.
    fn enter(&self, groups: &str, program: &str) -> Command {
        let mut command = Command::new("sh");
        let join = format!("for g in {groups}; do [ ! -d $g ] || echo 0 >$g/cgroup.procs; done; exec nsenter \"$@\"");
        command.args(["-c", &join, "sh", "--target", &self.init.to_string()]);
        command.args(["--mount", "--pid", "--net", "--uts", "--cgroup"]);
        command.arg(format!("--wdns={}", self.dir.display())).arg(program);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", &self.dir).env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        command
    }

    fn start_registry(&self) -> Done {
        let config = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: '{REGISTRY}' }}\n",
            images::registry_dir().display()
        );
        let path = self.dir.join("registry.yml");
        std::fs::write(&path, config).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        // As urgent as the rest, where that can be had without being charged.
        let mut command = self.enter(&format!("/sys/fs/cgroup/cpu/{GROUP}"), "docker-registry");
        command.arg("serve").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.daemons.borrow_mut().push(command.spawn().map_err(|error| format!("cannot start a registry: {error}"))?);
        self.wait_for(&format!("curl -sf http://{REGISTRY}/v2/ >/dev/null"))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // What stands before each daemon's process is a waiting `nsenter`; the keeper ends the namespace with all in it.
        drop(self.lifeline.take());
        let _reaped = self.keeper.wait();
        for daemon in self.daemons.borrow_mut().iter_mut() {
            let _reaped = daemon.wait();
        }
    }
}

fn only_child(pid: u32) -> Done<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    text.trim().parse().map_err(|_| format!("the arena has not one process but `{}`", text.trim()))
}

#[cfg(test)]
mod tests {
    use strata_testkit::{host, need};

    use super::*;

    #[test]
    fn an_arena_whose_starter_is_gone_leaves_nothing_behind() {
        need!(host::root(), host::program("mkfs.ext4"), host::program("ip"));
        const GROUP: &str = "strata-bench-test";
        let dir = tempfile::tempdir().unwrap().path().join("arena");
        let shows = || std::fs::read_to_string("/proc/self/mounts").unwrap().contains(dir.to_str().unwrap());
        let groups = || {
            let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
            hierarchies.filter(|path| path.ends_with(GROUP) || path.join(GROUP).is_dir()).count()
        };
        let mut command = Command::new("sh");
        command.arg(workspace().join("xtask/bench/arena.sh")).arg(&dir).args([GROUP, "64M"]);
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(["ready direct\n", "ready cached\n"].contains(&said.as_str()), "{said}");
        assert!(!shows() && groups() > 0 && dir.join("store.img").is_file());
        // What the kernel does for a starter that is killed.
        drop(keeper.stdin.take());
        assert!(keeper.wait().unwrap().success());
        assert_eq!((groups(), dir.exists(), shows()), (0, false, false));
    }
}
