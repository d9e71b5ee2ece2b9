//! Volumes: directories that outlive containers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::row;
use crate::{Durability, Result, Store};

/// A volume. Its files are under `volumes/<name>/_data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Its name; 64 random hex digits if anonymous.
    pub name: String,
    /// The driver, `local`.
    pub driver: String,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it was made for one container and goes with `rm --volumes`.
    pub anonymous: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// What became of a creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreatedVolume {
    /// It is new.
    New,
    /// There is one with this name already, which was left as it is.
    Existed(VolumeRecord),
}

/// The volumes of a store.
#[derive(Clone, Copy, Debug)]
pub struct Volumes<'a> {
    pub(crate) store: &'a Store,
}

impl Volumes<'_> {
    /// Records a volume, durably, unless there is one with this name.
    pub fn create(&self, volume: &VolumeRecord) -> Result<CreatedVolume> {
        self.store.database.write(Durability::Durable, "record the volume", |transaction| {
            if let Some(existing) = by_name(transaction, &volume.name)? {
                return Ok(CreatedVolume::Existed(existing));
            }
            transaction.execute(
                "INSERT INTO volume (name, driver, options, labels, anonymous, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    volume.name,
                    volume.driver,
                    row::to_json(&volume.options),
                    row::to_json(&volume.labels),
                    volume.anonymous,
                    row::to_ns(volume.created),
                ],
            )?;
            Ok(CreatedVolume::New)
        })
    }

    /// The volume with this name.
    pub fn get(&self, name: &str) -> Result<Option<VolumeRecord>> {
        self.store.database.read_one("read the volume's record", |connection| by_name(connection, name))
    }

    /// All volumes, by name.
    pub fn list(&self) -> Result<Vec<VolumeRecord>> {
        self.store.database.read_one("list the volumes", |connection| {
            row::all(connection.prepare_cached("SELECT * FROM volume ORDER BY name")?.query([])?, read)
        })
    }

    /// Forgets a volume whose files are gone already, durably; says whether it was there.
    pub fn remove(&self, name: &str) -> Result<bool> {
        self.store.database.write(Durability::Durable, "forget the volume", |transaction| {
            Ok(transaction.execute("DELETE FROM volume WHERE name = ?1", [name])? == 1)
        })
    }
}

fn by_name(connection: &Connection, name: &str) -> Result<Option<VolumeRecord>> {
    let mut query = connection.prepare_cached("SELECT * FROM volume WHERE name = ?1")?;
    row::first(query.query([name])?, read)
}

fn read(found: &Row<'_>) -> Result<VolumeRecord> {
    Ok(VolumeRecord {
        name: found.get("name")?,
        driver: found.get("driver")?,
        options: row::json(found, "options")?,
        labels: row::json(found, "labels")?,
        anonymous: found.get("anonymous")?,
        created: row::time(found, "created")?,
    })
}
