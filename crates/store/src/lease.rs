//! Leases: what keeps things that no record names yet from being collected.
//!
//! A lease is a flock'd file, so that it dies with its owner; what it protects is rows in the database, so that
//! protecting and collecting are serialised by transactions. `trash` rows say what is being removed, and by whom.

use std::path::PathBuf;

use rusqlite::{Connection, Transaction};
use strata_sys::durable::{Durability, FileError};
use strata_sys::lock::{self, Lock, Mode};
use strata_types::DiffId;

use crate::records::row;
use crate::{Error, Key, Result, Store};

/// The owner of trash that waits for a collector.
const NOBODY: &str = "";
/// The kind of a row that protects layers, whose `digest` is the JSON of their diff ids, the lowest first.
const LAYERS: &str = "layers";

/// Protects what its owner has made or is about to use, until it is released or the process ends.
#[derive(Debug)]
pub struct Lease<'a> {
    store: &'a Store,
    id: String,
    lock: Option<Lock>,
}

impl<'a> Lease<'a> {
    pub(crate) fn take(store: &'a Store) -> Result<Self> {
        let id = strata_sys::random::hex::<16>();
        let path = path(store, &id);
        let lock = Lock::wait(&path, Mode::Exclusive).map_err(FileError::at("take lease", &path))?;
        Ok(Self { store, id, lock: Some(lock) })
    }

    /// Protects `keys`, whether they are here already or not. Waits while somebody is just removing one of them; asking
    /// whether it is here is meaningful only afterwards.
    pub fn protect(&self, keys: &[Key]) -> Result<()> {
        self.insert(&|| keys.to_vec(), |transaction| {
            let mut insert = transaction
                .prepare_cached("INSERT OR IGNORE INTO lease_item (kind, digest, lease) VALUES (?1, ?2, ?3)")?;
            for key in keys {
                insert.execute([key.kind(), &key.digest().to_string(), &self.id])?;
            }
            Ok(())
        })
    }

    /// [`protect`](Self::protect) for all [`Key`]s that layers (lowest first) may have. They are one row, however many they
    /// are: whoever collects makes the keys of it.
    pub fn protect_layers(&self, layers: &[DiffId]) -> Result<()> {
        self.insert(&|| Key::of_layers(layers), |transaction| {
            let mut insert = transaction
                .prepare_cached("INSERT OR IGNORE INTO lease_item (kind, digest, lease) VALUES (?1, ?2, ?3)")?;
            insert.execute([LAYERS, &row::to_json(&layers), &self.id])?;
            Ok(())
        })
    }

    /// Lets `insert` record what is protected, as soon as nobody is removing any of it.
    fn insert(&self, keys: &dyn Fn() -> Vec<Key>, insert: impl Fn(&Transaction<'_>) -> Result<()>) -> Result<()> {
        loop {
            let remover = self.store.database.write(Durability::Ephemeral, "protect content", |transaction| {
                let remover = reclaim(self.store, transaction, keys)?;
                if remover.is_none() {
                    insert(transaction)?;
                }
                Ok(remover)
            })?;
            let Some(remover) = remover else { return Ok(()) };
            let path = path(self.store, &remover);
            lock::wait_until_free(&path).map_err(FileError::at("wait for lease", &path))?;
        }
    }

    /// Ends the lease. Dropping it does the same, but cannot say what went wrong.
    pub fn release(mut self) -> Result<()> {
        self.end()
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    fn end(&mut self) -> Result<()> {
        let Some(lock) = self.lock.take() else { return Ok(()) };
        let path = lock.path().to_owned();
        self.store.database.write(Durability::Ephemeral, "end a lease", |transaction| {
            transaction.prepare_cached("DELETE FROM lease_item WHERE lease = ?1")?.execute([&self.id])?;
            Ok(())
        })?;
        lock.remove().map_err(FileError::at("remove lease", &path))?;
        Ok(())
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "a lease stays until the next collection");
        }
    }
}

/// Whether the owner of a lease lives.
pub(crate) fn is_alive(store: &Store, id: &str) -> Result<bool> {
    if id == NOBODY {
        return Ok(false);
    }
    let path = path(store, id);
    Ok(lock::is_held(&path).map_err(FileError::at("look at lease", &path))?)
}

/// Takes `keys`, which are asked for only if there is any trash, out of it because a record names them now; an error if
/// somebody is just removing one.
pub(crate) fn rescue(store: &Store, transaction: &Transaction<'_>, keys: &dyn Fn() -> Vec<Key>) -> Result<()> {
    reclaim(store, transaction, keys)?.map_or(Ok(()), |_| Err(Error::BeingRemoved))
}

/// Puts `keys` into the trash; the next collection looks whether anybody needs them.
pub(crate) fn discard(transaction: &Transaction<'_>, keys: impl IntoIterator<Item = Key>) -> Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO trash (kind, digest, lease) VALUES (?1, ?2, ?3)")?;
    for key in keys {
        insert.execute([key.kind(), &key.digest().to_string(), NOBODY])?;
    }
    Ok(())
}

/// Strikes what dead owners protected.
pub(crate) fn bury_the_dead(store: &Store, transaction: &Transaction<'_>) -> Result<()> {
    let mut query = transaction.prepare_cached("SELECT DISTINCT lease FROM lease_item")?;
    for owner in row::all(query.query([])?, |found| Ok(found.get::<_, String>(0)?))? {
        if !is_alive(store, &owner)? {
            transaction.execute("DELETE FROM lease_item WHERE lease = ?1", [&owner])?;
        }
    }
    Ok(())
}

/// All that leases protect.
pub(crate) fn items(connection: &Connection) -> Result<Vec<Key>> {
    let mut query = connection.prepare_cached("SELECT kind, digest FROM lease_item")?;
    let rows = row::all(query.query([])?, |found| match found.get::<_, Box<str>>(0)? {
        kind if *kind == *LAYERS => Ok(Key::of_layers(&row::json::<Vec<DiffId>>(found, "digest")?)),
        kind => Ok(vec![Key::parse(&kind, &found.get::<_, Box<str>>(1)?)?]),
    })?;
    Ok(rows.concat())
}

/// Takes keys out of the trash, unless a living owner of some trash is just removing one of them: that one.
fn reclaim(store: &Store, transaction: &Transaction<'_>, keys: &dyn Fn() -> Vec<Key>) -> Result<Option<String>> {
    if !has_trash(transaction)? {
        return Ok(None);
    }
    let mut query = transaction.prepare_cached("SELECT lease FROM trash WHERE kind = ?1 AND digest = ?2")?;
    let mut found = Vec::new();
    for key in keys() {
        let digest = key.digest().to_string();
        let owner = row::first(query.query([key.kind(), &digest])?, |found| Ok(found.get::<_, String>(0)?))?;
        let Some(owner) = owner else { continue };
        if is_alive(store, &owner)? {
            return Ok(Some(owner));
        }
        found.push((key, digest));
    }
    let mut delete = transaction.prepare_cached("DELETE FROM trash WHERE kind = ?1 AND digest = ?2")?;
    for (key, digest) in found {
        delete.execute([key.kind(), &digest])?;
    }
    Ok(None)
}

/// Whether anything is being removed or waits for that.
pub(crate) fn has_trash(connection: &Connection) -> Result<bool> {
    Ok(connection.prepare_cached("SELECT 1 FROM trash LIMIT 1")?.exists([])?)
}

fn path(store: &Store, id: &str) -> PathBuf {
    store.dir("leases").join(id)
}
