//! The client: what the engine asks for.

use strata_types::{Descriptor, Digest, Reference, Watch};

use crate::auth::{Credential, LoggedIn};
use crate::blob::BlobReader;
use crate::push::{BlobSource, Mounted};
use crate::{Error, Result, Settings};

/// A manifest or an index as a registry served it; its digest was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The bytes that have that digest.
    pub bytes: Vec<u8>,
}

/// Talks to registries. Cheap to make: nothing is read or opened before the first request. Used from many threads.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
}

impl Client {
    /// Makes a client.
    pub const fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// What it was made with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Fetches the manifest or index that a tag or a digest names; mirrors are asked first.
    pub fn resolve(&self, _reference: &Reference) -> Result<Document> {
        Err(Error::Cancelled)
    }

    /// Asks which manifest a tag names, without fetching it; `None` if the registry does not say without.
    pub fn head(&self, _reference: &Reference) -> Result<Option<Descriptor>> {
        Err(Error::Cancelled)
    }

    /// Fetches the manifest with this digest from the reference's repository.
    pub fn manifest(&self, reference: &Reference, digest: &Digest) -> Result<Document> {
        self.resolve(&reference.with_digest(digest.clone()))
    }

    /// Opens a blob from `offset` on. Broken connections are continued where they broke; large blobs come in several
    /// ranges at once. The number of bytes is checked; the digest is for who reads them all, see [`BlobReader::verified`].
    pub fn blob(&self, _reference: &Reference, _blob: &Descriptor, _offset: u64) -> Result<BlobReader> {
        Err(Error::Cancelled)
    }

    /// Fetches a small blob, such as an image config, and checks its digest.
    pub fn small_blob(&self, _reference: &Reference, _blob: &Descriptor, _limit_bytes: u64) -> Result<Vec<u8>> {
        Err(Error::Cancelled)
    }

    /// Asks whether the repository has a blob, and how large it is.
    pub fn has_blob(&self, _reference: &Reference, _digest: &Digest) -> Result<Option<u64>> {
        Err(Error::Cancelled)
    }

    /// Asks the registry to take a blob from another of its repositories (`from` is a path, such as `library/debian`).
    pub fn mount_blob(&self, _reference: &Reference, _digest: &Digest, _from: &str) -> Result<Mounted> {
        Err(Error::Cancelled)
    }

    /// Uploads a blob; continues where it stood when the connection breaks. `watch` hears of the progress.
    pub fn push_blob(
        &self,
        _reference: &Reference,
        _blob: &Descriptor,
        _source: &dyn BlobSource,
        _watch: &dyn Watch,
    ) -> Result<()> {
        Err(Error::Cancelled)
    }

    /// Uploads a manifest or index under the reference's tag, or under its digest if there is no tag.
    pub fn push_manifest(&self, _reference: &Reference, _media_type: &str, _bytes: &[u8]) -> Result<Digest> {
        Err(Error::Cancelled)
    }

    /// Lists the tags of a repository.
    pub fn tags(&self, _reference: &Reference) -> Result<Vec<String>> {
        Err(Error::Cancelled)
    }

    /// Tries a credential at a registry (`docker.io`, `localhost:5000`). What to keep may differ from what was given: an
    /// identity token in place of a password. Saving it is [`crate::auth::CredentialStore::save`].
    pub fn login(&self, _host: &str, _credential: &Credential) -> Result<LoggedIn> {
        Err(Error::Cancelled)
    }
}
