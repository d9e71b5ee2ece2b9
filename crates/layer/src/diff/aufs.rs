//! What the writable branch of an aufs says. Its marks are files named as in tars; they are all one file with many names.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use strata_types::Watch;

use super::upper::same_dir;
use super::{Change, ChangeKind, Lower};
use crate::pipeline::Pack;
use crate::whiteout::{self, Meaning};
use crate::{Entry, Error, LayerPath, Result, dir};

/// Whether a name in a branch is of the tree, or a mark that something is gone: its bookkeeping (`.wh..wh.aufs`, the hard
/// links of `.wh..wh.plnk`, the removed in `.wh..wh.orph`) is neither.
fn is_kept(path: &LayerPath) -> bool {
    !matches!(whiteout::meaning(path), Ok(Meaning::Ignored))
}

/// Packs a branch as a layer, like [`pack_upper`](super::pack_upper).
pub fn pack_branch(branch: BorrowedFd<'_>, lower: &Lower<'_>, packer: &mut dyn Pack, watch: &dyn Watch) -> Result<()> {
    // Directories, the outermost first, that are packed only when something in them is.
    let mut held: Vec<Entry> = Vec::new();
    dir::walk_where(branch, &is_kept, &mut |entry, file| {
        if watch.cancelled() {
            return Err(Error::Cancelled);
        }
        held.retain(|dir| entry.path.is_below(&dir.path));
        let meaning = whiteout::meaning(&entry.path)?;
        let is_copied_up = entry.is_dir() && lower(&entry.path)?.is_some_and(|below| same_dir(entry, &below));
        if meaning == Meaning::Plain && is_copied_up {
            held.push(entry.clone());
            return Ok(());
        }
        for dir in held.drain(..) {
            packer.put(&dir, None)?;
        }
        match meaning {
            Meaning::Plain => packer.put(entry, file),
            Meaning::Removes(path) => match whiteout::oci_file(&path, entry.mtime)? {
                Some(gone) => packer.put(&gone, None),
                None => Ok(()),
            },
            Meaning::Opaque(dir) => packer.put(&whiteout::oci_opaque(&dir, entry.mtime)?, None),
            Meaning::Ignored => Ok(()),
        }
    })
}

/// Lists what a branch changes, like [`upper_changes`](super::upper_changes).
pub fn branch_changes(branch: BorrowedFd<'_>, lower: &Lower<'_>) -> Result<Vec<Change>> {
    let mut changes: BTreeMap<LayerPath, ChangeKind> = BTreeMap::new();
    dir::walk_where(branch, &is_kept, &mut |entry, _file| {
        let (path, kind) = match whiteout::meaning(&entry.path)? {
            Meaning::Ignored => return Ok(()),
            Meaning::Removes(path) if lower(&path)?.is_none() => return Ok(()),
            Meaning::Removes(path) => (path, ChangeKind::Deleted),
            Meaning::Opaque(dir) if lower(&dir)?.is_none() => return Ok(()),
            Meaning::Opaque(dir) => (dir, ChangeKind::Changed),
            Meaning::Plain => match lower(&entry.path)? {
                None => (entry.path.clone(), ChangeKind::Added),
                Some(below) if same_dir(entry, &below) => return Ok(()),
                Some(_) => (entry.path.clone(), ChangeKind::Changed),
            },
        };
        if let (ChangeKind::Added | ChangeKind::Deleted, Some(parent)) = (kind, path.parent())
            && !parent.is_root()
        {
            changes.entry(parent).or_insert(ChangeKind::Changed);
        }
        changes.insert(path, kind);
        Ok(())
    })?;
    Ok(changes.into_iter().map(|(path, kind)| Change { path, kind }).collect())
}
