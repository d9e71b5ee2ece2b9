//! Steps and their layers, put where builds of other hosts find them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Mutex;

use jiff::Timestamp;
use strata_registry::BlobSource as _;
use strata_sys::durable::{self, Durability, FileError};
use strata_types::build_cache::{self, BuildCache, CacheAnnotations, CacheLayer, CacheRecord, CacheResult};
use strata_types::document::{Descriptor, Document, Index, Manifest};
use strata_types::reference::Reference;
use strata_types::{DiffId, Digest, Watch, media};

use super::open::{REF_NAME, blob_path, index_of};
use super::{CachePlace, FarCache};
use crate::image::{Compressed, InMemory, Unseen};
use crate::workbench::Workbench;
use crate::{Engine, Error, Result, parallel};

/// How many layers are written at once.
const LAYERS_AT_ONCE: usize = 3;

/// A step to be put there.
#[derive(Clone, Debug)]
pub struct FarStep {
    /// Its keys: any of them finds it.
    pub keys: Vec<String>,
    /// The layers afterwards, the lowest first.
    pub layers: Vec<DiffId>,
    /// Whether the uppermost of them is its own.
    pub adds_layer: bool,
    /// When it was done.
    pub created: Timestamp,
}

impl Workbench<'_> {
    /// Puts steps and their layers there, in place of what was there under that tag. Layers that are there already stay.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn export_cache(&self, place: &CachePlace, steps: &[FarStep], watch: &dyn Watch) -> Result<()> {
        // What cannot be read is replaced.
        let before = self.open_cache(place).unwrap_or_else(|error| {
            tracing::info!(%place, %error, "the cache that was there is not used again");
            None
        });
        let mut chains: Vec<&[DiffId]> =
            steps.iter().filter(|step| step.adds_layer).map(|step| step.layers.as_slice()).collect();
        chains.sort_unstable_by(|one, other| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
        chains.dedup();
        for chain in &chains {
            self.lease.protect_layers(chain)?;
        }
        let target = Target { engine: self.engine, place, before: before.as_ref() };
        target.prepare()?;
        let blobs = Mutex::new(HashMap::new());
        parallel::each(LAYERS_AT_ONCE, &chains, |chain| {
            if watch.cancelled() {
                return Err(Error::Cancelled);
            }
            let blob = target.put_layer(chain, watch)?;
            blobs.lock().expect("nobody panics with it").insert(*chain, blob);
            Ok(())
        })?;
        let blobs = blobs.into_inner().expect("nobody panics with it");
        let document = document(steps, &chains, &blobs, before.as_ref());
        let mut layers: Vec<Descriptor> = Vec::new();
        for layer in &document.layers {
            if !layers.iter().any(|known| known.digest == layer.blob) {
                layers.push(layer.descriptor());
            }
        }
        target.put_manifest(&document.to_bytes(), layers, watch)
    }
}

/// What the steps say about themselves. What was said before of the same layers stays: a step that is found by one of its keys
/// does not tell the others.
fn document(
    steps: &[FarStep],
    chains: &[&[DiffId]],
    blobs: &HashMap<&[DiffId], Descriptor>,
    before: Option<&FarCache>,
) -> BuildCache {
    let place = |chain: &[DiffId]| chains.iter().position(|known| *known == chain);
    let created = |chain: &[DiffId]| {
        let of = steps.iter().find(|step| step.adds_layer && step.layers == chain);
        of.map(|step| step.created.to_string())
    };
    let layer = |chain: &&[DiffId]| {
        let blob = blobs.get(chain)?;
        let (diff_id, below) = chain.split_last()?;
        Some(CacheLayer {
            blob: blob.digest.clone(),
            below: place(below).map_or(-1, |at| at as i64),
            annotations: CacheAnnotations {
                media_type: blob.media_type.clone(),
                diff_id: diff_id.clone(),
                size_bytes: blob.size,
                created: created(chain),
            },
        })
    };
    let mut records = BTreeMap::new();
    for (key, known) in before.iter().flat_map(|before| &before.steps) {
        let Some(known) = known else { continue };
        let layer = chains.iter().position(|chain| chain.last() == Some(&known.layer.annotations.diff_id));
        let (Some(layer), Ok(digest)) = (layer, format!("sha256:{key}").parse()) else { continue };
        let results = vec![CacheResult { layer, created: Some(known.created.to_string()) }];
        records.insert(key, CacheRecord { digest, results });
    }
    for step in steps {
        let result = step.adds_layer.then(|| place(&step.layers)).flatten();
        let result = result.map(|layer| CacheResult { layer, created: Some(step.created.to_string()) });
        for key in &step.keys {
            let Ok(digest) = format!("sha256:{key}").parse::<Digest>() else { continue };
            let results = result.iter().cloned().collect();
            records.insert(key, CacheRecord { digest, results });
        }
    }
    BuildCache { layers: chains.iter().filter_map(layer).collect(), records: records.into_values().collect() }
}

struct Target<'t> {
    engine: &'t Engine,
    place: &'t CachePlace,
    before: Option<&'t FarCache>,
}

impl Target<'_> {
    fn prepare(&self) -> Result<()> {
        match self.place {
            CachePlace::Registry(_) => Ok(()),
            CachePlace::Dir { path, .. } => Ok(durable::create_dirs(&path.join("blobs/sha256"), 0o755)?),
        }
    }

    /// Puts the uppermost of these layers there, and says in which form.
    fn put_layer(&self, chain: &[DiffId], watch: &dyn Watch) -> Result<Descriptor> {
        let known = chain.last().and_then(|diff_id| self.before?.layer(diff_id));
        match self.place {
            CachePlace::Registry(reference) => {
                if let Some(blob) = known
                    && self.engine.client()?.has_blob(reference, &blob.digest)?.is_some()
                {
                    return Ok(blob);
                }
                self.engine.push_layer(reference, chain, watch)
            }
            CachePlace::Dir { path, .. } => {
                let is_there = |blob: &Descriptor| path.join(blob_path(blob)).is_file();
                if let Some(blob) = known.filter(is_there) {
                    return Ok(blob);
                }
                let compressed = Compressed::make(self.engine, chain, watch)?;
                let blob = compressed.descriptor().clone();
                if !is_there(&blob) {
                    write_blob(path, &blob, &compressed)?;
                }
                Ok(blob)
            }
        }
    }

    fn put_manifest(&self, document: &[u8], layers: Vec<Descriptor>, watch: &dyn Watch) -> Result<()> {
        let config = Descriptor::of(build_cache::MEDIA_TYPE, document);
        let manifest = Manifest::new(media::OCI_MANIFEST, config.clone(), layers).to_bytes();
        match self.place {
            CachePlace::Registry(reference) => {
                let client = self.engine.client()?;
                let reference: &Reference = reference;
                client.push_blob(reference, &config, &InMemory(document.to_vec()), &Unseen(watch))?;
                client.push_manifest(reference, media::OCI_MANIFEST, &manifest)?;
                Ok(())
            }
            CachePlace::Dir { path, tag } => {
                let mut described = Descriptor::of(media::OCI_MANIFEST, &manifest);
                for (blob, bytes) in [(&config, document), (&described, manifest.as_slice())] {
                    durable::write_file(&path.join(blob_path(blob)), bytes, 0o644, Durability::Ephemeral)?;
                }
                described.annotations.insert(REF_NAME.to_owned(), tag.clone());
                let mut manifests = others(path, tag)?;
                manifests.push(described);
                let index = Index::new(media::OCI_INDEX, manifests).to_bytes();
                let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
                durable::write_file(&path.join("oci-layout"), layout, 0o644, Durability::Ephemeral)?;
                Ok(durable::write_file(&path.join("index.json"), &index, 0o644, Durability::Ephemeral)?)
            }
        }
    }
}

/// What a directory has under other tags.
fn others(path: &Path, tag: &str) -> Result<Vec<Descriptor>> {
    let Some(bytes) = index_of(path)? else { return Ok(Vec::new()) };
    let Ok(Document::Index(index)) = Document::parse(&bytes, Some(media::OCI_INDEX)) else { return Ok(Vec::new()) };
    Ok(index.manifests.into_iter().filter(|entry| entry.annotations.get(REF_NAME).is_none_or(|it| it != tag)).collect())
}

/// Writes a blob beside its place, and moves it there when it is whole.
fn write_blob(dir: &Path, blob: &Descriptor, compressed: &Compressed) -> Result<()> {
    let path = dir.join(blob_path(blob));
    let new = dir.join(format!(".new-{}", strata_sys::random::hex::<8>()));
    let write = || -> io::Result<()> {
        let mut file = std::fs::File::create(&new)?;
        io::copy(&mut compressed.open(0)?, &mut file)?;
        std::fs::rename(&new, &path)
    };
    write().map_err(|error| {
        if let Err(error) = durable::remove(&new) {
            tracing::warn!(%error, "a part of a cache stays");
        }
        FileError::at("write", &path)(error).into()
    })
}
