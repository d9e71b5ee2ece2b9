//! Giving images to registries.

mod blobs;
mod compressed;

use std::collections::BTreeSet;

use strata_store::Key;
use strata_store::records::{Annotations, ImageRecord, LayerForm, NewImage, TagRecord};
use strata_sys::failpoint;
use strata_types::document::{Descriptor, Document, MANIFEST_BYTES_MAX, Manifest};
use strata_types::reference::Reference;
use strata_types::{Digest, ImageId, Watch, media};

pub(crate) use compressed::{Compressed, InMemory, Unseen};

use crate::events::{Happening, Kind};
use crate::image::ImageError;
use crate::{Engine, Error, Result, parallel};

/// How many layers are uploaded at once.
const LAYERS_AT_ONCE: usize = 3;

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The reference, with its tag.
    pub reference: Reference,
    /// The digest of the manifest.
    pub digest: Digest,
    /// What kind of manifest it is.
    pub media_type: String,
    /// How long the manifest is.
    pub size_bytes: u64,
    /// The image.
    pub image: ImageId,
}

impl Engine {
    /// Pushes one tag, or all the tags there are of a repository. A manifest the image came with is used again byte for
    /// byte if all its blobs can be had; else the layers are compressed anew where no compressed form is known.
    ///
    /// # Errors
    /// When there is no such tag here, or the registry does not take it.
    pub fn push(&self, reference: &Reference, all_tags: bool, watch: &dyn Watch) -> Result<Vec<Pushed>> {
        if reference.digest().is_some() {
            return Err(ImageError::PushDigest.into());
        }
        watch.say(&format!("The push refers to repository [{}]", reference.name()));
        let tagged = self.tags_to_push(reference, all_tags)?;
        tagged.iter().map(|tag| self.push_one(tag, watch)).collect()
    }

    fn tags_to_push(&self, reference: &Reference, all_tags: bool) -> Result<Vec<Reference>> {
        if !all_tags {
            let tagged = reference.clone().or_latest();
            if self.store().tags().get(&tagged)?.is_none() {
                return Err(ImageError::NothingToPush(reference.familiar_name()).into());
            }
            return Ok(vec![tagged]);
        }
        if !reference.is_name_only() {
            return Err(ImageError::TagWithAll.into());
        }
        let mut names: Vec<Reference> = self.store().tags().list()?.into_iter().map(|tag| tag.name).collect();
        names.retain(|name| name.digest().is_none() && name.name() == reference.name());
        if names.is_empty() {
            return Err(ImageError::NothingToPush(reference.familiar_name()).into());
        }
        Ok(names)
    }

    fn push_one(&self, reference: &Reference, watch: &dyn Watch) -> Result<Pushed> {
        let image = self.image(&reference.familiar())?;
        let lease = self.store().lease()?;
        let variants = self.store().variants().of(reference)?;
        for variant in &variants {
            lease.protect_layers(&self.variant_image(&variant.image)?.layers)?;
        }
        // Of a single image of which nothing is attested no index is made.
        let annotations = match variants.as_slice() {
            [] => None,
            [alone] if !alone.said.attests() => Some(&alone.said.annotations),
            _ => {
                let pushed = self.push_variants(reference, &image, &variants, watch)?;
                lease.release()?;
                return Ok(pushed);
            }
        };
        lease.protect_layers(&image.layers)?;
        image.layers.iter().rev().for_each(|layer| watch.phase(layer.digest(), "Preparing"));
        // A manifest that is to say something is another one than that it came with.
        let original = if annotations.is_none() { self.original_manifest(&image)? } else { None };
        let (manifest, bytes) = match original {
            Some((manifest, bytes)) if self.push_as_it_was(reference, &image, &manifest, watch)? => (manifest, bytes),
            _ => self.push_anew(reference, &image, annotations, watch)?,
        };
        self.push_config(reference, &manifest, watch)?;
        failpoint!("engine.push.before-manifest");
        let digest = self.client()?.push_manifest(reference, &manifest.media_type, &bytes)?;
        failpoint!("engine.push.after-manifest");
        self.note_push(reference, &image, &manifest, &bytes)?;
        lease.release()?;
        let name = reference.familiar();
        self.record_event(Happening::new(Kind::Image, "push", &name).with("name", &reference.familiar_name()));
        let tag = reference.tag().unwrap_or_default();
        watch.say(&format!("{tag}: digest: {digest} size: {}", bytes.len()));
        let (media_type, size_bytes) = (manifest.media_type, bytes.len() as u64);
        Ok(Pushed { reference: reference.clone(), digest, media_type, size_bytes, image: image.id })
    }

    /// The manifest the image came with, if it is here and speaks of this image.
    pub(super) fn original_manifest(&self, image: &ImageRecord) -> Result<Option<(Manifest, Vec<u8>)>> {
        let Some(digest) = &image.manifest else { return Ok(None) };
        if !self.store().blobs().has(digest)? {
            return Ok(None);
        }
        let bytes = self.store().blobs().read_small(digest, MANIFEST_BYTES_MAX)?;
        let media_type = Some(image.media_type.as_str()).filter(|text| !text.is_empty());
        match Document::parse(&bytes, media_type) {
            Ok(Document::Manifest(manifest))
                if manifest.config.digest == *image.id.digest() && manifest.layers.len() == image.layers.len() =>
            {
                Ok(Some((manifest, bytes)))
            }
            _ => Ok(None),
        }
    }

    /// Tries to bring all blobs of the original manifest to the registry; false if one cannot be had any more.
    pub(super) fn push_as_it_was(
        &self,
        reference: &Reference,
        image: &ImageRecord,
        manifest: &Manifest,
        watch: &dyn Watch,
    ) -> Result<bool> {
        let mut plan = Vec::new();
        for (diff_id, blob) in image.layers.iter().zip(&manifest.layers) {
            match self.origin_of(reference, diff_id, blob)? {
                Some(origin) => plan.push((diff_id, blob, origin)),
                None => return Ok(false),
            }
        }
        parallel::each(LAYERS_AT_ONCE, &plan, |(diff_id, blob, origin)| {
            self.bring(reference, diff_id, blob, origin, watch)
        })?;
        Ok(true)
    }

    /// Makes a new manifest: of compressed forms that are known and can be had, and of new ones for the other layers. It is
    /// Docker's if all layers are, unless there are annotations, even none, which only OCI's have.
    pub(super) fn push_anew(
        &self,
        reference: &Reference,
        image: &ImageRecord,
        annotations: Option<&Annotations>,
        watch: &dyn Watch,
    ) -> Result<(Manifest, Vec<u8>)> {
        image.layers.iter().rev().for_each(|layer| watch.phase(layer.digest(), "Preparing"));
        let blobs = std::sync::Mutex::new(vec![None; image.layers.len()]);
        let places: Vec<usize> = (0..image.layers.len()).rev().collect();
        parallel::each(LAYERS_AT_ONCE, &places, |at| {
            if watch.cancelled() {
                return Err(Error::Cancelled);
            }
            let blob = self.push_layer(reference, &image.layers[..=*at], watch)?;
            blobs.lock().expect("nobody panics with it")[*at] = Some(blob);
            Ok(())
        })?;
        let layers: Vec<Descriptor> =
            blobs.into_inner().expect("nobody panics with it").into_iter().flatten().collect();
        let docker = annotations.is_none() && layers.iter().all(|blob| blob.media_type.contains("docker"));
        let (manifest_type, config_type) = match docker {
            true => (media::DOCKER_MANIFEST, media::DOCKER_CONFIG),
            false => (media::OCI_MANIFEST, media::OCI_CONFIG),
        };
        let layers = layers.into_iter().map(|blob| in_family(blob, docker)).collect();
        let size = self.store().blobs().size(image.id.digest())?.unwrap_or(0);
        let config = Descriptor::new(config_type, image.id.digest().clone(), size);
        let mut manifest = Manifest::new(manifest_type, config, layers);
        manifest.annotations = annotations.map(|said| said.manifest.clone()).unwrap_or_default();
        let bytes = manifest.to_bytes();
        Ok((manifest, bytes))
    }

    pub(super) fn push_config(&self, reference: &Reference, manifest: &Manifest, watch: &dyn Watch) -> Result<()> {
        let client = self.client()?;
        let config = &manifest.config;
        if client.has_blob(reference, &config.digest)?.is_some() {
            return Ok(());
        }
        let bytes = self.store().blobs().read_small(&config.digest, strata_types::config::CONFIG_BYTES_MAX)?;
        client.push_blob(reference, config, &InMemory(bytes), &Unseen(watch))?;
        Ok(())
    }

    /// Records in what forms the registry has the layers now.
    pub(super) fn note_forms(&self, reference: &Reference, image: &ImageRecord, manifest: &Manifest) -> Result<()> {
        let forms = forms(reference, image, manifest);
        let image = image.clone();
        Ok(self.store().images().add(&NewImage { image, tags: Vec::new(), layers: Vec::new(), forms, said: None })?)
    }

    /// Records what the registry has now: the digest reference, the manifest, and where the blobs are.
    fn note_push(&self, reference: &Reference, image: &ImageRecord, manifest: &Manifest, bytes: &[u8]) -> Result<()> {
        let digest = Digest::sha256(bytes);
        let lease = self.store().lease()?;
        lease.protect(&[Key::Blob(digest.clone())])?;
        self.store().blobs().put(bytes)?;
        let tag = TagRecord {
            name: reference.with_digest(digest.clone()),
            image: image.id.clone(),
            manifest: Some(digest.clone()),
            index: None,
            updated: self.now(),
        };
        let image = match image.manifest {
            Some(_) => image.clone(),
            // What is said under one name is not what the image is under others.
            None if !manifest.annotations.is_empty() => image.clone(),
            None => ImageRecord { manifest: Some(digest), media_type: manifest.media_type.clone(), ..image.clone() },
        };
        let forms = forms(reference, &image, manifest);
        self.store().images().add(&NewImage { image, tags: vec![tag], layers: Vec::new(), forms, said: None })?;
        Ok(lease.release()?)
    }
}

/// The compressed forms in which a registry has an image's layers now.
fn forms(reference: &Reference, image: &ImageRecord, manifest: &Manifest) -> Vec<LayerForm> {
    let sources: BTreeSet<String> = [reference.name()].into();
    let form = |(diff_id, blob): (&strata_types::DiffId, &Descriptor)| LayerForm {
        diff_id: diff_id.clone(),
        digest: blob.digest.clone(),
        size_bytes: blob.size,
        media_type: blob.media_type.clone(),
        sources: sources.clone(),
    };
    image.layers.iter().zip(&manifest.layers).map(form).collect()
}

/// Docker's media type of a layer in OCI's words, or the other way round.
fn in_family(blob: Descriptor, docker: bool) -> Descriptor {
    let media_type = match (media::essence(&blob.media_type), docker) {
        (media::DOCKER_LAYER_GZIP, false) => media::OCI_LAYER_GZIP,
        (media::DOCKER_LAYER, false) => media::OCI_LAYER,
        (media::DOCKER_LAYER_ZSTD, false) => media::OCI_LAYER_ZSTD,
        (media::DOCKER_FOREIGN_GZIP, false) => media::OCI_NONDISTRIBUTABLE_GZIP,
        _ => return blob,
    };
    Descriptor { media_type: media_type.to_owned(), ..blob }
}
