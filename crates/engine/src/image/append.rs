//! One more layer on an image, from a tar: no container is needed, so it works for images that cannot run here.

use std::io::Read;

use strata_types::reference::Reference;
use strata_types::{ImageId, Watch};

use super::commit::{CommitWish, From};
use crate::events::{Happening, Kind};
use crate::layers::Keeper;
use crate::{Engine, Result};

/// What an image with one more layer is to be.
#[derive(Clone, Debug, Default)]
pub struct AppendWish {
    /// The new image's name.
    pub name: Option<Reference>,
    /// A remark.
    pub message: String,
    /// Changes to its configuration.
    pub changes: Vec<String>,
    /// Where the layer came from, for the history: `-` or a file's name.
    pub source: String,
}

impl Engine {
    /// Makes an image of another and a layer: a tar, compressed or not, with whiteouts for what is to be gone.
    ///
    /// # Errors
    /// When there is no such image, or the tar is no layer of its operating system.
    pub fn append(&self, image: &str, tar: &mut dyn Read, wish: AppendWish, watch: &dyn Watch) -> Result<ImageId> {
        let base = self.image(image)?;
        let lease = self.store().lease()?;
        lease.protect_layers(&base.layers)?;
        let config = self.config(&base.id)?;
        let AppendWish { name, message, changes, source } = wish;
        let label = name.as_ref().map_or_else(String::new, Reference::familiar);
        let wish = CommitWish { name, message, changes, ..CommitWish::default() };
        let (run, _) = wish.run_of(config.fields.config.clone())?;
        let layer = self.import_unknown_layer(Keeper::of(&config), &base.layers, &lease, tar, watch)?;
        let layers = base.layers.iter().chain([&layer.diff_id]).cloned().collect();
        let from = From { image: &base.id, layers, run, step: format!("append {source}"), new_layer: Some(layer) };
        let id = self.record_commit(from, &lease, &wish)?;
        lease.release()?;
        self.record_event(Happening::new(Kind::Image, "append", &id).with("name", &label));
        Ok(id)
    }
}
