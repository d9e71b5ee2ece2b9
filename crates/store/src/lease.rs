//! Leases: what keeps things that no record names yet from being collected.
//!
//! A lease is a flock'd file, so that it dies with its owner; what it protects is rows in the database, so that
//! protecting and collecting are serialised by transactions. `trash` rows say what is being removed, and by whom.

use std::path::PathBuf;

use rusqlite::Transaction;
use strata_sys::durable::{Durability, FileError};
use strata_sys::lock::{self, Lock, Mode};

use crate::records::row;
use crate::{Error, Key, Result, Store};

/// The owner of trash that waits for a collector.
const NOBODY: &str = "";

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
        loop {
            let remover = self.store.database.write(Durability::Ephemeral, "protect content", |transaction| {
                let remover = remover(self.store, transaction, keys)?;
                if remover.is_none() {
                    forget_trash(transaction, keys)?;
                    let mut insert = transaction
                        .prepare_cached("INSERT OR IGNORE INTO lease_item (kind, digest, lease) VALUES (?1, ?2, ?3)")?;
                    for key in keys {
                        insert.execute([key.kind(), &key.digest().to_string(), &self.id])?;
                    }
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

/// Takes `keys` out of the trash because a record names them now; an error if somebody is just removing one.
pub(crate) fn rescue(store: &Store, transaction: &Transaction<'_>, keys: &[Key]) -> Result<()> {
    match remover(store, transaction, keys)? {
        Some(_) => Err(Error::BeingRemoved),
        None => forget_trash(transaction, keys),
    }
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

/// A living owner of a trash row of one of `keys`, if any.
fn remover(store: &Store, transaction: &Transaction<'_>, keys: &[Key]) -> Result<Option<String>> {
    let mut query = transaction.prepare_cached("SELECT lease FROM trash WHERE kind = ?1 AND digest = ?2")?;
    for key in keys {
        let found = query.query([key.kind(), &key.digest().to_string()])?;
        if let Some(owner) = row::first(found, |found| Ok(found.get::<_, String>(0)?))?
            && is_alive(store, &owner)?
        {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

fn forget_trash(transaction: &Transaction<'_>, keys: &[Key]) -> Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM trash WHERE kind = ?1 AND digest = ?2")?;
    for key in keys {
        delete.execute([key.kind(), &key.digest().to_string()])?;
    }
    Ok(())
}

fn path(store: &Store, id: &str) -> PathBuf {
    store.dir("leases").join(id)
}
