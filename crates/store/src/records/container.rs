//! Containers. What one does right now is not recorded here: it follows from the files its shim writes.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use strata_types::{ContainerId, DiffId, ImageId};

use super::row;
use crate::{Durability, Key, Result, Store, fleeting, lease};

/// A container, running or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What became of a container's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// There was none.
    NotThere,
    /// It is gone.
    Done,
    /// It is gone, and perhaps nobody needs its layers any more: a [collection](crate::Store::gc) will find out.
    WithLayers,
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
    /// Records a container if its name is free and its image is here. One that need not outlive a reboot is recorded beside
    /// the database if that is possible.
    pub fn insert(&self, container: &ContainerRecord, durability: Durability) -> Result<Inserted> {
        if durability == Durability::Ephemeral && self.store.fleeting().insert(container) {
            return Ok(Inserted::Done);
        }
        self.store.database.write(durability, "record the container", |transaction| {
            let if_possible = "WHERE EXISTS (SELECT 1 FROM image WHERE id = ?3) ON CONFLICT (name) DO NOTHING";
            if insert(transaction, container, if_possible)? == 0 {
                return Ok(holder(transaction, &container.name)?.map_or(Inserted::ImageGone, Inserted::NameTaken));
            }
            super::image::note_use(transaction, &container.image, container.created)?;
            Ok(Inserted::Done)
        })
    }

    /// The container with this id.
    pub fn get(&self, id: &ContainerId) -> Result<Option<ContainerRecord>> {
        let here = self.store.fleeting().by_id(id.as_str());
        let there = self.store.database.read_one("read the container's record", |connection| by_id(connection, id))?;
        Ok(there.or(here))
    }

    /// The container with this name.
    pub fn by_name(&self, name: &str) -> Result<Option<ContainerRecord>> {
        let here = self.store.fleeting().by_name(name);
        let there = self.store.database.read_one("look for a container", |connection| by_name(connection, name))?;
        Ok(there.or(here))
    }

    /// The container a person means: by full id, by name, by the first digits of the id, in this order, as Docker does.
    /// An error if the digits are those of several.
    pub fn find(&self, what: &str) -> Result<Option<ContainerRecord>> {
        let here = self.store.fleeting().list()?;
        self.store.database.read("look for a container", |connection| {
            let id = what.parse::<ContainerId>().ok();
            if let Some(found) = id.as_ref().map(|id| by_id(connection, id)).transpose()?.flatten() {
                return Ok(Some(found));
            }
            if let Some(found) = here.iter().find(|container| id.as_ref() == Some(&container.id)) {
                return Ok(Some(found.clone()));
            }
            if let Some(found) = by_name(connection, what)? {
                return Ok(Some(found));
            }
            if let Some(found) = here.iter().find(|container| container.name == what) {
                return Ok(Some(found.clone()));
            }
            let Some((from, to)) = row::hex_range("", what) else { return Ok(None) };
            let mut query = connection.prepare_cached("SELECT * FROM container WHERE id >= ?1 AND id < ?2 LIMIT 2")?;
            let there = row::all(query.query([from, to])?, read)?;
            let here = here.into_iter().filter(|container| container.id.as_str().starts_with(what)).collect();
            row::only(fleeting::merge(here, there), "container", what)
        })
    }

    /// All containers, the newest first.
    pub fn list(&self) -> Result<Vec<ContainerRecord>> {
        let fleeting = self.store.fleeting();
        let here = fleeting.list()?;
        let there = match fleeting.has_all() {
            true => Vec::new(),
            false => self.store.database.read_one("list the containers", list)?,
        };
        Ok(fleeting::merge(here, there))
    }

    /// Whether there is a container with this id, given as text that may be no id at all.
    pub(crate) fn is_recorded(&self, id: &str) -> Result<bool> {
        if self.store.fleeting().by_id(id).is_some() {
            return Ok(true);
        }
        self.store.database.read_one("look for a container", |connection| {
            Ok(connection.prepare_cached("SELECT 1 FROM container WHERE id = ?1")?.exists([id])?)
        })
    }

    /// The containers that were made from this image.
    pub fn using(&self, image: &ImageId) -> Result<Vec<ContainerId>> {
        let here = self.store.fleeting().list()?;
        let look = |connection: &Connection| using(connection, image);
        let mut ids = self.store.database.read_one("look for the image's containers", look)?;
        for container in here {
            if container.image == *image && !ids.contains(&container.id) {
                ids.push(container.id);
            }
        }
        Ok(ids)
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

    /// Forgets a container whose files are gone already.
    pub fn remove(&self, id: &ContainerId, durability: Durability) -> Result<Forgotten> {
        if self.store.fleeting().remove(id)? {
            return Ok(Forgotten::Done);
        }
        self.store.database.write(durability, "forget the container", |transaction| {
            let mut delete =
                transaction.prepare_cached("DELETE FROM container WHERE id = ?1 RETURNING image, layers")?;
            let deleted = row::first(delete.query([id.as_str()])?, |found| {
                Ok((row::parsed::<ImageId>(found, "image")?, row::json::<Vec<DiffId>>(found, "layers")?))
            })?;
            let Some((image, layers)) = deleted else { return Ok(Forgotten::NotThere) };
            super::snapshot::forget_all(transaction, id)?;
            // It was in use until now.
            if let Ok(now) = Timestamp::try_from(strata_sys::clock::now()) {
                super::image::note_use(transaction, &image, now)?;
            }
            let mut query = transaction.prepare_cached("SELECT layers FROM image WHERE id = ?1")?;
            let of_image = row::first(query.query([image.to_string()])?, |found| row::json(found, "layers"))?;
            // One that was forked or rolled back stands on more than its image.
            if of_image.as_ref() == Some(&layers) {
                return Ok(Forgotten::Done);
            }
            lease::discard(transaction, Key::of_layers(&layers))?;
            Ok(Forgotten::WithLayers)
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

/// The names of all containers.
pub(super) fn names(connection: &Connection) -> Result<Vec<String>> {
    let mut query = connection.prepare_cached("SELECT name FROM container")?;
    row::all(query.query([])?, |found| Ok(found.get("name")?))
}

/// Takes in a container that was recorded [elsewhere](crate::fleeting), if it is not here.
pub(crate) fn take(transaction: &Transaction<'_>, container: &ContainerRecord) -> Result<()> {
    // Nobody has the name, unless somebody has changed the tables by hand.
    let rows = insert(transaction, container, "WHERE true ON CONFLICT DO NOTHING")?;
    if rows == 0 && by_id(transaction, &container.id)?.is_none() {
        let name = format!("{}_{}", container.name, container.id.short());
        put(transaction, &ContainerRecord { name, ..container.clone() })?;
    }
    Ok(())
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
