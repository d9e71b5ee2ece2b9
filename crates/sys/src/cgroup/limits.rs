//! What a group may use at most.

use serde::{Deserialize, Serialize};

/// What a group may use at most; nothing set, nothing limited. Values are those of version 1, which are Docker's words,
/// and become those of version 2 where that is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// The group above, as an absolute path in each hierarchy; `strata` without.
    pub parent: Option<String>,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Memory and swap together; -1 for no limit on swap.
    pub memory_swap_bytes: Option<i64>,
    /// Memory that is left to it under pressure.
    pub memory_reservation_bytes: Option<u64>,
    /// How willingly its memory is swapped out, 0 to 100 (version 1 only).
    pub memory_swappiness: Option<u64>,
    /// Never kill for lack of memory (version 1 only).
    pub oom_kill_disable: bool,
    /// Relative weight of CPU time, 2 to 262144, 1024 usual.
    pub cpu_shares: Option<u64>,
    /// CPU time per period; -1 for no limit.
    pub cpu_quota_us: Option<i64>,
    /// The period, 100000 without.
    pub cpu_period_us: Option<u64>,
    /// The period for real-time processes (version 1 only).
    pub cpu_realtime_period_us: Option<u64>,
    /// What real-time processes get of it (version 1 only).
    pub cpu_realtime_runtime_us: Option<i64>,
    /// Which CPUs, as `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Which memory nodes.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; -1 for no limit.
    pub pids: Option<i64>,
    /// Relative weight of disk time, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// The same for single disks.
    pub blkio_device_weights: Vec<DeviceLimit>,
    /// Reading from disks.
    pub read_bytes_per_s: Vec<DeviceLimit>,
    /// Writing to disks.
    pub write_bytes_per_s: Vec<DeviceLimit>,
    /// Reads from disks.
    pub reads_per_s: Vec<DeviceLimit>,
    /// Writes to disks.
    pub writes_per_s: Vec<DeviceLimit>,
}

/// A limit for one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimit {
    /// The device's major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// How much.
    pub value: u64,
}

impl Limits {
    /// Whether something is said about disks.
    pub(super) fn are_about_disks(&self) -> bool {
        let lists = [
            &self.blkio_device_weights,
            &self.read_bytes_per_s,
            &self.write_bytes_per_s,
            &self.reads_per_s,
            &self.writes_per_s,
        ];
        self.blkio_weight.is_some() || lists.iter().any(|list| !list.is_empty())
    }

    /// Whether something is said about CPUs and memory nodes.
    pub(super) fn are_about_sets(&self) -> bool {
        self.cpuset_cpus.is_some() || self.cpuset_mems.is_some()
    }
}

impl std::fmt::Display for DeviceLimit {
    /// As version 1 reads it: `8:0 1048576`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} {}", self.major, self.minor, self.value)
    }
}
