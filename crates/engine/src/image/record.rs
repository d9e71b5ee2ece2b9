//! How images that came to be here are recorded: built, committed, imported, loaded.

use strata_store::records::{ImageRecord, LayerRecord, NewImage, Predicate, Said, TagRecord, VariantRecord};
use strata_store::{Key, Lease};
use strata_types::config::ImageConfig;
use strata_types::reference::Reference;
use strata_types::{Digest, ImageId, Platform};

use crate::{Engine, Result};

/// An image that is ready to be recorded, and what is said of it under its names, or as long as it has none.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// The image; it has no tags yet.
    pub(crate) image: NewImage,
    /// What it runs on.
    pub(crate) platform: Platform,
    /// What is said of it.
    pub(crate) said: Said,
}

impl Engine {
    /// An image whose layers are here, with its config in the store as these bytes; nothing is recorded yet. `layers` are
    /// those of its layers that may not be recorded either.
    pub(crate) fn made(
        &self,
        config: &ImageConfig,
        bytes: &[u8],
        layers: Vec<LayerRecord>,
        lease: &Lease<'_>,
    ) -> Result<NewImage> {
        self.made_on(None, config, bytes, layers, lease)
    }

    /// [`made`](Self::made) of an image whose layers are the lowest of it: what they weigh together is known.
    pub(crate) fn made_on(
        &self,
        base: Option<&ImageRecord>,
        config: &ImageConfig,
        bytes: &[u8],
        layers: Vec<LayerRecord>,
        lease: &Lease<'_>,
    ) -> Result<NewImage> {
        let id = ImageId::new(Digest::sha256(bytes));
        lease.protect(&[Key::Blob(id.digest().clone())])?;
        // Made durable already with an image that is recorded and whole.
        let is_whole = self.store().images().get(&id)?.is_some_and(|image| !image.damaged);
        if !is_whole || self.store().blobs().size(id.digest())?.is_none() {
            self.store().blobs().put(bytes)?;
        }
        let (below, mut size_bytes) = base.map_or((0, 0), |base| (base.layers.len(), base.size_bytes));
        for diff_id in config.diff_ids().iter().skip(below) {
            let new = layers.iter().find(|layer| layer.diff_id == *diff_id).cloned();
            let known = new.map_or_else(|| self.store().layers().get(diff_id), |new| Ok(Some(new)))?;
            size_bytes += known.map_or(0, |layer| layer.size_bytes);
        }
        let image = ImageRecord {
            id,
            manifest: None,
            media_type: String::new(),
            index: None,
            size_bytes,
            layers: config.diff_ids().to_vec(),
            parent: None,
            added: self.now(),
            created: config.created.as_deref().and_then(|created| created.parse().ok()),
            last_used: None,
            damaged: false,
        };
        Ok(NewImage { image, tags: Vec::new(), layers, forms: Vec::new(), said: None })
    }

    /// The tag of an image that was made here.
    pub(crate) fn tag_for(&self, name: Option<&Reference>, id: &ImageId) -> Vec<TagRecord> {
        let record = |name: &Reference| TagRecord {
            name: name.clone().or_latest(),
            image: id.clone(),
            manifest: None,
            index: None,
            updated: self.now(),
        };
        name.map(record).into_iter().collect()
    }

    /// Which of some platforms a name means here that stands for all: the first that runs on this machine, else the first.
    pub(crate) fn main_of<'p>(&self, platforms: impl Iterator<Item = &'p Platform>) -> usize {
        let native = self.platform();
        let rank = |(_, platform): &(usize, &Platform)| native.rank(platform).unwrap_or(usize::MAX);
        platforms.enumerate().min_by_key(rank).map_or(0, |(at, _)| at)
    }

    /// Records images, one at least, under names that stand for all of them. Gives the one that they mean here.
    pub(crate) fn record_ready(&self, ready: Vec<Ready>, names: &[Reference]) -> Result<ImageId> {
        let main = self.main_of(ready.iter().map(|one| &one.platform));
        let is_single = ready.len() == 1 && ready[0].said.is_empty();
        let id = ready[main].image.image.id.clone();
        let names: Vec<Reference> = names.iter().map(|name| name.clone().or_latest()).collect();
        let (mut images, mut parts) = (Vec::new(), Vec::new());
        for Ready { mut image, said, .. } in ready {
            image.said = names.is_empty().then(|| said.clone());
            parts.push((image.image.id.clone(), said));
            images.push(image);
        }
        // A tag is recorded when all images are: it comes with the last.
        if let Some(last) = images.last_mut() {
            last.tags = names.iter().flat_map(|name| self.tag_for(Some(name), &id)).collect();
        }
        let variants: Vec<_> =
            names.iter().filter(|_| !is_single).flat_map(|name| VariantRecord::all(name, &parts)).collect();
        self.store().images().add_all(&images, &variants)?;
        Ok(id)
    }

    /// Keeps what is attested of an image.
    pub(crate) fn keep_predicate(&self, kind: String, text: &[u8], lease: &Lease<'_>) -> Result<Predicate> {
        let digest = Digest::sha256(text);
        lease.protect(&[Key::Blob(digest.clone())])?;
        self.store().blobs().put(text)?;
        Ok(Predicate { kind, digest })
    }
}
