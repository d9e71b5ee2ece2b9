//! Blobs: bytes that are named by their digest.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use strata_sys::durable::FileError;
use strata_types::{Algorithm, Digest, Hasher, Silent, Watch};

use crate::{Begin, Error, Ingest, Result, Store, ingest};

/// How much of a file is read at once: large enough that the hash, not the call, is what takes time.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// The blobs of a store.
#[derive(Clone, Copy, Debug)]
pub struct Blobs<'a> {
    store: &'a Store,
}

impl<'a> Blobs<'a> {
    pub(crate) const fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Whether a blob is here, whole.
    pub fn has(&self, digest: &Digest) -> Result<bool> {
        Ok(self.size(digest)?.is_some())
    }

    /// How long a blob is; none if it is not here.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        length(&self.path(digest))
    }

    /// Opens a blob for reading. What is read is as it was when it was written, unless the disk changed it: readers of
    /// large blobs verify the digest as they go.
    pub fn open(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::BlobMissing(digest.clone())),
            Err(error) => Err(FileError::at("open", &path)(error).into()),
        }
    }

    /// Reads a blob of at most `limit_bytes` and verifies its digest.
    pub fn read_small(&self, digest: &Digest, limit_bytes: u64) -> Result<Vec<u8>> {
        let path = self.path(digest);
        let file = self.open(digest)?;
        let size_bytes = file.metadata().map_err(FileError::at("look at", &path))?.len();
        if size_bytes > limit_bytes {
            return Err(Error::TooLarge { digest: digest.clone(), size_bytes, limit_bytes });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or(0) + 1);
        file.take(limit_bytes).read_to_end(&mut bytes).map_err(FileError::at("read", &path))?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let found = hasher.finish();
        if found == *digest { Ok(bytes) } else { Err(Error::BlobDamaged { expected: digest.clone(), found }) }
    }

    /// Stores bytes durably under their SHA-256 digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::sha256(bytes);
        if let Begin::Write(mut ingest) = self.begin(&digest, Some(bytes.len() as u64), &Silent)? {
            // What somebody left there may be a part of the same bytes: only the rest is missing.
            let here = usize::try_from(ingest.offset()).unwrap_or(usize::MAX).min(bytes.len());
            let written = ingest.write_all(&bytes[here..]);
            written.map_err(FileError::at("write", &self.path(&digest)))?;
            ingest.commit()?;
        }
        Ok(digest)
    }

    /// Begins to write a blob, where somebody left off if they died; waits while another process writes it and then
    /// finds it present. `size_bytes` is a limit, too.
    pub fn begin(&self, digest: &Digest, size_bytes: Option<u64>, watch: &dyn Watch) -> Result<Begin<'a>> {
        Ingest::begin(self.store, digest, size_bytes, watch)
    }

    /// How many bytes are here of a blob that was begun and is not complete; 0 if it was not.
    pub fn begun_bytes(&self, digest: &Digest) -> Result<u64> {
        Ok(length(&ingest::path(self.store, digest))?.unwrap_or(0))
    }

    /// Removes a blob; says whether it was there. Only for what no record names: see [`Store::gc`].
    pub fn remove(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        Ok(self.store.disk.remove_file(&path).map_err(FileError::at("remove", &path))?)
    }

    /// The digests of all blobs. Files that are none are passed over.
    pub fn list(&self) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = self.store.dir("blobs").join(algorithm.name());
            for name in names(&dir)? {
                digests.extend(format!("{}:{name}", algorithm.name()).parse::<Digest>());
            }
        }
        digests.sort_unstable();
        Ok(digests)
    }

    /// Reads a whole blob; the digest of what is there, none if it is missing.
    pub(crate) fn rehash(&self, digest: &Digest) -> Result<Option<Digest>> {
        match self.open(digest) {
            Ok(file) => {
                let mut hasher = Hasher::new(digest.algorithm());
                hash(&file, &mut hasher).map_err(FileError::at("read", &self.path(digest)))?;
                Ok(Some(hasher.finish()))
            }
            Err(Error::BlobMissing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.store.dir("blobs").join(digest.algorithm().name()).join(digest.hex())
    }
}

/// Hashes a file from where it is to its end; says how many bytes that were.
pub(crate) fn hash(mut file: &File, hasher: &mut Hasher) -> std::io::Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0;
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                hasher.update(&chunk[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How long a file is; none if there is none.
fn length(path: &Path) -> Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::at("look at", path)(error).into()),
    }
}

/// The names in a directory, in order; none if it is not there. Names that are not UTF-8 are none of ours.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::at("list", dir)(error).into()),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::at("list", dir))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
