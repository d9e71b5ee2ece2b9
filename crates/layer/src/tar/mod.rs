//! Tar, read as a stream and written without variation.

mod limits;

pub use limits::Limits;
