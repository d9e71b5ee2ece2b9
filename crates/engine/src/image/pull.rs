//! Getting images from registries.

use std::sync::Mutex;

use strata_store::records::{
    ImageRecord, LayerForm, LayerRecord, NewImage, PulledAttestation, Said, TagRecord, VariantRecord,
};
use strata_store::{Key, Lease, Scope};
use strata_sys::failpoint;
use strata_types::config::{CONFIG_BYTES_MAX, ImageConfig};
use strata_types::reference::Reference;
use strata_types::{Digest, ErrorClass, ImageId, Platform, Watch};

use super::fetch::Job;
use super::find::as_recorded;
use super::manifest::Chosen;
use crate::events::{Happening, Kind};
use crate::image::ImageError;
use crate::layers::Keeper;
use crate::{Engine, Error, Result, parallel};

/// How many layers are fetched at once. Each is decompressed and hashed on threads of its own.
const LAYERS_AT_ONCE: usize = 3;

/// What to pull.
#[derive(Clone, Debug, Default)]
pub struct PullWish {
    /// For which platform; this host's if none.
    pub platform: Option<Platform>,
    /// For which further ones: the name then stands for all their images.
    pub more: Vec<Platform>,
    /// All tags of the repository.
    pub all_tags: bool,
}

/// What became of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What was asked for, with its tag or digest.
    pub reference: Reference,
    /// The digest the registry has it under.
    pub digest: Digest,
    /// The image.
    pub image: ImageId,
    /// Whether the reference means this image only now.
    pub is_newer: bool,
}

impl Engine {
    /// Pulls an image, or all of a repository. What is here already is not fetched; what a killed pull left is gone on
    /// with.
    ///
    /// # Errors
    /// When the registry does not have it or does not answer, when what it sends is not what it announced, or when the
    /// disk is full. Images that are here stay as they are.
    pub fn pull(&self, reference: &Reference, wish: &PullWish, watch: &dyn Watch) -> Result<Vec<Pulled>> {
        if !wish.all_tags {
            let pulled = vec![self.pull_one(&as_recorded(reference), wish, watch)?];
            self.apply_budget(&[pulled[0].image.clone()], watch);
            return Ok(pulled);
        }
        if !reference.is_name_only() {
            return Err(ImageError::TagWithAll.into());
        }
        let mut pulled = Vec::new();
        for tag in self.client()?.tags(reference)? {
            let Ok(tagged) = reference.with_tag(&tag) else { continue };
            pulled.push(self.pull_one(&tagged, wish, watch)?);
        }
        self.apply_budget(&pulled.iter().map(|one| one.image.clone()).collect::<Vec<_>>(), watch);
        Ok(pulled)
    }

    fn pull_one(&self, reference: &Reference, wish: &PullWish, watch: &dyn Watch) -> Result<Pulled> {
        if wish.more.is_empty() {
            let lease = self.store().lease()?;
            let (pulled, _) = self.pull_platform(reference, wish, &lease, watch)?;
            lease.release()?;
            return Ok(pulled);
        }
        let first = wish.platform.clone().unwrap_or_else(|| self.platform());
        let platforms: Vec<Platform> = std::iter::once(first).chain(wish.more.clone()).collect();
        let (mut pulled, mut parts): (Vec<Pulled>, Vec<(ImageId, Said)>) = (Vec::new(), Vec::new());
        // What is attested of one belongs to nobody while the name stands for the next.
        let lease = self.store().lease()?;
        for platform in platforms {
            let wish = PullWish { platform: Some(platform), ..PullWish::default() };
            let (one, attestations) = self.pull_platform(reference, &wish, &lease, watch)?;
            if !pulled.iter().any(|other| other.image == one.image) {
                let annotations = self.annotations_of(&self.variant_image(&one.image)?)?;
                parts.push((one.image.clone(), Said { attestations, annotations, ..Said::default() }));
                pulled.push(one);
            }
        }
        let pulled = self.tag_all(reference, &pulled, &parts)?;
        lease.release()?;
        Ok(pulled)
    }

    /// Lets a name stand for all images that were pulled under it.
    fn tag_all(&self, reference: &Reference, pulled: &[Pulled], parts: &[(ImageId, Said)]) -> Result<Pulled> {
        let mut offered = Vec::new();
        for one in pulled {
            offered.push(self.config(&one.image)?.platform());
        }
        let at = self.main_of(offered.iter());
        let (main, image) = (&pulled[at], self.variant_image(&pulled[at].image)?);
        let mut names = vec![reference.clone(), reference.with_digest(main.digest.clone())];
        names.dedup();
        let (mut tags, mut variants) = (Vec::new(), Vec::new());
        for name in names {
            variants.extend(VariantRecord::all(&name, parts));
            let (image, manifest, index) = (image.id.clone(), image.manifest.clone(), image.index.clone());
            tags.push(TagRecord { name, image, manifest, index, updated: self.now() });
        }
        self.store().tags().set_with(&tags, &variants)?;
        Ok(Pulled { is_newer: pulled.iter().any(|one| one.is_newer), ..main.clone() })
    }

    fn pull_platform(
        &self,
        reference: &Reference,
        wish: &PullWish,
        lease: &Lease<'_>,
        watch: &dyn Watch,
    ) -> Result<(Pulled, Vec<PulledAttestation>)> {
        let platform = wish.platform.clone().unwrap_or_else(|| self.platform());
        let chosen = self.choose(reference, &platform)?;
        let label =
            reference.tag().map_or_else(|| reference.digest().map(ToString::to_string), |tag| Some(tag.to_owned()));
        watch.say(&format!("{}: Pulling from {}", label.unwrap_or_default(), reference.path()));
        let outcome = self.pull_chosen(reference, &chosen, wish, lease, watch);
        if let Err(error) = &outcome
            && error.class() == ErrorClass::Exhausted
        {
            self.free_what_nobody_needs(watch);
        }
        let (image, is_newer, attestations) = outcome?;
        let name = reference.familiar();
        self.record_event(Happening::new(Kind::Image, "pull", &name).with("name", reference.path()));
        watch.say(&format!("Digest: {}", chosen.top));
        Ok((Pulled { reference: reference.clone(), digest: chosen.top, image, is_newer }, attestations))
    }

    fn pull_chosen(
        &self,
        reference: &Reference,
        chosen: &Chosen,
        wish: &PullWish,
        lease: &Lease<'_>,
        watch: &dyn Watch,
    ) -> Result<(ImageId, bool, Vec<PulledAttestation>)> {
        let id = ImageId::new(chosen.manifest.config.digest.clone());
        let blobs = [Some(&chosen.manifest.config.digest), Some(&chosen.digest)];
        let index = chosen.index.as_ref().map(|bytes| Digest::sha256(bytes));
        let blobs = blobs.into_iter().chain([index.as_ref()]).flatten();
        lease.protect(&blobs.cloned().map(Key::Blob).collect::<Vec<_>>())?;
        let (config, config_bytes) = self.config_of(reference, chosen)?;
        refuse_other_platform(reference, &config, wish.platform.as_ref())?;
        lease.protect_layers(config.diff_ids())?;
        let layers = self.fetch_layers(reference, chosen, &config, watch)?;
        let attestations = self.fetch_attestations(reference, chosen, lease)?;
        if watch.cancelled() {
            return Err(Error::Cancelled);
        }
        failpoint!("engine.pull.before-blobs");
        for bytes in [Some(&config_bytes), Some(&chosen.bytes), chosen.index.as_ref()].into_iter().flatten() {
            self.store().blobs().put(bytes)?;
        }
        failpoint!("engine.pull.before-record");
        let image = self.record_of(&id, chosen, &config, &layers);
        let (tags, is_newer) = self.tags_of(reference, chosen, &id)?;
        let mut variants = Vec::new();
        let new = NewImage { image, tags, forms: forms(reference, chosen, &config), layers, said: None };
        if !attestations.is_empty() {
            let annotations = self.annotations_of(&new.image)?;
            let said = Said { attestations: attestations.clone(), annotations, ..Said::default() };
            let of = |tag: &TagRecord| VariantRecord::all(&tag.name, &[(id.clone(), said.clone())]);
            variants = new.tags.iter().flat_map(of).collect();
        }
        self.store().images().add_all(&[new], &variants)?;
        failpoint!("engine.pull.after-record");
        Ok((id, is_newer, attestations))
    }

    /// The config, from here if it is here; checked against the manifest.
    fn config_of(&self, reference: &Reference, chosen: &Chosen) -> Result<(ImageConfig, Vec<u8>)> {
        let wanted = &chosen.manifest.config;
        let bytes = if self.store().blobs().has(&wanted.digest)? {
            self.store().blobs().read_small(&wanted.digest, CONFIG_BYTES_MAX)?
        } else {
            self.client()?.small_blob(reference, wanted, CONFIG_BYTES_MAX)?
        };
        let id = ImageId::new(wanted.digest.clone());
        let config = ImageConfig::parse(&bytes).map_err(|source| ImageError::Config { id, source })?;
        let (in_config, in_manifest) = (config.diff_ids().len(), chosen.manifest.layers.len());
        if in_config != in_manifest {
            let name = reference.familiar();
            return Err(ImageError::LayerCount { name, config: in_config, manifest: in_manifest }.into());
        }
        Ok((config, bytes))
    }

    fn fetch_layers(
        &self,
        reference: &Reference,
        chosen: &Chosen,
        config: &ImageConfig,
        watch: &dyn Watch,
    ) -> Result<Vec<LayerRecord>> {
        let (diff_ids, keeper) = (config.diff_ids(), Keeper::of(config));
        let mut jobs = Vec::new();
        let mut fetched = Vec::new();
        let mut phases = Vec::new();
        for (at, blob) in chosen.manifest.layers.iter().enumerate() {
            let layers = &diff_ids[..=at];
            let known = self.store().layers().get(&diff_ids[at])?;
            match known {
                Some(record) if self.is_kept(keeper, layers)? => {
                    phases.push((&blob.digest, "Already exists"));
                    fetched.push(record);
                }
                _ if jobs.iter().any(|job: &Job<'_>| job.layers.last() == layers.last()) => {}
                _ => {
                    phases.push((&blob.digest, "Pulling fs layer"));
                    jobs.push(Job { reference, blob, layers, keeper });
                }
            }
        }
        // As Docker: nothing is said of the layers of an image that is here.
        let is_here = jobs.is_empty()
            && self.store().images().get(&ImageId::new(chosen.manifest.config.digest.clone()))?.is_some();
        phases.iter().filter(|_| !is_here).for_each(|(digest, phase)| watch.phase(digest, phase));
        let limit = if self.layers_are_independent(keeper)? { LAYERS_AT_ONCE } else { 1 };
        jobs.iter().skip(LAYERS_AT_ONCE).for_each(|job| watch.phase(&job.blob.digest, "Waiting"));
        let done = Mutex::new(fetched);
        parallel::each(limit, &jobs, |job| {
            let added = self.fetch_layer(job, watch)?;
            failpoint!("engine.pull.after-layer");
            done.lock().expect("nobody panics with it").push(added);
            Ok(())
        })?;
        Ok(done.into_inner().expect("nobody panics with it"))
    }

    fn record_of(&self, id: &ImageId, chosen: &Chosen, config: &ImageConfig, layers: &[LayerRecord]) -> ImageRecord {
        let size_of = |diff_id: &strata_types::DiffId| {
            layers.iter().find(|layer| layer.diff_id == *diff_id).map_or(0, |layer| layer.size_bytes)
        };
        ImageRecord {
            id: id.clone(),
            manifest: Some(chosen.digest.clone()),
            media_type: chosen.manifest.media_type.clone(),
            index: chosen.index.as_ref().map(|bytes| Digest::sha256(bytes)),
            size_bytes: config.diff_ids().iter().map(size_of).sum(),
            layers: config.diff_ids().to_vec(),
            parent: None,
            added: self.now(),
            created: config.created.as_deref().and_then(|text| text.parse().ok()),
            last_used: None,
            damaged: false,
        }
    }

    /// The tag and the digest reference that a pull sets, and whether the first one changes.
    fn tags_of(&self, reference: &Reference, chosen: &Chosen, id: &ImageId) -> Result<(Vec<TagRecord>, bool)> {
        let record = |name: Reference| TagRecord {
            name,
            image: id.clone(),
            manifest: Some(chosen.digest.clone()),
            index: chosen.index.as_ref().map(|bytes| Digest::sha256(bytes)),
            updated: self.now(),
        };
        let before = self.store().tags().get(reference)?;
        let is_newer = before.as_ref().is_none_or(|tag| tag.image != *id);
        let by_digest = record(reference.with_digest(chosen.top.clone()));
        let by_tag = reference.tag().map(|_| record(reference.clone()));
        Ok((by_tag.into_iter().chain([by_digest]).collect(), is_newer))
    }

    /// Gives back the room that an operation took which did not end well.
    pub(crate) fn free_what_nobody_needs(&self, watch: &dyn Watch) {
        let keep = Scope::All { ingests_older_than: std::time::Duration::MAX };
        if let Err(error) = self.collect(keep, watch) {
            tracing::warn!(%error, "cannot free what nobody needs");
        }
    }
}

/// Refuses an image for another platform than the one asked for, as there may be behind a tag that is no index; and one for
/// Windows that nobody asked for.
fn refuse_other_platform(reference: &Reference, config: &ImageConfig, wanted: Option<&Platform>) -> Result<()> {
    match wanted {
        Some(wanted) if wanted.rank(&config.platform()).is_none() => Err(ImageError::WrongPlatform {
            name: reference.familiar(),
            wanted: wanted.with_version(),
            actual: config.platform().with_version(),
        }
        .into()),
        None if config.platform().is_windows() => Err(ImageError::OperatingSystem(config.os.clone()).into()),
        _ => Ok(()),
    }
}

/// The compressed forms the layers came in, and where they are.
fn forms(reference: &Reference, chosen: &Chosen, config: &ImageConfig) -> Vec<LayerForm> {
    let pairs = config.diff_ids().iter().zip(&chosen.manifest.layers);
    let form = |(diff_id, blob): (&strata_types::DiffId, &strata_types::document::Descriptor)| LayerForm {
        diff_id: diff_id.clone(),
        digest: blob.digest.clone(),
        size_bytes: blob.size,
        media_type: blob.media_type.clone(),
        sources: [reference.name()].into(),
    };
    pairs.map(form).collect()
}
