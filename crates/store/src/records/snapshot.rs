//! Snapshots: what a container's files were at a moment, and which of them a container stands on.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use strata_types::{ContainerId, DiffId, ImageId, SnapshotId};

use super::{ContainerRecord, Inserted, LayerRecord, container, layer, row};
use crate::{Durability, Key, Result, Store, lease};

/// A container's files at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// Its id.
    pub id: SnapshotId,
    /// Whose files they are. Its snapshots go with it.
    pub container: ContainerId,
    /// Its name; no two snapshots of a container have the same.
    pub name: String,
    /// The snapshot the container stood on when this one was made; it may be another container's.
    pub parent: Option<SnapshotId>,
    /// The image the container was made from, which may be gone.
    pub image: ImageId,
    /// How the person named that image.
    pub image_name: String,
    /// The layers that are these files, the lowest first; they stay as long as the snapshot.
    pub layers: Vec<DiffId>,
    /// What the uppermost layer holds, if it was made for this snapshot.
    pub size_bytes: u64,
    /// A remark.
    pub comment: String,
    /// When it was made.
    pub created: Timestamp,
    /// The container's settings then, as JSON that the store does not read.
    pub spec: String,
}

/// Which snapshot a container stands on: the last that was made of it, or the one it was rolled back to or forked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The container.
    pub container: ContainerId,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Whether it was forked from it.
    pub born: bool,
}

/// What became of recording a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreatedSnapshot {
    /// It is recorded, and its container stands on it.
    Done,
    /// The container has a snapshot of that name.
    NameTaken,
    /// The container was removed in the meantime.
    ContainerGone,
}

/// The snapshots of a store.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots<'a> {
    pub(crate) store: &'a Store,
}

impl Snapshots<'_> {
    /// Records a snapshot with the layer made for it, durably. Whoever calls it holds a lease on the layers.
    pub fn insert(&self, snapshot: &SnapshotRecord, layer: Option<&LayerRecord>) -> Result<CreatedSnapshot> {
        self.store.database.write(Durability::Durable, "record the snapshot", |transaction| {
            let container = snapshot.container.as_str();
            if !exists(transaction, "SELECT 1 FROM container WHERE id = ?1", &[container])? {
                return Ok(CreatedSnapshot::ContainerGone);
            }
            let taken = "SELECT 1 FROM snapshot WHERE container = ?1 AND name = ?2";
            if exists(transaction, taken, &[container, &snapshot.name])? {
                return Ok(CreatedSnapshot::NameTaken);
            }
            if let Some(layer) = layer {
                layer::insert(transaction, layer)?;
            }
            transaction.execute(
                "INSERT INTO snapshot (id, container, name, parent, image, image_name, layers, size_bytes, comment, created, spec)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    snapshot.id.as_str(),
                    container,
                    snapshot.name,
                    snapshot.parent.as_ref().map(SnapshotId::as_str),
                    snapshot.image.to_string(),
                    snapshot.image_name,
                    row::to_json(&snapshot.layers),
                    row::to_size(snapshot.size_bytes),
                    snapshot.comment,
                    row::to_ns(snapshot.created),
                    snapshot.spec,
                ],
            )?;
            stand(transaction, &snapshot.container, &snapshot.id)?;
            lease::rescue(self.store, transaction, &|| Key::of_layers(&snapshot.layers))?;
            Ok(CreatedSnapshot::Done)
        })
    }

    /// A container's snapshot of this name.
    pub fn named(&self, container: &ContainerId, name: &str) -> Result<Option<SnapshotRecord>> {
        self.store.database.read_one("look for a snapshot", |connection| {
            let mut query = connection.prepare_cached("SELECT * FROM snapshot WHERE container = ?1 AND name = ?2")?;
            row::first(query.query([container.as_str(), name])?, read)
        })
    }

    /// The snapshot whose id starts with these hex digits; an error if several do.
    pub fn find(&self, prefix: &str) -> Result<Option<SnapshotRecord>> {
        let Some((from, to)) = row::hex_range("", prefix) else { return Ok(None) };
        self.store.database.read_one("look for a snapshot", |connection| {
            let mut query = connection.prepare_cached("SELECT * FROM snapshot WHERE id >= ?1 AND id < ?2 LIMIT 2")?;
            row::only(row::all(query.query([from, to])?, read)?, "snapshot", prefix)
        })
    }

    /// All snapshots, the oldest first.
    pub fn list(&self) -> Result<Vec<SnapshotRecord>> {
        self.store.database.read_one("list the snapshots", list)
    }

    /// Which containers stand on which snapshots.
    pub fn standings(&self) -> Result<Vec<Standing>> {
        self.store.database.read_one("look what containers stand on", |connection| {
            let mut query = connection.prepare_cached("SELECT * FROM standing ORDER BY container")?;
            row::all(query.query([])?, read_standing)
        })
    }

    /// The snapshot a container stands on.
    pub fn under(&self, container: &ContainerId) -> Result<Option<Standing>> {
        self.store.database.read_one("look what a container stands on", |connection| {
            let mut query = connection.prepare_cached("SELECT * FROM standing WHERE container = ?1")?;
            row::first(query.query([container.as_str()])?, read_standing)
        })
    }

    /// Records containers that stand on a snapshot, all or none of them, durably. Their image may be gone: the snapshot
    /// keeps the layers until they do. [`Inserted::ImageGone`] says here that the snapshot is.
    pub fn insert_forks(&self, forks: &[ContainerRecord], snapshot: &SnapshotId) -> Result<Inserted> {
        self.store.database.write(Durability::Durable, "record the forks", |transaction| {
            if !exists(transaction, "SELECT 1 FROM snapshot WHERE id = ?1", &[snapshot.as_str()])? {
                return Ok(Inserted::ImageGone);
            }
            for fork in forks {
                if let Some(holder) = container::holder(transaction, &fork.name)? {
                    return Ok(Inserted::NameTaken(holder));
                }
            }
            for fork in forks {
                container::put(transaction, fork)?;
                let born = "INSERT INTO standing (container, snapshot, born) VALUES (?1, ?2, 1)";
                transaction.prepare_cached(born)?.execute([fork.id.as_str(), snapshot.as_str()])?;
            }
            Ok(Inserted::Done)
        })
    }

    /// Puts a container on a snapshot, durably: its layers are the snapshot's from now on. False if either is gone.
    pub fn put_back(&self, container: &ContainerId, snapshot: &SnapshotRecord) -> Result<bool> {
        self.store.database.write(Durability::Durable, "put the container back", |transaction| {
            let there = "SELECT 1 FROM snapshot WHERE id = ?1";
            if !exists(transaction, there, &[snapshot.id.as_str()])? {
                return Ok(false);
            }
            let mut query = transaction.prepare_cached("SELECT layers FROM container WHERE id = ?1")?;
            let before =
                row::first(query.query([container.as_str()])?, |found| row::json::<Vec<DiffId>>(found, "layers"))?;
            let Some(before) = before else { return Ok(false) };
            let mut update = transaction.prepare_cached("UPDATE container SET layers = ?2 WHERE id = ?1")?;
            update.execute([container.as_str(), &row::to_json(&snapshot.layers)])?;
            stand(transaction, container, &snapshot.id)?;
            lease::discard(transaction, Key::of_layers(&before))?;
            Ok(true)
        })
    }

    /// Forgets a snapshot, durably; those that were made on it are now on its parent. Says whether it was there.
    pub fn remove(&self, id: &SnapshotId) -> Result<bool> {
        self.store.database.write(Durability::Durable, "forget the snapshot", |transaction| forget(transaction, id))
    }
}

/// Forgets the snapshots of a container that is being removed, and what it stands on.
pub(super) fn forget_all(transaction: &Transaction<'_>, container: &ContainerId) -> Result<()> {
    // Hardly any container has them.
    let mut query = transaction.prepare_cached(
        "SELECT 1 FROM standing WHERE container = ?1 UNION ALL SELECT 1 FROM snapshot WHERE container = ?1",
    )?;
    if !query.exists([container.as_str()])? {
        return Ok(());
    }
    transaction.prepare_cached("DELETE FROM standing WHERE container = ?1")?.execute([container.as_str()])?;
    let mut query = transaction.prepare_cached("SELECT id FROM snapshot WHERE container = ?1")?;
    for id in row::all(query.query([container.as_str()])?, |found| row::parsed(found, "id"))? {
        forget(transaction, &id)?;
    }
    Ok(())
}

/// All snapshots, the oldest first.
pub(crate) fn list(connection: &Connection) -> Result<Vec<SnapshotRecord>> {
    row::all(connection.prepare_cached("SELECT * FROM snapshot ORDER BY created, id")?.query([])?, read)
}

fn stand(transaction: &Transaction<'_>, container: &ContainerId, snapshot: &SnapshotId) -> Result<()> {
    let put = "INSERT INTO standing (container, snapshot, born) VALUES (?1, ?2, 0)
               ON CONFLICT (container) DO UPDATE SET snapshot = ?2, born = 0";
    transaction.prepare_cached(put)?.execute([container.as_str(), snapshot.as_str()])?;
    Ok(())
}

fn forget(transaction: &Transaction<'_>, id: &SnapshotId) -> Result<bool> {
    let mut query = transaction.prepare_cached("SELECT * FROM snapshot WHERE id = ?1")?;
    let Some(snapshot) = row::first(query.query([id.as_str()])?, read)? else { return Ok(false) };
    let parent = snapshot.parent.as_ref().map(SnapshotId::as_str);
    transaction.execute("UPDATE snapshot SET parent = ?2 WHERE parent = ?1", params![id.as_str(), parent])?;
    match parent {
        Some(parent) => {
            transaction.execute("UPDATE standing SET snapshot = ?2 WHERE snapshot = ?1", [id.as_str(), parent])?
        }
        None => transaction.execute("DELETE FROM standing WHERE snapshot = ?1", [id.as_str()])?,
    };
    transaction.execute("DELETE FROM snapshot WHERE id = ?1", [id.as_str()])?;
    lease::discard(transaction, Key::of_layers(&snapshot.layers))?;
    Ok(true)
}

fn exists(transaction: &Transaction<'_>, query: &str, values: &[&str]) -> Result<bool> {
    Ok(transaction.prepare_cached(query)?.exists(rusqlite::params_from_iter(values))?)
}

fn read(found: &Row<'_>) -> Result<SnapshotRecord> {
    Ok(SnapshotRecord {
        id: row::parsed(found, "id")?,
        container: row::parsed(found, "container")?,
        name: found.get("name")?,
        parent: row::maybe_parsed(found, "parent")?,
        image: row::parsed(found, "image")?,
        image_name: found.get("image_name")?,
        layers: row::json(found, "layers")?,
        size_bytes: row::bytes(found, "size_bytes")?,
        comment: found.get("comment")?,
        created: row::time(found, "created")?,
        spec: found.get("spec")?,
    })
}

fn read_standing(found: &Row<'_>) -> Result<Standing> {
    Ok(Standing {
        container: row::parsed(found, "container")?,
        snapshot: row::parsed(found, "snapshot")?,
        born: found.get("born")?,
    })
}
