//! Keeping what images take below a budget: what was used longest ago goes first.

use std::collections::{BTreeMap, HashSet};
use std::io;

use jiff::Timestamp;
use strata_store::records::ImageRecord;
use strata_store::{Key, LayerFiles as _};
use strata_sys::durable::{self, Durability};
use strata_types::reference::Reference;
use strata_types::{ImageId, Watch};

use crate::image::{Pruned, Removal};
use crate::{Engine, Error, Result};

/// What a collection by a budget did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgeted {
    /// What is gone, and how many bytes on the disk that freed.
    pub pruned: Pruned,
    /// What the images that are left take on the disk.
    pub left_bytes: u64,
}

/// What each layer and blob that some image needs takes on the disk, looked at once.
#[derive(Default)]
struct Ledger(BTreeMap<Key, u64>);

impl Engine {
    /// Removes images, those first that were used longest ago, until the others take at most `keep_bytes` on the disk. What
    /// containers are made of, what other images stand on, what is [kept](Self::keep_image) and what is in `spare` stays, so
    /// that more may be left.
    ///
    /// # Errors
    /// When the records cannot be read or changed, or files cannot be removed.
    pub fn gc(&self, keep_bytes: u64, spare: &[ImageId], watch: &dyn Watch) -> Result<Budgeted> {
        let mut ledger = Ledger::default();
        let before = self.images_bytes(&mut ledger)?;
        let mut left = before;
        let mut refused: HashSet<ImageId> = spare.iter().cloned().collect();
        let mut removals = Vec::new();
        while left > keep_bytes {
            if watch.cancelled() {
                return Err(Error::Cancelled);
            }
            let Some(image) = self.longest_unused(&refused)? else { break };
            // One that somebody uses all of a sudden stays, and is not asked about again.
            refused.insert(image.id.clone());
            self.remove_unused(image, &mut removals)?;
            left = self.images_bytes(&mut ledger)?;
        }
        if !removals.is_empty() {
            self.collect_removed(&mut removals, watch)?;
            self.record_prune(crate::events::Kind::Image, before - left);
        }
        Ok(Budgeted { pruned: Pruned { removals, reclaimed_bytes: before - left }, left_bytes: left })
    }

    /// What all images together take on the disk.
    fn images_bytes(&self, ledger: &mut Ledger) -> Result<u64> {
        let keys: HashSet<Key> = {
            let needs = self.store().images().list()?.into_iter().map(|image| self.keys_of(&image));
            needs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()
        };
        keys.into_iter().map(|key| self.bytes_of(key, ledger)).sum()
    }

    fn keys_of(&self, image: &ImageRecord) -> Result<Vec<Key>> {
        let mut keys = self.snapshots()?.needed(&image.layers);
        let documents = [Some(image.id.digest()), image.manifest.as_ref(), image.index.as_ref()];
        keys.extend(documents.into_iter().flatten().cloned().map(Key::Blob));
        Ok(keys)
    }

    fn bytes_of(&self, key: Key, ledger: &mut Ledger) -> Result<u64> {
        if let Some(bytes) = ledger.0.get(&key) {
            return Ok(*bytes);
        }
        let bytes = match &key {
            Key::Blob(digest) => self.store().blobs().size(digest)?.unwrap_or(0),
            Key::Layer(_) | Key::Chain(_) => self.snapshots()?.usage_of(&key)?.disk_bytes,
        };
        ledger.0.insert(key, bytes);
        Ok(bytes)
    }

    /// The image that may go and was used longest ago.
    fn longest_unused(&self, spare: &HashSet<ImageId>) -> Result<Option<ImageRecord>> {
        let used: HashSet<ImageId> = self.container_records()?.into_iter().map(|one| one.image).collect();
        let of_snapshots: HashSet<ImageId> =
            self.store().snapshots().list()?.into_iter().map(|snapshot| snapshot.image).collect();
        let kept: HashSet<String> = self.store().kept().list()?.into_iter().collect();
        let variants = self.variant_images()?;
        let mut oldest: Option<(Timestamp, ImageRecord)> = None;
        for image in self.store().images().list()? {
            let is_needed = spare.contains(&image.id) || used.contains(&image.id) || of_snapshots.contains(&image.id);
            if is_needed || !self.store().images().children(&image.id)?.is_empty() {
                continue;
            }
            let tags = self.store().tags().of(&image.id)?;
            // It goes when the image goes that its tag names.
            if tags.is_empty() && variants.contains(&image.id) {
                continue;
            }
            let is_kept = tags.iter().any(|tag| kept.contains(&tag.name.to_string()));
            if is_kept || kept.contains(&image.id.to_string()) {
                continue;
            }
            // Pulling it, or giving it a name, is a use, too.
            let named = tags.iter().map(|tag| tag.updated).max();
            let last = image.last_used.into_iter().chain(named).chain([image.added]).max().unwrap_or(image.added);
            if oldest.as_ref().is_none_or(|(time, _)| last < *time) {
                oldest = Some((last, image));
            }
        }
        Ok(oldest.map(|(_, image)| image))
    }

    /// Keeps an image whatever the budget: by its name, then also what the name means later, or by its id. Says what is
    /// kept.
    ///
    /// # Errors
    /// When there is no such image.
    pub fn keep_image(&self, name: &str) -> Result<String> {
        let key = self.key_to_keep(name)?;
        self.store().kept().add(&key, self.now())?;
        Ok(shown(&key))
    }

    /// Keeps it no longer; says whether it was kept.
    ///
    /// # Errors
    /// When there is no such image.
    pub fn release_image(&self, name: &str) -> Result<bool> {
        if let Ok(reference) = name.parse::<Reference>()
            && self.store().kept().remove(&reference.or_latest().to_string())?
        {
            return Ok(true);
        }
        let key = self.key_to_keep(name)?;
        Ok(self.store().kept().remove(&key)?)
    }

    /// The names, and ids, of what is kept.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn kept_images(&self) -> Result<Vec<String>> {
        Ok(self.store().kept().list()?.iter().map(|key| shown(key)).collect())
    }

    fn key_to_keep(&self, name: &str) -> Result<String> {
        let image = self.image(name)?;
        if let Ok(reference) = name.parse::<Reference>() {
            let reference = reference.or_latest();
            if self.store().tags().get(&reference)?.is_some() {
                return Ok(reference.to_string());
            }
        }
        Ok(image.id.to_string())
    }

    /// How much images may take on the disk after a pull; no limit if none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn budget(&self) -> Result<Option<u64>> {
        let path = self.settings().root.join(BUDGET);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { what: path.display().to_string(), source }),
        }
    }

    /// Sets it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_budget(&self, bytes: Option<u64>) -> Result<()> {
        let path = self.settings().root.join(BUDGET);
        match bytes {
            Some(bytes) => durable::write_file(&path, format!("{bytes}\n").as_bytes(), 0o644, Durability::Durable)?,
            None => drop(durable::remove(&path)?),
        }
        Ok(())
    }

    /// Brings the images below the budget, if there is one, after `new` ones came. That it cannot is no reason for what
    /// was done to fail.
    pub(crate) fn apply_budget(&self, new: &[ImageId], watch: &dyn Watch) {
        let applied = self.budget().and_then(|budget| match budget {
            Some(bytes) => self.gc(bytes, new, watch).map(Some),
            None => Ok(None),
        });
        match applied {
            Ok(Some(Budgeted { pruned, left_bytes })) => {
                let images = pruned.removals.iter().filter(|removal| matches!(removal, Removal::Image(_))).count();
                tracing::info!(images, freed = pruned.reclaimed_bytes, left = left_bytes, "applied the budget");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot bring the images below the budget"),
        }
    }
}

/// In the root directory: bytes as a decimal number.
const BUDGET: &str = "budget";

fn shown(key: &str) -> String {
    match key.parse::<Reference>() {
        Ok(reference) => reference.familiar(),
        Err(_) => key.to_owned(),
    }
}
