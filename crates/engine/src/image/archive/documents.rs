//! What the documents in an archive say.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::json;
use strata_store::records::Annotations;
use strata_types::config::CONFIG_BYTES_MAX;
use strata_types::document::{Descriptor, Document, Index, MANIFEST_BYTES_MAX, Manifest};
use strata_types::reference::Reference;
use strata_types::{DiffId, Digest, Platform, media};

use super::Bundle;
use crate::image::attestation::{PREDICATE_BYTES_MAX, predicate};

/// Indexes in an archive may lead to indexes, but not for ever.
const INDEX_DEPTH_MAX: usize = 3;

const CONTAINERD_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What BuildKit notes of a manifest for itself.
const CONFIG_DIGEST: &str = "config.digest";

/// Which image of an OCI layout is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutName {
    /// That called `latest`, else the only one.
    Usual,
    /// That with this tag, or this whole name.
    Tag(String),
    /// That whose manifest or index has this digest.
    Digest(Digest),
}

impl LayoutName {
    /// The entry of the index that is meant.
    fn choose(&self, index: &Index) -> Option<Descriptor> {
        let images = || index.manifests.iter().filter(|entry| !entry.is_attestation());
        let called = |name: &str| {
            let is_called = |entry: &&Descriptor| {
                let said = |key: &str| entry.annotations.get(key).map(String::as_str);
                said(REF_NAME) == Some(name) || said(CONTAINERD_NAME) == Some(name)
            };
            images().find(is_called)
        };
        match self {
            Self::Usual => called("latest").or_else(|| images().next().filter(|_| images().count() == 1)).cloned(),
            Self::Tag(tag) => called(tag).cloned(),
            // It need not be named to be there.
            Self::Digest(digest) => Some(Descriptor::new("", digest.clone(), 0)),
        }
    }
}

/// What names in an archive stand for.
#[derive(Debug)]
pub(crate) struct Found {
    /// The names.
    pub(crate) names: Vec<Reference>,
    /// The images, one at least; several are for several platforms.
    pub(crate) images: Vec<FoundImage>,
}

/// One image in an archive.
#[derive(Debug)]
pub(crate) struct FoundImage {
    /// Its config's bytes.
    pub(crate) config: Vec<u8>,
    /// Its layers, lowest first.
    pub(crate) layers: Vec<FoundLayer>,
    /// What its manifest and the index say.
    pub(crate) annotations: Annotations,
    /// What is attested of it: predicates by their types.
    pub(crate) predicates: Vec<(String, Vec<u8>)>,
}

/// Which platforms' images are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Platforms<'a> {
    /// This machine's.
    pub(crate) native: &'a Platform,
    /// Those that were asked for; all that there are if none was.
    pub(crate) wanted: &'a [Platform],
}

/// A layer in an archive.
#[derive(Debug)]
pub(crate) struct FoundLayer {
    /// The file that holds it, compressed or not.
    pub(crate) file: String,
    /// The digest that file should have, where the archive says.
    pub(crate) digest: Option<Digest>,
}

/// An entry of Docker's `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Finds the images in an archive. Where there are both documents, Docker's `manifest.json` is the one that always has the
/// names; an index that has them says more.
pub(crate) fn find(bundle: &Bundle, platforms: Platforms<'_>) -> io::Result<Vec<Found>> {
    if let Some(bytes) = bundle.read("manifest.json", MANIFEST_BYTES_MAX)? {
        if let Ok(Some(index)) = oci_index(bundle)
            && !index.manifests.is_empty()
            && index.manifests.iter().all(|entry| whole_name(entry).is_some())
        {
            return oci_images(bundle, &index, platforms);
        }
        let entries: Vec<DockerEntry> =
            serde_json::from_slice(&bytes).map_err(|error| invalid("manifest.json", error))?;
        return entries.into_iter().map(|entry| docker_image(bundle, entry)).collect();
    }
    if let Some(index) = oci_index(bundle)? {
        return oci_images(bundle, &index, platforms);
    }
    if bundle.has("repositories") {
        return Err(problem("it has the format of Docker before 1.10, which is not supported".to_owned()));
    }
    Err(problem("it has neither manifest.json nor index.json".to_owned()))
}

/// Finds one image of an OCI layout, and the digest of its manifest.
pub(crate) fn find_named(
    bundle: &Bundle,
    name: &LayoutName,
    platform: &Platform,
) -> io::Result<Option<(Digest, FoundImage)>> {
    let index = oci_index(bundle)?.ok_or_else(|| problem("it has no index.json".to_owned()))?;
    let Some(entry) = name.choose(&index) else { return Ok(None) };
    if !bundle.has(&path_of(&entry.digest)) {
        return Ok(None);
    }
    let (digest, manifest) = oci_manifest(bundle, &entry, platform)?;
    Ok(Some((digest, oci_image(bundle, &manifest)?)))
}

fn oci_index(bundle: &Bundle) -> io::Result<Option<Index>> {
    let Some(bytes) = bundle.read("index.json", MANIFEST_BYTES_MAX)? else { return Ok(None) };
    match Document::parse(&bytes, Some(media::OCI_INDEX)) {
        Ok(Document::Index(index)) => Ok(Some(index)),
        _ => Err(problem("its index.json is not an index".to_owned())),
    }
}

fn docker_image(bundle: &Bundle, entry: DockerEntry) -> io::Result<Found> {
    let config = bundle.read(&entry.config, CONFIG_BYTES_MAX)?;
    let config = config.ok_or_else(|| problem(format!("its config {} is missing", entry.config)))?;
    let parse = |name: &String| {
        name.parse::<Reference>().map(Reference::or_latest).map_err(|error| problem(format!("name {name}: {error}")))
    };
    let names = entry.repo_tags.unwrap_or_default().iter().map(parse).collect::<io::Result<_>>()?;
    let layers = entry.layers.into_iter().map(|file| FoundLayer { file, digest: None }).collect();
    let image = FoundImage { config, layers, annotations: Annotations::default(), predicates: Vec::new() };
    Ok(Found { names, images: vec![image] })
}

/// All images of an index, each once with all its names.
fn oci_images(bundle: &Bundle, index: &Index, platforms: Platforms<'_>) -> io::Result<Vec<Found>> {
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    let mut seen: Vec<Digest> = Vec::new();
    let single = index.manifests.iter().filter(|entry| !entry.is_attestation()).count() == 1;
    for entry in index.manifests.iter().filter(|entry| !entry.is_attestation()) {
        let names = name_of(entry).into_iter();
        if let Some(at) = seen.iter().position(|digest| *digest == entry.digest) {
            found.entry(at).and_modify(|image| image.names.extend(names));
            continue;
        }
        seen.push(entry.digest.clone());
        // Of images for several platforms that no index holds together, what runs here is taken; a single image is taken
        // whatever it is.
        let is_other = |offered: &Platform| match platforms.wanted {
            [] => platforms.native.rank(offered).is_none() && !single,
            wanted => wanted.iter().all(|wanted| wanted.rank(offered).is_none()),
        };
        if entry.platform.as_ref().is_some_and(is_other) {
            continue;
        }
        let images = images_of(bundle, entry, platforms)?;
        found.insert(seen.len() - 1, Found { names: names.collect(), images });
    }
    Ok(found.into_values().collect())
}

/// The images that an entry of an archive's index leads to: one, or those of an index.
fn images_of(bundle: &Bundle, entry: &Descriptor, platforms: Platforms<'_>) -> io::Result<Vec<FoundImage>> {
    let bytes = blob(bundle, entry, MANIFEST_BYTES_MAX)?;
    let media_type = Some(entry.media_type.as_str()).filter(|text| !text.is_empty());
    let index = match Document::parse(&bytes, media_type).map_err(|error| problem(error.to_string()))? {
        Document::Manifest(manifest) if !manifest.is_image() => {
            return Err(problem("it holds something that is no container image".to_owned()));
        }
        Document::Manifest(manifest) => return Ok(vec![oci_image(bundle, &manifest)?]),
        Document::Index(index) => index,
    };
    let chosen: Vec<&Descriptor> = match platforms.wanted {
        // Whoever saved some platforms of several left the index as it was.
        [] => index
            .manifests
            .iter()
            .filter(|entry| !entry.is_attestation() && bundle.has(&path_of(&entry.digest)))
            .collect(),
        wanted => {
            let choose = |wanted: &Platform| {
                let entry = index.choose(wanted).filter(|entry| bundle.has(&path_of(&entry.digest)));
                entry.ok_or_else(|| problem(format!("it holds no image for {wanted}")))
            };
            wanted.iter().map(choose).collect::<io::Result<_>>()?
        }
    };
    if chosen.is_empty() {
        return Err(problem("it holds none of the images of its index".to_owned()));
    }
    let image = |chosen: &Descriptor| {
        let (digest, manifest) = oci_manifest(bundle, chosen, platforms.native)?;
        let mut image = oci_image(bundle, &manifest)?;
        image.annotations.manifest_descriptor = said(chosen);
        image.annotations.index.clone_from(&index.annotations);
        image.annotations.index_descriptor = said(entry);
        image.predicates = predicates_of(bundle, &index, &digest)?;
        Ok(image)
    };
    chosen.into_iter().map(image).collect()
}

fn oci_image(bundle: &Bundle, manifest: &Manifest) -> io::Result<FoundImage> {
    let config = blob(bundle, &manifest.config, CONFIG_BYTES_MAX)?;
    let layer = |blob: &Descriptor| FoundLayer { file: path_of(&blob.digest), digest: Some(blob.digest.clone()) };
    let annotations = Annotations { manifest: manifest.annotations.clone(), ..Annotations::default() };
    let layers = manifest.layers.iter().map(layer).collect();
    Ok(FoundImage { config, layers, annotations, predicates: Vec::new() })
}

/// What an entry says beside names and what it is.
fn said(entry: &Descriptor) -> BTreeMap<String, String> {
    let is_ours = |key: &str| [CONTAINERD_NAME, REF_NAME].contains(&key) || key == CONFIG_DIGEST;
    entry.annotations.iter().filter(|(key, _)| !is_ours(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What an index attests of the image with this manifest: the predicates of the statements. What is not there or no statement
/// is passed over.
fn predicates_of(bundle: &Bundle, index: &Index, manifest: &Digest) -> io::Result<Vec<(String, Vec<u8>)>> {
    let of_image = |entry: &&Descriptor| entry.attested() == Some(manifest.to_string().as_str());
    let mut predicates = Vec::new();
    for entry in index.manifests.iter().filter(of_image) {
        if !bundle.has(&path_of(&entry.digest)) {
            continue;
        }
        let bytes = blob(bundle, entry, MANIFEST_BYTES_MAX)?;
        let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, Some(&entry.media_type)) else { continue };
        for layer in manifest.layers.iter().filter(|layer| bundle.has(&path_of(&layer.digest))) {
            let statement = blob(bundle, layer, PREDICATE_BYTES_MAX)?;
            predicates.extend(predicate(&statement));
        }
    }
    Ok(predicates)
}

/// The manifest that an entry leads to, and its digest.
fn oci_manifest(bundle: &Bundle, entry: &Descriptor, platform: &Platform) -> io::Result<(Digest, Manifest)> {
    let mut entry = entry.clone();
    for _ in 0..INDEX_DEPTH_MAX {
        let bytes = blob(bundle, &entry, MANIFEST_BYTES_MAX)?;
        let media_type = Some(entry.media_type.as_str()).filter(|text| !text.is_empty());
        match Document::parse(&bytes, media_type).map_err(|error| problem(error.to_string()))? {
            Document::Manifest(manifest) if manifest.is_image() => return Ok((entry.digest, manifest)),
            Document::Manifest(_) => return Err(problem("it holds something that is no container image".to_owned())),
            Document::Index(index) => {
                let chosen = index.choose(platform);
                entry = chosen.ok_or_else(|| problem(format!("it holds no image for {platform}")))?.clone();
            }
        }
    }
    Err(problem("its indexes lead nowhere".to_owned()))
}

/// Reads a blob and checks its digest.
fn blob(bundle: &Bundle, wanted: &Descriptor, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let bytes = bundle.read(&path_of(&wanted.digest), limit_bytes)?;
    let bytes = bytes.ok_or_else(|| problem(format!("blob {} is missing", wanted.digest)))?;
    let mut hasher = strata_types::Hasher::new(wanted.digest.algorithm());
    hasher.update(&bytes);
    let digest = hasher.finish();
    if digest == wanted.digest { Ok(bytes) } else { Err(problem(format!("blob {} is damaged", wanted.digest))) }
}

/// The name of an image in an index as Docker and containerd write it: a whole reference.
fn whole_name(entry: &Descriptor) -> Option<Reference> {
    entry.annotations.get(CONTAINERD_NAME).and_then(|name| name.parse::<Reference>().ok())
}

/// The name of an image in an index: a whole reference, or what skopeo and podman were told to call it.
fn name_of(entry: &Descriptor) -> Option<Reference> {
    let whole = whole_name(entry);
    let short = || {
        // A bare tag, as the specification has it, names nothing without a repository.
        let name = entry.annotations.get(REF_NAME).filter(|name| *name != "latest")?;
        name.parse::<Reference>().ok()
    };
    whole.or_else(short).filter(|name| name.digest().is_none()).map(Reference::or_latest)
}

/// Where a blob is.
pub(crate) fn path_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// OCI's `index.json`: every manifest under each of its names.
pub(crate) fn index_json(images: &[(Descriptor, Vec<Reference>)]) -> Vec<u8> {
    let mut manifests = Vec::new();
    for (manifest, names) in images {
        for name in names {
            let mut named = manifest.clone();
            named.annotations.insert(CONTAINERD_NAME.to_owned(), name.to_string());
            named.annotations.insert(REF_NAME.to_owned(), name.tag().unwrap_or_default().to_owned());
            manifests.push(named);
        }
        if names.is_empty() {
            manifests.push(manifest.clone());
        }
    }
    Index::new(media::OCI_INDEX, manifests).to_bytes()
}

/// An image's config, names, and layers with their sizes.
pub(crate) type Described = (Digest, Vec<Reference>, Vec<(DiffId, u64)>);

/// Docker's `manifest.json` and `repositories` for the same images.
pub(crate) fn manifest_json(images: &[Described]) -> (Vec<u8>, Vec<u8>) {
    let mut entries = Vec::new();
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (config, names, layers) in images {
        let describe = |(layer, size): &(DiffId, u64)| {
            (layer.to_string(), json!({"mediaType": media::OCI_LAYER, "size": size, "digest": layer}))
        };
        let sources: serde_json::Map<_, _> = layers.iter().map(describe).collect();
        let tags = (!names.is_empty()).then(|| names.iter().map(Reference::familiar).collect::<Vec<_>>());
        let paths: Vec<String> = layers.iter().map(|(layer, _)| path_of(layer.digest())).collect();
        entries.push(json!({
            "Config": path_of(config), "RepoTags": tags, "Layers": paths, "LayerSources": sources,
        }));
        for name in names {
            let top = layers.last().map(|(layer, _)| layer.hex().to_owned()).unwrap_or_default();
            let tags = repositories.entry(name.familiar_name()).or_default();
            tags.insert(name.tag().unwrap_or_default().to_owned(), top);
        }
    }
    let print = |value: serde_json::Result<Vec<u8>>| value.expect("strings and numbers always print");
    (print(serde_json::to_vec(&entries)), print(serde_json::to_vec(&repositories)))
}

fn problem(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn invalid(what: &str, error: serde_json::Error) -> io::Error {
    problem(format!("its {what} cannot be understood ({error})"))
}
