//! What builds remember, outside the store: in a registry, in a directory, in the config of an image.
//!
//! ```text
//! open.rs     what is there: steps by key, and their layers when they are wanted
//! export.rs   steps and their layers put there
//! inline.rs   steps in the config of the image they came to
//!
//! DIR/index.json  oci-layout  blobs/sha256/<hex>     a directory is an OCI layout; its index names a manifest by tag
//! ```
//!
//! Whoever can write there can put anything into the images that are built with it, as with every such cache: a layer is
//! held against its digest, a step is believed.

mod export;
mod inline;
mod open;

use std::collections::HashMap;
use std::path::PathBuf;

use strata_types::build_cache::CacheLayer;
use strata_types::reference::Reference;
use strata_types::{DiffId, document::DocumentError};

pub use export::FarStep;
pub use inline::write as write_inline;

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// Under a tag of a registry.
    Registry(Reference),
    /// In a directory.
    Dir {
        /// Which.
        path: PathBuf,
        /// What it is called in there.
        tag: String,
    },
}

/// What is there.
#[derive(Debug)]
pub struct FarCache {
    place: CachePlace,
    /// The layer that a step adds, by the step's key.
    steps: HashMap<String, Option<FarLayer>>,
    layers: HashMap<DiffId, CacheLayer>,
}

/// A layer that is there.
#[derive(Clone, Debug)]
struct FarLayer {
    layer: CacheLayer,
    created: jiff::Timestamp,
}

/// Why nothing can be made of it.
#[derive(Debug, thiserror::Error)]
pub enum FarCacheError {
    /// It is not written as it should be.
    #[error("the cache in {place} cannot be understood")]
    Json {
        /// Where.
        place: CachePlace,
        /// Why not.
        source: serde_json::Error,
    },
    /// Its manifest is none.
    #[error("the cache in {place} has no usable manifest")]
    Manifest {
        /// Where.
        place: CachePlace,
        /// Why not.
        source: DocumentError,
    },
}

impl std::fmt::Display for CachePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "{}", reference.familiar()),
            Self::Dir { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

impl FarCacheError {
    /// What kind of trouble it is.
    pub const fn class(&self) -> strata_types::ErrorClass {
        match self {
            Self::Json { .. } | Self::Manifest { .. } => strata_types::ErrorClass::Corrupt,
        }
    }
}

impl FarCache {
    /// How many steps it has.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}
