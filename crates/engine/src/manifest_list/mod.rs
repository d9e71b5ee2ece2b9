//! Lists of manifests that are put together by hand: `manifest create|annotate|inspect|push|rm`.
//!
//! ```text
//! kept.rs     where lists are kept until they are pushed
//! push.rs     giving a list to its registry
//! ```
//!
//! They are kept where and as Docker keeps them, so that either program goes on with what the other began.

mod kept;
mod push;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strata_registry::Client;
use strata_types::config::CONFIG_BYTES_MAX;
use strata_types::{Descriptor, Document, ErrorClass, Index, ListedManifest, Manifest, Platform, Reference};

use crate::{Engine, Result};

pub use push::PushedList;

/// Why an operation on a list of manifests failed. The sentences are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum ManifestListError {
    /// There is such a list.
    #[error("refusing to amend an existing manifest list with no --amend flag")]
    Exists,
    /// No list here has this name.
    #[error("No such manifest: {0}")]
    NoList(Reference),
    /// The list has no such manifest.
    #[error("manifest for image {} does not exist in {}", manifest.familiar(), list.familiar())]
    NotListed {
        /// Which.
        manifest: Reference,
        /// In what.
        list: Reference,
    },
    /// The registry has none.
    #[error("no such manifest: {name}")]
    NotFound {
        /// Which.
        name: Reference,
        /// An image of this name is here.
        is_here: bool,
    },
    /// A list cannot be in a list.
    #[error("{0} is a manifest list")]
    IsList(Reference),
    /// Nobody makes programs for it.
    #[error("manifest entry for image has unsupported os/arch combination: {os}/{architecture}")]
    Platform {
        /// The system as it was given.
        os: String,
        /// The processor as it was given.
        architecture: String,
    },
    /// An entry says no platform.
    #[error("manifest {0} must have an OS and Architecture to be pushed to a registry")]
    NoPlatform(Reference),
    /// A list and what it names are in one registry.
    #[error("cannot use source images from a different registry than the target image: {from} != {to}")]
    OtherRegistry {
        /// Where the image is.
        from: String,
        /// Where the list goes.
        to: String,
    },
    /// There is no home directory to keep it in.
    #[error("there is no place to keep manifest lists in: HOME and DOCKER_CONFIG are not set")]
    NoPlace,
    /// A file is not what `manifest create` writes.
    #[error("cannot understand {file}")]
    Kept {
        /// Which.
        file: String,
        /// Why not.
        source: serde_json::Error,
    },
}

impl ManifestListError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Exists => ErrorClass::Conflict,
            Self::NoList(_) | Self::NotListed { .. } | Self::NotFound { .. } => ErrorClass::NotFound,
            Self::Kept { .. } => ErrorClass::Corrupt,
            Self::IsList(_)
            | Self::Platform { .. }
            | Self::NoPlatform(_)
            | Self::OtherRegistry { .. }
            | Self::NoPlace => ErrorClass::InvalidInput,
        }
    }
}

/// How to put a list together.
#[derive(Clone, Copy, Debug)]
pub struct ListWish {
    /// There may be such a list already; it gets the manifests in addition.
    pub amend: bool,
    /// Any registry may do without TLS.
    pub insecure: bool,
}

/// What `manifest annotate` changes; what is empty stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotation {
    /// The processor.
    pub architecture: String,
    /// The system.
    pub os: String,
    /// Its version.
    pub os_version: String,
    /// What it must have; these are added.
    pub os_features: Vec<String>,
    /// The processor's variant.
    pub variant: String,
}

/// What `manifest inspect` found.
#[derive(Clone, Debug, PartialEq)]
pub enum FoundManifest {
    /// One manifest.
    One(Box<ListedManifest>),
    /// A list that is being put together here.
    Kept(Vec<ListedManifest>),
    /// A list of a registry's.
    Remote(Index),
}

impl Engine {
    /// Begins a list of manifests that are in its registry, or adds some to it.
    ///
    /// # Errors
    /// When there is such a list and it is not to be amended, or a manifest is not there.
    pub fn create_manifest_list(&self, list: &Reference, manifests: &[Reference], wish: ListWish) -> Result<()> {
        let kept = self.kept_list(list)?;
        if !wish.amend && !kept.list()?.is_empty() {
            return Err(ManifestListError::Exists.into());
        }
        let client = self.client_for(wish.insecure)?;
        // All are looked for before one is kept: half a list is none.
        let found = manifests.iter().map(|name| match kept.find(name)? {
            Some(known) if !known.raw.is_empty() => Ok(known),
            _ => self.remote_manifest(&client, name),
        });
        let found = found.collect::<Result<Vec<_>>>()?;
        found.iter().try_for_each(|entry| kept.put(entry))
    }

    /// Says for what platform a manifest of a list is.
    ///
    /// # Errors
    /// When the list has no such manifest, or there is no such platform.
    pub fn annotate_manifest(&self, list: &Reference, manifest: &Reference, annotation: &Annotation) -> Result<()> {
        let kept = self.kept_list(list)?;
        let missing = || ManifestListError::NotListed { manifest: manifest.clone(), list: list.clone() };
        let mut entry = kept.find(manifest)?.ok_or_else(missing)?;
        let platform = entry.descriptor.platform.get_or_insert_default();
        for (field, value) in [
            (&mut platform.os, &annotation.os),
            (&mut platform.architecture, &annotation.architecture),
            (&mut platform.variant, &annotation.variant),
            (&mut platform.os_version, &annotation.os_version),
        ] {
            if !value.is_empty() {
                field.clone_from(value);
            }
        }
        for feature in &annotation.os_features {
            if !platform.os_features.contains(feature) {
                platform.os_features.push(feature.clone());
            }
        }
        if !ListedManifest::may_be_for(platform) {
            let (os, architecture) = (annotation.os.clone(), annotation.architecture.clone());
            return Err(ManifestListError::Platform { os, architecture }.into());
        }
        kept.put(&entry)
    }

    /// A manifest of a list that is kept here.
    ///
    /// # Errors
    /// When there is none.
    pub fn listed_manifest(&self, list: &Reference, manifest: &Reference) -> Result<ListedManifest> {
        let found = self.kept_list(list)?.find(manifest)?;
        Ok(found.ok_or_else(|| ManifestListError::NoList(manifest.clone()))?)
    }

    /// Finds the list that is kept here under a name, else what the registry has there.
    ///
    /// # Errors
    /// When there is neither.
    pub fn find_manifest(&self, name: &Reference, insecure: bool) -> Result<FoundManifest> {
        // Whoever has no place for lists has none.
        if let Ok(kept) = self.kept_list(name)
            && let listed = kept.list()?
            && !listed.is_empty()
        {
            return Ok(FoundManifest::Kept(listed));
        }
        let client = self.client_for(insecure)?;
        let found = client.resolve(name).map_err(|source| self.not_found(name, source))?;
        Ok(match &found.content {
            Document::Index(index) => FoundManifest::Remote(index.clone()),
            Document::Manifest(manifest) => FoundManifest::One(Box::new(listed(&client, name, &found, manifest)?)),
        })
    }

    /// The manifests of a registry's list, each by its digest, with the platform that the list says.
    ///
    /// # Errors
    /// When one is not there, or is a list itself.
    pub fn manifests_of(&self, name: &Reference, index: &Index, insecure: bool) -> Result<Vec<ListedManifest>> {
        let client = self.client_for(insecure)?;
        let entry = |descriptor: &Descriptor| {
            let by_digest = match name.tag() {
                Some(tag) => format!("{}:{tag}@{}", name.name(), descriptor.digest),
                None => format!("{}@{}", name.name(), descriptor.digest),
            };
            let by_digest: Reference =
                by_digest.parse().unwrap_or_else(|_| name.with_digest(descriptor.digest.clone()));
            let mut found = self.remote_manifest(&client, &by_digest)?;
            found.descriptor.platform = descriptor.platform.clone();
            Ok(found)
        };
        index.manifests.iter().map(entry).collect()
    }

    /// Forgets a list that is kept here.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove_manifest_list(&self, list: &Reference) -> Result<()> {
        match self.kept_list(list)?.remove()? {
            true => Ok(()),
            false => Err(ManifestListError::NoList(list.clone()).into()),
        }
    }

    /// A manifest of a registry's.
    fn remote_manifest(&self, client: &Client, name: &Reference) -> Result<ListedManifest> {
        let found = client.resolve(name).map_err(|source| self.not_found(name, source))?;
        match &found.content {
            Document::Manifest(manifest) => listed(client, name, &found, manifest),
            Document::Index(_) => Err(ManifestListError::IsList(name.clone()).into()),
        }
    }

    fn not_found(&self, name: &Reference, source: strata_registry::Error) -> crate::Error {
        if source.class() != ErrorClass::NotFound {
            return source.into();
        }
        // Docker says no more, and the registry does not know more either.
        tracing::debug!(%source, "no such manifest");
        let is_here = self.store().tags().get(name).is_ok_and(|tag| tag.is_some());
        ManifestListError::NotFound { name: name.clone(), is_here }.into()
    }

    /// A client, for registries without TLS too if it is to be.
    fn client_for(&self, insecure: bool) -> Result<Client> {
        let mut settings = crate::registry::settings(self.settings())?;
        if insecure {
            settings.registries.allow_insecure();
        }
        Ok(Client::new(settings))
    }
}

/// A manifest as lists keep it; its platform is that of its config.
fn listed(
    client: &Client,
    name: &Reference,
    found: &strata_registry::Document,
    manifest: &Manifest,
) -> Result<ListedManifest> {
    let config = client.small_blob(name, &manifest.config, CONFIG_BYTES_MAX)?;
    let says = serde_json::from_slice(&found.bytes).ok();
    let is_oci = manifest.media_type.contains("vnd.oci");
    let (docker, oci) = if is_oci { (None, says) } else { (says, None) };
    // A config that is none of an image's says nothing.
    let platform: Option<Platform> = serde_json::from_slice(&config).ok();
    let descriptor = Descriptor { platform, ..found.descriptor.clone() };
    Ok(ListedManifest { reference: name.clone(), descriptor, raw: BASE64.encode(&found.bytes), docker, oci })
}
