//! Variants: the images for several platforms that a tag stands for, what is attested of each, and what its manifest is
//! to say.
//!
//! The tag itself names one of them, the one for this machine if there is one. Variants go when their tag goes or moves.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use strata_types::reference::Reference;
use strata_types::{Digest, ImageId};

use super::row;
use crate::{Key, Result, Store};

/// One of the images a tag stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantRecord {
    /// The tag.
    pub tag: Reference,
    /// The image, which is here.
    pub image: ImageId,
    /// What is attested of it.
    pub predicates: Vec<Predicate>,
    /// What its manifest says that is no part of the image.
    pub annotations: Annotations,
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

/// The variants of a store.
#[derive(Clone, Copy, Debug)]
pub struct Variants<'a> {
    pub(crate) store: &'a Store,
}

impl Variants<'_> {
    /// What a tag stands for, in order; nothing if it stands for a single image of which
    /// nothing more is said.
    pub fn of(&self, tag: &Reference) -> Result<Vec<VariantRecord>> {
        self.store.database.read_one("look up the tag's variants", |connection| of(connection, tag))
    }

    /// All there are.
    pub fn list(&self) -> Result<Vec<VariantRecord>> {
        self.store.database.read_one("list the variants", list)
    }
}

/// What a tag stands for, in order.
pub(super) fn of(connection: &Connection, tag: &Reference) -> Result<Vec<VariantRecord>> {
    let mut query = connection.prepare_cached("SELECT * FROM variant WHERE tag = ?1 ORDER BY place")?;
    row::all(query.query([tag.to_string()])?, read)
}

/// Those of them that stand for this tag.
pub(super) fn with_tag<'a>(
    variants: &'a [VariantRecord],
    tag: &'a Reference,
) -> impl Iterator<Item = &'a VariantRecord> {
    variants.iter().filter(move |variant| variant.tag == *tag)
}

/// All there are.
pub(crate) fn list(connection: &Connection) -> Result<Vec<VariantRecord>> {
    row::all(connection.prepare_cached("SELECT * FROM variant ORDER BY tag, place")?.query([])?, read)
}

/// Records variants in this order; their tags and images are there, and the tags have none yet.
pub(super) fn insert(transaction: &Transaction<'_>, variants: &[VariantRecord]) -> Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO variant (tag, place, image, predicates, annotations) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut places: BTreeMap<String, i64> = BTreeMap::new();
    for variant in variants {
        let next = places.entry(variant.tag.to_string()).or_default();
        let place = *next;
        *next += 1;
        let (tag, image) = (variant.tag.to_string(), variant.image.to_string());
        let (predicates, annotations) = (row::to_json(&variant.predicates), row::to_json(&variant.annotations));
        insert.execute(params![tag, place, image, predicates, annotations])?;
    }
    Ok(())
}

/// What variants need besides their images.
pub(crate) fn keys(variants: &[VariantRecord]) -> impl Iterator<Item = Key> {
    let blobs = variants.iter().flat_map(|variant| &variant.predicates);
    blobs.map(|predicate| Key::Blob(predicate.digest.clone()))
}

fn read(found: &Row<'_>) -> Result<VariantRecord> {
    Ok(VariantRecord {
        tag: row::parsed(found, "tag")?,
        image: row::parsed(found, "image")?,
        predicates: row::json(found, "predicates")?,
        annotations: row::json(found, "annotations")?,
    })
}
