//! From a reference to the manifest of one image at a registry.

use strata_types::document::{Descriptor, Document, Manifest};
use strata_types::reference::Reference;
use strata_types::{Digest, Platform};

use crate::image::ImageError;
use crate::{Engine, Result};

/// How many indexes may lead to a manifest: one is usual, two happen, more is a riddle.
const INDEX_DEPTH_MAX: usize = 3;

/// What a registry serves for a reference and a platform.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The digest a person sees: that of the index if there is one.
    pub(crate) top: Digest,
    /// The bytes of the outermost index.
    pub(crate) index: Option<Vec<u8>>,
    /// The manifest's bytes.
    pub(crate) bytes: Vec<u8>,
    /// What they say.
    pub(crate) manifest: Manifest,
    /// Their digest.
    pub(crate) digest: Digest,
}

impl Engine {
    /// Asks a registry for the manifest of one image.
    pub(crate) fn choose(&self, reference: &Reference, platform: &Platform) -> Result<Chosen> {
        let name = reference.familiar();
        let client = self.client()?;
        let mut fetched = client.resolve(reference)?;
        let top = fetched.descriptor.digest.clone();
        let mut index = None;
        for _ in 0..=INDEX_DEPTH_MAX {
            let media_type = Some(fetched.descriptor.media_type.as_str()).filter(|text| !text.is_empty());
            let document = Document::parse(&fetched.bytes, media_type);
            match document.map_err(|source| ImageError::Manifest { name: name.clone(), source })? {
                Document::Manifest(manifest) => {
                    check_image(&name, &manifest)?;
                    let digest = fetched.descriptor.digest;
                    return Ok(Chosen { top, index, bytes: fetched.bytes, manifest, digest });
                }
                Document::Index(listed) => {
                    let entry = listed.choose(platform).ok_or_else(|| no_platform(platform, &listed.platforms()))?;
                    index.get_or_insert(fetched.bytes);
                    fetched = client.manifest(reference, &entry.digest)?;
                }
            }
        }
        Err(ImageError::IndexDepth(name).into())
    }
}

pub(crate) fn no_platform(wanted: &Platform, offered: &[Platform]) -> ImageError {
    let offered = offered.iter().map(Platform::with_version).collect();
    ImageError::NoPlatform { wanted: wanted.with_version(), offered }
}

/// Refuses artifacts that are no container images.
fn check_image(name: &str, manifest: &Manifest) -> Result<()> {
    let Descriptor { media_type, .. } = &manifest.config;
    // Some old builders did not know what to call a config.
    if manifest.is_image() || media_type.is_empty() || media_type == "application/octet-stream" {
        return Ok(());
    }
    Err(ImageError::NotAnImage { name: name.to_owned(), media_type: media_type.clone() }.into())
}
