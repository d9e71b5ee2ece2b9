//! Operations on images.

mod error;

pub use error::ImageError;
