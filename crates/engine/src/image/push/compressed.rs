//! A layer compressed for a push, in a file without a name: it vanishes with the process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Mode, OFlags};
use strata_layer::compress::{Encoder, Format, Settings};
use strata_registry::BlobSource;
use strata_types::document::Descriptor;
use strata_types::{DiffId, Digest, Hasher, Watch, media};

use crate::{Engine, Error, Result};

/// The level of gzip: what Docker uses is 6; 5 costs a third less and is hardly larger.
const LEVEL: i32 = 5;

/// How much of a layer is handed to the compressor at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// A compressed layer.
#[derive(Debug)]
pub(crate) struct Compressed {
    file: File,
    blob: Descriptor,
}

impl Compressed {
    /// Compresses the uppermost of `layers`.
    pub(crate) fn make(engine: &Engine, layers: &[DiffId], watch: &dyn Watch) -> Result<Self> {
        let dir = engine.settings().root.join("ingest");
        let file = rustix::fs::open(&dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(|source| Error::Write {
            what: "a temporary file in the store".to_owned(),
            source: source.into(),
        })?);
        let target = Hashing { file, hasher: Hasher::sha256(), written: 0 };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = Settings { format: Format::Gzip, level: Some(LEVEL), threads };
        let mut encoder = Encoder::new(target, settings)?;
        let mut tar = engine.layer_tar(layers)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            if watch.cancelled() {
                return Err(Error::Cancelled);
            }
            let count = tar.reader.read(&mut chunk).map_err(reading)?;
            if count == 0 {
                break;
            }
            encoder.write_all(&chunk[..count]).map_err(writing)?;
        }
        let Hashing { file, hasher, written } = encoder.finish()?;
        let blob = Descriptor::new(media::OCI_LAYER_GZIP, hasher.finish(), written);
        Ok(Self { file, blob })
    }

    /// What it is.
    pub(crate) const fn descriptor(&self) -> &Descriptor {
        &self.blob
    }
}

fn reading(source: io::Error) -> Error {
    Error::Read { what: "a layer".to_owned(), source }
}

fn writing(source: io::Error) -> Error {
    Error::Write { what: "a compressed layer".to_owned(), source }
}

impl BlobSource for Compressed {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(At { file: &self.file, offset }))
    }
}

/// Reads a file from an offset of its own, so that several can.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Writes to a file and hashes what it wrote.
struct Hashing {
    file: File,
    hasher: Hasher,
    written: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Bytes at hand.
pub(crate) struct InMemory(pub(crate) Vec<u8>);

impl BlobSource for InMemory {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(Box::new(&self.0[start..]))
    }
}

/// Shows a blob's progress under its layer's id, as Docker does.
pub(super) struct Renamed<'a> {
    pub(super) item: &'a Digest,
    pub(super) watch: &'a dyn Watch,
}

impl Watch for Renamed<'_> {
    fn phase(&self, _item: &Digest, phase: &str) {
        self.watch.phase(self.item, phase);
    }

    fn progress(&self, _item: &Digest, done_bytes: u64, total_bytes: u64) {
        self.watch.progress(self.item, done_bytes, total_bytes);
    }

    fn say(&self, line: &str) {
        self.watch.say(line);
    }

    fn cancelled(&self) -> bool {
        self.watch.cancelled()
    }
}

/// Shows nothing: for blobs that are no layers.
pub(crate) struct Unseen<'a>(pub(crate) &'a dyn Watch);

impl Watch for Unseen<'_> {
    fn phase(&self, _item: &Digest, _phase: &str) {}
    fn progress(&self, _item: &Digest, _done_bytes: u64, _total_bytes: u64) {}
    fn say(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
