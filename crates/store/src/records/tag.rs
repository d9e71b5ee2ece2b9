//! Tags: which reference names which image.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use strata_types::reference::Reference;
use strata_types::{Digest, ImageId};

use super::{ImageRecord, VariantRecord, container, image, row, variant};
use crate::{Durability, Key, Result, Store, lease};

/// A reference that names an image: `repository:tag`, or `repository@digest` (what Docker calls a repo digest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRecord {
    /// The reference.
    pub name: Reference,
    /// What it names.
    pub image: ImageId,
    /// The manifest it stood for when it was pulled or pushed, kept as a blob.
    pub manifest: Option<Digest>,
    /// The index that manifest was chosen from, kept as a blob.
    pub index: Option<Digest>,
    /// When it was set.
    pub updated: Timestamp,
}

/// The tags of a store.
#[derive(Clone, Copy, Debug)]
pub struct Tags<'a> {
    pub(crate) store: &'a Store,
}

impl Tags<'_> {
    /// Sets tags, durably and all at once; a tag that named another image moves.
    pub fn set(&self, tags: &[TagRecord]) -> Result<()> {
        self.set_with(tags, &[])
    }

    /// [`set`](Self::set) with the variants of these tags.
    pub fn set_with(&self, tags: &[TagRecord], variants: &[VariantRecord]) -> Result<()> {
        self.store.database.write(Durability::Durable, "set the tag", |transaction| {
            for tag in tags {
                insert(transaction, tag)?;
                let blobs = [&tag.manifest, &tag.index].into_iter().flatten().cloned();
                lease::rescue(self.store, transaction, &|| blobs.clone().map(Key::Blob).collect())?;
            }
            variant::insert(transaction, variants)?;
            lease::rescue(self.store, transaction, &|| variant::keys(variants).collect())
        })
    }

    /// What a reference names.
    pub fn get(&self, name: &Reference) -> Result<Option<TagRecord>> {
        self.store.database.read_one("look up the reference", |connection| by_name(connection, name))
    }

    /// The image a reference names.
    pub fn image(&self, name: &Reference) -> Result<Option<ImageRecord>> {
        let fleeting = self.store.fleeting();
        if let Some(image) = fleeting.image(name) {
            return Ok(Some(image));
        }
        self.store.database.read_still("look up the reference", |connection| {
            let mut query = connection
                .prepare_cached("SELECT image.* FROM tag JOIN image ON image.id = tag.image WHERE tag.name = ?1")?;
            let found = row::first(query.query([name.to_string()])?, image::read)?;
            if let Some(image) = &found {
                fleeting.learn_image(name, image, &container::names(connection)?);
            }
            Ok(found)
        })
    }

    /// All that name this image, in order.
    pub fn of(&self, id: &ImageId) -> Result<Vec<TagRecord>> {
        self.store.database.read_one("list the image's tags", |connection| of(connection, id))
    }

    /// All tags, in order.
    pub fn list(&self) -> Result<Vec<TagRecord>> {
        self.store.database.read_one("list the tags", list)
    }
}

/// Removes a tag; says what it named. The image stays.
pub(super) fn remove(transaction: &Transaction<'_>, name: &Reference) -> Result<Option<TagRecord>> {
    let Some(tag) = by_name(transaction, name)? else { return Ok(None) };
    let variants = variant::of(transaction, name)?;
    transaction.execute("DELETE FROM tag WHERE name = ?1", [name.to_string()])?;
    let blobs = [&tag.manifest, &tag.index].into_iter().flatten().cloned();
    lease::discard(transaction, blobs.map(Key::Blob).chain(variant::keys(&variants)))?;
    Ok(Some(tag))
}

pub(super) fn insert(transaction: &Transaction<'_>, tag: &TagRecord) -> Result<()> {
    let text = |digest: &Option<Digest>| digest.as_ref().map(ToString::to_string);
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO tag (name, image, manifest, manifest_index, updated) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![
        tag.name.to_string(),
        tag.image.to_string(),
        text(&tag.manifest),
        text(&tag.index),
        row::to_ns(tag.updated),
    ])?;
    Ok(())
}

/// All that name this image, in order.
pub(super) fn of(connection: &Connection, id: &ImageId) -> Result<Vec<TagRecord>> {
    let mut query = connection.prepare_cached("SELECT * FROM tag WHERE image = ?1 ORDER BY name")?;
    row::all(query.query([id.to_string()])?, read)
}

/// All tags, in order.
pub(crate) fn list(connection: &Connection) -> Result<Vec<TagRecord>> {
    row::all(connection.prepare_cached("SELECT * FROM tag ORDER BY name")?.query([])?, read)
}

pub(super) fn by_name(connection: &Connection, name: &Reference) -> Result<Option<TagRecord>> {
    let mut query = connection.prepare_cached("SELECT * FROM tag WHERE name = ?1")?;
    row::first(query.query([name.to_string()])?, read)
}

fn read(found: &Row<'_>) -> Result<TagRecord> {
    Ok(TagRecord {
        name: row::parsed(found, "name")?,
        image: row::parsed(found, "image")?,
        manifest: row::maybe_parsed(found, "manifest")?,
        index: row::maybe_parsed(found, "manifest_index")?,
        updated: row::time(found, "updated")?,
    })
}
