//! What is in a cache outside the store, and the layers of its steps when they are wanted.

use std::collections::HashMap;
use std::path::Path;

use strata_sys::root_dir::RootDir;
use strata_types::build_cache::{self, BuildCache, CacheAnnotations, CacheLayer};
use strata_types::config::{CONFIG_BYTES_MAX, ImageConfig};
use strata_types::document::{Descriptor, Document, MANIFEST_BYTES_MAX, Manifest};
use strata_types::{DiffId, Watch};

use super::{CachePlace, FarCache, FarCacheError, FarLayer};
use crate::image::Job;
use crate::layers::Keeper;
use crate::workbench::{Memory, Workbench};
use crate::{Engine, Error, Result};

/// The annotation that has a manifest's tag in an index.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Workbench<'_> {
    /// Looks what is in a cache; none if nothing is there yet.
    ///
    /// # Errors
    /// When it cannot be read, or is no such thing.
    pub fn open_cache(&self, place: &CachePlace) -> Result<Option<FarCache>> {
        let Some(manifest) = self.engine.cache_manifest(place)? else { return Ok(None) };
        let json = |source| FarCacheError::Json { place: place.clone(), source };
        let document = if manifest.config.media_type == build_cache::MEDIA_TYPE {
            let bytes = self.engine.far_bytes(place, &manifest.config, build_cache::BYTES_MAX)?;
            BuildCache::parse(&bytes).map_err(json)?
        } else {
            let bytes = self.engine.far_bytes(place, &manifest.config, CONFIG_BYTES_MAX)?;
            let Ok(config) = ImageConfig::parse(&bytes) else { return Ok(None) };
            let Some(inline) = super::inline::read(&config) else { return Ok(None) };
            of_image(BuildCache::parse(&inline).map_err(json)?, &config, &manifest)
        };
        Ok(Some(FarCache::new(place.clone(), document)))
    }

    /// The step with this key, if it is there: its layer is fetched onto those below, if it is not here.
    ///
    /// # Errors
    /// When the layer cannot be fetched, or is not what it was said to be.
    pub fn fetch_step(
        &self,
        cache: &FarCache,
        key: &str,
        below: &[DiffId],
        watch: &dyn Watch,
    ) -> Result<Option<Memory>> {
        let Some(found) = cache.steps.get(key) else { return Ok(None) };
        let Some(FarLayer { layer, created }) = found else {
            let created = self.engine.now();
            return Ok(Some(Memory { layers: below.to_vec(), size_bytes: 0, created }));
        };
        let layers: Vec<DiffId> = below.iter().chain([&layer.annotations.diff_id]).cloned().collect();
        self.lease.protect_layers(&layers)?;
        let record = match self.engine.store().layers().get(&layer.annotations.diff_id)? {
            Some(record) if self.engine.has_layer(&layers)? => record,
            _ => self.engine.fetch_far(&cache.place, &layer.descriptor(), &layers, watch)?,
        };
        if !self.keep(&layers)? {
            return Ok(None);
        }
        Ok(Some(Memory { layers, size_bytes: record.size_bytes, created: *created }))
    }
}

impl FarCache {
    fn new(place: CachePlace, document: BuildCache) -> Self {
        let steps = document.by_key().into_iter().filter_map(|(key, result)| {
            let Some(result) = result else { return Some((key.to_owned(), None)) };
            let layer = document.layers.get(result.layer)?.clone();
            let created = result.created.as_ref().or(layer.annotations.created.as_ref());
            let created = created.and_then(|text| text.parse().ok()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            Some((key.to_owned(), Some(FarLayer { layer, created })))
        });
        let steps = steps.collect();
        let layers: HashMap<_, _> =
            document.layers.into_iter().map(|layer| (layer.annotations.diff_id.clone(), layer)).collect();
        Self { place, steps, layers }
    }

    /// The compressed form in which a layer is there.
    pub(super) fn layer(&self, diff_id: &DiffId) -> Option<Descriptor> {
        self.layers.get(diff_id).map(CacheLayer::descriptor)
    }
}

impl Engine {
    fn cache_manifest(&self, place: &CachePlace) -> Result<Option<Manifest>> {
        let mut document = match place {
            CachePlace::Registry(reference) => match self.client()?.resolve(reference) {
                Ok(found) => found.content,
                Err(
                    strata_registry::Error::ManifestNotFound { .. } | strata_registry::Error::RepositoryNotFound { .. },
                ) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            CachePlace::Dir { path, .. } => match index_of(path)? {
                Some(bytes) => parse(place, &bytes)?,
                None => return Ok(None),
            },
        };
        // An index leads to a manifest, and an image's may be in one of its own.
        for _ in 0..3 {
            let index = match document {
                Document::Manifest(manifest) => return Ok(Some(manifest)),
                Document::Index(index) => index,
            };
            let entry = match place {
                CachePlace::Dir { tag, .. } => {
                    let tagged = |entry: &&Descriptor| entry.annotations.get(REF_NAME) == Some(tag);
                    index.manifests.iter().find(tagged).or_else(|| index.choose(&self.platform()))
                }
                CachePlace::Registry(_) => index.choose(&self.platform()),
            };
            let Some(entry) = entry else { return Ok(None) };
            document = match place {
                CachePlace::Registry(reference) => self.client()?.manifest(reference, &entry.digest)?.content,
                CachePlace::Dir { .. } => parse(place, &self.far_bytes(place, entry, MANIFEST_BYTES_MAX)?)?,
            };
        }
        Ok(None)
    }

    /// The bytes of something small that is there.
    fn far_bytes(&self, place: &CachePlace, blob: &Descriptor, limit_bytes: u64) -> Result<Vec<u8>> {
        match place {
            CachePlace::Registry(reference) => Ok(self.client()?.small_blob(reference, blob, limit_bytes)?),
            CachePlace::Dir { path, .. } => {
                let what = || format!("the cache in {}", path.display());
                let failed = |source| Error::Read { what: what(), source };
                let root = RootDir::open_host(path).map_err(failed)?;
                let text = root.read_to_string(Path::new(&blob_path(blob)), limit_bytes).map_err(failed)?;
                let text = text.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
                Ok(text.into_bytes())
            }
        }
    }

    fn fetch_far(
        &self,
        place: &CachePlace,
        blob: &Descriptor,
        layers: &[DiffId],
        watch: &dyn Watch,
    ) -> Result<strata_store::records::LayerRecord> {
        let keeper = Keeper::Driver;
        match place {
            CachePlace::Registry(reference) => self.fetch_layer(&Job { reference, blob, layers, keeper }, watch),
            CachePlace::Dir { path, .. } => {
                let failed = |source| Error::Read { what: format!("the cache in {}", path.display()), source };
                let root = RootDir::open_host(path).map_err(failed)?;
                let mut file = root.open_file(Path::new(&blob_path(blob))).map_err(failed)?;
                let record = self.import_layer(keeper, layers, &mut file, watch)?;
                self.store().layers().put(&record)?;
                Ok(record)
            }
        }
    }
}

/// The records in an image's config as a document with the image's layers.
fn of_image(inline: BuildCache, config: &ImageConfig, manifest: &Manifest) -> BuildCache {
    let created: Vec<Option<String>> =
        config.history.iter().filter(|step| !step.empty_layer).map(|step| step.created.clone()).collect();
    let layer = |(at, (diff_id, blob)): (usize, (&DiffId, &Descriptor))| CacheLayer {
        blob: blob.digest.clone(),
        below: at as i64 - 1,
        annotations: CacheAnnotations {
            media_type: blob.media_type.clone(),
            diff_id: diff_id.clone(),
            size_bytes: blob.size,
            created: created.get(at).cloned().flatten(),
        },
    };
    let layers = config.diff_ids().iter().zip(&manifest.layers).enumerate().map(layer).collect();
    BuildCache { layers, records: inline.records }
}

/// The index of a directory; none if there is no directory, or it is no layout yet.
pub(super) fn index_of(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |source| Error::Read { what: format!("the cache in {}", path.display()), source };
    match RootDir::open_host(path) {
        Ok(root) => {
            let text = root.read_to_string(Path::new("index.json"), MANIFEST_BYTES_MAX).map_err(failed)?;
            Ok(text.map(String::into_bytes))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn parse(place: &CachePlace, bytes: &[u8]) -> Result<Document> {
    let parsed = Document::parse(bytes, None);
    Ok(parsed.map_err(|source| FarCacheError::Manifest { place: place.clone(), source })?)
}

/// Where a blob is in a layout.
pub(super) fn blob_path(blob: &Descriptor) -> String {
    format!("blobs/{}/{}", blob.digest.algorithm().name(), blob.digest.hex())
}
