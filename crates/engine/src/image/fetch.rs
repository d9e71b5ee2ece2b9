//! One layer from a registry to the store, in one pass: network → partial download on disk → layer.

use std::io::{self, Read, Write as _};
use std::sync::Mutex;

use strata_store::records::LayerRecord;
use strata_store::{Begin, Ingest};
use strata_types::document::Descriptor;
use strata_types::reference::Reference;
use strata_types::{DiffId, ErrorClass, Watch};

use crate::layers::Keeper;
use crate::{Engine, Error, Result};

/// A layer that is to be fetched.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// Where from.
    pub(crate) reference: &'a Reference,
    /// Its compressed form.
    pub(crate) blob: &'a Descriptor,
    /// It and those below it, lowest first.
    pub(crate) layers: &'a [DiffId],
    /// Who is to keep it.
    pub(crate) keeper: Keeper,
}

impl Engine {
    /// Fetches one layer. What came so far stays when the network fails, so that the next attempt goes on from there.
    pub(crate) fn fetch_layer(&self, job: &Job<'_>, watch: &dyn Watch) -> Result<LayerRecord> {
        let begun = self.store().blobs().begin(&job.blob.digest, Some(job.blob.size), watch)?;
        // Whoever had the download before may have made the layer.
        if let Some(record) = self.layer_here(job)? {
            if let Begin::Write(ingest) = begun {
                ingest.discard()?;
            }
            watch.phase(&job.blob.digest, "Already exists");
            return Ok(record);
        }
        let record = match begun {
            Begin::Present => {
                let mut file = self.store().blobs().open(&job.blob.digest)?;
                let record = self.import_layer(job.keeper, job.layers, &mut file, watch)?;
                self.store().layers().put(&record)?;
                record
            }
            Begin::Write(ingest) => {
                let is_resumed = ingest.offset() > 0;
                match self.fetch_into(ingest, job, watch) {
                    // What a power failure left need not be what was written. It is discarded now: once more from zero.
                    Err(error) if is_resumed && is_doubtful(&error) => return self.fetch_layer(job, watch),
                    outcome => outcome?,
                }
            }
        };
        watch.phase(&job.blob.digest, "Pull complete");
        Ok(record)
    }

    fn fetch_into(&self, mut ingest: Ingest<'_>, job: &Job<'_>, watch: &dyn Watch) -> Result<LayerRecord> {
        let start = ingest.offset();
        let kept = ingest.reader()?.take(start);
        let rest = match start < job.blob.size {
            true => Some(self.client()?.blob(job.reference, job.blob, start)?),
            false => None,
        };
        watch.phase(&job.blob.digest, "Downloading");
        let trouble = Mutex::new(None);
        let mut tee =
            Tee { kept, rest, ingest: &mut ingest, blob: job.blob, done: 0, ended: false, trouble: &trouble, watch };
        let imported = self.import_layer(job.keeper, job.layers, &mut tee, watch);
        let imported = imported.map_err(|error| trouble.into_inner().expect("nobody panics with it").unwrap_or(error));
        match imported {
            Ok(record) => {
                // Whoever waits for the download looks for the record when it is gone.
                self.store().layers().put(&record)?;
                ingest.discard()?;
                Ok(record)
            }
            Err(error) => {
                // Bytes that are right so far are worth keeping; bytes that are wrong, or do not fit, are not.
                if !matches!(error.class(), ErrorClass::Unavailable | ErrorClass::Cancelled | ErrorClass::Denied) {
                    ingest.discard()?;
                }
                Err(error)
            }
        }
    }

    fn layer_here(&self, job: &Job<'_>) -> Result<Option<LayerRecord>> {
        let Some(diff_id) = job.layers.last() else { return Ok(None) };
        let known = self.store().layers().get(diff_id)?;
        Ok(if known.is_some() && self.is_kept(job.keeper, job.layers)? { known } else { None })
    }
}

/// Whether wrong bytes may be the cause: any nonsense can come out of decompressing them.
fn is_doubtful(error: &Error) -> bool {
    matches!(error.class(), ErrorClass::Corrupt | ErrorClass::InvalidInput | ErrorClass::Unsupported)
}

/// Reads what is on disk already, then the network; what comes from there goes to disk. At the end the whole must have
/// the announced size and digest, or reading fails: so nobody seals a layer before that is known.
struct Tee<'a, 'store, R> {
    kept: io::Take<std::fs::File>,
    rest: Option<R>,
    ingest: &'a mut Ingest<'store>,
    blob: &'a Descriptor,
    done: u64,
    ended: bool,
    /// The error as it was, for who gets to see only its shadow.
    trouble: &'a Mutex<Option<Error>>,
    watch: &'a dyn Watch,
}

impl<R: Read> Tee<'_, '_, R> {
    fn fail(&self, error: Error) -> io::Error {
        let shadow = io::Error::other(error.to_string());
        self.trouble.lock().expect("nobody panics with it").get_or_insert(error);
        shadow
    }

    fn end(&mut self) -> io::Result<usize> {
        if !self.ended {
            self.ended = true;
            self.watch.phase(&self.blob.digest, "Verifying Checksum");
            self.ingest.verify().map_err(|error| self.fail(error.into()))?;
            self.watch.phase(&self.blob.digest, "Download complete");
            self.watch.phase(&self.blob.digest, "Extracting");
        }
        Ok(0)
    }
}

impl<R: Read> Read for Tee<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.cancelled() {
            return Err(self.fail(Error::Cancelled));
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut count = self.kept.read(buffer)?;
        if count == 0
            && let Some(rest) = &mut self.rest
        {
            count = match rest.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => return Err(self.fail(from_network(error))),
            };
            if let Err(error) = self.ingest.write_all(&buffer[..count]) {
                return Err(self.fail(from_disk(error, self.blob)));
            }
        }
        if count == 0 {
            return self.end();
        }
        self.done += count as u64;
        self.watch.progress(&self.blob.digest, self.done, self.blob.size);
        Ok(count)
    }
}

/// The registry's own error, which travels inside that of reading.
fn from_network(error: io::Error) -> Error {
    match error.downcast::<strata_registry::Error>() {
        Ok(error) => error.into(),
        Err(error) => Error::Read { what: "the layer from the registry".to_owned(), source: error },
    }
}

/// The store's own error, or what the kernel said.
fn from_disk(error: io::Error, blob: &Descriptor) -> Error {
    match error.downcast::<strata_store::Error>() {
        Ok(error) => error.into(),
        Err(error) => Error::Write { what: format!("layer {} to the disk", blob.digest.short()), source: error },
    }
}
