//! Operations on images.

pub mod change;
mod error;
mod find;
mod history;
mod inspect;
mod list;
mod tag;

pub use error::ImageError;
pub use history::Step;
pub use inspect::{GraphDriver, Inspected, Metadata, RootFs, docker_config};
pub use list::{References, Summary, Wanted, reference_matches};
