//! What an overlay's upper directory says.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use strata_types::Watch;

use super::{Change, ChangeKind, Lower};
use crate::pipeline::Pack;
use crate::whiteout::{self, UpperMark};
use crate::{Entry, Error, LayerPath, Result, dir};

/// Packs the upper directory of an overlay as a layer: marks become whiteouts of the tar, attributes of overlayfs vanish.
///
/// The root itself is left out, as Docker does, and so are directories that are as they are below and hold no change.
pub fn pack_upper(upper: BorrowedFd<'_>, lower: &Lower<'_>, packer: &mut dyn Pack, watch: &dyn Watch) -> Result<()> {
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
            packer.put(&dir, None)?;
        }
        match mark {
            UpperMark::Whiteout => match whiteout::oci_file(&entry.path, entry.mtime)? {
                Some(gone) => packer.put(&gone, None),
                None => Ok(()),
            },
            UpperMark::Opaque => {
                packer.put(&without_marks(entry), None)?;
                packer.put(&whiteout::oci_opaque(&entry.path, entry.mtime)?, None)
            }
            UpperMark::Plain => packer.put(&without_marks(entry), file),
        }
    })
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
pub(super) fn same_dir(entry: &Entry, below: &Entry) -> bool {
    let mut below = without_marks(below);
    below.path = entry.path.clone();
    entry.is_dir() && without_marks(entry) == below
}
