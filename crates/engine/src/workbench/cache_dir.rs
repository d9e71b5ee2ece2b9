//! Directories that outlive builds: `RUN --mount=type=cache`.
//!
//! ```text
//! ROOT/build/caches/<sha256 of the id>/<number>/        what is mounted
//! ROOT/build/caches/<sha256 of the id>/<number>.lock    flock'd by who uses it; its time is that of the last use
//! ROOT/build/caches/<sha256 of the id>/.new-<random>/   one being made, flock'd by who makes it; garbage when nobody does
//! ```

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Gid, Mode as Permissions, Timestamps, UTIME_NOW, Uid};
use strata_sys::durable::{self, FileError};
use strata_sys::failpoint;
use strata_sys::lock::{self, Lock, Mode};
use strata_types::{DiffId, Digest};

use super::Workbench;
use crate::{Engine, Result};

/// How many builds may have a directory of their own under one id.
const PRIVATE_MAX: usize = 256;

/// Who may use a directory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheSharing {
    /// All.
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}

/// What a directory is to be.
#[derive(Clone, Debug)]
pub struct CacheDirWish<'a> {
    /// What it is called.
    pub id: &'a str,
    /// Who may use it at once.
    pub sharing: CacheSharing,
    /// Its permissions when it is new.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// What is in it when it is new: a directory of layers.
    pub content: Option<(&'a [DiffId], &'a Path)>,
}

/// A directory, ours until this is dropped.
#[derive(Debug)]
pub struct CacheDir {
    path: PathBuf,
    _lock: Lock,
}

impl CacheDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Workbench<'_> {
    /// Finds or makes a directory. Waits while somebody else has it, if only one may.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn cache_dir(&self, wish: &CacheDirWish<'_>) -> Result<CacheDir> {
        let home = self.engine.cache_dirs().join(Digest::sha256(wish.id.as_bytes()).hex());
        durable::create_dirs(&home, 0o700)?;
        let (number, lock) = lock(&home, wish.sharing)?;
        let now = Timestamps { last_access: UTIME, last_modification: UTIME };
        rustix::fs::utimensat(CWD, lock.path(), &now, rustix::fs::AtFlags::empty())
            .map_err(|errno| FileError::at("touch", lock.path())(errno.into()))?;
        let path = home.join(number.to_string());
        if !path.is_dir() {
            self.fill(&home, &path, wish)?;
        }
        Ok(CacheDir { path, _lock: lock })
    }

    /// Makes a directory beside its place, and moves it there when it is whole.
    fn fill(&self, home: &Path, path: &Path, wish: &CacheDirWish<'_>) -> Result<()> {
        remove_unfinished(home)?;
        let new = home.join(format!("{NEW}{}", strata_sys::random::hex::<8>()));
        let made = loop {
            durable::create_dirs(&new, 0o700)?;
            // None if somebody looked for garbage before we had the lock.
            if let Some(made) = lock_dir(&new)? {
                break made;
            }
        };
        if let Some((layers, dir)) = wish.content {
            self.engine.snapshots()?.copy_out(layers, dir, &new)?;
            rustix::fs::syncfs(&made).map_err(|errno| FileError::at("sync", &new)(errno.into()))?;
        }
        let failed = |act| {
            let new = &new;
            move |errno: rustix::io::Errno| FileError::at(act, new)(errno.into())
        };
        let (uid, gid) = (Some(Uid::from_raw(wish.uid)), Some(Gid::from_raw(wish.gid)));
        rustix::fs::chown(&new, uid, gid).map_err(failed("change the owner of"))?;
        rustix::fs::chmod(&new, Permissions::from_raw_mode(wish.mode)).map_err(failed("change the mode of"))?;
        failpoint!("engine.cache-dir.filled");
        match durable::rename(&new, path) {
            // Two that share it made it at once.
            Err(error) if is_taken(&error.source) => Ok(durable::remove(&new).map(drop)?),
            renamed => Ok(renamed?),
        }
    }
}

impl Engine {
    fn cache_dirs(&self) -> PathBuf {
        self.settings().root.join("build/caches")
    }

    /// Removes the directories that nobody uses; says how much was in them.
    pub(super) fn prune_cache_dirs(&self, unused_for: Option<Duration>) -> Result<u64> {
        let mut freed_bytes = 0;
        for home in listed(&self.cache_dirs())? {
            remove_unfinished(&home)?;
            for entry in listed(&home)? {
                if entry.extension().is_none_or(|extension| extension != "lock") {
                    continue;
                }
                let used = std::fs::metadata(&entry).and_then(|metadata| metadata.modified());
                let used = used.map_err(FileError::at("look at", &entry))?;
                let idle = strata_sys::clock::now().duration_since(used).unwrap_or_default();
                if unused_for.is_some_and(|limit| idle < limit) {
                    continue;
                }
                let lock = Lock::take(&entry, Mode::Exclusive).map_err(FileError::at("lock", &entry))?;
                let Some(lock) = lock else { continue };
                let dir = entry.with_extension("");
                freed_bytes += bytes_in(&dir)?;
                durable::remove(&dir)?;
                failpoint!("engine.cache-dir.removed");
                lock.remove().map_err(FileError::at("remove", &entry))?;
            }
        }
        Ok(freed_bytes)
    }
}

/// What the name of a directory begins with that is being made.
const NEW: &str = ".new-";

/// Removes the directories below `home` that somebody was making who died.
fn remove_unfinished(home: &Path) -> Result<()> {
    for path in listed(home)? {
        let is_new = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NEW));
        // The lock is held until everything below is gone.
        if is_new && let Some(_lock) = lock_dir(&path)? {
            durable::remove(&path)?;
        }
    }
    Ok(())
}

/// Locks a directory; none if somebody else has it locked, or it is gone.
fn lock_dir(path: &Path) -> Result<Option<File>> {
    let lock = || -> io::Result<Option<File>> {
        let dir = File::open(path)?;
        Ok((lock::take(&dir, Mode::Exclusive)? && lock::names(path, &dir)?).then_some(dir))
    };
    match lock() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        locked => Ok(locked.map_err(FileError::at("lock", path))?),
    }
}

const UTIME: rustix::fs::Timespec = rustix::fs::Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };

fn lock(home: &Path, sharing: CacheSharing) -> Result<(usize, Lock)> {
    let path = |number: usize| home.join(format!("{number}.lock"));
    let failed = |path: PathBuf| move |source: io::Error| FileError::at("lock", &path)(source);
    let wait = |mode| Lock::wait(&path(0), mode).map_err(failed(path(0)));
    match sharing {
        CacheSharing::Shared => Ok((0, wait(Mode::Shared)?)),
        CacheSharing::Locked => Ok((0, wait(Mode::Exclusive)?)),
        CacheSharing::Private => {
            for number in 0..PRIVATE_MAX {
                if let Some(lock) = Lock::take(&path(number), Mode::Exclusive).map_err(failed(path(number)))? {
                    return Ok((number, lock));
                }
            }
            Ok((0, wait(Mode::Exclusive)?))
        }
    }
}

fn listed(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(FileError::at("list", dir))?,
    };
    let entries = entries.map(|entry| Ok(entry.map_err(FileError::at("list", dir))?.path()));
    entries.collect()
}

fn bytes_in(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for path in listed(dir)? {
        let metadata = std::fs::symlink_metadata(&path).map_err(FileError::at("look at", &path))?;
        total += if metadata.is_dir() { bytes_in(&path)? } else { metadata.len() };
    }
    Ok(total)
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}
