//! The difference of two whole trees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use strata_types::Watch;

use super::{Change, ChangeKind};
use crate::pipeline::Pack;
use crate::{Entry, Error, Kind, LayerPath, Result, dir, whiteout};

type Tree = BTreeMap<LayerPath, Entry>;

/// Lists how the tree `new` differs from the tree `old`, sorted by path. Files are compared by their attributes, size and
/// time of change.
pub fn tree_changes(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> Result<Vec<Change>> {
    let changes = compare(&read(old)?, &read(new)?);
    let mut with_parents = changes.clone();
    for (path, _) in changes.iter().filter(|(_, kind)| **kind != ChangeKind::Changed) {
        if let Some(parent) = path.parent().filter(|parent| !parent.is_root()) {
            with_parents.entry(parent).or_insert(ChangeKind::Changed);
        }
    }
    Ok(with_parents.into_iter().map(|(path, kind)| Change { path, kind }).collect())
}

/// Packs the difference of two trees as a layer on top of `old` (`None`: of an empty tree).
pub fn pack_trees(
    old: Option<BorrowedFd<'_>>,
    new: BorrowedFd<'_>,
    packer: &mut dyn Pack,
    watch: &dyn Watch,
) -> Result<()> {
    let old = old.map(read).transpose()?.unwrap_or_default();
    let tree = read(new)?;
    let changes = compare(&old, &tree);
    let mut wanted = whole_groups(&tree, &changes);
    for path in wanted.clone().iter().chain(changes.keys()) {
        let mut above = path.parent();
        while let Some(dir) = above.filter(|dir| !dir.is_root()) {
            above = dir.parent();
            wanted.insert(dir);
        }
    }
    wanted.extend(changes.keys().cloned());
    for path in wanted {
        if watch.cancelled() {
            return Err(Error::Cancelled);
        }
        match tree.get(&path) {
            Some(entry) => packer.put(entry, open(new, entry)?.as_ref().map(|file| file.as_fd()))?,
            None if covered(&path, &tree, &changes) => {}
            None => {
                let when = old.get(&path).map(|entry| entry.mtime).unwrap_or_default();
                if let Some(gone) = whiteout::oci_file(&path, when)? {
                    packer.put(&gone, None)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether something gone was inside something that is itself gone or no directory any more.
fn covered(path: &LayerPath, new: &Tree, changes: &BTreeMap<LayerPath, ChangeKind>) -> bool {
    path.parent().filter(|parent| !parent.is_root()).is_some_and(|parent| {
        changes.get(&parent) == Some(&ChangeKind::Deleted) || new.get(&parent).is_none_or(|entry| !entry.is_dir())
    })
}

/// All names of each file of which one name is new or changed: a layer says that names are one file only if it has them all.
fn whole_groups(new: &Tree, changes: &BTreeMap<LayerPath, ChangeKind>) -> BTreeSet<LayerPath> {
    let first = |path: &LayerPath| match new.get(path).map(|entry| &entry.kind) {
        Some(Kind::Hardlink { target }) => target.clone(),
        _ => path.clone(),
    };
    let touched: BTreeSet<LayerPath> =
        changes.iter().filter(|(_, kind)| **kind != ChangeKind::Deleted).map(|(path, _)| first(path)).collect();
    new.keys()
        .filter(|path| new[*path].is_file() || is_link(&new[*path]))
        .filter(|path| touched.contains(&first(path)))
        .cloned()
        .collect()
}

fn is_link(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Hardlink { .. })
}

fn compare(old: &Tree, new: &Tree) -> BTreeMap<LayerPath, ChangeKind> {
    let mut changes = BTreeMap::new();
    for path in new.keys() {
        match old.get(path) {
            None => drop(changes.insert(path.clone(), ChangeKind::Added)),
            Some(_) if differs(file(old, path), file(new, path)) => {
                changes.insert(path.clone(), ChangeKind::Changed);
            }
            Some(_) => {}
        }
    }
    changes.extend(old.keys().filter(|path| !new.contains_key(*path)).map(|path| (path.clone(), ChangeKind::Deleted)));
    changes
}

/// What is at a path; for a second name, the file itself.
fn file<'t>(tree: &'t Tree, path: &LayerPath) -> Option<&'t Entry> {
    let entry = tree.get(path)?;
    match &entry.kind {
        Kind::Hardlink { target } => tree.get(target),
        _ => Some(entry),
    }
}

/// The time of a directory changes with its content, and is compared for itself too.
fn differs(old: Option<&Entry>, new: Option<&Entry>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return old.is_some() != new.is_some() };
    (&old.kind, old.mode, old.uid, old.gid, old.mtime, &old.xattrs)
        != (&new.kind, new.mode, new.uid, new.gid, new.mtime, &new.xattrs)
}

fn read(root: BorrowedFd<'_>) -> Result<Tree> {
    let mut tree = Tree::new();
    dir::walk(root, &mut |entry, _file| {
        tree.insert(entry.path.clone(), entry.clone());
        Ok(())
    })?;
    Ok(tree)
}

fn open(root: BorrowedFd<'_>, entry: &Entry) -> Result<Option<File>> {
    if !entry.is_file() {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let opened = strata_sys::resolve::open(root, entry.path.as_bytes(), flags, Mode::empty(), resolve);
    Ok(Some(opened.map_err(|error| Error::file("open", &entry.path, error))?.into()))
}
