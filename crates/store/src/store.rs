//! The store: one root directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_sys::durable::{Disk, FileError, RealDisk};
use strata_sys::lock::{Lock, Mode};
use strata_types::ContainerId;

use crate::database::Database;
use crate::fleeting::Fleeting;
use crate::records::{
    BuildSteps, Containers, Images, Intents, Kept, Layers, Networks, Snapshots, Tags, Variants, Volumes,
};
use crate::{Blobs, Lease, Result};

/// Only root looks inside: images may hold setuid programs of other times and people.
const ROOT_MODE: u32 = 0o700;

/// The directories the store itself needs; the others are made by who uses them.
const DIRS: [&str; 4] = ["blobs/sha256", "blobs/sha512", "ingest", "leases"];

/// Made with them, or when they are needed.
const MORE_DIRS: [&str; 2] = ["fleeting/names", "fleeting/known"];

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// What blobs are written to.
    pub disk: Arc<dyn Disk>,
}

/// Blobs, records and leases under one root directory. Threads may share it, and processes may open it many times.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) database: Database,
}

impl Store {
    /// Opens the store at `root`, making it when there is none. Costs little: at most the schema is read.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, Options { disk: RealDisk::shared() })
    }

    /// [`Store::open`] for tests that bring their own disk.
    pub fn open_with(root: &Path, options: Options) -> Result<Self> {
        // Some copies of a store have no empty directories.
        if !DIRS.iter().all(|dir| root.join(dir).is_dir()) {
            for dir in DIRS.into_iter().chain(MORE_DIRS) {
                let dir = root.join(dir);
                options.disk.create_dirs(&dir, ROOT_MODE).map_err(FileError::at("create directory", &dir))?;
            }
            for dir in [root.join("blobs"), root.to_owned()] {
                options.disk.sync_dir(&dir).map_err(FileError::at("sync", &dir))?;
            }
        }
        Ok(Self { root: root.to_owned(), disk: options.disk, database: Database::open(root)? })
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Content by digest.
    pub fn blobs(&self) -> Blobs<'_> {
        Blobs::new(self)
    }

    /// The images that are here.
    pub fn images(&self) -> Images<'_> {
        Images { store: self }
    }

    /// Which references name which images.
    pub fn tags(&self) -> Tags<'_> {
        Tags { store: self }
    }

    /// Which images for several platforms tags stand for.
    pub fn variants(&self) -> Variants<'_> {
        Variants { store: self }
    }

    /// Which images a person wants kept.
    pub fn kept(&self) -> Kept<'_> {
        Kept { store: self }
    }

    /// What is known about layers.
    pub fn layers(&self) -> Layers<'_> {
        Layers { store: self }
    }

    /// The containers, running or not.
    pub fn containers(&self) -> Containers<'_> {
        Containers { store: self }
    }

    /// What builds remember.
    pub fn build_steps(&self) -> BuildSteps<'_> {
        BuildSteps { store: self }
    }

    /// What containers' files were at moments.
    pub fn snapshots(&self) -> Snapshots<'_> {
        Snapshots { store: self }
    }

    /// Named and anonymous volumes.
    pub fn volumes(&self) -> Volumes<'_> {
        Volumes { store: self }
    }

    /// Networks.
    pub fn networks(&self) -> Networks<'_> {
        Networks { store: self }
    }

    /// What somebody is about to do and has to be finished or undone if they die.
    pub fn intents(&self) -> Intents<'_> {
        Intents { store: self }
    }

    /// Takes a lease: what it protects stays until it is released or this process ends.
    pub fn lease(&self) -> Result<Lease<'_>> {
        Lease::take(self)
    }

    /// Waits until nobody else changes this container. Held for one operation, not while the container runs.
    pub fn lock_container(&self, id: &ContainerId) -> Result<Lock> {
        let path = self.container_lock_path(id);
        Ok(Lock::wait(&path, Mode::Exclusive).map_err(FileError::at("lock", &path))?)
    }

    /// Takes the lock of [`Store::lock_container`] if nobody has it.
    pub fn try_lock_container(&self, id: &ContainerId) -> Result<Option<Lock>> {
        let path = self.container_lock_path(id);
        Ok(Lock::take(&path, Mode::Exclusive).map_err(FileError::at("lock", &path))?)
    }

    pub(crate) fn fleeting(&self) -> Fleeting {
        Fleeting::of(&self.root)
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn container_lock_path(&self, id: &ContainerId) -> PathBuf {
        self.dir("leases").join(format!("container-{id}"))
    }
}
