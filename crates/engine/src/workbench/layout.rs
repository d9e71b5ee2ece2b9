//! Images in directories with an OCI layout, to build on: they do not become images of this host.

use std::path::Path;

use strata_types::config::ImageConfig;
use strata_types::{Digest, ImageId, Platform, Watch};

use super::Workbench;
use crate::image::{Bundle, ImageError, LayoutName, find_named, unreadable};
use crate::layers::Keeper;
use crate::{Error, Result};

/// An image whose layers are here and that has no record.
#[derive(Clone, Debug)]
pub struct LayoutImage {
    /// Its config.
    pub config: ImageConfig,
    /// The digest of its manifest.
    pub manifest: Digest,
}

impl Workbench<'_> {
    /// Takes an image out of a directory, for a platform. None if there is none of that name.
    ///
    /// # Errors
    /// When the directory is no OCI layout, or something in it is missing or not what its digest says.
    pub fn layout_image(
        &self,
        dir: &Path,
        name: &LayoutName,
        platform: &Platform,
        watch: &dyn Watch,
    ) -> Result<Option<LayoutImage>> {
        let shown = dir.display().to_string();
        let reading = |source| unreadable(&shown, source);
        let bundle = Bundle::dir(dir).map_err(reading)?;
        let Some((manifest, found)) = find_named(&bundle, name, platform).map_err(reading)? else { return Ok(None) };
        let parsed = ImageConfig::parse(&found.config);
        let id = || ImageId::new(Digest::sha256(&found.config));
        let config = parsed.map_err(|source| Error::from(ImageError::Config { id: id(), source }))?;
        if config.diff_ids().len() != found.layers.len() {
            let (config, manifest) = (config.diff_ids().len(), found.layers.len());
            return Err(ImageError::LayerCount { name: shown, config, manifest }.into());
        }
        self.lease.protect_layers(config.diff_ids())?;
        if Keeper::of(&config) == Keeper::Driver {
            self.engine.load_layers(&bundle, &found.layers, &config, &shown, watch)?;
        }
        Ok(Some(LayoutImage { config, manifest }))
    }
}
