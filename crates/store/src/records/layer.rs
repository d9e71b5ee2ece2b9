//! Layers: what is known about them besides their files.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};
use strata_types::{DiffId, Digest};

use super::row;
use crate::{Durability, Result, Store};

/// A layer that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRecord {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The sum of its files' sizes.
    pub size_bytes: u64,
    /// When it came here.
    pub added: Timestamp,
}

/// A compressed form of a layer that some registry has: a push may skip or mount it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerForm {
    /// Which layer.
    pub diff_id: DiffId,
    /// The digest of the compressed bytes.
    pub digest: Digest,
    /// How many there are.
    pub size_bytes: u64,
    /// How they are compressed.
    pub media_type: String,
    /// The repositories (`docker.io/library/debian`) known to have it.
    pub sources: BTreeSet<String>,
}

/// The layers of a store.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    pub(crate) store: &'a Store,
}

impl Layers<'_> {
    /// Records a layer. Becomes durable with the image that needs it.
    pub fn put(&self, layer: &LayerRecord) -> Result<()> {
        let write = |transaction: &Transaction<'_>| insert(transaction, layer);
        self.store.database.write(Durability::Ephemeral, "record the layer", write)
    }

    /// What is known about a layer.
    pub fn get(&self, diff_id: &DiffId) -> Result<Option<LayerRecord>> {
        self.store.database.read_one("read the layer's record", |connection| {
            let mut query = connection.prepare_cached("SELECT * FROM layer WHERE diff_id = ?1")?;
            row::first(query.query([diff_id.to_string()])?, read)
        })
    }

    /// All layers.
    pub fn list(&self) -> Result<Vec<LayerRecord>> {
        self.store.database.read_one("list the layers", |connection| {
            row::all(connection.prepare_cached("SELECT * FROM layer ORDER BY diff_id")?.query([])?, read)
        })
    }

    /// Records a compressed form; repositories it was already known to be in stay known. The layer is recorded already.
    pub fn add_form(&self, form: &LayerForm) -> Result<()> {
        let write = |transaction: &Transaction<'_>| insert_form(transaction, form);
        self.store.database.write(Durability::Ephemeral, "record the layer's compressed form", write)
    }

    /// The compressed forms of a layer.
    pub fn forms(&self, diff_id: &DiffId) -> Result<Vec<LayerForm>> {
        self.store.database.read_one("read the layer's compressed forms", |connection| {
            let mut query = connection.prepare_cached("SELECT * FROM layer_form WHERE diff_id = ?1 ORDER BY digest")?;
            row::all(query.query([diff_id.to_string()])?, read_form)
        })
    }

    /// The layer whose compressed form has this digest.
    pub fn form(&self, digest: &Digest) -> Result<Option<LayerForm>> {
        self.store.database.read_one("read the layer's compressed form", |connection| {
            let mut query = connection.prepare_cached("SELECT * FROM layer_form WHERE digest = ?1")?;
            row::first(query.query([digest.to_string()])?, read_form)
        })
    }
}

pub(super) fn insert(transaction: &Transaction<'_>, layer: &LayerRecord) -> Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO layer (diff_id, size_bytes, added) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![layer.diff_id.to_string(), row::to_size(layer.size_bytes), row::to_ns(layer.added)])?;
    Ok(())
}

pub(super) fn insert_form(transaction: &Transaction<'_>, form: &LayerForm) -> Result<()> {
    let mut query = transaction.prepare_cached("SELECT * FROM layer_form WHERE digest = ?1")?;
    let known = row::first(query.query([form.digest.to_string()])?, read_form)?;
    let mut sources = form.sources.clone();
    sources.extend(known.into_iter().flat_map(|known| known.sources));
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO layer_form (digest, diff_id, size_bytes, media_type, sources)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![
        form.digest.to_string(),
        form.diff_id.to_string(),
        row::to_size(form.size_bytes),
        form.media_type,
        row::to_json(&sources),
    ])?;
    Ok(())
}

fn read(found: &Row<'_>) -> Result<LayerRecord> {
    Ok(LayerRecord {
        diff_id: row::parsed(found, "diff_id")?,
        size_bytes: row::bytes(found, "size_bytes")?,
        added: row::time(found, "added")?,
    })
}

fn read_form(found: &Row<'_>) -> Result<LayerForm> {
    Ok(LayerForm {
        diff_id: row::parsed(found, "diff_id")?,
        digest: row::parsed(found, "digest")?,
        size_bytes: row::bytes(found, "size_bytes")?,
        media_type: found.get("media_type")?,
        sources: row::json(found, "sources")?,
    })
}
