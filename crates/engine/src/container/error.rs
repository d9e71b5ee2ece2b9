//! What can go wrong with containers, in Docker's words where Docker has them.

use strata_types::ErrorClass;

/// Why an operation on containers failed.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// There is no such container here.
    #[error("No such container: {0}")]
    NotFound(String),
}

impl ContainerError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) => ErrorClass::NotFound,
        }
    }
}
