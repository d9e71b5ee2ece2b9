//! Operations on containers.

mod error;

pub use error::ContainerError;
