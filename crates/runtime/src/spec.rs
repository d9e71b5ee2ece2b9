//! What to run and how: plain data that the engine fills in and the shim carries out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use strata_sys::caps::CapSet;
pub use strata_sys::cgroup::{DeviceLimit, Limits};
use strata_sys::signal::Signal;
use strata_types::ContainerId;
use strata_types::ids::IdMaps;
use strata_types::mount::MountPlan;

use crate::emulator::Emulator;

/// One container. Names are already ids, sizes bytes, and defaults chosen: the runtime adds only what
/// every container has (`/proc`, `/dev`, `/dev/pts`, `/dev/shm`, `/dev/mqueue`, `/sys`, `/sys/fs/cgroup`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Which container.
    pub id: ContainerId,
    /// The program and its arguments; never empty.
    pub process: Process,
    /// Arguments with which this program is executed at the end, for what has to follow when nobody is there to do it
    /// (`run -d --rm`). Left out if whoever started the container lived until its files were gone.
    pub when_done: Vec<String>,
    /// It is a step of a build: killed when whoever started it and is attached goes away, and places made for its mounts
    /// are no change of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_step: bool,
    /// What `hostname` says.
    pub hostname: Option<String>,
    /// What `domainname` says.
    pub domainname: Option<String>,
    /// The root filesystem.
    pub rootfs: MountPlan,
    /// The root filesystem may not be written, whatever its plan says.
    pub read_only: bool,
    /// Further mounts, in this order. One that names a place of the standing mounts takes its place.
    pub mounts: Vec<Mount>,
    /// What `/dev/shm` is, unless `/dev/shm` of another container is shared.
    #[serde(default)]
    pub shared_memory: SharedMemory,
    /// Size of `/dev/shm`, where the container has its own.
    pub shm_size_bytes: u64,
    /// Device nodes besides the standing ones (null, zero, full, random, urandom, tty).
    pub devices: Vec<DeviceNode>,
    /// Which namespaces are the container's own.
    pub namespaces: Namespaces,
    /// Kernel settings below `/proc/sys`, by dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// Paths that are hidden.
    pub masked_paths: Vec<String>,
    /// Paths that cannot be written.
    pub readonly_paths: Vec<String>,
    /// `/sys` and `/sys/fs/cgroup` may be written: for privileged containers.
    pub system_writable: bool,
    /// What it may use at most.
    pub limits: Limits,
    /// Which devices it may open.
    pub device_rules: DeviceRules,
    /// A tiny init is process 1, which starts the program, reaps orphans and forwards signals.
    pub init: bool,
    /// How output is kept.
    pub log: Log,
    /// Whether it is started again when it has ended.
    #[serde(default)]
    pub restart: Restart,
    /// How it is asked for its health.
    #[serde(default)]
    pub health: Option<HealthCheck>,
    /// Another OCI runtime that makes and enters it: an absolute path. The native one without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<PathBuf>,
    /// What runs its programs, if they are for another processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulator: Option<Emulator>,
    /// What events say about it: `name`, `image`, labels.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The volumes among its mounts, for events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeMount>,
    /// How it is ended when nobody says how.
    #[serde(default)]
    pub end: End,
}

/// How a container is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// What asks it.
    pub signal: Signal,
    /// How long it has until it is killed; for ever without.
    pub patience_ms: Option<u64>,
}

impl Default for End {
    /// Docker's.
    fn default() -> Self {
        Self { signal: Signal::TERM, patience_ms: Some(10_000) }
    }
}

/// A volume and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The volume's name.
    pub name: String,
    /// Where in the container.
    pub target: String,
    /// It may not be written.
    pub read_only: bool,
}

/// When a container is started again after its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When it did not end with 0.
    OnFailure {
        /// So often at most; 0 for any number.
        restarts_max: u32,
    },
    /// Until a person ends it.
    Always,
    /// The same; and after a reboot only if nobody had stopped it.
    UnlessStopped,
}

/// How a container is asked for its health. Defaults are chosen already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The program and its arguments; 0 means healthy.
    pub args: Vec<String>,
    /// Between two checks.
    pub interval_ms: u64,
    /// A check that takes longer has failed.
    pub timeout_ms: u64,
    /// Failures before do not count.
    pub start_period_ms: u64,
    /// Between two checks in that period.
    pub start_interval_ms: u64,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
}

/// One process: a container's first, or one that joins it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The program, looked up in the container's `PATH` unless it holds a slash, and its arguments.
    pub args: Vec<String>,
    /// The environment, `NAME=VALUE`, complete.
    pub env: Vec<String>,
    /// The working directory; made if missing (first process only).
    pub cwd: String,
    /// As whom.
    pub user: User,
    /// As whom by name, looked up in the container when the process starts ([`crate::user::look_up`]): takes the place
    /// of `user`, and sets `HOME` unless `env` has one.
    #[serde(default)]
    pub named_user: Option<NamedUser>,
    /// It gets a terminal.
    pub tty: bool,
    /// Its standard input stays open for those who attach; otherwise it is empty.
    pub stdin: Stdin,
    /// What it may do beyond an ordinary user.
    pub capabilities: Capabilities,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// Programs cannot gain privileges by being executed.
    pub no_new_privileges: bool,
    /// What a security module calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Resource limits, setrlimit(2).
    pub rlimits: Vec<Rlimit>,
    /// How willingly the kernel kills it when memory ends.
    pub oom_score_adj: Option<i32>,
    /// The size of a new terminal.
    pub terminal_size: Option<TerminalSize>,
}

/// A process that joins a running container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// What events call it.
    #[serde(default)]
    pub id: String,
    /// The process. `process.seccomp` is usually the container's own.
    pub process: Process,
}

/// Whose standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// Nobody's: reads end at once.
    Empty,
    /// Open as long as the container runs; any number of clients may attach one after the other.
    Open,
    /// Open until the first client that attached with input leaves.
    Once,
}

/// A user by numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// File mode creation mask; 0o022 without.
    pub umask: Option<u32>,
}

/// A user as a person names one, to be looked up in the container's `/etc/passwd` and `/etc/group`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedUser {
    /// `[USER][:GROUP]`, names or numbers; empty is root.
    pub user: String,
    /// Further groups, names or numbers.
    pub groups: Vec<String>,
}

/// The five sets of capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What can ever be had.
    pub bounding: CapSet,
    /// What is in force.
    pub effective: CapSet,
    /// What can be put in force.
    pub permitted: CapSet,
    /// What an executed file may keep.
    pub inheritable: CapSet,
    /// What is kept over executing ordinary files as an ordinary user.
    pub ambient: CapSet,
}

impl Capabilities {
    /// As Docker does it: bounding, effective and permitted, nothing inheritable.
    pub const fn docker(set: CapSet) -> Self {
        Self { bounding: set, effective: set, permitted: set, inheritable: CapSet::EMPTY, ambient: CapSet::EMPTY }
    }
}

/// A process's label for a security module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// An AppArmor profile that is loaded.
    AppArmor(String),
    /// A SELinux context.
    SeLinux(String),
}

/// A filter of system calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// None.
    Unconfined,
    /// Docker's default profile.
    Default,
    /// A profile in Docker's JSON format.
    Profile(String),
}

/// One resource limit. `u64::MAX` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The name as in `--ulimit`: `nofile`, `nproc`, …
    pub name: String,
    /// In force.
    pub soft: u64,
    /// The most that soft may become.
    pub hard: u64,
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, an absolute path in the container; made if missing.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// It may not be written; for binds this includes all mounts below.
    pub read_only: bool,
    /// Set-user-id, devices and programs on it work. Binds have them as their source; for tmpfs `false` means
    /// `nosuid,nodev,noexec`, as Docker mounts them.
    pub exec: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Which.
        path: PathBuf,
        /// With the mounts below it.
        recursive: bool,
        /// Whether later mounts pass between the host and the container.
        propagation: Propagation,
        /// Read-only means this mount only, not those below it.
        #[serde(default)]
        writable_below: bool,
        /// Only what is below it at this path. Who can write there must not lead us out of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// A filesystem of the machine's, mounted for this container.
    Filesystem {
        /// Its type.
        kind: String,
        /// What it is on.
        device: String,
        /// Its options, each `name` or `name=value`; `ro`, `noexec` and the like are the mount's.
        options: Vec<String>,
        /// Only what is in it at this path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// A filesystem in memory.
    Tmpfs {
        /// At most so large; half the memory without.
        size_bytes: Option<u64>,
        /// Mode of its root.
        mode: Option<u32>,
        /// Further options as `name=value` (`uid`, `gid`, `nr_inodes`).
        options: Vec<String>,
    },
    /// A directory in memory with secrets in it.
    Secrets(Vec<SecretFile>),
    /// A secret as a file in memory.
    Secret(SecretFile),
    /// Another snapshot: an image, or part of one.
    Plan {
        /// How to mount it.
        plan: MountPlan,
        /// Which directory of it; all without.
        subpath: Option<String>,
    },
}

/// A secret: a file in memory whose content is read from the host's when the container starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// Its name, without slashes.
    pub name: String,
    /// Where the value is.
    pub source: PathBuf,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permissions.
    pub mode: u32,
}

/// Whether mounts made later pass between two places (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Neither way.
    #[default]
    Private,
    /// From the host to the container.
    Slave,
    /// Both ways.
    Shared,
}

/// A device node in the container's `/dev`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Absolute path in the container.
    pub path: String,
    /// Block instead of character.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Which devices may be opened; the standing ones always may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceRules {
    /// All: for privileged containers.
    Everything,
    /// The standing devices and these.
    Allow(Vec<DeviceRule>),
}

/// One permitted device or family of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Block instead of character.
    pub block: bool,
    /// All majors if missing.
    pub major: Option<u32>,
    /// All minors if missing.
    pub minor: Option<u32>,
    /// Any of `r`, `w`, `m`.
    pub access: String,
}

/// What a container has at `/dev/shm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SharedMemory {
    /// A filesystem of its own.
    #[default]
    Own,
    /// Nothing.
    None,
    /// The host's.
    Host,
}

/// Which namespaces a container has to itself; for the others it uses the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// The network.
    pub network: Network,
    /// Process ids.
    pub pid: bool,
    /// The container of the same store whose process ids it shares, whichever run of it there is when this one starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_of: Option<ContainerId>,
    /// System V and POSIX message queues, semaphores, shared memory.
    pub ipc: bool,
    /// The container of the same store whose queues and memory, also its `/dev/shm`, it shares, whichever run of it there is
    /// when this one starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_of: Option<ContainerId>,
    /// Host name.
    pub uts: bool,
    /// Users: who they are outside; the host's own without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<IdMaps>,
}

/// A container's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Its own, with nothing but loopback.
    None,
    /// The host's.
    Host,
    /// A namespace that exists, by path.
    Join(PathBuf),
    /// That of another container of the same store, whichever run of it there is when this one starts.
    Container(ContainerId),
    /// Its own, connected to networks.
    Connected(Box<strata_net::Plan>),
}

impl Network {
    /// Whether the container has a namespace that is made for it.
    pub(crate) const fn is_own(&self) -> bool {
        matches!(self, Self::None | Self::Connected(_))
    }
}

/// How output is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// It is kept at all.
    pub keep: bool,
    /// A file is closed and renamed when it is larger.
    pub max_size_bytes: Option<u64>,
    /// So many files are kept, the current one included; 1 truncates.
    pub max_files: u32,
    /// Files that were put aside are compressed.
    #[serde(default)]
    pub compress: bool,
    /// What every entry says besides: labels, variables, a tag.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Lines go to the system's journal too.
    #[serde(default)]
    pub journal: Option<Journal>,
    /// A slow log holds up nobody: so much waits for it in memory, and what is more is lost.
    #[serde(default)]
    pub buffer_bytes: Option<u64>,
}

/// The system's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Where it listens.
    pub socket: PathBuf,
    /// What every line comes with.
    pub fields: BTreeMap<String, String>,
}
