//! Variants: the images for several platforms that a tag stands for, and what is attested of each.
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
    /// What a tag stands for, in order; nothing if it stands for a single image of which nothing is attested.
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

/// All there are.
pub(crate) fn list(connection: &Connection) -> Result<Vec<VariantRecord>> {
    row::all(connection.prepare_cached("SELECT * FROM variant ORDER BY tag, place")?.query([])?, read)
}

/// Records variants in this order; their tags and images are there, and the tags have none yet.
pub(super) fn insert(transaction: &Transaction<'_>, variants: &[VariantRecord]) -> Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT OR REPLACE INTO variant (tag, place, image, predicates) VALUES (?1, ?2, ?3, ?4)")?;
    let mut places: BTreeMap<String, i64> = BTreeMap::new();
    for variant in variants {
        let next = places.entry(variant.tag.to_string()).or_default();
        let place = *next;
        *next += 1;
        let predicates = row::to_json(&variant.predicates);
        insert.execute(params![variant.tag.to_string(), place, variant.image.to_string(), predicates])?;
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
    })
}
