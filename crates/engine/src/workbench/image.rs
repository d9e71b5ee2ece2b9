//! The image that a build comes to.

use strata_store::Key;
use strata_store::records::{ImageRecord, LayerRecord, NewImage, TagRecord};
use strata_types::ImageId;
use strata_types::config::ImageConfig;
use strata_types::reference::Reference;

use super::Workbench;
use crate::events::{Happening, Kind};
use crate::{Engine, Result};

/// An image whose layers are here.
#[derive(Clone, Debug)]
pub struct BuiltImage<'a> {
    /// Its config.
    pub config: &'a ImageConfig,
    /// Its names.
    pub names: &'a [Reference],
    /// Those of its layers that may not be recorded yet.
    pub layers: Vec<LayerRecord>,
}

impl Workbench<'_> {
    /// Records an image under its names.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add_image(&self, built: BuiltImage<'_>) -> Result<ImageId> {
        let BuiltImage { config, names, layers } = built;
        let id = self.engine.record_made(config, layers, names, &self.lease)?;
        let event = |name: &Reference| Happening::new(Kind::Image, "tag", &id).with("name", &name.familiar());
        self.engine.record_events(names.iter().map(event));
        Ok(id)
    }
}

impl Engine {
    /// Records an image that was made here, with its config.
    fn record_made(
        &self,
        config: &ImageConfig,
        layers: Vec<LayerRecord>,
        names: &[Reference],
        lease: &strata_store::Lease<'_>,
    ) -> Result<ImageId> {
        let bytes = config.to_bytes();
        let id = config.image_id();
        lease.protect(&[Key::Blob(id.digest().clone())])?;
        self.store().blobs().put(&bytes)?;
        let mut sizes = self.layer_sizes()?;
        sizes.extend(layers.iter().map(|layer| (layer.diff_id.clone(), layer.size_bytes)));
        let size = |layer| sizes.get(layer).copied().unwrap_or(0);
        let now = self.now();
        let image = ImageRecord {
            id: id.clone(),
            manifest: None,
            media_type: String::new(),
            index: None,
            size_bytes: config.diff_ids().iter().map(size).sum(),
            layers: config.diff_ids().to_vec(),
            parent: None,
            added: now,
            created: config.created.as_deref().and_then(|created| created.parse().ok()),
            last_used: None,
            damaged: false,
        };
        let tag = |name: &Reference| TagRecord {
            name: name.clone().or_latest(),
            image: id.clone(),
            manifest: None,
            index: None,
            updated: now,
        };
        let tags = names.iter().map(tag).collect();
        self.store().images().add(&NewImage { image, tags, layers, forms: Vec::new() })?;
        Ok(id)
    }
}
