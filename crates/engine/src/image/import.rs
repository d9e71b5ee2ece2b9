//! Images made of a plain root filesystem.

use std::io::Read;

use strata_types::config::{Fields, History, ImageConfig, RootFs, RunConfig};
use strata_types::reference::Reference;
use strata_types::{ImageId, Platform, Watch};

use super::ImageError;
use super::change::apply;
use crate::events::{Happening, Kind};
use crate::layers::Keeper;
use crate::{Engine, Result};

/// What an imported image is to be.
#[derive(Clone, Debug, Default)]
pub struct ImportWish {
    /// Its name.
    pub name: Option<Reference>,
    /// A remark; where it came from, if none.
    pub message: Option<String>,
    /// Changes to its empty configuration.
    pub changes: Vec<String>,
    /// What it runs on; this host if none.
    pub platform: Option<Platform>,
    /// Where it came from, for the remark: `-` or a file's name.
    pub source: String,
}

impl Engine {
    /// Makes an image with one layer of a tar, compressed or not.
    ///
    /// # Errors
    /// When it is no tar, or something in it is not allowed.
    pub fn import(&self, tar: &mut dyn Read, wish: &ImportWish, watch: &dyn Watch) -> Result<ImageId> {
        let mut run = RunConfig::default();
        apply(&wish.changes, &mut run).map_err(ImageError::from)?;
        let lease = self.store().lease()?;
        let platform = wish.platform.clone().unwrap_or_else(|| self.platform());
        let keeper = if platform.is_windows() { Keeper::Windows } else { Keeper::Driver };
        let layer = self.import_unknown_layer(keeper, &[], &lease, tar, watch)?;
        let now = self.now();
        let message = wish.message.clone().filter(|text| !text.is_empty());
        let comment = message.unwrap_or_else(|| format!("Imported from {}", wish.source));
        let config = ImageConfig::from(Fields {
            created: Some(now.to_string()),
            architecture: platform.architecture,
            variant: platform.variant,
            os: platform.os,
            os_version: platform.os_version,
            config: run,
            rootfs: RootFs { diff_ids: vec![layer.diff_id.clone()], ..RootFs::default() },
            history: vec![History { created: Some(now.to_string()), comment, ..History::default() }],
            ..Fields::default()
        });
        let mut image = self.made(&config, &config.to_bytes(), vec![layer], &lease)?;
        let id = image.image.id.clone();
        image.tags = self.tag_for(wish.name.as_ref(), &id);
        self.store().images().add(&image)?;
        lease.release()?;
        self.record_event(Happening::new(Kind::Image, "import", &id).with("name", &id.to_string()));
        Ok(id)
    }
}
