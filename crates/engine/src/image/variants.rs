//! Images for several platforms under one name.

use strata_store::Key;
use strata_store::records::{Annotations, ImageRecord, VariantRecord};
use strata_sys::failpoint;
use strata_types::config::ImageConfig;
use strata_types::document::{Descriptor, Document, Index, MANIFEST_BYTES_MAX};
use strata_types::reference::Reference;
use strata_types::{Digest, ImageId, Platform, Watch, media};

use super::attestation::Attestation;
use super::find::as_recorded;
use super::push::{InMemory, Pushed, Unseen};
use crate::events::{Happening, Kind};
use crate::image::ImageError;
use crate::{Engine, Error, Result};

impl Engine {
    /// The variant of an image that serves a platform best; the image itself if it does. None if there is no such image
    /// here.
    ///
    /// # Errors
    /// When the name does not parse or the records cannot be read.
    pub fn find_image_for(&self, name: &str, platform: &Platform) -> Result<Option<ImageRecord>> {
        let Some(image) = self.find_image(name)? else { return Ok(None) };
        let Ok(reference) = name.parse::<Reference>() else { return Ok(Some(image)) };
        let mut best: Option<(usize, ImageId)> = None;
        for variant in self.store().variants().of(&as_recorded(&reference))? {
            let offered = self.config(&variant.image)?.platform();
            if let Some(rank) =
                platform.rank(&offered).filter(|rank| best.as_ref().is_none_or(|(least, _)| rank < least))
            {
                best = Some((rank, variant.image));
            }
        }
        match best {
            Some((_, id)) => Ok(self.store().images().get(&id)?),
            None => Ok(Some(image)),
        }
    }

    /// The image that a name and a platform mean.
    ///
    /// # Errors
    /// When there is none, or it is for another platform.
    pub fn image_for(&self, name: &str, platform: &Platform) -> Result<ImageRecord> {
        let image = self.find_image_for(name, platform)?;
        let image = image.ok_or_else(|| ImageError::NotFound(super::find::shown(name)))?;
        let actual = self.config(&image.id)?.platform();
        if platform.rank(&actual).is_none() {
            let (wanted, actual) = (platform.to_string(), actual.to_string());
            return Err(ImageError::WrongPlatform { name: name.to_owned(), wanted, actual }.into());
        }
        Ok(image)
    }

    /// Pushes all the images a tag stands for, what is attested of them, and the index over them.
    pub(super) fn push_variants(
        &self,
        reference: &Reference,
        image: &ImageRecord,
        variants: &[VariantRecord],
        watch: &dyn Watch,
    ) -> Result<Pushed> {
        let client = self.client()?;
        let (mut entries, mut attested) = (Vec::new(), Vec::new());
        for variant in variants {
            if watch.cancelled() {
                return Err(Error::Cancelled);
            }
            let (image, said) = (self.variant_image(&variant.image)?, &variant.said);
            let (manifest, bytes) = match self.original_manifest(&image)? {
                // What came from a registry and is to say the same goes as it came.
                Some((manifest, bytes))
                    if manifest.annotations == said.annotations.manifest
                        && self.push_as_it_was(reference, &image, &manifest, watch)? =>
                {
                    (manifest, bytes)
                }
                _ => self.push_anew(reference, &image, Some(&said.annotations), watch)?,
            };
            self.push_config(reference, &manifest, watch)?;
            let mut entry = Descriptor::of(&manifest.media_type, &bytes);
            client.push_manifest(&reference.with_digest(entry.digest.clone()), &manifest.media_type, &bytes)?;
            self.note_forms(reference, &image, &manifest)?;
            entry.platform = Some(said_platform(&self.config(&image.id)?));
            entry.annotations.clone_from(&said.annotations.manifest_descriptor);
            for attestation in self.attestations(&entry, std::slice::from_ref(reference), said)? {
                self.push_attestation(reference, &attestation, watch)?;
                attested.push(attestation.entry);
            }
            entries.push(entry);
        }
        entries.extend(attested);
        let (media_type, index) = match self.original_index(reference, &entries)? {
            Some(original) => original,
            None => (media::OCI_INDEX.to_owned(), index_of(&variants[0].said.annotations, entries).to_bytes()),
        };
        failpoint!("engine.push.before-manifest");
        let digest = client.push_manifest(reference, &media_type, &index)?;
        self.note_index(reference, image, &index)?;
        let name = reference.familiar();
        self.record_event(Happening::new(Kind::Image, "push", &name).with("name", &reference.familiar_name()));
        watch.say(&format!("{}: digest: {digest} size: {}", reference.tag().unwrap_or_default(), index.len()));
        let size_bytes = index.len() as u64;
        Ok(Pushed { reference: reference.clone(), digest, media_type, size_bytes, image: image.id.clone() })
    }

    /// The index that a tag was pulled with, if it names these manifests and no others.
    fn original_index(&self, tag: &Reference, entries: &[Descriptor]) -> Result<Option<(String, Vec<u8>)>> {
        let Some(digest) = self.store().tags().get(tag)?.and_then(|tag| tag.index) else { return Ok(None) };
        let Some((bytes, index)) = self.kept_index(&digest)? else { return Ok(None) };
        let is_same = index.manifests.len() == entries.len()
            && index.manifests.iter().all(|named| entries.iter().any(|entry| entry.digest == named.digest));
        Ok(is_same.then_some((index.media_type, bytes)))
    }

    fn kept_index(&self, digest: &Digest) -> Result<Option<(Vec<u8>, Index)>> {
        if !self.store().blobs().has(digest)? {
            return Ok(None);
        }
        let bytes = self.store().blobs().read_small(digest, MANIFEST_BYTES_MAX)?;
        match Document::parse(&bytes, None) {
            Ok(Document::Index(index)) => Ok(Some((bytes, index))),
            _ => Ok(None),
        }
    }

    /// What the manifest and the index of an image that was pulled say.
    pub(super) fn annotations_of(&self, image: &ImageRecord) -> Result<Annotations> {
        let mut said = Annotations::default();
        if let Some((manifest, _)) = self.original_manifest(image)? {
            said.manifest = manifest.annotations;
        }
        if let (Some(digest), Some(manifest)) = (&image.index, &image.manifest)
            && let Some((_, index)) = self.kept_index(digest)?
        {
            let entry = index.manifests.into_iter().find(|entry| entry.digest == *manifest);
            said.manifest_descriptor = entry.map(|entry| entry.annotations).unwrap_or_default();
            said.index = index.annotations;
        }
        Ok(said)
    }

    /// The platforms that a registry has an image for under one name.
    ///
    /// # Errors
    /// When the registry does not have it or does not answer.
    pub fn platforms_of(&self, reference: &Reference) -> Result<Vec<Platform>> {
        let found = self.client()?.resolve(&as_recorded(reference))?;
        Ok(match found.content {
            Document::Index(index) => index.platforms(),
            Document::Manifest(_) => Vec::new(),
        })
    }

    /// The image of a variant, with its layers kept.
    pub(super) fn variant_image(&self, id: &ImageId) -> Result<ImageRecord> {
        let image = self.store().images().get(id)?;
        Ok(image.ok_or_else(|| ImageError::NotFound(id.to_string()))?)
    }

    fn push_attestation(&self, reference: &Reference, attestation: &Attestation, watch: &dyn Watch) -> Result<()> {
        let client = self.client()?;
        for (blob, bytes) in &attestation.blobs {
            if client.has_blob(reference, &blob.digest)?.is_none() {
                client.push_blob(reference, blob, &InMemory(bytes.clone()), &Unseen(watch))?;
            }
        }
        let by_digest = reference.with_digest(attestation.entry.digest.clone());
        client.push_manifest(&by_digest, &attestation.entry.media_type, &attestation.manifest)?;
        Ok(())
    }

    /// Records under what digest a registry has the index.
    fn note_index(&self, reference: &Reference, image: &ImageRecord, index: &[u8]) -> Result<()> {
        let digest = Digest::sha256(index);
        let lease = self.store().lease()?;
        lease.protect(&[Key::Blob(digest.clone())])?;
        self.store().blobs().put(index)?;
        let tag = strata_store::records::TagRecord {
            name: reference.with_digest(digest.clone()),
            image: image.id.clone(),
            manifest: None,
            index: Some(digest),
            updated: self.now(),
        };
        self.store().tags().set(&[tag])?;
        Ok(lease.release()?)
    }
}

/// The index over images, with what it is to say.
pub(super) fn index_of(said: &Annotations, entries: Vec<Descriptor>) -> Index {
    let mut index = Index::new(media::OCI_INDEX, entries);
    index.annotations.clone_from(&said.index);
    index
}

/// The platform in the words of the config, as indexes have it.
pub(super) fn said_platform(config: &ImageConfig) -> Platform {
    Platform {
        architecture: config.architecture.clone(),
        os: config.os.clone(),
        os_version: config.os_version.clone(),
        os_features: config.os_features.clone(),
        variant: config.variant.clone(),
    }
}
