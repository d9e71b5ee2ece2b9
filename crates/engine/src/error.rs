//! What can go wrong in the engine. Crates beneath keep their own errors; those of each area are beside its operations.

use strata_types::ErrorClass;

use crate::container::ContainerError;
use crate::image::ImageError;
use crate::manifest_list::ManifestListError;
use crate::rootless::RootlessError;
use crate::secret::SecretError;

/// The result of an engine operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed, in one sentence, with its cause as `source`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something about images.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What builds remember outside the store.
    #[error(transparent)]
    FarCache(#[from] crate::workbench::FarCacheError),
    /// Lists of manifests.
    #[error(transparent)]
    ManifestList(Box<ManifestListError>),
    /// Something about containers.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A user namespace for somebody who is not root.
    #[error(transparent)]
    Rootless(#[from] RootlessError),
    /// Something about secrets.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Networks.
    #[error(transparent)]
    Network(#[from] crate::network::NetworkError),
    /// Moving the store to another driver.
    #[error(transparent)]
    Migrate(#[from] crate::system::MigrateError),
    /// The store.
    #[error(transparent)]
    Store(#[from] strata_store::Error),
    /// Layered filesystems.
    #[error(transparent)]
    Snapshot(#[from] strata_snapshot::Error),
    /// Programs in containers.
    #[error(transparent)]
    Runtime(#[from] strata_runtime::Error),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] strata_registry::Error),
    /// The files that say where references lead.
    #[error(transparent)]
    Conf(#[from] strata_registry::conf::ConfError),
    /// Credentials.
    #[error(transparent)]
    Credential(#[from] strata_registry::auth::CredentialError),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] strata_layer::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] strata_sys::durable::FileError),
    /// Something could not be read.
    #[error("cannot read {what}")]
    Read {
        /// What.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Something could not be written.
    #[error("cannot write {what}")]
    Write {
        /// What.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The person asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl From<ManifestListError> for Error {
    fn from(error: ManifestListError) -> Self {
        Self::ManifestList(Box::new(error))
    }
}

impl Error {
    /// Whether the store's database is damaged or lost, so that nothing is known of what is there.
    pub fn is_of_records(&self) -> bool {
        let of_database = |error: &strata_store::Error| {
            matches!(error, strata_store::Error::Database { .. } | strata_store::Error::RecordsLost { .. })
        };
        matches!(self, Self::Store(error) if of_database(error) && error.class() == ErrorClass::Corrupt)
    }

    /// Whether nothing says any more which storage driver the store has: how many there are that it may be.
    pub fn lost_drivers(&self) -> Option<usize> {
        match self {
            Self::Snapshot(strata_snapshot::Error::DriverLost { owners }) => Some(owners.len()),
            _ => None,
        }
    }

    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Image(error) => error.class(),
            Self::FarCache(error) => error.class(),
            Self::ManifestList(error) => error.class(),
            Self::Container(error) => error.class(),
            Self::Rootless(error) => error.class(),
            Self::Secret(error) => error.class(),
            Self::Network(error) => error.class(),
            Self::Migrate(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Snapshot(error) => error.class(),
            Self::Runtime(error) => error.class(),
            Self::Registry(error) => error.class(),
            Self::Conf(error) => error.class(),
            Self::Credential(error) => error.class(),
            Self::Layer(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Read { source, .. } | Self::Write { source, .. } => strata_sys::durable::class_of(source),
            Self::Cancelled => ErrorClass::Cancelled,
        }
    }
}
