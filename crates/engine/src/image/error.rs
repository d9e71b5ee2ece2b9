//! What can go wrong with images, in Docker's words where Docker has them.

use strata_types::ErrorClass;

/// Why an operation on images failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is no such image here.
    #[error("No such image: {0}")]
    NotFound(String),
}

impl ImageError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) => ErrorClass::NotFound,
        }
    }
}
