//! Networks: what containers meet in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::{container, row};
use crate::{Durability, Result, Store};

/// A network. What of it is in the kernel, and who is connected, is known below the run directory only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The driver: `bridge`, `macvlan`, `host`, `null`.
    pub driver: String,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What the store does not read: addresses and the like.
    pub spec: String,
    /// When it was made.
    pub created: Timestamp,
}

/// What became of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatedNetwork {
    /// It is new.
    New,
    /// There is one with this name already.
    NameTaken,
}

/// The networks of a store.
#[derive(Clone, Copy, Debug)]
pub struct Networks<'a> {
    pub(crate) store: &'a Store,
}

impl Networks<'_> {
    /// Records a network, durably, if its name is free.
    pub fn create(&self, network: &NetworkRecord) -> Result<CreatedNetwork> {
        self.store.database.write(Durability::Durable, "record the network", |transaction| {
            if by_name(transaction, &network.name)?.is_some() {
                return Ok(CreatedNetwork::NameTaken);
            }
            transaction.execute(
                "INSERT INTO network (id, name, driver, options, labels, spec, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    network.id,
                    network.name,
                    network.driver,
                    row::to_json(&network.options),
                    row::to_json(&network.labels),
                    network.spec,
                    row::to_ns(network.created),
                ],
            )?;
            Ok(CreatedNetwork::New)
        })
    }

    /// The network with this name.
    pub fn by_name(&self, name: &str) -> Result<Option<NetworkRecord>> {
        self.store.database.read_one("read the network's record", |connection| by_name(connection, name))
    }

    /// The network a person means: by whole id, by name, by the first digits of the id, in this order. An error if the
    /// digits are those of several.
    pub fn find(&self, what: &str) -> Result<Option<NetworkRecord>> {
        let fleeting = self.store.fleeting();
        if let Some(network) = fleeting.network(what) {
            return Ok(Some(network));
        }
        self.store.database.read_still("look for a network", |connection| {
            let found = find(connection, what)?;
            if let Some(network) = &found {
                fleeting.learn_network(what, network, &container::names(connection)?);
            }
            Ok(found)
        })
    }

    /// All networks, by name.
    pub fn list(&self) -> Result<Vec<NetworkRecord>> {
        self.store.database.read_one("list the networks", |connection| {
            row::all(connection.prepare_cached("SELECT * FROM network ORDER BY name")?.query([])?, read)
        })
    }

    /// Forgets a network, durably; says whether it was there.
    pub fn remove(&self, id: &str) -> Result<bool> {
        self.store.database.write(Durability::Durable, "forget the network", |transaction| {
            Ok(transaction.execute("DELETE FROM network WHERE id = ?1", [id])? == 1)
        })
    }
}

fn find(connection: &Connection, what: &str) -> Result<Option<NetworkRecord>> {
    let mut by_id = connection.prepare_cached("SELECT * FROM network WHERE id = ?1")?;
    if let Some(found) = row::first(by_id.query([what])?, read)? {
        return Ok(Some(found));
    }
    if let Some(found) = by_name(connection, what)? {
        return Ok(Some(found));
    }
    let Some((from, to)) = row::hex_range("", what) else { return Ok(None) };
    let mut query = connection.prepare_cached("SELECT * FROM network WHERE id >= ?1 AND id < ?2 LIMIT 2")?;
    row::only(row::all(query.query([from, to])?, read)?, "network", what)
}

fn by_name(connection: &Connection, name: &str) -> Result<Option<NetworkRecord>> {
    let mut query = connection.prepare_cached("SELECT * FROM network WHERE name = ?1")?;
    row::first(query.query([name])?, read)
}

fn read(found: &Row<'_>) -> Result<NetworkRecord> {
    Ok(NetworkRecord {
        id: found.get("id")?,
        name: found.get("name")?,
        driver: found.get("driver")?,
        options: row::json(found, "options")?,
        labels: row::json(found, "labels")?,
        spec: found.get("spec")?,
        created: row::time(found, "created")?,
    })
}
