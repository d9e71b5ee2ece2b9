//! What can go wrong in the engine. Crates beneath keep their own errors; those of each area are beside its operations.

use strata_types::ErrorClass;

use crate::container::ContainerError;
use crate::image::ImageError;

/// The result of an engine operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed, in one sentence, with its cause as `source`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something about images.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Something about containers.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The person asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Image(error) => error.class(),
            Self::Container(error) => error.class(),
            Self::Cancelled => ErrorClass::Cancelled,
        }
    }
}
