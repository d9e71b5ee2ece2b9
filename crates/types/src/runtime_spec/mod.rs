//! `config.json` of a bundle, as an OCI runtime reads it (github.com/opencontainers/runtime-spec, config.md).
//!
//! Unknown fields are passed over, as the specification asks; `null` is what a missing field is.

mod linux;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

pub use linux::*;

/// The newest version of the specification that is understood.
pub const VERSION: &str = "1.2.0";

/// A container's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {
    /// The version of the specification that it follows.
    pub oci_version: String,
    /// The first process.
    pub process: Option<Process>,
    /// The root filesystem.
    pub root: Option<Root>,
    /// The host name.
    pub hostname: Option<String>,
    /// The NIS domain name.
    pub domainname: Option<String>,
    /// Further mounts, in this order.
    #[serde(deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    /// Programs at certain moments.
    #[serde(deserialize_with = "or_default")]
    pub hooks: Hooks,
    /// Whatever somebody wants to remember.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// What is Linux's.
    #[serde(deserialize_with = "or_default")]
    pub linux: Linux,
}

/// The root filesystem.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Root {
    /// Where it is; relative to the bundle.
    pub path: String,
    /// It may not be written.
    pub readonly: bool,
}

/// One mount.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Mount {
    /// Where, in the container.
    pub destination: String,
    /// The type of filesystem.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// What; relative to the bundle for binds.
    #[serde(deserialize_with = "or_default")]
    pub source: String,
    /// As in fstab(5).
    #[serde(deserialize_with = "or_default")]
    pub options: Vec<String>,
    /// Ids of users on the filesystem and here.
    #[serde(deserialize_with = "or_default")]
    pub uid_mappings: Vec<IdMapping>,
    /// Ids of groups on the filesystem and here.
    #[serde(deserialize_with = "or_default")]
    pub gid_mappings: Vec<IdMapping>,
}

/// A process: the container's first, or one that joins it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Process {
    /// It gets a terminal.
    pub terminal: bool,
    /// The terminal's size.
    pub console_size: Option<ConsoleSize>,
    /// As whom.
    #[serde(deserialize_with = "or_default")]
    pub user: User,
    /// The program and its arguments.
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: String,
    /// What it may do.
    pub capabilities: Option<CapabilityNames>,
    /// setrlimit(2).
    #[serde(deserialize_with = "or_default")]
    pub rlimits: Vec<Rlimit>,
    /// No privileges by executing.
    pub no_new_privileges: bool,
    /// An AppArmor profile.
    #[serde(deserialize_with = "or_default")]
    pub apparmor_profile: String,
    /// How willingly the kernel kills it.
    pub oom_score_adj: Option<i32>,
    /// A SELinux context.
    #[serde(deserialize_with = "or_default")]
    pub selinux_label: String,
    /// ioprio_set(2).
    pub io_priority: Option<IoPriority>,
    /// sched_setattr(2).
    pub scheduler: Option<Scheduler>,
    /// Which CPUs a process that joins runs on.
    #[serde(rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConsoleSize {
    /// Lines.
    pub height: u16,
    /// Characters in a line.
    pub width: u16,
}

/// A user by numbers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(deserialize_with = "or_default")]
    pub additional_gids: Vec<u32>,
}

/// Five sets of capabilities by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CapabilityNames {
    /// What can ever be had.
    #[serde(deserialize_with = "or_default")]
    pub bounding: Vec<String>,
    /// What is in force.
    #[serde(deserialize_with = "or_default")]
    pub effective: Vec<String>,
    /// What an executed file may keep.
    #[serde(deserialize_with = "or_default")]
    pub inheritable: Vec<String>,
    /// What can be put in force.
    #[serde(deserialize_with = "or_default")]
    pub permitted: Vec<String>,
    /// What is kept over executing.
    #[serde(deserialize_with = "or_default")]
    pub ambient: Vec<String>,
}

/// A resource limit.
#[derive(Clone, Debug, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and the like.
    #[serde(rename = "type")]
    pub kind: String,
    /// In force.
    pub soft: u64,
    /// The most that soft may become.
    pub hard: u64,
}

/// A process's priority at the disk.
#[derive(Clone, Debug, Deserialize)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_RT`, `_BE` or `_IDLE`.
    pub class: String,
    /// 0 to 7.
    #[serde(default)]
    pub priority: u8,
}

/// How a process is scheduled.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    /// `SCHED_OTHER` and the like.
    pub policy: String,
    /// The nice value.
    pub nice: i32,
    /// For real-time policies.
    pub priority: i32,
    /// `SCHED_FLAG_…`.
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
    /// Of deadlines, in nanoseconds.
    pub runtime: u64,
    /// The same.
    pub deadline: u64,
    /// The same.
    pub period: u64,
}

/// Lists of CPUs for a process that joins.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CpuAffinity {
    /// Before it is in the container's control group.
    #[serde(deserialize_with = "or_default")]
    pub initial: String,
    /// After.
    #[serde(rename = "final", deserialize_with = "or_default")]
    pub last: String,
}

/// Programs at certain moments of a container's life.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hooks {
    /// While it is created, in the runtime's namespaces (deprecated, before the next).
    #[serde(deserialize_with = "or_default")]
    pub prestart: Vec<Hook>,
    /// While it is created, in the runtime's namespaces.
    #[serde(deserialize_with = "or_default")]
    pub create_runtime: Vec<Hook>,
    /// While it is created, in its namespaces, before its root is its root.
    #[serde(deserialize_with = "or_default")]
    pub create_container: Vec<Hook>,
    /// While it is started, in its namespaces.
    #[serde(deserialize_with = "or_default")]
    pub start_container: Vec<Hook>,
    /// When it is started, in the runtime's namespaces.
    #[serde(deserialize_with = "or_default")]
    pub poststart: Vec<Hook>,
    /// When it is deleted, in the runtime's namespaces.
    #[serde(deserialize_with = "or_default")]
    pub poststop: Vec<Hook>,
}

/// One such program. It gets the container's state on its standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// The program's absolute path.
    pub path: String,
    /// Its arguments, the name first.
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// How many seconds it may take.
    pub timeout: Option<i64>,
}

/// Takes `null` for the default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_missing_are_the_same_and_unknown_fields_are_passed_over() {
        let text = r#"{"ociVersion": "1.0.2", "new": {"x": 1}, "mounts": null, "hooks": null, "annotations": {"a": "b"},
            "process": {"terminal": true, "user": {"uid": 3, "additionalGids": null}, "args": ["sh"], "cwd": "/",
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/x"}],
            "resources": {"memory": {"limit": -1}, "unified": {"memory.high": "max"}, "pids": {"limit": 5},
            "devices": [{"allow": false, "access": "rwm"}]}, "maskedPaths": null}}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        let process = config.process.unwrap();
        assert_eq!((process.user.uid, process.rlimits[0].hard, process.args), (3, 2, vec!["sh".to_owned()]));
        assert_eq!(config.hooks.poststop, []);
        let paths: Vec<_> = config.linux.namespaces.iter().map(|namespace| namespace.path.as_str()).collect();
        assert_eq!(paths, ["", "/x"]);
        let resources = config.linux.resources;
        assert_eq!((resources.memory.limit, resources.pids.limit), (Some(-1), Some(5)));
        assert_eq!(resources.devices[0].major, None);
        serde_json::from_str::<Config>(r#"{"process": {"args": "sh"}}"#).unwrap_err();
    }
}
