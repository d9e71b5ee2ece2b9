//! The index of a layer, which may be compressed (docs/decisions/0038).
//!
//! ```text
//! layers/erofs/<id>/
//!   index.erofs      what is mounted
//!   index.zst        in its place in a layer that is little else than its index, until it is first mounted
//! ```
//!
//! Whoever mounts the layer unpacks its index, and that stays. If both are there, somebody was interrupted: the first counts.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;
use strata_layer::erofs::{Image, unpack_index};
use strata_sys::{durable, failpoint};

use super::INDEX;
use crate::staging::Staging;
use crate::{Error, Result};

const PACKED: &str = "index.zst";
/// Smaller ones are left as they are.
const PACKED_BYTES_MIN: u64 = 64 << 10;
/// An index is compressed if what its tar has of its own is less than so many times as large.
const OWN_RATIO_MAX: u64 = 4;

/// Writes the index of a layer whose own tar has so many bytes; it is the caller's to sync it.
pub(super) fn write(layer: &Path, index: &Image, own_bytes: u64) -> Result<(PathBuf, File)> {
    let is_packed = index.size_bytes() >= PACKED_BYTES_MIN && own_bytes < index.size_bytes() * OWN_RATIO_MAX;
    let path = layer.join(if is_packed { PACKED } else { INDEX });
    let mut file = BufWriter::new(File::create_new(&path).map_err(Error::at("create", &path))?);
    if is_packed {
        index.write_packed(&mut file)?;
    } else {
        index.write_to(&mut file)?;
    }
    let file = file.into_inner().map_err(|error| Error::at("write", &path)(error.into_error()))?;
    Ok((path, file))
}

/// Opens a layer's index to look into it. One that is compressed is unpacked into memory.
pub(super) fn open(layer: &Path) -> Result<File> {
    let path = layer.join(INDEX);
    let there = |opened: io::Result<File>| match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(Error::at("open", &path)),
    };
    if let Some(file) = there(File::open(&path))? {
        return Ok(file);
    }
    if let Some(packed) = there(File::open(layer.join(PACKED)))? {
        let memory = rustix::fs::memfd_create("layer index", MemfdFlags::CLOEXEC);
        let mut memory = File::from(memory.map_err(Error::at("unpack", &path))?);
        unpack_index(packed, &mut memory)?;
        memory.rewind().map_err(Error::at("unpack", &path))?;
        return Ok(memory);
    }
    // Somebody may just have unpacked it.
    File::open(&path).map_err(Error::at("open", &path))
}

/// Where a layer's index is that can be mounted; unpacks it if it is compressed. Nothing is ever put in the place of one that is
/// there: it may be mounted.
pub(super) fn unpacked(layer: &Path) -> Result<PathBuf> {
    let path = layer.join(INDEX);
    let packed = match File::open(layer.join(PACKED)) {
        Ok(packed) if !path.exists() => packed,
        // What is missing altogether is told by whoever mounts it.
        _ => return Ok(path),
    };
    let new = Staging::new(layer.parent().unwrap_or(layer))?;
    let staged = new.path().join(INDEX);
    let mut file = File::create_new(&staged).map_err(Error::at("create", &staged))?;
    unpack_index(packed, &mut file)?;
    let written = file.flush().and_then(|()| file.sync_data());
    written.map_err(Error::at("write", &staged))?;
    drop(file);
    super::seal(&staged)?;
    failpoint!("snapshot.index.unpacked");
    match std::fs::hard_link(&staged, &path) {
        Ok(()) => durable::sync_dir(layer)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::at("link", &path)(error)),
    }
    failpoint!("snapshot.index.linked");
    tidy(layer)?;
    Ok(path)
}

/// Removes the compressed index beside one that can be mounted.
pub(super) fn tidy(layer: &Path) -> Result<()> {
    if layer.join(INDEX).exists() {
        durable::remove(&layer.join(PACKED))?;
    }
    Ok(())
}

/// Seals what can be mounted; a compressed index has a checksum.
pub(super) fn seal(layer: &Path) -> Result<()> {
    let path = layer.join(INDEX);
    if path.exists() { super::seal(&path) } else { Ok(()) }
}
