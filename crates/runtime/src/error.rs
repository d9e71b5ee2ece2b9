//! What can go wrong with running programs.

use std::io;

use rustix::io::Errno;
use strata_types::ErrorClass;
pub(crate) use strata_types::sentence;

/// Why a container or process could not be started, entered or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step with a file failed.
    #[error("cannot {act} `{path}`")]
    Path {
        /// What we wanted to do.
        act: &'static str,
        /// To what.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A step failed.
    #[error("cannot {act}")]
    Step {
        /// What we wanted to do.
        act: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Inside the new container something failed before its program could be executed.
    #[error("{0}")]
    Setup(String),
    /// The program is not there: exit code 127.
    #[error("{0}")]
    ProgramMissing(String),
    /// The program cannot be executed: exit code 126.
    #[error("{0}")]
    ProgramRefused(String),
    /// The specification contradicts itself.
    #[error("invalid specification: {0}")]
    Spec(String),
    /// A seccomp profile does not parse or names something unknown.
    #[error("invalid seccomp profile: {0}")]
    SeccompProfile(String),
    /// A document of ours cannot be read.
    #[error("cannot read `{path}`")]
    Document {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// It could not be connected to its networks.
    #[error(transparent)]
    Network(#[from] strata_net::Error),
    /// The container does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The container runs already.
    #[error("container {0} is already running")]
    AlreadyRunning(String),
    /// The container is paused, which stands in the way.
    #[error("container {0} is paused, unpause the container first")]
    Paused(String),
    /// The container is not paused.
    #[error("container {0} is not paused")]
    NotPaused(String),
    /// The host lacks something.
    #[error("{0}")]
    Unsupported(String),
    /// The shim lives but says nothing.
    #[error("the shim of container {id} (process {pid}) does not answer")]
    ShimSilent {
        /// The container.
        id: String,
        /// The shim.
        pid: i32,
    },
    /// The shim ended or broke the conversation.
    #[error("the container's shim is gone")]
    ShimGone,
}

impl Error {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Path { source, .. } | Self::Step { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorClass::NotFound,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorClass::Exhausted,
                _ => ErrorClass::Internal,
            },
            Self::Spec(_) | Self::SeccompProfile(_) => ErrorClass::InvalidInput,
            Self::ProgramMissing(_) | Self::ProgramRefused(_) => ErrorClass::InvalidInput,
            Self::NotRunning(_) | Self::AlreadyRunning(_) | Self::Paused(_) | Self::NotPaused(_) => {
                ErrorClass::Conflict
            }
            Self::Unsupported(_) => ErrorClass::Unsupported,
            Self::ShimSilent { .. } => ErrorClass::Unavailable,
            Self::Setup(_) | Self::ShimGone => ErrorClass::Internal,
            Self::Document { .. } => ErrorClass::Corrupt,
            Self::Network(error) => error.class(),
        }
    }

    /// The exit code of the command that wanted to start something: 127 for no program, 126 for one that cannot be
    /// executed, 125 for all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ProgramMissing(_) => 127,
            Self::ProgramRefused(_) => 126,
            _ => 125,
        }
    }

    pub(crate) fn step(act: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Step { act, source: errno.into() }
    }

    pub(crate) fn io(act: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Step { act, source }
    }

    pub(crate) fn path<E: Into<io::Error>>(act: &'static str, path: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::Path { act, path: path.into(), source: source.into() }
    }
}
