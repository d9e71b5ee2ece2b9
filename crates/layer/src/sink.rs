//! Where a layer goes while it is read or written.

use crate::{Entry, Result, Vendor};

/// Takes a layer in one pass. All methods but [`entry`](Self::entry) do nothing unless implemented.
///
/// `bytes` gives the whole tar. `framing`, `entry`, `data` and `end` give the same tar taken apart, in its order, but
/// `bytes` may run ahead of them or lag behind. `data` and `end` are called for regular files only, `end` also for empty
/// ones. After an error nothing more is called. It is `Send` because it runs on a thread of its own beside decompression.
pub trait LayerSink: Send {
    /// Takes the next bytes of the tar as they are; all of them together have the digest of the diff id.
    fn bytes(&mut self, chunk: &[u8]) -> Result<()> {
        let _ = chunk;
        Ok(())
    }

    /// Takes the next bytes of the tar that are not content of a file: headers, padding, trailers.
    fn framing(&mut self, chunk: &[u8]) -> Result<()> {
        let _ = chunk;
        Ok(())
    }

    /// Takes what the tar says about the next entry in Windows' words, if it says anything.
    fn vendor(&mut self, records: &[Vendor]) -> Result<()> {
        let _ = records;
        Ok(())
    }

    /// Takes an entry whose content, if it is a file with any, begins at `data_offset` in the tar.
    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()>;

    /// Takes content of the last entry that belongs at `offset` in the file. Holes are not mentioned.
    fn data(&mut self, offset: u64, chunk: &[u8]) -> Result<()> {
        let _ = (offset, chunk);
        Ok(())
    }

    /// Takes note that the last entry's content is complete.
    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Both get everything, the first one first.
impl<A: LayerSink, B: LayerSink> LayerSink for (A, B) {
    fn bytes(&mut self, chunk: &[u8]) -> Result<()> {
        self.0.bytes(chunk)?;
        self.1.bytes(chunk)
    }

    fn framing(&mut self, chunk: &[u8]) -> Result<()> {
        self.0.framing(chunk)?;
        self.1.framing(chunk)
    }

    fn vendor(&mut self, records: &[Vendor]) -> Result<()> {
        self.0.vendor(records)?;
        self.1.vendor(records)
    }

    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        self.0.entry(entry, data_offset)?;
        self.1.entry(entry, data_offset)
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> Result<()> {
        self.0.data(offset, chunk)?;
        self.1.data(offset, chunk)
    }

    fn end(&mut self) -> Result<()> {
        self.0.end()?;
        self.1.end()
    }
}

impl<S: LayerSink + ?Sized> LayerSink for &mut S {
    fn bytes(&mut self, chunk: &[u8]) -> Result<()> {
        (**self).bytes(chunk)
    }

    fn framing(&mut self, chunk: &[u8]) -> Result<()> {
        (**self).framing(chunk)
    }

    fn vendor(&mut self, records: &[Vendor]) -> Result<()> {
        (**self).vendor(records)
    }

    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        (**self).entry(entry, data_offset)
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> Result<()> {
        (**self).data(offset, chunk)
    }

    fn end(&mut self) -> Result<()> {
        (**self).end()
    }
}
