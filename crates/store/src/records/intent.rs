//! Intents: recorded before an effect, so that whoever comes after a crash finishes or undoes it.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::row;
use crate::{Durability, Lease, Result, Store, lease};

/// Something that somebody was about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentRecord {
    /// Its number.
    pub id: i64,
    /// What, such as `remove-container`.
    pub kind: String,
    /// To what.
    pub key: String,
    /// Whatever finishing or undoing it needs; not read by the store.
    pub details: String,
    /// Since when.
    pub created: Timestamp,
}

/// The intents of a store.
#[derive(Clone, Copy, Debug)]
pub struct Intents<'a> {
    pub(crate) store: &'a Store,
}

impl Intents<'_> {
    /// Records an intent, durably, which is somebody's as long as they hold `lease`; returns its number.
    pub fn begin(&self, lease: &Lease<'_>, kind: &str, key: &str, details: &str, now: Timestamp) -> Result<i64> {
        self.store.database.write(Durability::Durable, "record an intent", |transaction| {
            transaction.execute(
                "INSERT INTO intent (lease, kind, key, details, created) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![lease.id(), kind, key, details, row::to_ns(now)],
            )?;
            Ok(transaction.last_insert_rowid())
        })
    }

    /// Strikes an intent out: it is done or undone. It may be struck out already.
    pub fn finish(&self, id: i64) -> Result<()> {
        self.store.database.write(Durability::Ephemeral, "strike out an intent", |transaction| {
            transaction.execute("DELETE FROM intent WHERE id = ?1", [id])?;
            Ok(())
        })
    }

    /// Makes the intents of the dead those of `lease` and returns them: the caller finishes or undoes each.
    pub fn adopt(&self, lease: &Lease<'_>) -> Result<Vec<IntentRecord>> {
        self.store.database.write(Durability::Ephemeral, "adopt intents", |transaction| {
            let mut query = transaction.prepare_cached("SELECT DISTINCT lease FROM intent WHERE lease <> ?1")?;
            let owners = row::all(query.query([lease.id()])?, |found| Ok(found.get::<_, String>(0)?))?;
            for owner in owners {
                if !lease::is_alive(self.store, &owner)? {
                    transaction.execute("UPDATE intent SET lease = ?1 WHERE lease = ?2", [lease.id(), &owner])?;
                }
            }
            let mut query = transaction.prepare_cached("SELECT * FROM intent WHERE lease = ?1 ORDER BY id")?;
            row::all(query.query([lease.id()])?, read)
        })
    }
}

fn read(found: &Row<'_>) -> Result<IntentRecord> {
    Ok(IntentRecord {
        id: found.get("id")?,
        kind: found.get("kind")?,
        key: found.get("key")?,
        details: found.get("details")?,
        created: row::time(found, "created")?,
    })
}
