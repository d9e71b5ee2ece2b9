//! A layer in: decompressed, digested and taken apart at the same time.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use strata_types::{DiffId, Hasher, Watch};

use super::{CHUNK_BYTES, CHUNKS, Unpacked};
use crate::compress::Decoder;
use crate::tar::{Limits, Parser};
use crate::{Entry, Error, LayerSink, Result, Vendor};

/// Reads a layer, compressed or not, to its end and hands it to `sink` piece by piece. Reading and decompression happen
/// on this thread, the digest and the sink on two more; a small layer needs no threads. Verifies nothing but the
/// format: whoever knows the diff id compares.
pub fn unpack(source: &mut dyn Read, sink: &mut dyn LayerSink, limits: &Limits, watch: &dyn Watch) -> Result<Unpacked> {
    let mut input = Input { decoder: Decoder::new(Counted { source, bytes: 0 })?, tar_bytes: 0, limits, watch };
    let mut output = Output { parser: Parser::new(limits), sink: Measured { sink, content_bytes: 0 } };
    let mut first = Vec::new();
    let last = input.fill(&mut first)?;
    if last {
        output.take(&first)?;
        let mut hasher = Hasher::sha256();
        hasher.update(&first);
        return output.finish(hasher, input.tar_bytes);
    }
    thread::scope(|scope| {
        let (to_hasher, hasher_input) = sync_channel::<Vec<u8>>(CHUNKS);
        let (to_sink, sink_input) = sync_channel::<Vec<u8>>(CHUNKS);
        let (recycle, recycled) = sync_channel::<Vec<u8>>(CHUNKS);
        let hashing = scope.spawn(move || digest(hasher_input, to_sink));
        let sinking = scope.spawn(move || {
            for chunk in sink_input {
                output.take(&chunk)?;
                // Nobody takes it when reading is over.
                let _over = recycle.send(chunk);
            }
            Ok::<_, Error>(output)
        });
        let read = input.pump(first, to_hasher, recycled);
        let hasher = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let sunk = sinking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // An error of the sink makes reading stop without one of its own.
        let output = sunk?;
        read?;
        output.finish(hasher, input.tar_bytes)
    })
}

/// Passes chunks on and digests them.
fn digest(input: Receiver<Vec<u8>>, output: SyncSender<Vec<u8>>) -> Hasher {
    let mut hasher = Hasher::sha256();
    for chunk in input {
        hasher.update(&chunk);
        if output.send(chunk).is_err() {
            break;
        }
    }
    hasher
}

struct Input<'a> {
    decoder: Decoder<Counted<'a>>,
    tar_bytes: u64,
    limits: &'a Limits,
    watch: &'a dyn Watch,
}

impl Input<'_> {
    /// Sends everything from `chunk` on; stops without an error when nobody takes it.
    fn pump(&mut self, first: Vec<u8>, output: SyncSender<Vec<u8>>, recycled: Receiver<Vec<u8>>) -> Result<()> {
        let (mut chunk, mut last, mut made) = (first, false, 1);
        loop {
            if output.send(chunk).is_err() || last {
                return Ok(());
            }
            chunk = if made < CHUNKS {
                made += 1;
                Vec::new()
            } else {
                match recycled.recv() {
                    Ok(chunk) => chunk,
                    Err(_) => return Ok(()),
                }
            };
            last = self.fill(&mut chunk)?;
        }
    }

    /// Reads a whole chunk; true if the data ended.
    fn fill(&mut self, chunk: &mut Vec<u8>) -> Result<bool> {
        if self.watch.cancelled() {
            return Err(Error::Cancelled);
        }
        chunk.resize(CHUNK_BYTES, 0);
        let mut filled = 0;
        while filled < CHUNK_BYTES {
            match self.decoder.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read the layer")(error)),
            }
        }
        chunk.truncate(filled);
        self.tar_bytes += filled as u64;
        self.check()?;
        Ok(filled < CHUNK_BYTES)
    }

    /// Refuses data that unpacks to more than was agreed on.
    fn check(&self) -> Result<()> {
        let refuse = |what, limit| Error::Limit { entry: format!("byte {}", self.tar_bytes), what, limit };
        if self.tar_bytes > self.limits.tar_bytes {
            return Err(refuse("the size of the uncompressed layer", self.limits.tar_bytes));
        }
        let allowed = self.decoder.source().bytes.saturating_mul(self.limits.ratio);
        if self.tar_bytes > self.limits.ratio_free_bytes && self.tar_bytes > allowed {
            return Err(refuse("the ratio of its compression", self.limits.ratio));
        }
        Ok(())
    }
}

/// Counts what is read.
struct Counted<'a> {
    source: &'a mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

struct Output<'a> {
    parser: Parser<'a>,
    sink: Measured<'a>,
}

impl Output<'_> {
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        self.sink.sink.bytes(chunk)?;
        self.parser.feed(chunk, &mut self.sink)
    }

    fn finish(mut self, hasher: Hasher, tar_bytes: u64) -> Result<Unpacked> {
        self.parser.finish()?;
        let (content_bytes, entries) = (self.sink.content_bytes, self.parser.entries());
        Ok(Unpacked { diff_id: DiffId::new(hasher.finish()), tar_bytes, content_bytes, entries })
    }
}

/// Counts what passes through to a sink.
struct Measured<'a> {
    sink: &'a mut dyn LayerSink,
    content_bytes: u64,
}

impl LayerSink for Measured<'_> {
    fn framing(&mut self, chunk: &[u8]) -> Result<()> {
        self.sink.framing(chunk)
    }

    fn vendor(&mut self, records: &[Vendor]) -> Result<()> {
        self.sink.vendor(records)
    }

    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        self.content_bytes += entry.content_bytes();
        self.sink.entry(entry, data_offset)
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> Result<()> {
        self.sink.data(offset, chunk)
    }

    fn end(&mut self) -> Result<()> {
        self.sink.end()
    }
}
