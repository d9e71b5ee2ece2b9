//! Images that a person wants kept: collecting by a budget leaves them.

use jiff::Timestamp;
use rusqlite::params;

use super::row;
use crate::{Durability, Result, Store};

/// The names, and ids, of images that are kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    pub(crate) store: &'a Store,
}

impl Kept<'_> {
    /// Notes that whatever image has this name, or this id, is kept; says whether that is new.
    pub fn add(&self, name: &str, at: Timestamp) -> Result<bool> {
        self.store.database.write(Durability::Durable, "note what is kept", |transaction| {
            let sql = "INSERT OR IGNORE INTO kept (name, since) VALUES (?1, ?2)";
            Ok(transaction.execute(sql, params![name, row::to_ns(at)])? == 1)
        })
    }

    /// Takes the note away; says whether there was one.
    pub fn remove(&self, name: &str) -> Result<bool> {
        self.store.database.write(Durability::Durable, "note what is kept", |transaction| {
            Ok(transaction.execute("DELETE FROM kept WHERE name = ?1", [name])? == 1)
        })
    }

    /// All of them, by name.
    pub fn list(&self) -> Result<Vec<String>> {
        self.store.database.read_one("list what is kept", |connection| {
            let mut query = connection.prepare_cached("SELECT name FROM kept ORDER BY name")?;
            row::all(query.query([])?, |found| Ok(found.get(0)?))
        })
    }
}
