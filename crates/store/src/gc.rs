//! Collecting what nobody needs.
//!
//! Candidates are listed without a lock. One write transaction buries dead leases, looks again what is needed and moves
//! the rest to `trash` under the collector's lease. Only after it is committed are files deleted, then the trash rows.
//! A collector that dies leaves trash rows, which the next one takes over. Whoever wants to use something that is being
//! removed waits for the collector (see `lease.rs`).

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Transaction};
use strata_sys::durable::{Durability, FileError};
use strata_sys::failpoint;
use strata_sys::lock::{Lock, Mode};
use strata_types::{DiffId, Watch};

use crate::blobs::names;
use crate::check::LayerFiles;
use crate::records::{
    build_steps_in, containers_in, images_in, keys_of_image, keys_of_variants, row, said_in, snapshots_in, tags_in,
    variants_in,
};
use crate::{Error, Key, Lease, Result, Store, ingest, lease};

/// What to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What removals left behind: quick, for the end of every `rmi` and `rm`.
    Removed,
    /// Everything that no image, container or lease needs, and partial downloads last written this long ago.
    All {
        /// How old a partial download has to be.
        ingests_older_than: Duration,
    },
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// What is gone, in order.
    pub removed: Vec<Key>,
    /// How many bytes its blobs and partial downloads took; of layers, their owner knows.
    pub freed_bytes: u64,
    /// How many partial downloads are gone.
    pub ingests: u64,
}

impl Store {
    /// Removes what nobody needs. Safe beside everything else, and after a crash of any other collector.
    pub fn gc(&self, scope: Scope, files: &dyn LayerFiles, watch: &dyn Watch) -> Result<Collected> {
        let candidates = match scope {
            Scope::Removed => BTreeSet::new(),
            Scope::All { .. } => self.everything(files)?,
        };
        let mut collected = Collected::default();
        if scope != Scope::Removed || self.has_trash()? {
            let lease = self.lease()?;
            let doomed = self.doom(&lease, &candidates)?;
            failpoint!("store.gc.after-doom");
            let outcome = self.delete(doomed, files, watch, &mut collected);
            self.forget(&lease, &collected.removed)?;
            lease.release()?;
            outcome?;
        }
        if let Scope::All { ingests_older_than } = scope {
            self.remove_ingests(ingests_older_than, &mut collected)?;
            self.remove_dead_leases()?;
        }
        Ok(collected)
    }

    fn everything(&self, files: &dyn LayerFiles) -> Result<BTreeSet<Key>> {
        let mut keys: BTreeSet<_> = self.blobs().list()?.into_iter().map(Key::Blob).collect();
        keys.extend(files.list().map_err(|source| Error::Layers { act: "list", source })?);
        Ok(keys)
    }

    fn has_trash(&self) -> Result<bool> {
        self.database.read_one("look for trash", lease::has_trash)
    }

    /// Moves what nobody needs to the trash, in the collector's name. That includes the trash of nobody and of the dead.
    fn doom(&self, collector: &Lease<'_>, candidates: &BTreeSet<Key>) -> Result<BTreeSet<Key>> {
        self.database.write(Durability::Durable, "collect garbage", |transaction| {
            lease::bury_the_dead(self, transaction)?;
            let needed = needed(transaction)?;
            let mut doomed: BTreeSet<_> = candidates.difference(&needed).cloned().collect();
            for (key, owner) in trash(transaction)? {
                if lease::is_alive(self, &owner)? {
                    doomed.remove(&key);
                } else if needed.contains(&key) {
                    delete_row(transaction, &key)?;
                } else {
                    doomed.insert(key);
                }
            }
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO trash (kind, digest, lease) VALUES (?1, ?2, ?3)")?;
            for key in &doomed {
                insert.execute([key.kind(), &key.digest().to_string(), collector.id()])?;
            }
            forget_layers(transaction, &needed)?;
            Ok(doomed)
        })
    }

    fn delete(
        &self,
        doomed: BTreeSet<Key>,
        files: &dyn LayerFiles,
        watch: &dyn Watch,
        collected: &mut Collected,
    ) -> Result<()> {
        for key in doomed {
            if watch.cancelled() {
                return Err(Error::Cancelled);
            }
            let was_there = match &key {
                Key::Blob(digest) => {
                    collected.freed_bytes += self.blobs().size(digest)?.unwrap_or(0);
                    self.blobs().remove(digest)?
                }
                _ => files.remove(&key).map_err(|source| Error::Layers { act: "remove", source })?,
            };
            failpoint!("store.gc.after-delete");
            tracing::debug!(%key, was_there, "collected");
            collected.removed.push(key);
        }
        Ok(())
    }

    /// Strikes out what is deleted. What could not be deleted becomes the trash of nobody.
    fn forget(&self, collector: &Lease<'_>, removed: &[Key]) -> Result<()> {
        self.database.write(Durability::Ephemeral, "strike out garbage", |transaction| {
            for key in removed {
                delete_row(transaction, key)?;
            }
            transaction.execute("UPDATE trash SET lease = '' WHERE lease = ?1", [collector.id()])?;
            Ok(())
        })
    }

    fn remove_ingests(&self, older_than: Duration, collected: &mut Collected) -> Result<()> {
        let dir = self.dir("ingest");
        let now = strata_sys::clock::now();
        for name in names(&dir)? {
            let path = dir.join(name);
            // The lock is held until the file is removed, so that nobody goes on with it meanwhile.
            let Some((_lock, metadata)) = ingest::abandoned(&path).map_err(FileError::at("look at", &path))? else {
                continue;
            };
            let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if now.duration_since(written).is_ok_and(|age| age >= older_than) {
                self.disk.remove_tree(&path).map_err(FileError::at("remove", &path))?;
                collected.freed_bytes += metadata.len();
                collected.ingests += 1;
            }
        }
        Ok(())
    }

    /// Removes the files of leases and container locks whose owner died or is done.
    fn remove_dead_leases(&self) -> Result<()> {
        let dir = self.dir("leases");
        for name in names(&dir)? {
            let path = dir.join(name);
            if let Some(lock) = Lock::take(&path, Mode::Exclusive).map_err(FileError::at("lock", &path))? {
                lock.remove().map_err(FileError::at("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// All that images, tags, containers and leases need.
fn needed(connection: &Connection) -> Result<BTreeSet<Key>> {
    let mut needed = BTreeSet::new();
    for image in images_in(connection)? {
        needed.extend(keys_of_image(&image));
    }
    for tag in tags_in(connection)? {
        needed.extend([tag.manifest, tag.index].into_iter().flatten().map(Key::Blob));
    }
    needed.extend(keys_of_variants(&variants_in(connection)?));
    for (_, said) in said_in(connection)? {
        needed.extend(said.keys());
    }
    let mut seen = HashSet::new();
    for container in containers_in(connection)? {
        if seen.insert(container.layers.clone()) {
            needed.extend(Key::of_layers(&container.layers));
        }
    }
    for snapshot in snapshots_in(connection)? {
        if seen.insert(snapshot.layers.clone()) {
            needed.extend(Key::of_layers(&snapshot.layers));
        }
    }
    for step in build_steps_in(connection)? {
        if seen.insert(step.layers.clone()) {
            needed.extend(Key::of_layers(&step.layers));
        }
    }
    needed.extend(lease::items(connection)?);
    Ok(needed)
}

/// Strikes the records of layers that nobody needs, whatever their files are called.
fn forget_layers(transaction: &Transaction<'_>, needed: &BTreeSet<Key>) -> Result<()> {
    let mut query = transaction.prepare_cached("SELECT diff_id FROM layer")?;
    let mut forget = transaction.prepare_cached("DELETE FROM layer WHERE diff_id = ?1")?;
    for diff_id in row::all(query.query([])?, |found| row::parsed::<DiffId>(found, "diff_id"))? {
        let text = diff_id.to_string();
        if !needed.contains(&Key::Layer(diff_id)) {
            forget.execute([text])?;
        }
    }
    Ok(())
}

fn trash(connection: &Connection) -> Result<Vec<(Key, String)>> {
    let mut query = connection.prepare_cached("SELECT kind, digest, lease FROM trash")?;
    row::all(query.query([])?, |found| {
        let key = Key::parse(&found.get::<_, Box<str>>(0)?, &found.get::<_, Box<str>>(1)?)?;
        Ok((key, found.get(2)?))
    })
}

fn delete_row(transaction: &Transaction<'_>, key: &Key) -> Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM trash WHERE kind = ?1 AND digest = ?2")?;
    delete.execute([key.kind(), &key.digest().to_string()])?;
    Ok(())
}
