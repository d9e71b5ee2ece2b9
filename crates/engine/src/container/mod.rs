//! Operations on containers.

mod error;
mod seam;

pub use error::ContainerError;
