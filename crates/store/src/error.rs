//! What can go wrong in the store.

use std::path::PathBuf;

use strata_sys::durable::FileError;
use strata_types::{Digest, ErrorClass};

/// The result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of another crate that the store passes through.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database refused or failed.
    #[error("cannot {act}")]
    Database {
        /// What was being done.
        act: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Something is there that only records explain, and they are not.
    #[error("the database of the store at {} is lost: there are files, but no records of them in `strata.db`", root.display())]
    RecordsLost {
        /// The store's root directory.
        root: PathBuf,
    },
    /// A newer program made this store.
    #[error("the store at {} has format {found}, this program knows formats up to {known}", root.display())]
    Newer {
        /// The store's root directory.
        root: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this program knows.
        known: i64,
    },
    /// A record does not mean anything.
    #[error("the record of {what} is damaged")]
    Record {
        /// Which record.
        what: &'static str,
        /// Why it could not be read.
        #[source]
        source: BoxError,
    },
    /// A prefix is that of several things.
    #[error("the prefix `{prefix}` is that of several {what}s")]
    Ambiguous {
        /// What was looked for, such as `image`.
        what: &'static str,
        /// What was given.
        prefix: String,
    },
    /// A blob that a record names is not there.
    #[error("blob {0} is not in the store")]
    BlobMissing(Digest),
    /// Bytes are not what their digest says.
    #[error("the content of blob {expected} is damaged: its digest is {found}")]
    BlobDamaged {
        /// What the digest should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// What came in is not what its digest says.
    #[error("wrong digest: expected {expected}, received {found}")]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// What came in is longer or shorter than announced.
    #[error("wrong size of {digest}: expected {expected_bytes} bytes, received {found_bytes}")]
    WrongSize {
        /// Which blob.
        digest: Digest,
        /// How long it should be.
        expected_bytes: u64,
        /// How long it is (at least).
        found_bytes: u64,
    },
    /// A blob is longer than its reader accepts.
    #[error("blob {digest} has {size_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLarge {
        /// Which blob.
        digest: Digest,
        /// How long it is.
        size_bytes: u64,
        /// How long it may be.
        limit_bytes: u64,
    },
    /// The layers' files could not be listed, checked or removed.
    #[error("cannot {act} the files of a layer")]
    Layers {
        /// What was being done.
        act: &'static str,
        /// What the layers' owner said.
        #[source]
        source: BoxError,
    },
    /// Another process collects as garbage what was to be recorded; the caller held no lease.
    #[error("the content is just being removed")]
    BeingRemoved,
    /// The person asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::File(error) => error.class(),
            Self::Database { source, .. } => database_class(source),
            Self::Newer { .. } => ErrorClass::Unsupported,
            Self::RecordsLost { .. }
            | Self::Record { .. }
            | Self::BlobDamaged { .. }
            | Self::WrongDigest { .. }
            | Self::WrongSize { .. } => ErrorClass::Corrupt,
            Self::Ambiguous { .. } => ErrorClass::InvalidInput,
            Self::BlobMissing(_) => ErrorClass::NotFound,
            Self::TooLarge { .. } => ErrorClass::Exhausted,
            Self::Layers { .. } => ErrorClass::Internal,
            Self::BeingRemoved => ErrorClass::Conflict,
            Self::Cancelled => ErrorClass::Cancelled,
        }
    }

    /// Says what was being done when the database failed.
    pub(crate) fn during(self, act: &'static str) -> Self {
        match self {
            Self::Database { source, .. } => Self::Database { act, source },
            other => other,
        }
    }

    pub(crate) fn record(what: &'static str) -> impl Fn(BoxError) -> Self {
        move |source| Self::Record { what, source }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        Self::Database { act: "use the records", source }
    }
}

fn database_class(error: &rusqlite::Error) -> ErrorClass {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ErrorClass::Exhausted,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorClass::Corrupt,
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => ErrorClass::Denied,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorClass::Conflict,
        _ => ErrorClass::Internal,
    }
}
