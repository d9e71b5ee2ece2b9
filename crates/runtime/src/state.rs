//! What is known about a container's process.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was never started.
    Created,
    /// Its process lives.
    Running,
    /// Its processes are stopped by the freezer.
    Paused,
    /// Its process ended, and its shim is about to start it again.
    Restarting,
    /// Its process ended, and how is known.
    Exited,
    /// Its shim died before it could say how the process ended.
    Dead,
}

impl Status {
    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether there is a process.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether it counts as running: there is a process, or there soon will be.
    pub const fn is_up(self) -> bool {
        self.is_alive() || matches!(self, Self::Restarting)
    }
}

/// What is known about a container's process. On disk as `state.json`; there the status is the last one the shim wrote,
/// and [`crate::Container::state`] corrects it by looking at the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What it is doing.
    pub status: Status,
    /// Its first process, in the host's numbering; 0 for none.
    pub pid: i32,
    /// When that process started, in clock ticks since boot: tells it from a later one with its number.
    pub pid_started_ticks: u64,
    /// The shim; 0 for none.
    pub shim_pid: i32,
    /// When the shim started, in clock ticks.
    pub shim_started_ticks: u64,
    /// How it ended: its exit code, or 128 and the signal's number.
    pub exit_code: i32,
    /// It, or one of its processes, was killed for lack of memory.
    pub oom_killed: bool,
    /// Why it could not be started; empty if it could.
    pub error: String,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// When it ended last.
    pub finished_at: Option<Timestamp>,
    /// How often its policy has started it again since a person did.
    #[serde(default)]
    pub restarts: u32,
    /// A person stopped it, so that it is not started again by itself.
    #[serde(default)]
    pub stopped_by_person: bool,
    /// How it feels, if it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Its control group by name, if that is not its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The boot of the machine that all this is about; process ids mean nothing in another.
    #[serde(default)]
    pub boot_id: String,
    /// Its shim left nothing outside the container's directory when it ended.
    #[serde(default)]
    pub is_clean: bool,
}

/// How a container feels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// In a word.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last results, the newest last.
    pub log: Vec<HealthResult>,
}

/// How a container feels, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It was never found healthy yet.
    Starting,
    /// The last check succeeded, or too few have failed since.
    Healthy,
    /// Too many checks in a row failed, or it has ended.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What came out of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// How; -1 if it could not be made or took too long.
    pub exit_code: i32,
    /// What it printed, the beginning of it.
    pub output: String,
}

impl State {
    /// The state of a container that was never started.
    pub const fn created() -> Self {
        Self {
            status: Status::Created,
            pid: 0,
            pid_started_ticks: 0,
            shim_pid: 0,
            shim_started_ticks: 0,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started_at: None,
            finished_at: None,
            restarts: 0,
            stopped_by_person: false,
            health: None,
            cgroup: None,
            boot_id: String::new(),
            is_clean: false,
        }
    }

    /// The state of a container whose own state a power failure tore.
    pub(crate) fn lost() -> Self {
        Self { status: Status::Exited, exit_code: LOST_CODE, ..Self::created() }
    }

    /// The same after the machine went down under it; `boot` is when it came up again.
    pub(crate) fn after_reboot(self, boot: Timestamp) -> Self {
        let health = self.health.map(|health| Health { status: HealthStatus::Unhealthy, ..health });
        let (status, exit_code, finished_at) = (Status::Exited, LOST_CODE, Some(boot));
        Self { status, exit_code, finished_at, pid: 0, shim_pid: 0, health, ..self }
    }
}

/// The exit code of a container that the machine's end ended, as Docker has it.
const LOST_CODE: i32 = 255;
