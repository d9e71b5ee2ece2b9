//! What becomes of a tar that others borrow of when its own layer goes (docs/decisions/0008 and 0009).

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use strata_layer::lending::BLOCK_BYTES;
use strata_sys::lock::{Lock, Mode, is_open_here_only};
use strata_sys::{durable, failpoint, verity};
use strata_types::ErrorClass;

use super::lending::{borrowed, lock_path, make_hole, tars};
use super::{INDEX, TAR};
use crate::snapshots::names;
use crate::staging::Staging;
use crate::{Error, Result};

/// What has to be known of a layer that shares bytes with others before it goes; of none, what others could not give back.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// Its index, and those of runs that it is in: what somebody sees of it, they see through these.
    indexes: Vec<File>,
    /// The tars that it has, by inode.
    tars: HashSet<u64>,
}

/// Looks at a layer that is about to be removed; nothing if it shares no bytes.
pub(super) fn leaving(layer: &Path, runs: &[PathBuf]) -> Result<Option<Leaving>> {
    let mut found = HashSet::new();
    for (number, tar) in tars(layer)?.into_iter().enumerate() {
        match std::fs::metadata(&tar) {
            // A lender's that has no other name may have a copy that has: somebody was killed while it took its place.
            Ok(metadata) if number > 0 || metadata.nlink() > 1 => drop(found.insert(metadata.ino())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::at("look at", &tar)(error)),
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    // Somebody may unpack and mount it at the last moment; then it is this one.
    if let Err(error) = super::index::unpacked(layer) {
        tracing::debug!(%error, "the index of a layer that goes cannot be mounted");
    }
    let indexes = [layer].into_iter().chain(runs.iter().map(PathBuf::as_path));
    let indexes = indexes.filter_map(|dir| File::open(dir.join(INDEX)).ok()).collect();
    Ok(Some(Leaving { indexes, tars: found }))
}

/// The tars in the directory of all layers whose own layer is gone, by inode, with all their names.
fn orphans(home: &Path) -> Result<BTreeMap<u64, Vec<PathBuf>>> {
    let mut owned = HashSet::new();
    let mut lent: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for name in names(home)? {
        // One in the making, or on its way out, may hold on to a tar, but nobody knows it by its own.
        let (is_layer, dir) = (!name.starts_with('.'), home.join(&name));
        if !dir.is_dir() {
            continue;
        }
        for (number, tar) in tars(&dir)?.into_iter().enumerate() {
            let Ok(metadata) = std::fs::metadata(&tar) else { continue };
            match number {
                0 if is_layer => drop(owned.insert(metadata.ino())),
                0 => {}
                _ => lent.entry(metadata.ino()).or_default().push(tar),
            }
        }
    }
    lent.retain(|inode, _| !owned.contains(inode));
    Ok(lent)
}

/// Gives back what nobody borrows of the tars that a layer had which is gone now. If somebody still sees that layer, they
/// stay as they are for good.
pub(super) fn reclaim(home: &Path, leaving: &Leaving) -> Result<()> {
    let lock = lock_path(home);
    // Who chooses lenders just now may need what nobody needed so far. It does not take long.
    let _alone = Lock::wait(&lock, Mode::Exclusive).map_err(Error::at("lock", &lock))?;
    let is_seen = !leaving.indexes.iter().all(is_open_here_only);
    for (inode, names) in orphans(home)? {
        // Some of its names may be on their way out.
        let opened = names.iter().find_map(|name| Some((name, File::open(name).ok()?)));
        let Some((name, file)) = opened else { continue };
        if verity::is_sealed(&file).map_err(Error::at("look at", name))? {
            // Any of them: somebody may have been killed here, or had no room.
            replace(home, &names, &file)?;
        } else if leaving.tars.contains(&inode) {
            keep_only(name, &file, &names, is_seen)?;
        }
        failpoint!("snapshot.reclaim");
    }
    Ok(())
}

/// The blocks of a tar of which something is borrowed by those who know it by these names.
fn needed(names: &[PathBuf]) -> Result<Vec<Range<u64>>> {
    let mut needed = Vec::new();
    for name in names {
        needed.extend(needed_of(name)?);
    }
    needed.sort_by_key(|range| range.start);
    let mut blocks: Vec<Range<u64>> = Vec::new();
    for range in needed {
        let (start, end) = (range.start / BLOCK_BYTES * BLOCK_BYTES, range.end.next_multiple_of(BLOCK_BYTES));
        match blocks.last_mut().filter(|last| start <= last.end) {
            Some(last) => last.end = last.end.max(end),
            None => blocks.push(start..end),
        }
    }
    Ok(blocks)
}

/// The attribute of a tar that has to stay as it is.
const SEEN: &str = "user.strata.seen";

/// Makes holes of all blocks of a tar but those needed, unless somebody still sees the layer that is gone, or did when it went.
fn keep_only(name: &Path, file: &File, names: &[PathBuf], is_seen: bool) -> Result<()> {
    if is_seen {
        rustix::fs::fsetxattr(file, SEEN, b"y", XattrFlags::empty()).map_err(Error::at("mark", name))?;
    }
    if rustix::fs::fgetxattr(file, SEEN, &mut [0_u8; 1][..]).is_ok() {
        tracing::debug!(path = %name.display(), "somebody saw it when its layer went: it stays whole");
        return Ok(());
    }
    let end = file.metadata().map_err(Error::at("look at", name))?.len().next_multiple_of(BLOCK_BYTES);
    let writable = File::options().write(true).open(name).map_err(Error::at("open", name))?;
    let mut free_from = 0;
    for blocks in needed(names)?.into_iter().chain(std::iter::once(end..end)) {
        if free_from < blocks.start {
            make_hole(&writable, free_from..blocks.start).map_err(Error::at("make a hole in", name))?;
        }
        free_from = blocks.end;
    }
    Ok(())
}

/// In a sealed tar no holes can be made: those who borrow of it get a copy of what they need, sealed in its turn. Not if more had to
/// be copied than that gives back; then it is tried again when the next of them goes. Whoever sees the layer that is gone goes on
/// seeing the old one. Killed in between, some have the one and some the other, which are equal to each of them.
fn replace(home: &Path, names: &[PathBuf], from: &File) -> Result<()> {
    let needed = needed(names)?;
    let copied: u64 = needed.iter().map(|blocks| blocks.end - blocks.start).sum();
    let there = from.metadata().map_err(Error::at("look at", home))?.blocks() * 512;
    if copied * 2 > there {
        tracing::debug!(copied, there, "a tar that others need most of stays whole");
        return Ok(());
    }
    match copy_for(home, names, from, &needed) {
        // Who removes something from a full disk is not to hear that it is full.
        Err(error) if error.class() == ErrorClass::Exhausted => {
            tracing::warn!(%error, "what nobody needs of a layer that is gone stays");
            Ok(())
        }
        copied => copied,
    }
}

fn copy_for(home: &Path, names: &[PathBuf], from: &File, needed: &[Range<u64>]) -> Result<()> {
    let new = Staging::new(home)?;
    let (copy, link) = (new.path().join(TAR), new.path().join("link"));
    copy_only(from, &copy, needed).map_err(Error::at("copy a part of a layer to", &copy))?;
    super::seal(&copy)?;
    failpoint!("snapshot.reclaim.copied");
    for name in names {
        std::fs::hard_link(&copy, &link).map_err(Error::at("link", &link))?;
        match durable::rename(&link, name) {
            Ok(()) => {}
            // It was on its way out.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => drop(durable::remove(&link)?),
            Err(error) => return Err(error.into()),
        }
        failpoint!("snapshot.reclaim.replaced");
    }
    Ok(())
}

/// Makes a file as long as `from` that has only the blocks needed; synced.
fn copy_only(from: &File, to: &Path, needed: &[Range<u64>]) -> io::Result<()> {
    const PIECE_BYTES: usize = 1 << 20;
    let length = from.metadata()?.len();
    let to = File::create_new(to)?;
    to.set_len(length)?;
    let mut buffer = vec![0; PIECE_BYTES];
    for blocks in needed {
        let (mut at, end) = (blocks.start, blocks.end.min(length));
        while at < end {
            let piece = &mut buffer[..usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE_BYTES)];
            from.read_exact_at(piece, at)?;
            to.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
    }
    to.sync_all()
}

/// What a layer borrows of the lender that it knows by this name.
fn needed_of(name: &Path) -> Result<Vec<Range<u64>>> {
    let layer = name.parent().and_then(Path::parent).unwrap_or(name);
    let number = tars(layer)?.iter().position(|tar| tar == name);
    let borrowed = borrowed(layer)?;
    let loans = borrowed.loans().iter().filter(|loan| Some(usize::from(loan.tar)) == number);
    Ok(loans.map(|loan| loan.at..loan.at + loan.bytes).collect())
}

/// What a layer keeps on the disk of layers that are gone, shared among those who do, to the byte: what they cannot share
/// evenly is with the first of them by name.
pub(super) fn kept_of_the_gone(layer: &Path) -> Result<u64> {
    let mut bytes = 0;
    for tar in tars(layer)?.iter().skip(1) {
        let metadata = std::fs::metadata(tar).map_err(Error::at("look at", tar))?;
        let owner = tar.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'));
        let owner = owner.map(|(_, name)| layer.with_file_name(name).join(TAR));
        let is_there =
            owner.is_some_and(|owner| std::fs::metadata(owner).is_ok_and(|owner| owner.ino() == metadata.ino()));
        if !is_there {
            let (all, holders) = (metadata.blocks() * 512, metadata.nlink().max(1));
            bytes += all / holders;
            if all % holders != 0 && is_first_with(layer, metadata.ino())? {
                bytes += all % holders;
            }
        }
    }
    Ok(bytes)
}

/// Whether no layer whose name comes before this one's keeps the tar.
fn is_first_with(layer: &Path, tar: u64) -> Result<bool> {
    let home = layer.parent().unwrap_or(layer);
    for name in names(home)? {
        let other = home.join(&name);
        if name.starts_with('.') || other.as_path() >= layer || !other.is_dir() {
            continue;
        }
        let mut lenders = tars(&other)?.into_iter().skip(1);
        if lenders.any(|name| std::fs::metadata(name).is_ok_and(|metadata| metadata.ino() == tar)) {
            return Ok(false);
        }
    }
    Ok(true)
}
