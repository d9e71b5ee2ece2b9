//! What is said of an image that is no part of it: annotations, and what is attested. It belongs to a name of the image, or,
//! as long as an image has none, to the image itself.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use strata_types::document::Descriptor;
use strata_types::{Digest, ImageId};

use super::row;
use crate::{Key, Result};

/// What is said of an image under one of its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What is attested of it by whoever made it here.
    pub predicates: Vec<Predicate>,
    /// What manifests and indexes are to say.
    pub annotations: Annotations,
    /// The manifests of what is attested of it that it was pulled with.
    pub attestations: Vec<PulledAttestation>,
}

impl Said {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.annotations.is_empty() && !self.attests()
    }

    /// Whether anything is attested.
    pub fn attests(&self) -> bool {
        !(self.predicates.is_empty() && self.attestations.is_empty())
    }

    /// The blobs it is in.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        let made = self.predicates.iter().map(|predicate| &predicate.digest);
        let pulled = self.attestations.iter().flat_map(|pulled| pulled.blobs.iter().chain([&pulled.entry.digest]));
        made.chain(pulled).cloned().map(Key::Blob)
    }
}

/// What manifests, indexes and their descriptors say when an image is pushed or saved under its tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// The manifest of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub manifest: BTreeMap<String, String>,
    /// What the index says of the manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub manifest_descriptor: BTreeMap<String, String>,
    /// The index, the same for all its images.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub index: BTreeMap<String, String>,
    /// What names the index in an archive, the same for all its images.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub index_descriptor: BTreeMap<String, String>,
}

impl Annotations {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Something attested of an image: the predicate of an in-toto statement, kept as a blob. The statement is made when the
/// image is written or pushed, because it says the digest of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicate {
    /// Its type, a URI.
    pub kind: String,
    /// The blob.
    pub digest: Digest,
}

/// A manifest of statements as it was pulled, kept as a blob; it speaks of the image's manifest that was pulled with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledAttestation {
    /// Its entry in the index.
    pub entry: Descriptor,
    /// What it names, kept as blobs: its config and the statements.
    pub blobs: Vec<Digest>,
}

/// Sets what is said of an image that has no name.
pub(super) fn set(transaction: &Transaction<'_>, image: &ImageId, said: &Said) -> Result<()> {
    if said.is_empty() {
        transaction.execute("DELETE FROM said WHERE image = ?1", [image.to_string()])?;
        return Ok(());
    }
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO said (image, predicates, annotations, attestations) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let [predicates, annotations, attestations] = columns(said);
    insert.execute(params![image.to_string(), predicates, annotations, attestations])?;
    Ok(())
}

/// What is said of an image that has no name.
pub(super) fn of(connection: &Connection, image: &ImageId) -> Result<Said> {
    let mut query = connection.prepare_cached("SELECT * FROM said WHERE image = ?1")?;
    Ok(row::first(query.query([image.to_string()])?, read)?.unwrap_or_default())
}

/// All that is said of images that have no name.
pub(crate) fn list(connection: &Connection) -> Result<Vec<(ImageId, Said)>> {
    let mut query = connection.prepare_cached("SELECT * FROM said ORDER BY image")?;
    row::all(query.query([])?, |found| Ok((row::parsed(found, "image")?, read(found)?)))
}

/// The columns `predicates`, `annotations` and `attestations`.
pub(super) fn columns(said: &Said) -> [String; 3] {
    [row::to_json(&said.predicates), row::to_json(&said.annotations), row::to_json(&said.attestations)]
}

/// Reads these columns.
pub(super) fn read(found: &Row<'_>) -> Result<Said> {
    Ok(Said {
        predicates: row::json(found, "predicates")?,
        annotations: row::json(found, "annotations")?,
        attestations: row::json(found, "attestations")?,
    })
}
