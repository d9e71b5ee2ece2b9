//! Variants: the images for several platforms that a tag stands for, what is attested of each, and what its manifest is
//! to say.
//!
//! The tag itself names one of them, the one for this machine if there is one. Variants go when their tag goes or moves.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, Transaction, params};
use strata_types::ImageId;
use strata_types::reference::Reference;

use super::{Said, row, said};
use crate::{Key, Result, Store};

/// One of the images a tag stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantRecord {
    /// The tag.
    pub tag: Reference,
    /// The image, which is here.
    pub image: ImageId,
    /// What is said of it under this tag.
    pub said: Said,
}

impl VariantRecord {
    /// Lets a tag stand for images.
    pub fn all(tag: &Reference, parts: &[(ImageId, Said)]) -> Vec<Self> {
        let one = |(image, said): &(ImageId, Said)| Self { tag: tag.clone(), image: image.clone(), said: said.clone() };
        parts.iter().map(one).collect()
    }
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
        "INSERT OR REPLACE INTO variant (tag, place, image, predicates, annotations, attestations)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut places: BTreeMap<String, i64> = BTreeMap::new();
    for variant in variants {
        let next = places.entry(variant.tag.to_string()).or_default();
        let place = *next;
        *next += 1;
        let (tag, image) = (variant.tag.to_string(), variant.image.to_string());
        let [predicates, annotations, attestations] = said::columns(&variant.said);
        insert.execute(params![tag, place, image, predicates, annotations, attestations])?;
    }
    Ok(())
}

/// What variants need besides their images.
pub(crate) fn keys(variants: &[VariantRecord]) -> impl Iterator<Item = Key> {
    variants.iter().flat_map(|variant| variant.said.keys())
}

fn read(found: &Row<'_>) -> Result<VariantRecord> {
    Ok(VariantRecord { tag: row::parsed(found, "tag")?, image: row::parsed(found, "image")?, said: said::read(found)? })
}
