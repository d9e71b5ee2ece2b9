//! What can go wrong with a layer.

use std::io;

use strata_types::ErrorClass;

use crate::PathProblem;

/// The result of working on a layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a layer could not be read, written or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A header of the tar is not what the format says.
    #[error("invalid tar entry `{entry}`: {problem}")]
    Header {
        /// The entry's name as far as it is known, or `at byte N`.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name in the tar cannot be used.
    #[error("cannot use the name `{entry}` from the tar")]
    Path {
        /// The name, shortened if very long.
        entry: String,
        /// Why not.
        #[source]
        source: PathProblem,
    },
    /// A stated limit was passed.
    #[error("refused the layer at `{entry}`: {what} exceeds the limit of {limit}")]
    Limit {
        /// The entry, or where.
        entry: String,
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// The data ended inside an entry.
    #[error("the tar ends in the middle of `{entry}`")]
    Truncated {
        /// The entry, or where.
        entry: String,
    },
    /// The compressed data is damaged.
    #[error("cannot decompress {format} data")]
    Decompress {
        /// The name of the compression.
        format: &'static str,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// The data is compressed in a way we do not read.
    #[error("layers compressed with {format} are not supported")]
    Compression {
        /// The name of the compression.
        format: &'static str,
    },
    /// The entry means something that cannot be done.
    #[error("cannot apply `{entry}`: {problem}")]
    Apply {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An operation on a file of a layer failed.
    #[error("cannot {act} `{path}`")]
    File {
        /// What was tried, as a verb.
        act: &'static str,
        /// What it was tried on, below the layer's root.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Reading or writing the layer as a whole failed.
    #[error("cannot {act}")]
    Io {
        /// What was tried, with its object.
        act: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An index or a recipe is damaged.
    #[error("damaged {what}: {problem}")]
    Damaged {
        /// Which kind of file.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// What was produced again is not what it was.
    #[error("the layer's tar could not be produced again: expected {expected}, got {actual}")]
    Digest {
        /// What it was.
        expected: String,
        /// What it is now.
        actual: String,
    },
    /// The person asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Header { .. } | Self::Truncated { .. } | Self::Decompress { .. } => ErrorClass::Corrupt,
            Self::Damaged { .. } | Self::Digest { .. } => ErrorClass::Corrupt,
            Self::Path { .. } | Self::Apply { .. } => ErrorClass::InvalidInput,
            Self::Limit { .. } => ErrorClass::Exhausted,
            Self::Compression { .. } => ErrorClass::Unsupported,
            Self::File { source, .. } | Self::Io { source, .. } => class_of(source),
            Self::Cancelled => ErrorClass::Cancelled,
        }
    }

    /// Says what was tried on which file of a layer.
    pub fn file(act: &'static str, path: impl ToString, source: impl Into<io::Error>) -> Self {
        Self::File { act, path: path.to_string(), source: source.into() }
    }

    /// Says what was tried.
    pub fn io(act: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.downcast::<Self>() {
            Ok(ours) => ours,
            Err(source) => Self::Io { act, source },
        }
    }
}

/// Lets layer errors pass through readers and come out again by [`Error::io`].
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

fn class_of(error: &io::Error) -> ErrorClass {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorClass::Exhausted,
        io::ErrorKind::Unsupported => ErrorClass::Unsupported,
        _ => ErrorClass::Internal,
    }
}
