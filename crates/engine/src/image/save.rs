//! Images into an archive that docker, podman, skopeo and strata read.

use std::collections::BTreeSet;
use std::io::{self, Write};

use strata_store::records::{Annotations, ImageRecord, Said};
use strata_types::config::CONFIG_BYTES_MAX;
use strata_types::document::{Descriptor, Manifest};
use strata_types::reference::Reference;
use strata_types::{DiffId, Digest, ImageId, Platform, Watch, media};

use super::archive::{TarWriter, index_json, manifest_json};
use super::find::as_recorded;
use super::list::created;
use super::variants::{index_of, said_platform};
use crate::events::{Happening, Kind};
use crate::image::ImageError;
use crate::{Engine, Error, Result};

/// An image to be saved and the names it is saved under.
struct Chosen {
    image: ImageRecord,
    names: Vec<Reference>,
    /// All that its name stands for, if that is more, and what is said of each.
    parts: Vec<(ImageId, Said)>,
}

/// An archive as far as it is written.
struct Writing<'t> {
    tar: TarWriter<'t>,
    written: BTreeSet<Digest>,
}

impl Writing<'_> {
    /// Writes a blob, unless it is there.
    fn put(&mut self, bytes: &[u8], time: i64) -> Result<(), ImageError> {
        let digest = Digest::sha256(bytes);
        if self.written.insert(digest.clone()) {
            self.tar.file(&path(&digest), time, bytes).map_err(writing)?;
        }
        Ok(())
    }
}

impl Engine {
    /// Writes images with all their layers, for all platforms that their names stand for or for some. A repository's name
    /// alone means all its tags; an id means no name.
    ///
    /// # Errors
    /// When one of them is not here, before anything is written; or when writing fails.
    pub fn save(
        &self,
        names: &[String],
        platforms: &[Platform],
        target: &mut dyn Write,
        watch: &dyn Watch,
    ) -> Result<()> {
        let mut chosen = self.choose_to_save(names)?;
        if !platforms.is_empty() {
            chosen.iter_mut().try_for_each(|chosen| self.keep_platforms(chosen, platforms))?;
        }
        self.write_archive(chosen, target, watch)
    }

    /// Writes images for several platforms as one that has no name.
    ///
    /// # Errors
    /// When one of them, or all, is not here, before anything is written; or when writing fails.
    pub fn save_as_one(&self, images: &[ImageId], target: &mut dyn Write, watch: &dyn Watch) -> Result<()> {
        let (mut parts, mut platforms) = (Vec::new(), Vec::new());
        for id in images {
            platforms.push(self.config(id)?.platform());
            parts.push((id.clone(), self.store().images().said(id)?));
        }
        let main = images.get(self.main_of(platforms.iter())).ok_or_else(|| ImageError::NotFound(String::new()))?;
        let image = self.variant_image(main)?;
        self.write_archive(vec![Chosen { image, names: Vec::new(), parts }], target, watch)
    }

    fn write_archive(&self, chosen: Vec<Chosen>, target: &mut dyn Write, watch: &dyn Watch) -> Result<()> {
        let lease = self.store().lease()?;
        for Chosen { image, parts, .. } in &chosen {
            lease.protect_layers(&image.layers)?;
            for (id, _) in parts {
                lease.protect_layers(&self.variant_image(id)?.layers)?;
            }
        }
        let mut tar = TarWriter::new(target);
        tar.dir("blobs/", 0).and_then(|()| tar.dir("blobs/sha256/", 0)).map_err(writing)?;
        let mut archive = Writing { tar, written: BTreeSet::new() };
        let (mut manifests, mut entries, mut saved) = (Vec::new(), Vec::new(), Vec::new());
        for Chosen { image, names, parts } in chosen {
            let (top, layers) = match parts.as_slice() {
                [] => self.save_manifest(&mut archive, &image, &Annotations::default(), watch)?,
                parts => {
                    let top = self.save_parts(&mut archive, parts, &names, watch)?;
                    // All are written: only their sizes are asked for.
                    (top, self.save_layers(&mut archive, &image, created(&image).as_second(), watch)?)
                }
            };
            let name = names.first().map_or_else(|| image.id.to_string(), Reference::familiar);
            saved.push(Happening::new(Kind::Image, "save", &image.id).with("name", &name));
            manifests.push((top, names.clone()));
            entries.push((image.id.digest().clone(), names, layers));
        }
        let mut tar = archive.tar;
        let (manifest, repositories) = manifest_json(&entries);
        let mut end = || -> io::Result<()> {
            tar.file("index.json", 0, &index_json(&manifests))?;
            tar.file("manifest.json", 0, &manifest)?;
            tar.file("oci-layout", 0, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
            tar.file("repositories", 0, &repositories)
        };
        end().map_err(writing)?;
        tar.finish().map_err(writing)?;
        self.record_events(saved);
        Ok(lease.release()?)
    }

    fn choose_to_save(&self, names: &[String]) -> Result<Vec<Chosen>> {
        let mut chosen: Vec<Chosen> = Vec::new();
        let mut add = |image: ImageRecord, name: Option<Reference>| -> Result<()> {
            let parts = match &name {
                Some(name) => {
                    let variants = self.store().variants().of(name)?.into_iter();
                    variants.map(|variant| (variant.image, variant.said)).collect()
                }
                None => {
                    let said = self.store().images().said(&image.id)?;
                    if said.is_empty() { Vec::new() } else { vec![(image.id.clone(), said)] }
                }
            };
            let at = chosen.iter().position(|other| other.image.id == image.id && other.parts == parts);
            let at = at.unwrap_or_else(|| {
                chosen.push(Chosen { image, names: Vec::new(), parts });
                chosen.len() - 1
            });
            if let Some(name) = name.filter(|name| !chosen[at].names.contains(name)) {
                chosen[at].names.push(name);
            }
            Ok(())
        };
        for name in names {
            let parsed = name.parse::<Reference>().ok();
            let tags = match parsed.as_ref().filter(|parsed| parsed.is_name_only()) {
                Some(repository) => self.tags_of_repository(repository)?,
                None => Vec::new(),
            };
            for tag in &tags {
                add(self.image(&tag.familiar())?, Some(tag.clone()))?;
            }
            if tags.is_empty() {
                let named = parsed.map(|parsed| as_recorded(&parsed)).filter(|parsed| parsed.digest().is_none());
                let is_tag = match &named {
                    Some(named) => self.store().tags().get(named)?.is_some(),
                    None => false,
                };
                let image = self.find_image(name)?.ok_or_else(|| ImageError::NotFound(name.clone()))?;
                add(image, named.filter(|_| is_tag))?;
            }
        }
        Ok(chosen)
    }

    /// Leaves of what a name stands for what serves some platforms.
    fn keep_platforms(&self, chosen: &mut Chosen, platforms: &[Platform]) -> Result<()> {
        let platform_of = |image: &ImageId| Ok::<_, Error>(self.config(image)?.platform());
        let images: Vec<ImageId> = match chosen.parts.as_slice() {
            [] => vec![chosen.image.id.clone()],
            parts => parts.iter().map(|(id, _)| id.clone()).collect(),
        };
        let offered = images.iter().map(platform_of).collect::<Result<Vec<_>>>()?;
        let mut kept = Vec::new();
        for wanted in platforms {
            let ranked = offered.iter().enumerate().filter_map(|(at, offered)| Some((wanted.rank(offered)?, at)));
            let Some((_, at)) = ranked.min() else {
                let name = chosen.names.first().map_or_else(|| chosen.image.id.to_string(), Reference::familiar);
                let actual = offered.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(ImageError::WrongPlatform { name, wanted: wanted.to_string(), actual }.into());
            };
            if !kept.contains(&at) {
                kept.push(at);
            }
        }
        let main = kept[self.main_of(kept.iter().map(|at| &offered[*at]))];
        if let Some(image) = self.store().images().get(&images[main])? {
            chosen.image = image;
        }
        kept.sort_unstable();
        let mut place = 0;
        chosen.parts.retain(|_| {
            place += 1;
            kept.contains(&(place - 1))
        });
        Ok(())
    }

    fn tags_of_repository(&self, repository: &Reference) -> Result<Vec<Reference>> {
        let mut names: Vec<Reference> = self.store().tags().list()?.into_iter().map(|tag| tag.name).collect();
        names.retain(|name| name.digest().is_none() && name.name() == repository.name());
        Ok(names)
    }

    /// Writes an image, and its manifest, in which layers are not compressed; says how long each is.
    fn save_manifest(
        &self,
        archive: &mut Writing<'_>,
        image: &ImageRecord,
        annotations: &Annotations,
        watch: &dyn Watch,
    ) -> Result<(Descriptor, Vec<(DiffId, u64)>)> {
        let time = created(image).as_second();
        let layers = self.save_layers(archive, image, time, watch)?;
        let config = self.store().blobs().read_small(image.id.digest(), CONFIG_BYTES_MAX)?;
        let described =
            layers.iter().map(|(layer, size)| Descriptor::new(media::OCI_LAYER, layer.digest().clone(), *size));
        let config_blob = Descriptor::new(media::OCI_CONFIG, image.id.digest().clone(), config.len() as u64);
        let mut manifest = Manifest::new(media::OCI_MANIFEST, config_blob, described.collect());
        manifest.annotations.clone_from(&annotations.manifest);
        let manifest = manifest.to_bytes();
        archive.put(&config, time)?;
        archive.put(&manifest, time)?;
        let mut described = Descriptor::of(media::OCI_MANIFEST, &manifest);
        described.annotations.clone_from(&annotations.manifest_descriptor);
        Ok((described, layers))
    }

    /// Writes all the images that a name stands for, what is attested of them, and the index over them. For a single image of
    /// which nothing is attested there is none.
    fn save_parts(
        &self,
        archive: &mut Writing<'_>,
        parts: &[(ImageId, Said)],
        names: &[Reference],
        watch: &dyn Watch,
    ) -> Result<Descriptor> {
        let (mut entries, mut attested) = (Vec::new(), Vec::new());
        for (id, said) in parts {
            let image = self.variant_image(id)?;
            let (mut entry, _) = self.save_manifest(archive, &image, &said.annotations, watch)?;
            if parts.len() == 1 && !said.attests() {
                return Ok(entry);
            }
            entry.platform = Some(said_platform(&self.config(&image.id)?));
            for attestation in self.attestations(&entry, names, said)? {
                for (_, bytes) in &attestation.blobs {
                    archive.put(bytes, 0)?;
                }
                archive.put(&attestation.manifest, 0)?;
                attested.push(attestation.entry);
            }
            entries.push(entry);
        }
        entries.extend(attested);
        let said = &parts[0].1.annotations;
        let index = index_of(said, entries).to_bytes();
        archive.put(&index, 0)?;
        let mut described = Descriptor::of(media::OCI_INDEX, &index);
        described.annotations.clone_from(&said.index_descriptor);
        Ok(described)
    }

    /// Writes the layers that are not yet in the archive; says how long each is.
    fn save_layers(
        &self,
        archive: &mut Writing<'_>,
        image: &ImageRecord,
        time: i64,
        watch: &dyn Watch,
    ) -> Result<Vec<(DiffId, u64)>> {
        let Writing { tar, written } = archive;
        let mut layers = Vec::new();
        for (at, layer) in image.layers.iter().enumerate() {
            let mut content = self.layer_tar(&image.layers[..=at])?;
            layers.push((layer.clone(), content.size_bytes));
            if !written.insert(layer.digest().clone()) {
                continue;
            }
            let size = content.size_bytes;
            let mut tell = |done| {
                watch.progress(layer.digest(), done, size);
                if watch.cancelled() { Err(io::Error::other(Error::Cancelled)) } else { Ok(()) }
            };
            let saved = tar.stream(&path(layer.digest()), time, size, &mut content.reader, &mut tell);
            saved.map_err(|error| error.downcast::<Error>().unwrap_or_else(|error| writing(error).into()))?;
        }
        Ok(layers)
    }
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn writing(source: io::Error) -> ImageError {
    ImageError::ArchiveIo { act: "write the archive".to_owned(), source }
}
