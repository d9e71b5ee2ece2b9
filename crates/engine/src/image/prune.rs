//! Taking away the images that nobody uses.

use std::collections::HashSet;

use jiff::Timestamp;
use strata_store::records::ImageRecord;
use strata_types::{ImageId, Watch};

use super::list::{Wanted, created};
use super::remove::Removal;
use crate::{Engine, Result};

/// Which unused images to remove.
#[derive(Clone, Debug, Default)]
pub struct PruneWish {
    /// Also those that have a name.
    pub all: bool,
    /// Only images with all these labels.
    pub labels: Vec<String>,
    /// Only images with none of these.
    pub labels_not: Vec<String>,
    /// Only images made before.
    pub until: Option<Timestamp>,
}

/// What a pruning did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What is gone.
    pub removals: Vec<Removal>,
    /// How many bytes that freed.
    pub reclaimed_bytes: u64,
}

impl Engine {
    /// Removes the images without a name, or all, that no container was made from.
    ///
    /// # Errors
    /// When the records cannot be read or changed.
    pub fn prune_images(&self, wish: &PruneWish, watch: &dyn Watch) -> Result<Pruned> {
        let filter = Wanted { labels: wish.labels.clone(), labels_not: wish.labels_not.clone(), ..Wanted::default() };
        let used: HashSet<ImageId> = self.container_records()?.into_iter().map(|one| one.image).collect();
        let mut pruned = Pruned::default();
        // A parent becomes removable when its last child is gone: again until nothing changes.
        loop {
            let before = pruned.removals.len();
            for image in self.store().images().list()? {
                if used.contains(&image.id) || !self.is_prunable(&image, wish, &filter)? {
                    continue;
                }
                self.remove_unused(image, &mut pruned.removals)?;
            }
            if pruned.removals.len() == before {
                break;
            }
        }
        pruned.reclaimed_bytes = self.collect_removed(&mut pruned.removals, watch)?;
        self.record_prune(crate::events::Kind::Image, pruned.reclaimed_bytes);
        Ok(pruned)
    }

    fn is_prunable(&self, image: &ImageRecord, wish: &PruneWish, filter: &Wanted) -> Result<bool> {
        let too_new = wish.until.is_some_and(|until| created(image) >= until);
        if too_new || !self.store().images().children(&image.id)?.is_empty() {
            return Ok(false);
        }
        if !wish.all && (!self.references(&image.id)?.tags.is_empty() || self.variant_images()?.contains(&image.id)) {
            return Ok(false);
        }
        let labels = self.config(&image.id).map(|config| config.fields.config.labels).unwrap_or_default();
        Ok(filter.by_label(&labels))
    }
}
