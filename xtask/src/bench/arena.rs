//! Where the bench runs: private namespaces, a control group that is charged, an ext4 of its own, a registry.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use strata_testkit::Machine;

use crate::bench::images;
use crate::shell::{self, Done};

/// The control group under each hierarchy's root; commands are put into it, the registry is not.
const GROUP: &str = "strata-bench";
/// Room for every engine's copy of the images; sparse.
const STORE_BYTES: &str = "40G";
/// Where the registry listens inside the arena's own network.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";

/// Ends, with everything in it, when dropped.
pub(crate) struct Arena {
    machine: Machine,
    daemons: std::cell::RefCell<Vec<Child>>,
}

impl Arena {
    /// Makes the namespaces, the groups and the store's filesystem, and starts the registry.
    pub(crate) fn start() -> Done<Self> {
        make_groups()?;
        let arena = Self { machine: Machine::isolated(), daemons: std::cell::RefCell::default() };
        arena.setup(&format!(
            "set -e; ip link set lo up; cd {dir}; truncate -s {STORE_BYTES} store.img; mkfs.ext4 -q -F store.img
             mkdir -p store; mount -o loop store.img store; mkdir -p store/registry.d",
            dir = arena.machine.dir().display()
        ))?;
        arena.enter_groups()?;
        arena.start_registry()?;
        Ok(arena)
    }

    /// A folder on the arena's own filesystem.
    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.machine.dir().join("store").join(name)
    }

    /// A folder beside the stores, for archives and bundles.
    pub(crate) fn dir(&self) -> &Path {
        self.machine.dir()
    }

    /// Runs a script without charging it; it must succeed.
    pub(crate) fn setup(&self, script: &str) -> Done<String> {
        shell::output(self.machine.command("sh").args(["-c", script]))
    }

    /// A command whose CPU time, and that of all its children, is charged.
    pub(crate) fn charged(&self, script: &str) -> Command {
        let mut command = self.machine.command("sh");
        let enter = "for p in /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cmd/cgroup.procs; do \
                     [ ! -w $p ] || echo 0 > $p 2>/dev/null; done; exec sh -c \"$1\"";
        command.args(["-c", enter, "sh", script]);
        command
    }

    /// Starts a daemon whose CPU time is charged; it ends with the arena.
    pub(crate) fn daemon(&self, script: &str, log: &str) -> Done {
        let path = self.dir().join(log);
        let log = std::fs::File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = self.charged(&format!("exec {script}"));
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
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

    /// Inside, each hierarchy is mounted again with the bench's group as its root, so that engines make theirs below it.
    fn enter_groups(&self) -> Done {
        let script = format!(
            "set -e; cd /; if [ -d /sys/fs/cgroup/memory ]; then
               for c in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do
                 [ ! -d /sys/fs/cgroup/$c/{GROUP} ] || mount --bind /sys/fs/cgroup/$c/{GROUP} /sys/fs/cgroup/$c; done
               umount /sys/fs/cgroup/unified 2>/dev/null || :
             else mount --bind /sys/fs/cgroup/{GROUP} /sys/fs/cgroup; fi"
        );
        self.setup(&script).map(drop)
    }

    fn start_registry(&self) -> Done {
        let config = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: '{REGISTRY}' }}\n",
            images::registry_dir().display()
        );
        let path = self.dir().join("registry.yml");
        std::fs::write(&path, config).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        let mut command = self.machine.command("docker-registry");
        command.arg("serve").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        self.daemons.borrow_mut().push(command.spawn().map_err(|error| format!("cannot start a registry: {error}"))?);
        self.wait_for(&format!("curl -sf http://{REGISTRY}/v2/ >/dev/null"))
    }

    /// Repeats a check until it succeeds, 30 s at most.
    pub(crate) fn wait_for(&self, check: &str) -> Done {
        self.setup(&format!("for i in $(seq 300); do {check} && exit 0; sleep 0.1; done; exit 1")).map(drop)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for daemon in self.daemons.borrow_mut().iter_mut().rev() {
            let _already_gone = daemon.kill();
            let _reaped = daemon.wait();
        }
    }
}

fn make_groups() -> Done {
    let v1 = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"];
    let script = if Path::new("/sys/fs/cgroup/memory").is_dir() {
        let make = format!("mkdir -p /sys/fs/cgroup/$c/{GROUP}");
        let fill = format!(
            "for f in cpus mems; do cat /sys/fs/cgroup/cpuset/cpuset.$f > /sys/fs/cgroup/cpuset/{GROUP}/cpuset.$f; done"
        );
        format!("set -e; for c in {}; do [ ! -d /sys/fs/cgroup/$c ] || {make}; done; {fill}", v1.join(" "))
    } else {
        format!("mkdir -p /sys/fs/cgroup/{GROUP}/cmd")
    };
    shell::output(Command::new("sh").args(["-c", &script])).map(drop)
}
