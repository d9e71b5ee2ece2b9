//! What things are called and what documents mean.
//!
//! Digests, references, manifests, configs, platforms, mount plans and error classes. Everything here parses and
//! prints; nothing touches a disk, a network, a clock or the environment.

mod digest;
mod error;
mod id;
pub mod mount;
mod watch;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use error::ErrorClass;
pub use id::{ChainId, ContainerId, DiffId, IdError, ImageId};
pub use watch::{Silent, Watch};
