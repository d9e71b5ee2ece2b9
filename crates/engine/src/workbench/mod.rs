//! What images are built with: steps that run, layers that are put together, what was done before, and the image at the
//! end. Which steps there are is not known here.
//!
//! ```text
//! step.rs     a container for one step: no record, gone when the step is done or whoever did it died
//! download.rs files from the web, and directories to work in
//! cache_dir.rs directories that outlive builds (`RUN --mount=type=cache`)
//! memory.rs   steps that were done, by the digest of all they read
//! far_cache/  the same outside the store: in registries, directories and images
//! export.rs   trees as files outside the store
//! layout.rs   images in directories, to build on
//! image.rs    the image that comes of it
//! ```

mod cache_dir;
mod download;
mod export;
mod far_cache;
mod image;
mod layout;
mod memory;
mod step;

use std::io::Read;

use strata_store::Lease;
use strata_store::records::LayerRecord;
use strata_sys::root_dir::RootDir;
use strata_types::{DiffId, Digest, Watch};

use crate::container::EMPTY_TAR;
use crate::{Engine, Result};

pub use crate::image::LayoutName;
pub use crate::image::statement;
pub use cache_dir::{CacheDir, CacheDirWish, CacheSharing};
pub use download::{Downloaded, WorkDir};
pub use export::{Tree, TreeFile, TreeTarget};
pub use far_cache::{CachePlace, FarCache, FarCacheError, FarStep, write_inline};
pub use image::BuiltImage;
pub use layout::LayoutImage;
pub use memory::{CachePruned, CacheWish, Memory};
pub use step::{StepDone, StepMount, StepRequest, StepSource, StepStreams};
pub use strata_registry::{WebFile, WebHead};
pub use strata_store::records::{Annotations, BuildStepRecord, LayerRecord as Layer};

/// A place to build at: whatever is made or used here stays until it is left, even if others collect garbage.
#[derive(Debug)]
pub struct Workbench<'e> {
    engine: &'e Engine,
    lease: Lease<'e>,
}

impl Engine {
    /// Opens a place to build at, and clears away what builders left there that died.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn workbench(&self) -> Result<Workbench<'_>> {
        self.reap_steps(&self.store().containers().list()?);
        Ok(Workbench { engine: self, lease: self.store().lease()? })
    }
}

impl Workbench<'_> {
    /// The engine.
    pub const fn engine(&self) -> &Engine {
        self.engine
    }

    /// Keeps layers (the lowest first) from being collected; says whether they are all here.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn keep(&self, layers: &[DiffId]) -> Result<bool> {
        self.lease.protect_layers(layers)?;
        for length in 1..=layers.len() {
            if !self.engine.has_layer(&layers[..length])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The tree of some layers, to be looked at.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn tree(&self, layers: &[DiffId]) -> Result<RootDir> {
        let snapshots = self.engine.snapshots()?;
        Ok(snapshots.open_root(&snapshots.view(layers)?)?)
    }

    /// Puts a layer, given as a tar, on top of others; none if it says nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_layer(&self, below: &[DiffId], tar: &mut dyn Read, watch: &dyn Watch) -> Result<Option<LayerRecord>> {
        let added = self.engine.snapshots()?.import_layer(below, None, tar, watch)?;
        if added.diff_id.digest() == &Digest::sha256(&EMPTY_TAR) {
            return Ok(None);
        }
        self.engine.keep_layer(&self.lease, below, added).map(Some)
    }

    /// Leaves it. Dropping it does the same, but cannot say what went wrong.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn leave(self) -> Result<()> {
        Ok(self.lease.release()?)
    }
}
