//! What of a container's configuration is Linux's (config-linux.md).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::or_default;

/// What is Linux's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Linux {
    /// Namespaces that are new or joined; others are the runtime's.
    #[serde(deserialize_with = "or_default")]
    pub namespaces: Vec<Namespace>,
    /// Who is whom in a new user namespace.
    #[serde(deserialize_with = "or_default")]
    pub uid_mappings: Vec<IdMapping>,
    /// The same for groups.
    #[serde(deserialize_with = "or_default")]
    pub gid_mappings: Vec<IdMapping>,
    /// Clocks of a new time namespace, by name.
    #[serde(deserialize_with = "or_default")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    /// Device nodes.
    #[serde(deserialize_with = "or_default")]
    pub devices: Vec<Device>,
    /// Where its control group is, in every hierarchy.
    #[serde(deserialize_with = "or_default")]
    pub cgroups_path: String,
    /// What it may use at most.
    #[serde(deserialize_with = "or_default")]
    pub resources: Resources,
    /// `shared`, `slave`, `private` or `unbindable`.
    #[serde(deserialize_with = "or_default")]
    pub rootfs_propagation: String,
    /// A filter of system calls, as it stands.
    pub seccomp: Option<Value>,
    /// Kernel settings.
    #[serde(deserialize_with = "or_default")]
    pub sysctl: BTreeMap<String, String>,
    /// Paths that are hidden.
    #[serde(deserialize_with = "or_default")]
    pub masked_paths: Vec<String>,
    /// Paths that cannot be written.
    #[serde(deserialize_with = "or_default")]
    pub readonly_paths: Vec<String>,
    /// A SELinux context for mounts.
    #[serde(deserialize_with = "or_default")]
    pub mount_label: String,
    /// personality(2).
    pub personality: Option<Personality>,
    /// Cache and memory bandwidth.
    pub intel_rdt: Option<IntelRdt>,
}

/// A class of the resctrl filesystem.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IntelRdt {
    /// One that others know; one of the container's own if empty.
    #[serde(rename = "closID", deserialize_with = "or_default")]
    pub clos_id: String,
    /// A line of `schemata` for caches.
    #[serde(deserialize_with = "or_default")]
    pub l3_cache_schema: String,
    /// One for memory bandwidth.
    #[serde(deserialize_with = "or_default")]
    pub mem_bw_schema: String,
    /// All others: a list, or lines of one text.
    #[serde(deserialize_with = "or_default")]
    pub schemata: Lines,
    /// The container is watched on its own.
    #[serde(deserialize_with = "or_default")]
    pub enable_monitoring: bool,
    /// The same in older versions, of caches.
    #[serde(rename = "enableCMT", deserialize_with = "or_default")]
    pub enable_cmt: bool,
    /// And of memory bandwidth.
    #[serde(rename = "enableMBM", deserialize_with = "or_default")]
    pub enable_mbm: bool,
}

impl IntelRdt {
    /// Whether the container is watched on its own.
    pub const fn is_monitored(&self) -> bool {
        self.enable_monitoring || self.enable_cmt || self.enable_mbm
    }
}

/// Lines of a text, as one or each for itself: versions of the specification differ.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Lines {
    /// One text.
    Text(String),
    /// Each line.
    List(Vec<String>),
}

impl Default for Lines {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Lines {
    /// Each line.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::List(list) => list.as_slice(),
        };
        texts.iter().flat_map(|text| text.lines())
    }
}

/// A namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup` or `time`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One that exists; a new one if empty.
    #[serde(deserialize_with = "or_default")]
    pub path: String,
}

/// Consecutive ids.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMapping {
    /// The first in the container.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// The one that stands for it outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// How far a clock is off.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    /// Seconds.
    pub secs: i64,
    /// And nanoseconds.
    pub nanosecs: u32,
}

/// A device node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Device {
    /// `c`, `u`, `b` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where, in the container.
    pub path: String,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Permissions; 0666 without.
    pub file_mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// personality(2).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Personality {
    /// `LINUX` or `LINUX32`.
    pub domain: String,
    /// None is defined.
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
}

/// What a container may use at most.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Resources {
    /// Which devices may be opened; later entries win.
    #[serde(deserialize_with = "or_default")]
    pub devices: Vec<DeviceAccess>,
    /// Memory.
    #[serde(deserialize_with = "or_default")]
    pub memory: Memory,
    /// CPU time.
    #[serde(deserialize_with = "or_default")]
    pub cpu: Cpu,
    /// Processes.
    #[serde(deserialize_with = "or_default")]
    pub pids: Pids,
    /// Disks.
    #[serde(rename = "blockIO", deserialize_with = "or_default")]
    pub block_io: BlockIo,
    /// Huge pages.
    #[serde(deserialize_with = "or_default")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Packets.
    #[serde(deserialize_with = "or_default")]
    pub network: NetworkClass,
    /// Remote memory, by device.
    #[serde(deserialize_with = "or_default")]
    pub rdma: BTreeMap<String, Rdma>,
    /// Files of version 2 and what is written into them.
    #[serde(deserialize_with = "or_default")]
    pub unified: BTreeMap<String, String>,
}

/// Which devices may be opened.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeviceAccess {
    /// They may; otherwise they may not.
    pub allow: bool,
    /// `c`, `b` or `a` for all.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// All if missing or negative.
    pub major: Option<i64>,
    /// All if missing or negative.
    pub minor: Option<i64>,
    /// Any of `r`, `w`, `m`.
    #[serde(deserialize_with = "or_default")]
    pub access: String,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Memory {
    /// At most; -1 for no limit.
    pub limit: Option<i64>,
    /// What is left to it under pressure.
    pub reservation: Option<i64>,
    /// Memory and swap together.
    pub swap: Option<i64>,
    /// The kernel's for it.
    pub kernel: Option<i64>,
    /// The same for buffers of TCP.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    /// How willingly it is swapped out.
    pub swappiness: Option<u64>,
    /// Never kill for lack of memory.
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    /// Groups below count, too.
    pub use_hierarchy: Option<bool>,
}

/// CPU time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cpu {
    /// Relative weight.
    pub shares: Option<u64>,
    /// Microseconds in a period.
    pub quota: Option<i64>,
    /// Saved for a burst.
    pub burst: Option<u64>,
    /// The period.
    pub period: Option<u64>,
    /// Of it for real-time processes.
    pub realtime_runtime: Option<i64>,
    /// Their period.
    pub realtime_period: Option<u64>,
    /// Which CPUs.
    #[serde(deserialize_with = "or_default")]
    pub cpus: String,
    /// Which memory nodes.
    #[serde(deserialize_with = "or_default")]
    pub mems: String,
    /// Only what nobody else wants.
    pub idle: Option<i64>,
}

/// Processes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// At most; 0 and less for no limit.
    pub limit: Option<i64>,
}

/// Disks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BlockIo {
    /// Relative weight.
    pub weight: Option<u16>,
    /// Against groups below.
    pub leaf_weight: Option<u16>,
    /// By disk.
    #[serde(deserialize_with = "or_default")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes per second.
    #[serde(deserialize_with = "or_default")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes per second.
    #[serde(deserialize_with = "or_default")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "or_default")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "or_default")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// A disk's weight.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WeightDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Relative weight.
    pub weight: Option<u16>,
    /// Against groups below.
    pub leaf_weight: Option<u16>,
}

/// A disk's limit.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ThrottleDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Per second.
    pub rate: u64,
}

/// Huge pages of one size.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HugepageLimit {
    /// `2MB` and the like.
    pub page_size: String,
    /// In bytes.
    pub limit: u64,
}

/// How packets are marked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NetworkClass {
    /// Their class.
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    /// Their priority, by interface.
    #[serde(deserialize_with = "or_default")]
    pub priorities: Vec<InterfacePriority>,
}

/// An interface and a priority.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct InterfacePriority {
    /// Which.
    pub name: String,
    /// How much.
    pub priority: u32,
}

/// Remote memory.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rdma {
    /// Handles at most.
    pub hca_handles: Option<u32>,
    /// Objects at most.
    pub hca_objects: Option<u32>,
}
