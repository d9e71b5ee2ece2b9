//! Writing a recipe while its layer is applied.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use strata_types::DiffId;

use super::{CONTENT, END, FRAMING, FRAMING_BYTES, KEPT, KEPT_BYTES_MAX, MAGIC};
use crate::dir::Applier;
use crate::path::shown;
use crate::{Entry, Error, Extent, Kind, LayerSink, Result};

/// Applies a layer to a directory and writes its recipe at the same time, because content that one tar writes twice to
/// the same place has to be kept before it is gone.
pub struct Recorder<W: Write> {
    applier: Applier,
    recipe: Recipe<W>,
}

struct Recipe<W: Write> {
    out: zstd::stream::write::Encoder<'static, W>,
    framing: Vec<u8>,
    /// How many files there were.
    files: u64,
    /// Which file an inode holds, and which of its bytes.
    inodes: HashMap<u64, (u64, Vec<Extent>)>,
    kept_bytes: u64,
}

impl<W: Write + Send> Recorder<W> {
    /// Starts a recipe in `target` for what goes through `applier`.
    pub fn new(applier: Applier, target: W) -> Result<Self> {
        let mut out = zstd::stream::write::Encoder::new(target, 0).map_err(WRITE)?;
        out.include_checksum(true).map_err(WRITE)?;
        out.write_all(MAGIC).map_err(WRITE)?;
        let recipe = Recipe { out, framing: Vec::new(), files: 0, inodes: HashMap::new(), kept_bytes: 0 };
        Ok(Self { applier, recipe })
    }

    /// Completes the tree and the recipe of the layer whose tar has this digest.
    pub fn finish(self, diff_id: &DiffId) -> Result<W> {
        let Self { applier, mut recipe } = self;
        applier.finish()?;
        recipe.flush_framing()?;
        recipe.put(&[END])?;
        recipe.put(diff_id.to_string().as_bytes())?;
        recipe.out.finish().map_err(WRITE)
    }
}

impl<W: Write + Send> LayerSink for Recorder<W> {
    fn framing(&mut self, chunk: &[u8]) -> Result<()> {
        self.recipe.framing(chunk)
    }

    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        let Self { applier, recipe } = self;
        applier.apply(entry, &mut |inode, file| recipe.keep(inode, file, entry))?;
        applier.share(data_offset)?;
        match applier.current_file() {
            Some((inode, path)) if entry.packed_bytes() > 0 => recipe.content(inode, path, entry),
            _ => Ok(()),
        }
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> Result<()> {
        if self.applier.current_file().is_none() {
            // A whiteout with content, for example.
            return self.recipe.framing(chunk);
        }
        self.applier.data(offset, chunk)
    }

    fn end(&mut self) -> Result<()> {
        self.applier.end()
    }
}

const WRITE: fn(io::Error) -> Error = |source| Error::Io { act: "write the layer's recipe", source };

impl<W: Write> Recipe<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(WRITE)
    }

    fn framing(&mut self, chunk: &[u8]) -> Result<()> {
        for piece in chunk.chunks(FRAMING_BYTES) {
            if self.framing.len() + piece.len() > FRAMING_BYTES {
                self.flush_framing()?;
            }
            self.framing.extend_from_slice(piece);
        }
        Ok(())
    }

    fn flush_framing(&mut self) -> Result<()> {
        if self.framing.is_empty() {
            return Ok(());
        }
        let framing = std::mem::take(&mut self.framing);
        self.put(&[FRAMING])?;
        self.put(&(framing.len() as u32).to_le_bytes())?;
        self.put(&framing)?;
        self.framing = framing;
        self.framing.clear();
        Ok(())
    }

    fn content(&mut self, inode: u64, path: &[u8], entry: &Entry) -> Result<()> {
        let extents = match &entry.kind {
            Kind::File { sparse: Some(extents), .. } => extents.clone(),
            _ => vec![Extent { offset: 0, length: entry.packed_bytes() }],
        };
        self.flush_framing()?;
        self.put(&[CONTENT])?;
        // Paths have at most 4095 bytes, and limits on tars keep extents far below what fits.
        self.put(&(path.len() as u16).to_le_bytes())?;
        self.put(path)?;
        self.put(&(extents.len() as u32).to_le_bytes())?;
        for extent in &extents {
            self.put(&extent.offset.to_le_bytes())?;
            self.put(&extent.length.to_le_bytes())?;
        }
        self.inodes.insert(inode, (self.files, extents));
        self.files += 1;
        Ok(())
    }

    /// Keeps the content of a file that `entry` is about to replace, if this layer's tar needs it.
    fn keep(&mut self, inode: u64, file: OwnedFd, entry: &Entry) -> Result<()> {
        let Some((index, extents)) = self.inodes.remove(&inode) else { return Ok(()) };
        let length: u64 = extents.iter().map(|extent| extent.length).sum();
        self.kept_bytes += length;
        if self.kept_bytes > KEPT_BYTES_MAX {
            let what = "the size of files that are there twice";
            return Err(Error::Limit { entry: shown(entry.path.as_bytes()), what, limit: KEPT_BYTES_MAX });
        }
        self.flush_framing()?;
        self.put(&[KEPT])?;
        self.put(&index.to_le_bytes())?;
        self.put(&length.to_le_bytes())?;
        let file = File::from(file);
        let mut buffer = vec![0; FRAMING_BYTES];
        for extent in extents {
            let mut done = 0;
            while done < extent.length {
                let wanted = buffer.len().min(usize::try_from(extent.length - done).unwrap_or(usize::MAX));
                file.read_exact_at(&mut buffer[..wanted], extent.offset + done)
                    .map_err(|error| Error::file("read", &entry.path, error))?;
                self.put(&buffer[..wanted])?;
                done += wanted as u64;
            }
        }
        Ok(())
    }
}
