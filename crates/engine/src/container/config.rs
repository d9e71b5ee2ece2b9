//! What is kept about a container: Docker's `Config` and `HostConfig`, and what was resolved when it was made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use strata_types::Platform;
use strata_types::config::RunConfig;
use strata_types::ids::IdMaps;

/// A container's own settings, after the image's were merged in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// Its host name.
    pub hostname: String,
    /// Its domain.
    pub domainname: String,
    /// The command that made it wanted its input.
    pub attach_stdin: bool,
    /// … its output.
    pub attach_stdout: bool,
    /// … its errors.
    pub attach_stderr: bool,
    /// It has a terminal.
    pub tty: bool,
    /// Its input stays open.
    pub open_stdin: bool,
    /// Its input ends when the first client leaves.
    pub stdin_once: bool,
    /// The image as the person named it.
    pub image: String,
    /// What images can say too.
    pub run: RunConfig,
}

/// What the host does for a container, in the shape of Docker's `HostConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `-v` as given, sources absolute.
    pub binds: Option<Vec<String>>,
    /// `--cidfile`.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// `--log-driver` and `--log-opt`.
    pub log_config: LogConfig,
    /// `--network`.
    pub network_mode: String,
    /// `-p`.
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// `--restart`.
    pub restart_policy: RestartPolicy,
    /// `--rm`.
    pub auto_remove: bool,
    /// `--volume-driver`.
    pub volume_driver: String,
    /// `--volumes-from`.
    pub volumes_from: Option<Vec<String>>,
    /// Rows and columns of the terminal at the start.
    pub console_size: [u16; 2],
    /// `--annotation`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `--cap-add`.
    pub cap_add: Option<Vec<String>>,
    /// `--cap-drop`.
    pub cap_drop: Option<Vec<String>>,
    /// `--cgroupns`.
    pub cgroupns_mode: String,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--add-host`.
    pub extra_hosts: Option<Vec<String>>,
    /// `--group-add`.
    pub group_add: Option<Vec<String>>,
    /// `--ipc`.
    pub ipc_mode: String,
    /// `--cgroup`.
    pub cgroup: String,
    /// `--link`.
    pub links: Option<Vec<String>>,
    /// `--oom-score-adj`.
    pub oom_score_adj: i64,
    /// `--pid`.
    pub pid_mode: String,
    /// `--privileged`.
    pub privileged: bool,
    /// `-P`.
    pub publish_all_ports: bool,
    /// `--read-only`.
    pub readonly_rootfs: bool,
    /// `--security-opt`.
    pub security_opt: Option<Vec<String>>,
    /// `--tmpfs`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// `--uts`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// `--userns`.
    pub userns_mode: String,
    /// `--shm-size`.
    pub shm_size: u64,
    /// `--storage-opt`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    /// `--sysctl`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// `--runtime`.
    pub runtime: String,
    /// Windows.
    pub isolation: String,
    /// Limits.
    #[serde(flatten)]
    pub resources: Resources,
    /// `--mount`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountShown>,
    /// Paths that are hidden.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that cannot be written.
    pub readonly_paths: Option<Vec<String>>,
    /// `--init`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
}

/// The part of `HostConfig` that says how much a container may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// `--cpu-shares`.
    pub cpu_shares: i64,
    /// `--memory`.
    pub memory: i64,
    /// `--cpus`.
    pub nano_cpus: i64,
    /// `--cgroup-parent`.
    pub cgroup_parent: String,
    /// `--blkio-weight`.
    pub blkio_weight: u16,
    /// `--blkio-weight-device`.
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// `--device-read-bps`.
    pub blkio_device_read_bps: Vec<DeviceRate>,
    /// `--device-write-bps`.
    pub blkio_device_write_bps: Vec<DeviceRate>,
    /// `--device-read-iops`.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<DeviceRate>,
    /// `--device-write-iops`.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<DeviceRate>,
    /// `--cpu-period`.
    pub cpu_period: i64,
    /// `--cpu-quota`.
    pub cpu_quota: i64,
    /// `--cpu-rt-period`.
    pub cpu_realtime_period: i64,
    /// `--cpu-rt-runtime`.
    pub cpu_realtime_runtime: i64,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: String,
    /// `--cpuset-mems`.
    pub cpuset_mems: String,
    /// `--device`.
    pub devices: Vec<Device>,
    /// `--device-cgroup-rule`.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// `--memory-reservation`.
    pub memory_reservation: i64,
    /// `--memory-swap`.
    pub memory_swap: i64,
    /// `--memory-swappiness`.
    pub memory_swappiness: Option<i64>,
    /// `--oom-kill-disable`.
    pub oom_kill_disable: bool,
    /// `--pids-limit`.
    pub pids_limit: Option<i64>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
}

/// How output is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    /// `json-file` or `none`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `max-size`, `max-file`, ….
    pub config: BTreeMap<String, String>,
}

/// When a container is started again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `always`, `on-failure`, `unless-stopped`.
    pub name: String,
    /// How often, for `on-failure`.
    pub maximum_retry_count: i64,
}

/// Where a port is published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortBinding {
    /// Address of the host.
    pub host_ip: String,
    /// Port of the host.
    pub host_port: String,
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Device {
    /// Its path on the host.
    pub path_on_host: String,
    /// Its path in the container.
    pub path_in_container: String,
    /// Letters of `rwm`.
    pub cgroup_permissions: String,
}

/// What a block device gets of its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeviceWeight {
    /// Its path on the host.
    pub path: String,
    /// Relative weight.
    pub weight: u16,
}

/// How much may be moved to or from a block device in a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeviceRate {
    /// Its path on the host.
    pub path: String,
    /// Bytes or operations.
    pub rate: u64,
}

/// A resource limit; -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ulimit {
    /// Its name.
    pub name: String,
    /// At most.
    pub hard: i64,
    /// In force.
    pub soft: i64,
}

/// A `--mount` as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountShown {
    /// `bind`, `volume`, `tmpfs` or `image`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Where.
    pub target: String,
    /// It may not be written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Docker's `BindOptions`, `VolumeOptions` or `TmpfsOptions`, by their names.
    #[serde(flatten)]
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// A mount as it was decided when the container was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Where in the container.
    pub target: String,
    /// It may not be written.
    pub read_only: bool,
    /// The third part of `-v`, for `inspect`.
    #[serde(default)]
    pub mode: String,
    /// What.
    pub source: MountFrom,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountFrom {
    /// A path of the host.
    Bind {
        /// Which.
        path: PathBuf,
        /// `rprivate`, `rslave`, ….
        propagation: String,
        /// With the mounts below it.
        recursive: bool,
        /// Read-only means this mount only, not those below it.
        #[serde(default)]
        writable_below: bool,
    },
    /// A volume.
    Volume {
        /// Its name.
        name: String,
        /// It was made for this container without a name.
        anonymous: bool,
        /// A directory in it.
        subpath: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// At most so large.
        size_bytes: Option<u64>,
        /// The mode of its root.
        mode: Option<u32>,
        /// Further options.
        options: Vec<String>,
    },
    /// An image's files.
    Image {
        /// Its layers, the lowest first.
        layers: Vec<strata_types::DiffId>,
        /// How the person named it.
        name: String,
        /// A directory in it.
        subpath: Option<String>,
    },
}

/// A secret as a file in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecretMount {
    /// The secret's name.
    pub name: String,
    /// The file: a name in `/run/secrets`, or an absolute path.
    pub target: String,
    /// Its owner in the container.
    #[serde(rename = "UID")]
    pub uid: u32,
    /// Its group.
    #[serde(rename = "GID")]
    pub gid: u32,
    /// Its permissions.
    pub mode: u32,
}

/// All that the container's record holds beyond its columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The container's settings.
    pub config: ContainerConfig,
    /// The host's part.
    pub host: HostConfig,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Secrets it gets as files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretMount>,
    /// Who its users are outside; the same as inside without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespace: Option<IdMaps>,
    /// What its image is for, if that is not this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Where it is connected, the network of `network_mode` first; empty for `none`, `host` and another container's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<crate::network::EndpointWish>,
}

impl Document {
    /// The program and its arguments: entrypoint and command.
    pub fn words(&self) -> Vec<String> {
        let run = &self.config.run;
        run.entrypoint.iter().flatten().chain(run.cmd.iter().flatten()).cloned().collect()
    }

    /// Parses a record's JSON.
    pub(crate) fn parse(json: &str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }

    /// Prints it for a record.
    pub(crate) fn print(&self) -> String {
        serde_json::to_string(self).expect("maps have text for keys, so it always prints")
    }
}

/// Paths that would tell a container about the host, or let it harm the host; Docker's list.
pub const MASKED_PATHS: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that a container may read but not write; Docker's list.
pub const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Docker's size of `/dev/shm`.
pub const SHM_SIZE_BYTES: u64 = 64 << 20;

impl Default for HostConfig {
    fn default() -> Self {
        let strings = |list: &[&str]| Some(list.iter().map(|path| (*path).to_owned()).collect());
        Self {
            binds: None,
            container_id_file: String::new(),
            log_config: LogConfig::default(),
            network_mode: String::from("none"),
            port_bindings: BTreeMap::new(),
            restart_policy: RestartPolicy::default(),
            auto_remove: false,
            volume_driver: String::new(),
            volumes_from: None,
            console_size: [0, 0],
            annotations: BTreeMap::new(),
            cap_add: None,
            cap_drop: None,
            cgroupns_mode: String::from("host"),
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            extra_hosts: None,
            group_add: None,
            ipc_mode: String::from("private"),
            cgroup: String::new(),
            links: None,
            oom_score_adj: 0,
            pid_mode: String::new(),
            privileged: false,
            publish_all_ports: false,
            readonly_rootfs: false,
            security_opt: None,
            tmpfs: BTreeMap::new(),
            uts_mode: String::new(),
            userns_mode: String::new(),
            shm_size: SHM_SIZE_BYTES,
            storage_opt: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            runtime: String::from("strata"),
            isolation: String::new(),
            resources: Resources::default(),
            mounts: Vec::new(),
            masked_paths: strings(MASKED_PATHS),
            readonly_paths: strings(READONLY_PATHS),
            init: None,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { kind: String::from("json-file"), config: BTreeMap::new() }
    }
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { name: String::from("no"), maximum_retry_count: 0 }
    }
}
