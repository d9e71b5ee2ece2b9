//! What is attested of images that come from registries: kept as it is, so that whoever gets the image from here can check
//! the same manifest.

use strata_store::records::PulledAttestation;
use strata_store::{Key, Lease};
use strata_types::document::{Descriptor, Document, MANIFEST_BYTES_MAX, Manifest};
use strata_types::reference::Reference;
use strata_types::{Digest, ErrorClass};

use super::{Attestation, PREDICATE_BYTES_MAX, predicate};
use crate::image::manifest::Chosen;
use crate::{Engine, Result};

/// How many manifests of an index may speak of one image: `BuildKit` makes one, signers add some.
const ATTESTATIONS_MAX: usize = 16;

impl Engine {
    /// Fetches and keeps what the index attests of a chosen image. What the registry does not have, and what is no
    /// manifest of statements, is passed over: the image is as good without.
    pub(in crate::image) fn fetch_attestations(
        &self,
        reference: &Reference,
        chosen: &Chosen,
        lease: &Lease<'_>,
    ) -> Result<Vec<PulledAttestation>> {
        let subject = chosen.digest.to_string();
        let index = chosen.index.as_deref().map(|bytes| Document::parse(bytes, None));
        let Some(Ok(Document::Index(index))) = index else { return Ok(Vec::new()) };
        let of_image = index.manifests.into_iter().filter(|entry| entry.attested() == Some(subject.as_str()));
        let mut fetched = Vec::new();
        for entry in of_image.take(ATTESTATIONS_MAX) {
            match self.fetch_attestation(reference, &entry, lease) {
                Ok(Some(blobs)) => fetched.push(PulledAttestation { entry, blobs }),
                Ok(None) => tracing::warn!(digest = %entry.digest, "an attestation is no manifest of statements"),
                Err(error) if error.class() == ErrorClass::NotFound => {
                    tracing::warn!(digest = %entry.digest, "the registry does not have an attestation");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(fetched)
    }

    /// Keeps a manifest of statements and what it names; none if it is something else, or too large.
    fn fetch_attestation(
        &self,
        reference: &Reference,
        entry: &Descriptor,
        lease: &Lease<'_>,
    ) -> Result<Option<Vec<Digest>>> {
        lease.protect(&[Key::Blob(entry.digest.clone())])?;
        let blobs = self.store().blobs();
        let bytes = match blobs.has(&entry.digest)? {
            true => blobs.read_small(&entry.digest, MANIFEST_BYTES_MAX)?,
            false => self.client()?.manifest(reference, &entry.digest)?.bytes,
        };
        let Some(manifest) = parsed(&bytes, entry) else { return Ok(None) };
        let named: Vec<&Descriptor> = std::iter::once(&manifest.config).chain(&manifest.layers).collect();
        if named.iter().map(|blob| blob.size).fold(0, u64::saturating_add) > PREDICATE_BYTES_MAX {
            return Ok(None);
        }
        lease.protect(&named.iter().map(|blob| Key::Blob(blob.digest.clone())).collect::<Vec<_>>())?;
        for blob in &named {
            if !blobs.has(&blob.digest)? {
                blobs.put(&self.client()?.small_blob(reference, blob, PREDICATE_BYTES_MAX)?)?;
            }
        }
        blobs.put(&bytes)?;
        Ok(Some(named.into_iter().map(|blob| blob.digest.clone()).collect()))
    }

    /// A manifest of statements as it was pulled.
    pub(super) fn as_pulled(&self, pulled: &PulledAttestation) -> Result<Attestation> {
        let (manifest, bytes) = self.pulled_manifest(pulled)?;
        let mut blobs = Vec::new();
        for blob in std::iter::once(manifest.config).chain(manifest.layers) {
            let bytes = self.store().blobs().read_small(&blob.digest, PREDICATE_BYTES_MAX)?;
            blobs.push((blob, bytes));
        }
        Ok(Attestation { entry: pulled.entry.clone(), manifest: bytes, blobs })
    }

    /// The predicates of its statements, by their types.
    pub(super) fn predicates_of_pulled(&self, pulled: &PulledAttestation) -> Result<Vec<(String, Vec<u8>)>> {
        let statements = self.as_pulled(pulled)?.blobs;
        Ok(statements.iter().filter_map(|(_, bytes)| predicate(bytes)).collect())
    }

    /// Its statements: the types of what they attest, and the blobs.
    pub(super) fn statements_of(&self, pulled: &PulledAttestation) -> Result<Vec<(String, Descriptor)>> {
        let (manifest, _) = self.pulled_manifest(pulled)?;
        let named = |blob: Descriptor| Some((blob.annotations.get(super::PREDICATE_TYPE)?.clone(), blob));
        Ok(manifest.layers.into_iter().filter_map(named).collect())
    }

    fn pulled_manifest(&self, pulled: &PulledAttestation) -> Result<(Manifest, Vec<u8>)> {
        let bytes = self.store().blobs().read_small(&pulled.entry.digest, MANIFEST_BYTES_MAX)?;
        let manifest = parsed(&bytes, &pulled.entry).expect("it was parsed when it was pulled");
        Ok((manifest, bytes))
    }
}

fn parsed(bytes: &[u8], entry: &Descriptor) -> Option<Manifest> {
    match Document::parse(bytes, Some(&entry.media_type)) {
        Ok(Document::Manifest(manifest)) => Some(manifest),
        _ => None,
    }
}
