//! Ingests: blobs on their way in.
//!
//! `ingest/<algorithm>-<hex>` holds what came so far and is flock'd by who writes it. It survives `kill -9`: the next one
//! hashes what is there and goes on. Under `blobs/` it appears only whole, verified and synced.

use std::fs::File;
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use strata_sys::durable::{DiskFile, Durability, FileError, place};
use strata_sys::failpoint;
use strata_sys::lock::{self, Mode};
use strata_types::{Digest, Hasher, Watch};

use crate::blobs::hash;
use crate::{Error, Result, Store};

/// How often somebody who waits for another process's ingest asks again, and whether to give up.
const WAIT: Duration = Duration::from_millis(25);

/// What became of the wish to write a blob.
#[derive(Debug)]
pub enum Begin<'a> {
    /// It is here already.
    Present,
    /// Write it, from [`Ingest::offset`] on.
    Write(Ingest<'a>),
}

/// A blob on its way in. Dropping it keeps what came so far, for the next one to go on.
#[derive(Debug)]
pub struct Ingest<'a> {
    store: &'a Store,
    digest: Digest,
    size_bytes: Option<u64>,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    hasher: Hasher,
    offset: u64,
}

impl<'a> Ingest<'a> {
    pub(crate) fn begin(
        store: &'a Store,
        digest: &Digest,
        size_bytes: Option<u64>,
        watch: &dyn Watch,
    ) -> Result<Begin<'a>> {
        let path = path(store, digest);
        loop {
            if is_present(store, digest, size_bytes)? {
                return present(store, digest);
            }
            let file = store.disk.append(&path, 0o600).map_err(FileError::at("create", &path))?;
            if !lock::take(file.file(), Mode::Exclusive).map_err(FileError::at("lock", &path))? {
                if watch.cancelled() {
                    return Err(Error::Cancelled);
                }
                strata_sys::clock::pause(WAIT);
                continue;
            }
            // Whoever had the lock before may have committed or discarded it: then this file has lost its name.
            if !lock::names(&path, file.file()).map_err(FileError::at("look at", &path))? {
                continue;
            }
            if is_present(store, digest, size_bytes)? {
                store.disk.remove_file(&path).map_err(FileError::at("remove", &path))?;
                return present(store, digest);
            }
            return Self::resume(store, digest, size_bytes, path, file).map(Begin::Write);
        }
    }

    fn resume(
        store: &'a Store,
        digest: &Digest,
        size_bytes: Option<u64>,
        path: PathBuf,
        file: Box<dyn DiskFile>,
    ) -> Result<Self> {
        let mut hasher = Hasher::new(digest.algorithm());
        let mut offset = hash(file.file(), &mut hasher).map_err(FileError::at("read", &path))?;
        if size_bytes.is_some_and(|size| offset > size) {
            file.set_len(0).map_err(FileError::at("truncate", &path))?;
            (hasher, offset) = (Hasher::new(digest.algorithm()), 0);
        }
        Ok(Self { store, digest: digest.clone(), size_bytes, path, file, hasher, offset })
    }

    /// How many bytes are here: write what follows them.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads what is here from the beginning, independent of writing.
    pub fn reader(&self) -> Result<File> {
        Ok(File::open(&self.path).map_err(FileError::at("open", &self.path))?)
    }

    /// Forgets what is here and begins anew: for a source that cannot go on in the middle.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(FileError::at("truncate", &self.path))?;
        self.hasher = Hasher::new(self.digest.algorithm());
        self.offset = 0;
        Ok(())
    }

    /// Checks that all that was announced is here and has the right digest.
    pub fn verify(&self) -> Result<()> {
        if let Some(expected_bytes) = self.size_bytes.filter(|size| *size != self.offset) {
            return Err(self.wrong_size(expected_bytes, self.offset));
        }
        let found = self.hasher.clone().finish();
        if found == self.digest { Ok(()) } else { Err(Error::WrongDigest { expected: self.digest.clone(), found }) }
    }

    /// Makes the blob visible, durably. What is too short stays, to be gone on with; what is wrong is removed.
    pub fn commit(self) -> Result<()> {
        if let Err(error) = self.verify() {
            if matches!(error, Error::WrongDigest { .. }) {
                self.discard()?;
            }
            return Err(error);
        }
        failpoint!("store.blob.before-sync");
        self.file.sync().map_err(FileError::at("sync", &self.path)).map_err(|error| self.give_back(error))?;
        failpoint!("store.blob.before-rename");
        let blob = self.store.blobs().path(&self.digest);
        place(&*self.store.disk, &self.path, &blob, Durability::Durable).map_err(|error| self.give_back(error))?;
        failpoint!("store.blob.after-rename");
        Ok(())
    }

    /// Removes what came so far: it was used elsewhere, or is of no use.
    pub fn discard(self) -> Result<()> {
        self.store.disk.remove_file(&self.path).map_err(FileError::at("remove", &self.path))?;
        Ok(())
    }

    /// Passes an error on; when it says that the disk is full, also gives back what the ingest took.
    fn give_back(&self, error: FileError) -> FileError {
        if is_full(&error.source) {
            self.remove_quietly();
        }
        error
    }

    fn remove_quietly(&self) {
        if let Err(error) = self.store.disk.remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an ingest from a full disk");
        }
    }

    fn wrong_size(&self, expected_bytes: u64, found_bytes: u64) -> Error {
        Error::WrongSize { digest: self.digest.clone(), expected_bytes, found_bytes }
    }
}

impl Write for Ingest<'_> {
    /// Appends to what is here. Fails with [`Error::WrongSize`] inside when more comes than was announced. When the disk
    /// is full, what came so far is removed: a part of a blob that does not fit helps nobody.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let after = self.offset + bytes.len() as u64;
        if let Some(size) = self.size_bytes.filter(|size| after > *size) {
            return Err(io::Error::new(ErrorKind::InvalidData, self.wrong_size(size, after)));
        }
        let count = self.file.write(bytes).inspect_err(|error| {
            if is_full(error) {
                self.remove_quietly();
            }
        })?;
        self.hasher.update(&bytes[..count]);
        self.offset += count as u64;
        failpoint!("store.ingest.written");
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Where a blob is while it comes.
pub(crate) fn path(store: &Store, digest: &Digest) -> PathBuf {
    store.dir("ingest").join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
}

/// An ingest that nobody writes to: how long it is and when it was last written; none while somebody does.
pub(crate) fn abandoned(path: &Path) -> io::Result<Option<(File, std::fs::Metadata)>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !lock::take(&file, Mode::Exclusive)? || !lock::names(path, &file)? {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0))?;
    let metadata = file.metadata()?;
    Ok(Some((file, metadata)))
}

fn is_present(store: &Store, digest: &Digest, size_bytes: Option<u64>) -> Result<bool> {
    let here = store.blobs().size(digest)?;
    Ok(here.is_some_and(|here| size_bytes.is_none_or(|size| size == here)))
}

/// Whoever put the blob here may have died before its name was durable, and the caller is about to rely on it.
fn present<'a>(store: &Store, digest: &Digest) -> Result<Begin<'a>> {
    let dir = store.dir("blobs").join(digest.algorithm().name());
    store.disk.sync_dir(&dir).map_err(FileError::at("sync", &dir))?;
    Ok(Begin::Present)
}

fn is_full(error: &io::Error) -> bool {
    strata_sys::durable::class_of(error) == strata_types::ErrorClass::Exhausted
}
