//! Steps of builds that were done: the cache of all builds on this host.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use strata_types::DiffId;

use super::row;
use crate::{Durability, Key, Result, Store, lease};

/// A step that was done. Its layers stay until it is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildStepRecord {
    /// Everything that the step read, as a digest.
    pub key: String,
    /// The layers afterwards, the lowest first.
    pub layers: Vec<DiffId>,
    /// The size of what it added.
    pub size_bytes: u64,
    /// What it was, for people.
    pub description: String,
    /// When it was done.
    pub created: Timestamp,
    /// When it was done or found last.
    pub last_used: Timestamp,
}

/// The steps that a store remembers.
#[derive(Clone, Copy, Debug)]
pub struct BuildSteps<'a> {
    pub(crate) store: &'a Store,
}

impl BuildSteps<'_> {
    /// The step with this key.
    pub fn get(&self, key: &str) -> Result<Option<BuildStepRecord>> {
        self.store.database.read_one("look for a step of a build", |connection| {
            let mut query = connection.prepare_cached("SELECT * FROM build_step WHERE key = ?1")?;
            row::first(query.query([key])?, read)
        })
    }

    /// Remembers a step, in place of one with the same key. The caller holds a lease on its layers. Lost with the power: it
    /// is done again then.
    pub fn put(&self, step: &BuildStepRecord) -> Result<()> {
        self.store.database.write(Durability::Ephemeral, "remember a step of a build", |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO build_step (key, layers, size_bytes, description, created, last_used)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            insert.execute(params![
                step.key,
                row::to_json(&step.layers),
                row::to_size(step.size_bytes),
                step.description,
                row::to_ns(step.created),
                row::to_ns(step.last_used),
            ])?;
            lease::rescue(self.store, transaction, &|| Key::of_layers(&step.layers))
        })
    }

    /// Notes that steps were found.
    pub fn touch(&self, keys: &[String], at: Timestamp) -> Result<()> {
        self.store.database.write(Durability::Ephemeral, "note the use of steps", |transaction| {
            let mut update = transaction.prepare_cached("UPDATE build_step SET last_used = ?2 WHERE key = ?1")?;
            for key in keys {
                update.execute(params![key, row::to_ns(at)])?;
            }
            Ok(())
        })
    }

    /// All steps, those that were not used for longest first.
    pub fn list(&self) -> Result<Vec<BuildStepRecord>> {
        self.store.database.read_one("list the steps of builds", list)
    }

    /// Forgets steps; [`Store::gc`] frees what nobody else needs.
    pub fn remove(&self, keys: &[String]) -> Result<()> {
        self.store.database.write(Durability::Durable, "forget steps of builds", |transaction| {
            keys.iter().try_for_each(|key| remove(transaction, key))
        })
    }
}

fn remove(transaction: &Transaction<'_>, key: &str) -> Result<()> {
    let mut query = transaction.prepare_cached("SELECT * FROM build_step WHERE key = ?1")?;
    let Some(step) = row::first(query.query([key])?, read)? else { return Ok(()) };
    transaction.prepare_cached("DELETE FROM build_step WHERE key = ?1")?.execute([key])?;
    lease::discard(transaction, Key::of_layers(&step.layers))
}

/// All of them.
pub(crate) fn list(connection: &Connection) -> Result<Vec<BuildStepRecord>> {
    row::all(connection.prepare_cached("SELECT * FROM build_step ORDER BY last_used, key")?.query([])?, read)
}

fn read(found: &Row<'_>) -> Result<BuildStepRecord> {
    Ok(BuildStepRecord {
        key: found.get("key")?,
        layers: row::json(found, "layers")?,
        size_bytes: row::bytes(found, "size_bytes")?,
        description: found.get("description")?,
        created: row::time(found, "created")?,
        last_used: row::time(found, "last_used")?,
    })
}
