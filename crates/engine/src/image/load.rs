//! Images out of archives: Docker's of all ages since 1.10, OCI's, as a tar, compressed or not, or as a directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;

use strata_store::Lease;
use strata_store::records::{LayerRecord, Said};
use strata_sys::failpoint;
use strata_types::config::ImageConfig;
use strata_types::reference::Reference;
use strata_types::{DiffId, Digest, Hasher, ImageId, Platform, Watch};

use super::archive::{Bundle, Found, FoundImage, FoundLayer, Platforms, find};
use super::record::Ready;
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
    /// Loads the images of an archive, all or those for some platforms; `name` is what to call the archive in messages.
    ///
    /// # Errors
    /// When it is no archive, or something in it is missing or not what its digest says. Images loaded before stay.
    pub fn load(
        &self,
        archive: Archive<'_>,
        name: &str,
        platforms: &[Platform],
        watch: &dyn Watch,
    ) -> Result<Vec<Loaded>> {
        let reading = |source: io::Error| unreadable(name, source);
        let bundle = match archive {
            Archive::File(file) => Bundle::file(file, &self.settings().root.join("ingest")).map_err(reading)?,
            Archive::Dir(path) => Bundle::dir(path).map_err(reading)?,
        };
        let native = &self.platform();
        let found = find(&bundle, Platforms { native, wanted: platforms }).map_err(reading)?;
        if found.is_empty() {
            let problem = match platforms {
                [] => "it holds no image for this platform".to_owned(),
                [one, ..] => format!("it holds no image for {one}"),
            };
            return Err(ImageError::Archive { what: name.to_owned(), problem }.into());
        }
        let loaded: Vec<Loaded> = found
            .iter()
            .map(|found| self.load_found(&bundle, found, (name, platforms), watch))
            .collect::<Result<_>>()?;
        self.apply_budget(&loaded.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), watch);
        Ok(loaded)
    }

    /// Loads all that names in an archive stand for.
    fn load_found(
        &self,
        bundle: &Bundle,
        found: &Found,
        (archive, platforms): (&str, &[Platform]),
        watch: &dyn Watch,
    ) -> Result<Loaded> {
        let lease = self.store().lease()?;
        let mut ready = Vec::new();
        for image in &found.images {
            let one = self.load_image(bundle, image, archive, &lease, watch)?;
            let is_wanted = |wanted: &Platform| wanted.rank(&one.platform).is_some();
            if !platforms.is_empty() && !platforms.iter().any(is_wanted) {
                let problem = format!("it holds no image for {}", platforms[0]);
                return Err(ImageError::Archive { what: archive.to_owned(), problem }.into());
            }
            ready.push(one);
        }
        failpoint!("engine.load.before-record");
        let main = self.main_of(ready.iter().map(|one| &one.platform));
        self.say_what_moves(&found.names, &ready[main].image.image.id, watch)?;
        let id = self.record_ready(ready, &found.names)?;
        lease.release()?;
        let name = found.names.first().map_or_else(|| id.to_string(), Reference::familiar);
        self.record_event(Happening::new(Kind::Image, "load", &id).with("name", &name));
        Ok(Loaded { id, names: found.names.clone() })
    }

    fn load_image(
        &self,
        bundle: &Bundle,
        found: &FoundImage,
        archive: &str,
        lease: &Lease<'_>,
        watch: &dyn Watch,
    ) -> Result<Ready> {
        let config = ImageConfig::parse(&found.config).map_err(|source| {
            let id = ImageId::new(Digest::sha256(&found.config));
            ImageError::Config { id, source }
        })?;
        let diff_ids = config.diff_ids();
        if diff_ids.len() != found.layers.len() {
            let (name, config, manifest) = (archive.to_owned(), diff_ids.len(), found.layers.len());
            return Err(ImageError::LayerCount { name, config, manifest }.into());
        }
        lease.protect_layers(diff_ids)?;
        let layers = self.load_layers(bundle, &found.layers, &config, archive, watch)?;
        let image = self.made(&config, &found.config, layers, lease)?;
        let keep = |(kind, text): &(String, Vec<u8>)| self.keep_predicate(kind.clone(), text, lease);
        let predicates = found.predicates.iter().map(keep).collect::<Result<Vec<_>>>()?;
        let said = Said { predicates, annotations: found.annotations.clone(), ..Said::default() };
        Ok(Ready { image, platform: config.platform(), said })
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
