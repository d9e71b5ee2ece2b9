//! Files from the web, and directories to work in.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use strata_registry::WebFile;
use strata_sys::durable::{self, FileError};
use strata_sys::lock::{self, Lock};
use strata_types::{Digest, Hasher, Watch};

use super::Workbench;
use crate::{Error, Result};

/// A file that was fetched; it has no name and vanishes with the process.
#[derive(Debug)]
pub struct Downloaded {
    /// Its bytes, from the beginning.
    pub file: File,
    /// How many.
    pub size_bytes: u64,
    /// Their digest.
    pub digest: Digest,
}

/// A directory of one build's own.
///
/// ```text
/// ROOT/build/work/<random>/        ROOT/build/work/<random>.lock   flock'd by whoever uses it
/// ```
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    lock: Lock,
}

impl Workbench<'_> {
    /// Asks a server for a file, and reads what it says of it. `authorization` says who we are.
    ///
    /// # Errors
    /// When it cannot be reached or does not have it.
    pub fn web(&self, url: &str, authorization: Option<&str>) -> Result<WebFile<'_>> {
        Ok(self.engine.client()?.web(url, authorization)?)
    }

    /// Reads all of a file.
    ///
    /// # Errors
    /// When the connection breaks or the disk is full.
    pub fn download(&self, mut from: WebFile<'_>, watch: &dyn Watch) -> Result<Downloaded> {
        let writing = |source: std::io::Error| Error::Write { what: "a download".to_owned(), source };
        let dir = self.engine.settings().root.join("ingest");
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(&dir, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| writing(errno.into()))?;
        let (mut file, mut hasher, mut size_bytes) = (File::from(file), Hasher::sha256(), 0);
        while let Some(chunk) = from.chunk()? {
            if watch.cancelled() {
                return Err(Error::Cancelled);
            }
            hasher.update(&chunk);
            size_bytes += chunk.len() as u64;
            file.write_all(&chunk).map_err(writing)?;
        }
        file.seek(SeekFrom::Start(0)).map_err(writing)?;
        Ok(Downloaded { file, size_bytes, digest: hasher.finish() })
    }

    /// Makes an empty directory, and removes those that killed builds left.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work_dir(&self) -> Result<WorkDir> {
        let home = self.engine.settings().root.join("build/work");
        durable::create_dirs(&home, 0o700)?;
        for entry in std::fs::read_dir(&home).map_err(FileError::at("list", &home))? {
            let path = entry.map_err(FileError::at("list", &home))?.path();
            if path.extension().is_some_and(|extension| extension == "lock")
                && let Some(lock) = take(&path)?
            {
                WorkDir { path: path.with_extension(""), lock }.remove()?;
            }
        }
        let path = home.join(strata_sys::random::hex::<8>());
        let lock = take(&path.with_extension("lock"))?
            .ok_or_else(|| FileError::at("lock", &path)(std::io::ErrorKind::ResourceBusy.into()))?;
        durable::create_dirs(&path, 0o700)?;
        Ok(WorkDir { path, lock })
    }
}

impl WorkDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it. If it is dropped, the next build does.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(self) -> Result<()> {
        durable::remove(&self.path)?;
        let path = self.lock.path().to_owned();
        Ok(self.lock.remove().map_err(FileError::at("remove", &path))?)
    }
}

fn take(path: &Path) -> Result<Option<Lock>> {
    Ok(Lock::take(path, lock::Mode::Exclusive).map_err(FileError::at("lock", path))?)
}
