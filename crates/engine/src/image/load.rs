//! Images out of archives: Docker's of all ages since 1.10, OCI's, as a tar, compressed or not, or as a directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;

use strata_store::Key;
use strata_store::records::{ImageRecord, LayerRecord, NewImage, TagRecord};
use strata_sys::failpoint;
use strata_types::config::ImageConfig;
use strata_types::reference::Reference;
use strata_types::{DiffId, Digest, Hasher, ImageId, Watch};

use super::archive::{Bundle, Found, FoundLayer, find};
use crate::events::{Happening, Kind};
use crate::image::ImageError;
use crate::layers::Keeper;
use crate::{Engine, Error, Result, parallel};

/// How many layers are unpacked at once.
const LAYERS_AT_ONCE: usize = 2;

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: ImageId,
    /// The names the archive gives it.
    pub names: Vec<Reference>,
}

/// Where an archive is.
#[derive(Debug)]
pub enum Archive<'a> {
    /// A file or a pipe.
    File(File),
    /// A directory with an OCI layout.
    Dir(&'a Path),
}

impl Engine {
    /// Loads all images of an archive; `name` is what to call the archive in messages.
    ///
    /// # Errors
    /// When it is no archive, or something in it is missing or not what its digest says. Images loaded before stay.
    pub fn load(&self, archive: Archive<'_>, name: &str, watch: &dyn Watch) -> Result<Vec<Loaded>> {
        let reading = |source: io::Error| unreadable(name, source);
        let bundle = match archive {
            Archive::File(file) => Bundle::file(file, &self.settings().root.join("ingest")).map_err(reading)?,
            Archive::Dir(path) => Bundle::dir(path).map_err(reading)?,
        };
        let found = find(&bundle, &self.platform()).map_err(reading)?;
        if found.is_empty() {
            let problem = "it holds no image for this platform".to_owned();
            return Err(ImageError::Archive { what: name.to_owned(), problem }.into());
        }
        let loaded: Vec<Loaded> =
            found.iter().map(|image| self.load_one(&bundle, image, name, watch)).collect::<Result<_>>()?;
        self.apply_budget(&loaded.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), watch);
        Ok(loaded)
    }

    fn load_one(&self, bundle: &Bundle, found: &Found, archive: &str, watch: &dyn Watch) -> Result<Loaded> {
        let id = ImageId::new(Digest::sha256(&found.config));
        let config = ImageConfig::parse(&found.config);
        let config = config.map_err(|source| ImageError::Config { id: id.clone(), source })?;
        let diff_ids = config.diff_ids();
        if diff_ids.len() != found.layers.len() {
            let (name, config, manifest) = (archive.to_owned(), diff_ids.len(), found.layers.len());
            return Err(ImageError::LayerCount { name, config, manifest }.into());
        }
        let lease = self.store().lease()?;
        lease.protect(&Key::of_layers(diff_ids))?;
        lease.protect(&[Key::Blob(id.digest().clone())])?;
        let layers = self.load_layers(bundle, &found.layers, &config, archive, watch)?;
        self.store().blobs().put(&found.config)?;
        failpoint!("engine.load.before-record");
        let size_of = |diff_id: &strata_types::DiffId| {
            layers.iter().find(|layer| layer.diff_id == *diff_id).map_or(0, |layer| layer.size_bytes)
        };
        let image = ImageRecord {
            id: id.clone(),
            manifest: None,
            media_type: String::new(),
            index: None,
            size_bytes: diff_ids.iter().map(size_of).sum(),
            layers: diff_ids.to_vec(),
            parent: None,
            added: self.now(),
            created: config.created.as_deref().and_then(|text| text.parse().ok()),
            last_used: None,
            damaged: false,
        };
        self.say_what_moves(&found.names, &id, watch)?;
        let tag = |name: &Reference| TagRecord {
            name: name.clone(),
            image: id.clone(),
            manifest: None,
            index: None,
            updated: self.now(),
        };
        let tags = found.names.iter().map(tag).collect();
        self.store().images().add(&NewImage { image, tags, layers, forms: Vec::new() })?;
        lease.release()?;
        let name = found.names.first().map_or_else(|| id.to_string(), Reference::familiar);
        self.record_event(Happening::new(Kind::Image, "load", &id).with("name", &name));
        Ok(Loaded { id, names: found.names.clone() })
    }

    /// Unpacks the layers of an image in an archive that are not here.
    pub(crate) fn load_layers(
        &self,
        bundle: &Bundle,
        files: &[FoundLayer],
        config: &ImageConfig,
        archive: &str,
        watch: &dyn Watch,
    ) -> Result<Vec<LayerRecord>> {
        let (diff_ids, keeper) = (config.diff_ids(), Keeper::of(config));
        let places: Vec<usize> = (0..files.len()).filter(|at| !diff_ids[..*at].contains(&diff_ids[*at])).collect();
        let done = Mutex::new(Vec::new());
        let limit = if self.layers_are_independent(keeper)? { LAYERS_AT_ONCE } else { 1 };
        parallel::each(limit, &places, |at| {
            let layers = &diff_ids[..=*at];
            let known = self.store().layers().get(&diff_ids[*at])?;
            let record = match known {
                Some(record) if self.is_kept(keeper, layers)? => record,
                _ => self.load_layer(bundle, &files[*at], (keeper, layers), archive, watch)?,
            };
            done.lock().expect("nobody panics with it").push(record);
            Ok(())
        })?;
        Ok(done.into_inner().expect("nobody panics with it"))
    }

    fn load_layer(
        &self,
        bundle: &Bundle,
        file: &FoundLayer,
        (keeper, layers): (Keeper, &[DiffId]),
        archive: &str,
        watch: &dyn Watch,
    ) -> Result<LayerRecord> {
        let member = bundle.open(&file.file).map_err(|source| unreadable(archive, source))?;
        let member = member.ok_or_else(|| ImageError::Archive {
            what: archive.to_owned(),
            problem: format!("its layer {} is missing", file.file),
        })?;
        let item = layers.last().expect("a layer and those below it").digest();
        watch.phase(item, "Loading layer");
        // The digest of an uncompressed layer is its diff id, which is checked anyway.
        let digest = file.digest.as_ref().filter(|digest| *digest != item);
        let hasher = digest.map(|digest| Hasher::new(digest.algorithm()));
        let total = member.size_bytes;
        let mut reader = Checked { reader: member.reader, hasher, expected: digest, item, done: 0, total, watch };
        let record = self.import_layer(keeper, layers, &mut reader, watch)?;
        self.store().layers().put(&record)?;
        watch.phase(item, "Loaded");
        Ok(record)
    }

    /// Says which images lose a name to the one that is loaded.
    fn say_what_moves(&self, names: &[Reference], id: &ImageId, watch: &dyn Watch) -> Result<()> {
        for name in names {
            if let Some(before) = self.store().tags().get(name)?
                && before.image != *id
            {
                let (name, old) = (name.familiar(), before.image);
                let moved = "already exists, renaming the old one with ID";
                watch.say(&format!("The image {name} {moved} {old} to empty string"));
            }
        }
        Ok(())
    }
}

pub(crate) fn unreadable(name: &str, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::InvalidData {
        return ImageError::Archive { what: name.to_owned(), problem: source.to_string() }.into();
    }
    match source.downcast::<strata_layer::Error>() {
        Ok(error) => error.into(),
        Err(source) => ImageError::ArchiveIo { act: format!("read {name}"), source }.into(),
    }
}

/// Reads a layer's file, tells how far it is, and fails at the end if the digest is wrong.
struct Checked<'a> {
    reader: Box<dyn Read + Send>,
    hasher: Option<Hasher>,
    expected: Option<&'a Digest>,
    item: &'a Digest,
    done: u64,
    total: u64,
    watch: &'a dyn Watch,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0 {
            if let (Some(hasher), Some(expected)) = (self.hasher.take(), self.expected) {
                let found = hasher.finish();
                if found != *expected {
                    return Err(io::Error::other(format!("blob {expected} is damaged: its digest is {found}")));
                }
            }
            return Ok(0);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.done += count as u64;
        self.watch.progress(self.item, self.done, self.total);
        Ok(count)
    }
}
