//! What can go wrong with layered filesystems.

use std::io;
use std::path::{Path, PathBuf};

use strata_sys::durable::{FileError, class_of};
use strata_types::{ContainerId, DiffId, ErrorClass};

use crate::DriverName;

/// The result of working on snapshots.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a snapshot could not be made, mounted, read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The layer's data is not good.
    #[error("cannot unpack the layer")]
    Layer(#[from] strata_layer::Error),
    /// The layer is not the one it should be.
    #[error("the layer's content has the digest {actual}, expected {expected}")]
    DiffId {
        /// What the image says.
        expected: DiffId,
        /// What the data says.
        actual: DiffId,
    },
    /// A layer is not there.
    #[error("layer {0} is not in the store")]
    LayerMissing(DiffId),
    /// What cannot be done with a Windows image on this machine.
    #[error("the layers of a Windows image cannot be mounted on Linux")]
    Windows,
    /// A container has no writable layer.
    #[error("container {0} has no filesystem")]
    ContainerMissing(ContainerId),
    /// Somebody died while a container was put back to a snapshot.
    #[error("container {0} was being put back to a snapshot, and is not there yet")]
    Unsettled(ContainerId),
    /// A file could not be worked on.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something could not be mounted.
    #[error("cannot {act} with the storage driver `{driver}`")]
    Mount {
        /// What was tried.
        act: &'static str,
        /// By whom.
        driver: DriverName,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A record of ours does not parse.
    #[error("cannot read {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// There is no driver of that name.
    #[error("unknown storage driver `{0}`: there are {known}", known = DriverName::names())]
    UnknownDriver(String),
    /// The driver cannot work here.
    #[error("the storage driver `{driver}` is not available: {reason}")]
    Unavailable {
        /// Which.
        driver: DriverName,
        /// Why.
        reason: String,
    },
    /// The driver cannot limit sizes here.
    #[error("the storage driver `{driver}` cannot limit what a container holds: {reason}")]
    NoLimit {
        /// Which.
        driver: DriverName,
        /// Why, and perhaps what would help.
        reason: String,
    },
    /// What a container starts with is more than it may hold.
    #[error(
        "a container of this image with the storage driver `{driver}` cannot be limited to {bytes} bytes: {reason}"
    )]
    LimitTooSmall {
        /// Whose.
        driver: DriverName,
        /// What was asked for.
        bytes: u64,
        /// Why that is too little.
        reason: String,
    },
    /// More layers than the driver can show at once.
    #[error(
        "an image of {layers} layers is too deep for the storage driver `overlay`, which shows {limit} at most: `erofs`, `fuse` and `vfs` have no such limit"
    )]
    TooDeep {
        /// How many there are.
        layers: usize,
        /// How many there may be.
        limit: usize,
    },
    /// What containers wrote cannot be moved from one driver to another.
    #[error(
        "what containers wrote cannot be moved from the storage driver `{from}` to `{to}` at once: move the store to `overlay` first, or commit or remove them"
    )]
    Immovable {
        /// Whose it is.
        from: DriverName,
        /// Whose it should be.
        to: DriverName,
    },
    /// Somebody works with the layers.
    #[error("others are using this store just now")]
    InUse,
    /// There are layers, and the file that says whose they are is gone.
    #[error(
        "the store has layers of {}, but no longer the file `driver` that says which storage driver it has",
        owners.iter().map(|driver| format!("`{driver}`")).collect::<Vec<_>>().join(" and ")
    )]
    DriverLost {
        /// Those that have layers.
        owners: Vec<DriverName>,
    },
    /// The store was made with another driver.
    #[error("this store uses the storage driver `{used}`, not `{asked}`: `strata system migrate {asked}` moves it")]
    OtherDriver {
        /// What it uses.
        used: DriverName,
        /// What was asked for.
        asked: DriverName,
    },
}

impl Error {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Layer(error) => error.class(),
            Self::DiffId { .. } | Self::Record { .. } | Self::DriverLost { .. } => ErrorClass::Corrupt,
            Self::LayerMissing(_) | Self::ContainerMissing(_) => ErrorClass::NotFound,
            Self::Unsettled(_) | Self::InUse => ErrorClass::Conflict,
            Self::File(error) => error.class(),
            Self::Mount { source, .. } => class_of(source),
            Self::UnknownDriver(_) | Self::OtherDriver { .. } | Self::LimitTooSmall { .. } => ErrorClass::InvalidInput,
            Self::Unavailable { .. }
            | Self::NoLimit { .. }
            | Self::TooDeep { .. }
            | Self::Windows
            | Self::Immovable { .. } => ErrorClass::Unsupported,
        }
    }

    /// Makes a function that says what could not be done to `path`, for `map_err`.
    pub(crate) fn at<E: Into<io::Error>>(act: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| FileError { act, path: path.to_owned(), source: source.into() }.into()
    }
}
