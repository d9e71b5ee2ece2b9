//! What an overlay's upper directory says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use strata_types::Watch;

use super::{Change, ChangeKind, Lower};
use crate::pipeline::Packer;
use crate::whiteout::{self, UpperMark};
use crate::{Entry, Error, LayerPath, Result, dir};

/// Packs the upper directory of an overlay as a layer: marks become whiteouts of the tar, attributes of overlayfs vanish.
///
/// The root itself is left out, as Docker does, and so are directories that are as they are below and hold no change.
pub fn pack_upper(upper: BorrowedFd<'_>, lower: &Lower<'_>, packer: &mut Packer<'_>, watch: &dyn Watch) -> Result<()> {
    // Directories, the outermost first, that are packed only when something in them is.
    let mut held: Vec<Entry> = Vec::new();
    dir::walk(upper, &mut |entry, file| {
        if watch.cancelled() {
            return Err(Error::Cancelled);
        }
        held.retain(|dir| entry.path.is_below(&dir.path));
        let mark = whiteout::upper_mark(entry);
        if mark == UpperMark::Plain
            && entry.is_dir()
            && lower(&entry.path)?.is_some_and(|below| same_dir(entry, &below))
        {
            held.push(without_marks(entry));
            return Ok(());
        }
        for dir in held.drain(..) {
            packer.add(&dir, &mut io::empty())?;
        }
        match mark {
            UpperMark::Whiteout => match whiteout::oci_file(&entry.path, entry.mtime)? {
                Some(gone) => packer.add(&gone, &mut io::empty()),
                None => Ok(()),
            },
            UpperMark::Opaque => {
                packer.add(&without_marks(entry), &mut io::empty())?;
                packer.add(&whiteout::oci_opaque(&entry.path, entry.mtime)?, &mut io::empty())
            }
            UpperMark::Plain => add(packer, &without_marks(entry), file),
        }
    })
}

/// Adds an entry with the content of its open file, if it is one.
pub(super) fn add(packer: &mut Packer<'_>, entry: &Entry, file: Option<BorrowedFd<'_>>) -> Result<()> {
    match file {
        Some(file) if entry.is_file() => {
            let file = file.try_clone_to_owned().map_err(|error| Error::file("read", &entry.path, error))?;
            packer.add(entry, &mut File::from(file))
        }
        _ => packer.add(entry, &mut io::empty()),
    }
}

fn without_marks(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    entry.xattrs.retain(|xattr| !whiteout::is_overlay_xattr(&xattr.name));
    entry
}

/// Lists what an upper directory changes, sorted by path. Directories that are there only to hold a change are left
/// out unless their attributes differ from what is below, or something was added to or removed from them, as Docker does.
pub fn upper_changes(upper: BorrowedFd<'_>, lower: &Lower<'_>) -> Result<Vec<Change>> {
    let mut changes: BTreeMap<LayerPath, ChangeKind> = BTreeMap::new();
    dir::walk(upper, &mut |entry, _file| {
        let kind = match (whiteout::upper_mark(entry), lower(&entry.path)?) {
            (UpperMark::Whiteout, None) => return Ok(()),
            (UpperMark::Whiteout, Some(_)) => ChangeKind::Deleted,
            (_, None) => ChangeKind::Added,
            (UpperMark::Plain, Some(below)) if same_dir(entry, &below) => return Ok(()),
            (_, Some(_)) => ChangeKind::Changed,
        };
        if let (ChangeKind::Added | ChangeKind::Deleted, Some(parent)) = (kind, entry.path.parent())
            && !parent.is_root()
        {
            changes.entry(parent).or_insert(ChangeKind::Changed);
        }
        changes.insert(entry.path.clone(), kind);
        Ok(())
    })?;
    Ok(changes.into_iter().map(|(path, kind)| Change { path, kind }).collect())
}

/// Whether a directory was only copied up.
fn same_dir(entry: &Entry, below: &Entry) -> bool {
    let mut below = without_marks(below);
    below.path = entry.path.clone();
    entry.is_dir() && without_marks(entry) == below
}
