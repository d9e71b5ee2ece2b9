//! Bundles of busybox in a machine within the machine.

use serde_json::{Value, json};
use strata_testkit::machine::Ran;
use strata_testkit::{Machine, host};

/// A machine with a bundle.
pub(crate) struct Lab {
    pub(crate) machine: Machine,
}

impl Lab {
    /// A machine whose bundle has a root filesystem and no configuration yet.
    pub(crate) fn start() -> Self {
        let machine = Machine::isolated();
        // crun 1.8 takes control groups of version 1 or 2, but not both at once: in this machine there is one.
        let one = "umount /sys/fs/cgroup/unified && mount -t tmpfs none /sys/fs/cgroup/unified";
        machine.sh(&format!("grep -q ' /sys/fs/cgroup/unified ' /proc/self/mounts && {one}"));
        let busybox = host::find_program("busybox").unwrap();
        let script = format!(
            "mkdir -p b/rootfs && cd b/rootfs && mkdir bin dev etc proc root sys tmp home && cp {} bin/busybox && \
             chroot . /bin/busybox --install /bin && chmod 1777 tmp && \
             printf 'root:x:0:0:root:/root:/bin/sh\\nuser:x:1000:1000::/home:/bin/sh\\n' >etc/passwd",
            busybox.display()
        );
        machine.sh(&script).ok();
        Self { machine }
    }

    /// A configuration with everything that podman and docker give a container, which runs a script.
    pub(crate) fn config(&self, script: &str) -> Value {
        config(script, &self.cgroup())
    }

    /// Where the container's control group is: nobody else's.
    pub(crate) fn cgroup(&self) -> String {
        format!("/oci-{}", self.machine.dir().file_name().unwrap().display())
    }

    /// The directories of the container's control group, wherever it is.
    pub(crate) fn groups(&self) -> String {
        self.machine
            .sh(&format!("ls -d /sys/fs/cgroup/*{0} /sys/fs/cgroup{0} 2>/dev/null | grep -v unified", self.cgroup()))
            .out
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, config: &Value) {
        std::fs::write(self.machine.dir().join("b/config.json"), config.to_string()).unwrap();
    }

    /// Runs a command of ours.
    pub(crate) fn strata(&self, line: &str) -> Ran {
        self.words(&line.split(' ').collect::<Vec<_>>())
    }

    /// The same with words that may have spaces. Its output goes to files: what stays in a container would hold pipes open.
    pub(crate) fn words(&self, words: &[&str]) -> Ran {
        let path = |name: &str| self.machine.dir().join(name);
        let file = |name: &str| std::fs::File::create(path(name)).unwrap();
        let mut command = self.machine.command(host::strata());
        command.args(["runtime", "--root", "state"]).args(words).stdout(file("out")).stderr(file("err"));
        let status = command.status().unwrap();
        let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        Ran { code: status.code().unwrap_or(-1), out: text("out"), err: text("err") }
    }

    /// Runs a command of crun's.
    pub(crate) fn crun(&self, line: &str) -> Ran {
        let words = ["--root", "crun-state"].into_iter().chain(line.split(' '));
        self.machine.command("crun").args(words).output().unwrap().into()
    }

    /// Runs the bundle to its end with both, and gives what both have in common.
    pub(crate) fn alike(&self, config: &Value) -> Ran {
        self.configure(config);
        let ours = self.strata("run --bundle b box");
        let theirs = self.crun("run --bundle b box");
        assert_eq!(
            (ours.code, ours.out.as_str()),
            (theirs.code, theirs.out.as_str()),
            "{ours:?}\n{theirs:?}\n{config}"
        );
        assert_eq!(ours.err.is_empty(), theirs.err.is_empty(), "{ours:?}\n{theirs:?}");
        ours
    }
}

/// Everything that podman and docker give a container, which runs a script.
fn config(script: &str, cgroup: &str) -> Value {
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_CHROOT"];
    let kinds = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sh", "-c", script],
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": kinds,
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
        },
    })
}
