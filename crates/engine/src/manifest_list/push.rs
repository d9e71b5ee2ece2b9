//! Giving a list to its registry, with what it names that is in other repositories there.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strata_registry::{Client, Mounted};
use strata_types::document::MANIFEST_BYTES_MAX;
use strata_types::{Descriptor, Digest, Document, ListedManifest, Reference, Watch, listed_manifest, media};

use super::ManifestListError;
use crate::image::ImageError;
use crate::{Engine, Result, parallel};

/// How many blobs are copied at once.
const BLOBS_AT_ONCE: usize = 3;

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedList {
    /// The digest of the list.
    pub digest: Digest,
    /// Manifests of other repositories that are in the list's repository now.
    pub copied: Vec<Reference>,
}

impl Engine {
    /// Pushes a list that is kept here. What it names in other repositories of the registry is brought to the list's.
    ///
    /// # Errors
    /// When there is no such list, an entry has no platform or is in another registry, or the registry does not take it.
    pub fn push_manifest_list(&self, list: &Reference, insecure: bool, watch: &dyn Watch) -> Result<PushedList> {
        let entries = self.kept_list(list)?.list()?;
        if entries.is_empty() {
            return Err(ManifestListError::NoList(list.clone()).into());
        }
        for entry in &entries {
            let platform = entry.descriptor.platform.as_ref();
            if !platform.is_some_and(|platform| !platform.os.is_empty() && !platform.architecture.is_empty()) {
                return Err(ManifestListError::NoPlatform(entry.reference.clone()).into());
            }
            if entry.reference.domain() != list.domain() {
                let (from, to) = (entry.reference.domain().to_owned(), list.domain().to_owned());
                return Err(ManifestListError::OtherRegistry { from, to }.into());
            }
        }
        let client = self.client_for(insecure)?;
        let elsewhere = entries.iter().filter(|entry| entry.reference.path() != list.path());
        let copied = elsewhere.map(|entry| copy(&client, entry, list, watch)).collect::<Result<_>>()?;
        let descriptors: Vec<Descriptor> = entries.into_iter().map(|entry| entry.descriptor).collect();
        let (media_type, bytes) = listed_manifest::printed_list(&descriptors);
        let digest = client.push_manifest(list, media_type, &bytes)?;
        Ok(PushedList { digest, copied })
    }
}

/// Brings a manifest and its blobs to the repository of the list.
fn copy(client: &Client, entry: &ListedManifest, list: &Reference, watch: &dyn Watch) -> Result<Reference> {
    let from = &entry.reference;
    let fetched;
    let bytes = match BASE64.decode(&entry.raw) {
        Ok(bytes) if !bytes.is_empty() && bytes.len() as u64 <= MANIFEST_BYTES_MAX => bytes,
        _ => {
            fetched = client.manifest(from, &entry.descriptor.digest)?;
            fetched.bytes
        }
    };
    let parsed = Document::parse(&bytes, Some(&entry.descriptor.media_type));
    let name = from.familiar();
    let parsed = parsed.map_err(|source| ImageError::Manifest { name, source })?;
    let Document::Manifest(manifest) = parsed else { return Err(ManifestListError::IsList(from.clone()).into()) };
    let blobs: Vec<&Descriptor> = manifest.layers.iter().chain([&manifest.config]).collect();
    parallel::each(BLOBS_AT_ONCE, &blobs, |blob| bring(client, blob, from, list, watch))?;
    let target = list.with_digest(entry.descriptor.digest.clone());
    client.push_manifest(&target, &entry.descriptor.media_type, &bytes)?;
    Ok(target)
}

/// Brings one blob: the registry takes it from the other repository, or it travels by here.
fn bring(client: &Client, blob: &Descriptor, from: &Reference, to: &Reference, watch: &dyn Watch) -> Result<()> {
    if media::is_foreign(&blob.media_type)
        || client.has_blob(to, &blob.digest)?.is_some()
        || client.mount_blob(to, &blob.digest, from.path())? == Mounted::Yes
    {
        return Ok(());
    }
    let read = |offset: u64| -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(client.blob(from, blob, offset).map_err(io::Error::other)?))
    };
    client.push_blob(to, blob, &read, watch)?;
    Ok(())
}
