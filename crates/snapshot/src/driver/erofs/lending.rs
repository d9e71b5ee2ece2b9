//! What another layer has already is not stored twice (docs/decisions/0008 and 0038).
//!
//! ```text
//! layers/erofs/<id>/
//!   tar              with holes where pieces of it lie elsewhere
//!   index.erofs      its first device is the tar, further ones are the lenders (see `index` for where it is compressed)
//!   borrowed         what lies where
//!   lenders/<n>.<id> another layer's tar: a hard link, so that it stays when that layer goes
//!   contents         digests of the pieces that this tar itself has, for those who come later
//! layers/erofs.lock  shared while somebody chooses lenders, exclusive while room is taken back
//! ```
//!
//! What a lender is needed for follows from files alone: there is no count that could be wrong. When a layer goes, its tar
//! stays as long as it has links, and what nobody borrows of it is given back to the filesystem.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use strata_layer::lending::{Borrowed, Contents, HOLE_BYTES_MIN, Loan, Piece, PieceDigest, Whole};
use strata_layer::tar::BLOCK_BYTES as TAR_BLOCK_BYTES;
use strata_sys::durable::Durability;
use strata_sys::lock::{Lock, Mode};
use strata_sys::{durable, failpoint};

use super::TAR;
use crate::snapshots::names;
use crate::{Error, Result};

const BORROWED: &str = "borrowed";
const CONTENTS: &str = "contents";
pub(super) const LENDERS: &str = "lenders";

/// How many lenders a layer may have: as many devices fit beside the superblock in one page.
const LENDERS_MAX: usize = 22;
/// A layer that would save less than this stands by itself.
const GAIN_BYTES_MIN: u64 = 256 << 10;
/// So does what a single lender would save of it, and who has less than this lends nothing.
const LENDER_GAIN_BYTES_MIN: u64 = 64 << 10;

/// The tars that a layer's index points into: its own, then its lenders' in their order.
pub(super) fn tars(layer: &Path) -> Result<Vec<PathBuf>> {
    let dir = layer.join(LENDERS);
    let number = |name: &str| name.split_once('.').and_then(|(number, _)| number.parse::<usize>().ok());
    let mut lenders: Vec<(usize, String)> =
        names(&dir)?.into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
    lenders.sort();
    Ok([layer.join(TAR)].into_iter().chain(lenders.into_iter().map(|(_, name)| dir.join(name))).collect())
}

/// How long tars are.
pub(super) fn lengths(tars: &[PathBuf]) -> Result<Vec<u64>> {
    tars.iter().map(|tar| Ok(std::fs::metadata(tar).map_err(Error::at("look at", tar))?.len())).collect()
}

/// What a layer borrows; nothing for most.
pub(super) fn borrowed(layer: &Path) -> Result<Borrowed> {
    let path = layer.join(BORROWED);
    match File::open(&path) {
        Ok(file) => Ok(Borrowed::read(file)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Borrowed::default()),
        Err(error) => Err(Error::at("open", &path)(error)),
    }
}

/// The exact tar of a layer.
pub(super) fn whole(layer: &Path) -> Result<Whole> {
    let open = |tar: &PathBuf| File::open(tar).map_err(Error::at("open", tar));
    let tars = tars(layer)?.iter().map(open).collect::<Result<Vec<_>>>()?;
    Ok(Whole::new(tars, borrowed(layer)?))
}

/// Finds what of a new layer lies elsewhere, takes hold of that, and gives the room back that it takes in the new layer's
/// tar. The layer's directory is not visible yet; what is written is not synced but the links.
pub(super) fn borrow(layer: &Path, found: &[Piece]) -> Result<Borrowed> {
    let home = layer.parent().unwrap_or(layer);
    let mut borrowed = Borrowed::default();
    if found.iter().map(|piece| piece.bytes).sum::<u64>() >= GAIN_BYTES_MIN {
        let lock = lock_path(home);
        let _lending = Lock::wait(&lock, Mode::Shared).map_err(Error::at("lock", &lock))?;
        borrowed = choose(layer, home, found)?;
        failpoint!("snapshot.borrow.linked");
        if borrowed.saved_bytes() < GAIN_BYTES_MIN || !give_back(layer, &borrowed)? {
            borrowed = Borrowed::default();
            durable::remove(&layer.join(LENDERS))?;
        }
        if !borrowed.loans().is_empty() {
            let path = layer.join(BORROWED);
            let mut file = File::create_new(&path).map_err(Error::at("create", &path))?;
            borrowed.write(&mut file)?;
            file.sync_data().map_err(Error::at("sync", &path))?;
            if borrowed.loans().iter().any(|loan| loan.tar > 0) {
                durable::sync_dir(&layer.join(LENDERS))?;
            }
        }
    }
    let own = contents_file(found, &borrowed)?;
    if !own.is_empty() {
        let path = layer.join(CONTENTS);
        // Whoever finds it torn does without it.
        let written = File::create_new(&path).and_then(|mut file| file.write_all(&own));
        written.map_err(Error::at("write", &path))?;
    }
    failpoint!("snapshot.borrow.done");
    Ok(borrowed)
}

/// The list of what a layer's own tar has; nothing if that is too little to lend.
fn contents_file(found: &[Piece], borrowed: &Borrowed) -> Result<Vec<u8>> {
    let own = || found.iter().filter(|piece| borrowed.at(piece.offset).is_none()).copied();
    let mut bytes = Vec::new();
    if own().map(|piece| piece.bytes).sum::<u64>() >= LENDER_GAIN_BYTES_MIN {
        Contents::write(own(), &mut bytes).map_err(strata_layer::Error::io("list a layer's contents"))?;
    }
    Ok(bytes)
}

/// Makes the list of what a layer's own tar has anew if it is not what it should be: damaged, or of an earlier version, which
/// listed large files only.
pub(super) fn mend_contents(layer: &Path, found: &[Piece]) -> Result<()> {
    let path = layer.join(CONTENTS);
    let there = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::at("read", &path)(error)),
    };
    let expected = contents_file(found, &borrowed(layer)?)?;
    if there == expected {
        return Ok(());
    }
    if Contents::read(&there).next().is_none() {
        tracing::warn!(path = %path.display(), "a list of contents was damaged; it is made anew");
    }
    if expected.is_empty() {
        durable::remove(&path)?;
    } else {
        durable::write_file(&path, &expected, 0o644, Durability::Durable)?;
    }
    Ok(())
}

/// A layer that has some of what is wanted.
struct Lender {
    name: String,
    /// Where pieces are in its tar; one may be there twice.
    offers: HashMap<PieceDigest, Vec<u64>>,
    gain: u64,
}

impl Lender {
    /// What of the wanted pieces that are not `taken` it lends, each part as long as can be.
    fn loans(&self, tar: u16, found: &[Piece], taken: &BTreeMap<u64, Loan>) -> Borrowed {
        let mut loans: Vec<Loan> = Vec::new();
        for piece in found.iter().filter(|piece| !is_taken(taken, piece)) {
            let Some(places) = self.offers.get(&piece.digest) else { continue };
            if let Some(last) = loans.last_mut().filter(|last| last.offset + last.bytes == piece.offset)
                && places.contains(&(last.at + last.bytes))
            {
                last.bytes += piece.bytes;
            } else if let Some(&at) = places.iter().find(|at| is_aligned(piece, **at)) {
                loans.push(Loan { offset: piece.offset, bytes: piece.bytes, tar, at });
            }
        }
        Borrowed::new(loans)
    }
}

/// Whether files in a piece lie in blocks of the tar at this place, too.
fn is_aligned(piece: &Piece, at: u64) -> bool {
    at % TAR_BLOCK_BYTES as u64 == piece.offset % TAR_BLOCK_BYTES as u64
}

fn is_taken(loans: &BTreeMap<u64, Loan>, piece: &Piece) -> bool {
    loans.range(..=piece.offset).next_back().is_some_and(|(_, loan)| loan.covers(piece.offset))
}

/// Chooses lenders, those first who save most, and links their tars.
fn choose(layer: &Path, home: &Path, found: &[Piece]) -> Result<Borrowed> {
    let mut loans = BTreeMap::new();
    let mut tar = 1;
    for lender in lenders(home, found)? {
        if usize::from(tar) > LENDERS_MAX {
            break;
        }
        // Small pieces, too: beside others they make holes longer.
        let taken = lender.loans(tar, found, &loans);
        if gain(&taken) >= LENDER_GAIN_BYTES_MIN && link(layer, home, &lender.name, tar, taken.loans())? {
            loans.extend(taken.loans().iter().map(|loan| (loan.offset, *loan)));
            tar += 1;
        }
    }
    // What nobody lends may still be there twice.
    let mut first = HashMap::new();
    for piece in found.iter().filter(|piece| piece.bytes >= HOLE_BYTES_MIN) {
        if is_taken(&loans, piece) {
            continue;
        }
        let at = *first.entry(piece.digest).or_insert(piece.offset);
        if at != piece.offset && is_aligned(piece, at) {
            loans.insert(piece.offset, Loan { offset: piece.offset, bytes: piece.bytes, tar: 0, at });
        }
    }
    Ok(Borrowed::new(loans.into_values().collect()).without_small_holes(HOLE_BYTES_MIN))
}

/// How much room loans give by themselves.
fn gain(loans: &Borrowed) -> u64 {
    loans.clone().without_small_holes(HOLE_BYTES_MIN).saved_bytes()
}

/// Those who would save enough, each for itself, the best first.
fn lenders(home: &Path, found: &[Piece]) -> Result<Vec<Lender>> {
    let wanted: HashSet<PieceDigest> = found.iter().map(|piece| piece.digest).collect();
    let mut lenders = Vec::new();
    for name in names(home)?.into_iter().filter(|name| !name.starts_with('.')) {
        let Ok(bytes) = std::fs::read(home.join(&name).join(CONTENTS)) else { continue };
        let mut lender = Lender { name, offers: HashMap::new(), gain: 0 };
        for piece in Contents::read(&bytes).filter(|piece| wanted.contains(&piece.digest)) {
            lender.offers.entry(piece.digest).or_default().push(piece.offset);
        }
        if !lender.offers.is_empty() {
            lender.gain = gain(&lender.loans(1, found, &BTreeMap::new()));
        }
        if lender.gain >= LENDER_GAIN_BYTES_MIN {
            lenders.push(lender);
        }
    }
    lenders.sort_by(|a, b| b.gain.cmp(&a.gain).then_with(|| a.name.cmp(&b.name)));
    Ok(lenders)
}

/// Takes hold of a lender's tar; false if it is gone or cannot have one more name.
fn link(layer: &Path, home: &Path, lender: &str, tar: u16, loans: &[Loan]) -> Result<bool> {
    let dir = layer.join(LENDERS);
    durable::create_dirs(&dir, 0o755)?;
    let (from, to) = (home.join(lender).join(TAR), dir.join(format!("{tar}.{lender}")));
    match rustix::fs::link(&from, &to) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => return Ok(false),
        Err(error) => return Err(Error::at("link", &to)(error)),
    }
    let bytes = std::fs::metadata(&to).map_err(Error::at("look at", &to))?.len();
    if loans.iter().all(|loan| loan.at + loan.bytes <= bytes) {
        return Ok(true);
    }
    durable::remove(&to)?;
    Ok(false)
}

/// Makes holes where content lies elsewhere; false if the filesystem has none.
fn give_back(layer: &Path, borrowed: &Borrowed) -> Result<bool> {
    let path = layer.join(TAR);
    let file = File::options().write(true).open(&path).map_err(Error::at("open", &path))?;
    for hole in borrowed.holes() {
        match make_hole(&file, hole) {
            Ok(()) => {}
            // The first one tells.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
            Err(error) => return Err(Error::at("make a hole in", &path)(error)),
        }
    }
    Ok(true)
}

pub(super) fn make_hole(file: &File, hole: Range<u64>) -> rustix::io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, flags, hole.start, hole.end - hole.start)
}

pub(super) fn lock_path(home: &Path) -> PathBuf {
    home.with_extension("lock")
}
