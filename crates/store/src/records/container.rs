//! Containers. What one does right now is not recorded here: it follows from the files its shim writes.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use strata_types::{ContainerId, DiffId, ImageId};

use super::row;
use crate::{Durability, Key, Result, Store, lease};

/// A container, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Its id.
    pub id: ContainerId,
    /// Its name; no two containers have the same.
    pub name: String,
    /// The image it was made from, which may be gone.
    pub image: ImageId,
    /// How the person named that image.
    pub image_name: String,
    /// The layers it stands on, the lowest first; they stay as long as the container.
    pub layers: Vec<DiffId>,
    /// The snapshot driver that holds its files.
    pub driver: String,
    /// When it was made.
    pub created: Timestamp,
    /// Everything else, as JSON that the store does not read.
    pub spec: String,
}

/// What became of an insertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is recorded, and the name is taken.
    Done,
    /// This container has the name.
    NameTaken(ContainerId),
    /// The image was removed in the meantime.
    ImageGone,
}

/// What became of a renaming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renamed {
    /// It has the new name; this was the old one.
    Done(String),
    /// This container has the name.
    NameTaken(ContainerId),
    /// There is no such container.
    NotThere,
}

/// The containers of a store.
#[derive(Clone, Copy, Debug)]
pub struct Containers<'a> {
    pub(crate) store: &'a Store,
}

impl Containers<'_> {
    /// Records a container if its name is free and its image is here.
    pub fn insert(&self, container: &ContainerRecord, durability: Durability) -> Result<Inserted> {
        self.store.database.write(durability, "record the container", |transaction| {
            if let Some(holder) = holder(transaction, &container.name)? {
                return Ok(Inserted::NameTaken(holder));
            }
            let rows = insert(transaction, container, "WHERE EXISTS (SELECT 1 FROM image WHERE id = ?3)")?;
            super::image::note_use(transaction, &container.image, container.created)?;
            Ok(if rows == 0 { Inserted::ImageGone } else { Inserted::Done })
        })
    }

    /// The container with this id.
    pub fn get(&self, id: &ContainerId) -> Result<Option<ContainerRecord>> {
        self.store.database.read_one("read the container's record", |connection| by_id(connection, id))
    }

    /// The container with this name.
    pub fn by_name(&self, name: &str) -> Result<Option<ContainerRecord>> {
        self.store.database.read_one("look for a container", |connection| by_name(connection, name))
    }

    /// The container a person means: by full id, by name, by the first digits of the id, in this order, as Docker does.
    /// An error if the digits are those of several.
    pub fn find(&self, what: &str) -> Result<Option<ContainerRecord>> {
        self.store.database.read("look for a container", |connection| {
            let id = what.parse::<ContainerId>().ok();
            if let Some(found) = id.map(|id| by_id(connection, &id)).transpose()?.flatten() {
                return Ok(Some(found));
            }
            if let Some(found) = by_name(connection, what)? {
                return Ok(Some(found));
            }
            let Some((from, to)) = row::hex_range("", what) else { return Ok(None) };
            let mut query = connection.prepare_cached("SELECT * FROM container WHERE id >= ?1 AND id < ?2 LIMIT 2")?;
            row::only(row::all(query.query([from, to])?, read)?, "container", what)
        })
    }

    /// All containers, the newest first.
    pub fn list(&self) -> Result<Vec<ContainerRecord>> {
        self.store.database.read_one("list the containers", list)
    }

    /// Whether there is a container with this id, given as text that may be no id at all.
    pub(crate) fn is_recorded(&self, id: &str) -> Result<bool> {
        self.store.database.read_one("look for a container", |connection| {
            Ok(connection.prepare_cached("SELECT 1 FROM container WHERE id = ?1")?.exists([id])?)
        })
    }

    /// The containers that were made from this image.
    pub fn using(&self, image: &ImageId) -> Result<Vec<ContainerId>> {
        self.store.database.read_one("look for the image's containers", |connection| using(connection, image))
    }

    /// Replaces what the store does not read; says whether the container was there.
    pub fn update(&self, id: &ContainerId, spec: &str, durability: Durability) -> Result<bool> {
        self.store.database.write(durability, "update the container", |transaction| {
            let mut update = transaction.prepare_cached("UPDATE container SET spec = ?2 WHERE id = ?1")?;
            Ok(update.execute([id.as_str(), spec])? == 1)
        })
    }

    /// Gives a container another name, durably, if that is free.
    pub fn rename(&self, id: &ContainerId, name: &str) -> Result<Renamed> {
        self.store.database.write(Durability::Durable, "rename the container", |transaction| {
            let Some(container) = by_id(transaction, id)? else { return Ok(Renamed::NotThere) };
            if let Some(holder) = holder(transaction, name)? {
                return Ok(Renamed::NameTaken(holder));
            }
            transaction.execute("UPDATE container SET name = ?2 WHERE id = ?1", [id.as_str(), name])?;
            Ok(Renamed::Done(container.name))
        })
    }

    /// Forgets a container whose files are gone already; says whether it was there.
    pub fn remove(&self, id: &ContainerId, durability: Durability) -> Result<bool> {
        self.store.database.write(durability, "forget the container", |transaction| {
            let Some(container) = by_id(transaction, id)? else { return Ok(false) };
            transaction.prepare_cached("DELETE FROM container WHERE id = ?1")?.execute([id.as_str()])?;
            super::snapshot::forget_all(transaction, id)?;
            // It was in use until now.
            if let Ok(now) = Timestamp::try_from(strata_sys::clock::now()) {
                super::image::note_use(transaction, &container.image, now)?;
            }
            let mut image = transaction.prepare_cached("SELECT layers FROM image WHERE id = ?1")?;
            let image = row::first(image.query([container.image.to_string()])?, |found| {
                row::json::<Vec<DiffId>>(found, "layers")
            })?;
            // One that was forked or rolled back stands on more than its image.
            if image.is_none_or(|layers| layers != container.layers) {
                lease::discard(transaction, Key::of_layers(&container.layers))?;
            }
            Ok(true)
        })
    }
}

/// The containers that were made from an image.
pub(super) fn using(connection: &Connection, image: &ImageId) -> Result<Vec<ContainerId>> {
    let mut query = connection.prepare_cached("SELECT id FROM container WHERE image = ?1 ORDER BY created")?;
    row::all(query.query([image.to_string()])?, |found| row::parsed(found, "id"))
}

/// All containers, the newest first.
pub(crate) fn list(connection: &Connection) -> Result<Vec<ContainerRecord>> {
    row::all(connection.prepare_cached("SELECT * FROM container ORDER BY created DESC, id")?.query([])?, read)
}

/// Puts a container's row in, whether its image is here or not.
pub(super) fn put(transaction: &Transaction<'_>, container: &ContainerRecord) -> Result<()> {
    insert(transaction, container, "").map(drop)
}

/// Puts a container's row in if `condition` holds; how many rows that made.
fn insert(transaction: &Transaction<'_>, container: &ContainerRecord, condition: &str) -> Result<usize> {
    let mut insert = transaction.prepare_cached(&format!(
        "INSERT INTO container (id, name, image, image_name, layers, driver, created, spec)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 {condition}"
    ))?;
    Ok(insert.execute(params![
        container.id.as_str(),
        container.name,
        container.image.to_string(),
        container.image_name,
        row::to_json(&container.layers),
        container.driver,
        row::to_ns(container.created),
        container.spec,
    ])?)
}

fn by_id(connection: &Connection, id: &ContainerId) -> Result<Option<ContainerRecord>> {
    let mut query = connection.prepare_cached("SELECT * FROM container WHERE id = ?1")?;
    row::first(query.query([id.as_str()])?, read)
}

fn by_name(connection: &Connection, name: &str) -> Result<Option<ContainerRecord>> {
    let mut query = connection.prepare_cached("SELECT * FROM container WHERE name = ?1")?;
    row::first(query.query([name])?, read)
}

pub(super) fn holder(transaction: &Transaction<'_>, name: &str) -> Result<Option<ContainerId>> {
    let mut query = transaction.prepare_cached("SELECT id FROM container WHERE name = ?1")?;
    row::first(query.query([name])?, |found| row::parsed(found, "id"))
}

fn read(found: &Row<'_>) -> Result<ContainerRecord> {
    Ok(ContainerRecord {
        id: row::parsed(found, "id")?,
        name: found.get("name")?,
        image: row::parsed(found, "image")?,
        image_name: found.get("image_name")?,
        layers: row::json(found, "layers")?,
        driver: found.get("driver")?,
        created: row::time(found, "created")?,
        spec: found.get("spec")?,
    })
}
