//! What can go wrong with a bundle, in the words of runc where programs read them.

use super::Status;

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such container.
    #[error("container does not exist")]
    Unknown,
    /// The id is taken.
    #[error("container with given ID already exists")]
    Exists,
    /// The id is none.
    #[error("invalid container ID format: {0:?}")]
    Id(String),
    /// Only a created container is started.
    #[error("cannot start a container that has stopped")]
    Stopped,
    /// It was started already.
    #[error("cannot start an already running container")]
    Running,
    /// It has no process that could be signalled or joined.
    #[error("container not running")]
    NotRunning,
    /// Only a stopped container is deleted.
    #[error("cannot delete container {id} that is not stopped: {}", .status.as_str())]
    NotStopped {
        /// Which.
        id: String,
        /// What it does.
        status: Status,
    },
    /// Nothing joins a paused container.
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    Paused,
    /// It is not paused.
    #[error("container not paused")]
    NotPaused,
    /// The configuration contradicts itself or asks for what is unknown.
    #[error("invalid configuration: {0}")]
    Config(String),
    /// The configuration cannot be read.
    #[error("cannot read `{path}`")]
    Document {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A limit could not be set.
    #[error("cannot set `{file}` to `{value}`")]
    Limit {
        /// In which file of the control group.
        file: String,
        /// To what.
        value: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A hook failed.
    #[error("error running {kind} hook #{number}: {why}")]
    Hook {
        /// Of which kind.
        kind: &'static str,
        /// The how manieth of them.
        number: usize,
        /// What happened.
        why: String,
    },
    /// A process could not be started.
    #[error("unable to start container process")]
    Start(#[source] crate::Error),
    /// A process could not be started in a running container.
    #[error("exec failed: unable to start container process")]
    Exec(#[source] crate::Error),
    /// Something else failed.
    #[error(transparent)]
    Step(#[from] crate::Error),
}

impl Error {
    pub(crate) fn hook(kind: &'static str, number: usize, why: impl Into<String>) -> Self {
        Self::Hook { kind, number, why: why.into() }
    }
}
