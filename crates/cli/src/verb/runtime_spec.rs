//! `strata runtime spec`: write a configuration to begin with.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::verb::prelude::*;

/// What `strata runtime spec` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path to the root of the bundle directory
    #[arg(short = 'b', long, value_name = "path")]
    pub bundle: Option<PathBuf>,
    /// For somebody who is not root
    #[arg(long)]
    pub rootless: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Write a new configuration into `config.json`";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let bundle = self.bundle.map_or_else(|| session.cwd(), |path| Ok(session.cwd()?.join(path)))?;
        let path = bundle.join("config.json");
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| {
                match error.kind() {
                    std::io::ErrorKind::AlreadyExists => Failure::new("File config.json exists. Remove it first"),
                    _ => Failure::new(format!("cannot write `{}`: {error}", path.display())),
                }
            })?;
        let mut config = config();
        if self.rootless {
            without_root(&mut config);
        }
        writeln!(file, "{}", serde_json::to_string_pretty(&config)?)?;
        Ok(Exit::SUCCESS)
    }
}

/// A shell in a terminal, with what runc's has.
fn config() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let usual = ["nosuid", "noexec", "nodev"];
    let shm = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let sys = ["nosuid", "noexec", "nodev", "ro"];
    let cgroup = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": strata_types::runtime_spec::VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "strata",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": shm},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": usual},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": sys},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": cgroup},
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// Who is not root has a user namespace, the host's network, and no limits.
fn without_root(config: &mut Value) {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let linux = &mut config["linux"];
    linux["namespaces"] = ["pid", "ipc", "uts", "mount", "cgroup", "user"].map(|kind| json!({"type": kind})).into();
    linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
    linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        let target = mount["destination"].as_str().unwrap_or_default().to_owned();
        if target == "/sys" {
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
        }
        if let Some(options) = mount["options"].as_array_mut().filter(|_| target == "/dev/pts") {
            options.retain(|option| option != "gid=5");
        }
    }
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    }
}
