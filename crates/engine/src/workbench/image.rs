//! The images that a build comes to.

use strata_store::Key;
use strata_store::records::{Annotations, ImageRecord, LayerRecord, NewImage, Predicate, TagRecord, VariantRecord};
use strata_sys::failpoint;
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
    /// Those of its layers that may not be recorded yet.
    pub layers: Vec<LayerRecord>,
    /// What is attested of it: types and JSON documents.
    pub predicates: Vec<(String, Vec<u8>)>,
    /// What its manifest is to say.
    pub annotations: Annotations,
}

impl Workbench<'_> {
    /// Records an image for each platform under names that stand for all of them. Gives the one that they mean here: the
    /// first that runs on this machine, else the first. There is one at least.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add_images(&self, built: Vec<BuiltImage<'_>>, names: &[Reference]) -> Result<ImageId> {
        let engine = self.engine;
        let native = engine.platform();
        let runs = |image: &BuiltImage<'_>| native.rank(&image.config.platform()).unwrap_or(usize::MAX);
        let main = (0..built.len()).min_by_key(|at| runs(&built[*at])).unwrap_or_default();
        let is_single = built.len() == 1 && built[0].predicates.is_empty() && built[0].annotations.is_empty();
        let names: Vec<Reference> = names.iter().map(|name| name.clone().or_latest()).collect();
        let (mut images, mut variants) = (Vec::new(), Vec::new());
        for BuiltImage { config, layers, predicates, annotations } in built {
            let image = engine.made(config, layers, &self.lease)?;
            let predicates = predicates.into_iter().map(|(kind, text)| self.keep_predicate(kind, &text));
            variants.push((image.image.id.clone(), predicates.collect::<Result<Vec<_>>>()?, annotations));
            images.push(image);
        }
        let id = images[main].image.id.clone();
        let tag = |name: &Reference| TagRecord {
            name: name.clone(),
            image: id.clone(),
            manifest: None,
            index: None,
            updated: engine.now(),
        };
        // A tag is recorded when all images are: it comes with the last.
        if let Some(last) = images.last_mut() {
            last.tags = names.iter().map(tag).collect();
        }
        let variant = |name: &Reference| {
            let of = |(image, predicates, annotations): &(ImageId, Vec<Predicate>, Annotations)| VariantRecord {
                tag: name.clone(),
                image: image.clone(),
                predicates: predicates.clone(),
                annotations: annotations.clone(),
            };
            variants.iter().map(of).collect::<Vec<_>>()
        };
        let variants: Vec<_> = names.iter().filter(|_| !is_single).flat_map(variant).collect();
        failpoint!("engine.build.before-record");
        engine.store().images().add_all(&images, &variants)?;
        let event = |name: &Reference| Happening::new(Kind::Image, "tag", &id).with("name", &name.familiar());
        engine.record_events(names.iter().map(event));
        Ok(id)
    }

    fn keep_predicate(&self, kind: String, text: &[u8]) -> Result<Predicate> {
        let digest = strata_types::Digest::sha256(text);
        self.lease.protect(&[Key::Blob(digest.clone())])?;
        self.engine.store().blobs().put(text)?;
        Ok(Predicate { kind, digest })
    }
}

impl Engine {
    /// An image that was made here, with its config in the store; nothing is recorded yet.
    fn made(
        &self,
        config: &ImageConfig,
        layers: Vec<LayerRecord>,
        lease: &strata_store::Lease<'_>,
    ) -> Result<NewImage> {
        let bytes = config.to_bytes();
        let id = config.image_id();
        lease.protect(&[Key::Blob(id.digest().clone())])?;
        // Made durable already with an image that is recorded.
        if self.store().images().get(&id)?.is_none() || self.store().blobs().size(id.digest())?.is_none() {
            self.store().blobs().put(&bytes)?;
        }
        let mut sizes = self.layer_sizes()?;
        sizes.extend(layers.iter().map(|layer| (layer.diff_id.clone(), layer.size_bytes)));
        let size = |layer| sizes.get(layer).copied().unwrap_or(0);
        let image = ImageRecord {
            id,
            manifest: None,
            media_type: String::new(),
            index: None,
            size_bytes: config.diff_ids().iter().map(size).sum(),
            layers: config.diff_ids().to_vec(),
            parent: None,
            added: self.now(),
            created: config.created.as_deref().and_then(|created| created.parse().ok()),
            last_used: None,
            damaged: false,
        };
        Ok(NewImage { image, tags: Vec::new(), layers, forms: Vec::new() })
    }
}
