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
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether there is a process.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
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
        }
    }
}
