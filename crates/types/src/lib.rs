//! What things are called and what documents mean.
//!
//! Digests, references, manifests, configs, platforms, mount plans and error classes. Everything here parses and
//! prints; nothing touches a disk, a network, a clock or the environment.

pub mod build_cache;
pub mod config;
pub mod credential;
mod digest;
pub mod document;
mod error;
pub mod hex;
mod id;
pub mod ids;
pub mod listed_manifest;
pub mod media;
pub mod mount;
mod platform;
pub mod reference;
pub mod runtime_spec;
mod watch;

pub use config::ImageConfig;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use document::{Descriptor, Document, Index, Manifest};
pub use error::{ErrorClass, below, plain, sentence};
pub use id::{ChainId, ContainerId, DiffId, IdError, ImageId, SnapshotId};
pub use listed_manifest::ListedManifest;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use watch::{Silent, Watch};
