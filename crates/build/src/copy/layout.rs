//! Where files come to lie in a layer on top of a tree.

use std::collections::{BTreeMap, HashMap};

use strata_layer::{Entry, Kind, LayerPath, Time, dir};
use strata_sys::root_dir::RootDir;

use super::owner::Owner;
use super::stream::{Content, TarStream};
use crate::error::Problem;

/// What names in a layer that say "gone" begin with.
const WHITEOUT: &[u8] = b".wh.";

/// A layer in the making.
pub(crate) struct Layout<'t> {
    /// The tree below; nothing is below without.
    base: Option<&'t RootDir>,
    /// Directories that nobody described get this owner …
    owner: Owner,
    /// … these permissions …
    dir_mode: u16,
    /// … and this time.
    time: Time,
    entries: BTreeMap<LayerPath, Placed<'t>>,
}

struct Placed<'t> {
    entry: Entry,
    content: Content<'t>,
    inode: Option<(u64, u64)>,
    /// Nothing is below it in the tree.
    is_new: bool,
}

/// Something to place.
pub(crate) struct Piece<'t> {
    /// What it is, but for its path.
    pub(crate) entry: Entry,
    /// What is in it.
    pub(crate) content: Content<'t>,
    /// Its device and inode, if it has several names.
    pub(crate) inode: Option<(u64, u64)>,
}

impl<'t> Layout<'t> {
    /// The permissions of directories that nobody described.
    pub(crate) const DIR_MODE: u16 = 0o755;

    /// An empty layer.
    pub(crate) fn new(base: Option<&'t RootDir>, (owner, dir_mode): (Owner, u16), time: Time) -> Self {
        Self { base, owner, dir_mode, time, entries: BTreeMap::new() }
    }

    /// Whether there is a directory at a path.
    pub(crate) fn is_dir(&self, path: &LayerPath) -> Result<bool, Problem> {
        match self.entries.get(path) {
            Some(placed) => Ok(placed.entry.is_dir()),
            None => Ok(path.is_root() || self.below(path)?.is_some_and(|entry| entry.is_dir())),
        }
    }

    fn below(&self, path: &LayerPath) -> Result<Option<Entry>, Problem> {
        let is_new = |dir: LayerPath| self.entries.get(&dir).is_some_and(|placed| placed.is_new);
        if path.parent().is_some_and(is_new) {
            return Ok(None);
        }
        Ok(self.base.map(|base| dir::entry_at(base.as_fd(), path)).transpose()?.flatten())
    }

    /// Makes sure that there is a directory at a path, and those above it.
    pub(crate) fn ensure_dir(&mut self, path: &LayerPath) -> Result<(), Problem> {
        if path.is_root() {
            return Ok(());
        }
        match self.entries.get(path) {
            Some(placed) if placed.entry.is_dir() => return Ok(()),
            Some(_) => return Err(Problem::NonDirectory(path.to_string())),
            None => {}
        }
        check_name(path)?;
        self.ensure_dir(&path.parent().unwrap_or_default())?;
        let below = self.below(path)?;
        let is_new = below.is_none();
        let entry = match below {
            Some(entry) if entry.is_dir() => entry,
            Some(_) => return Err(Problem::NonDirectory(path.to_string())),
            None => Entry {
                uid: self.owner.uid,
                gid: self.owner.gid,
                mode: self.dir_mode,
                mtime: self.time,
                ..Entry::implicit_dir(path.clone())
            },
        };
        self.entries.insert(path.clone(), Placed { entry, content: Content::None, inode: None, is_new });
        Ok(())
    }

    /// Gives a directory that is below other permissions; one that was placed keeps those that it has.
    pub(crate) fn set_mode(&mut self, path: &LayerPath, mode: u16) -> Result<(), Problem> {
        if self.entries.contains_key(path) {
            return Ok(());
        }
        self.ensure_dir(path)?;
        if let Some(placed) = self.entries.get_mut(path) {
            placed.entry.mode = mode;
        }
        Ok(())
    }

    /// Places something.
    pub(crate) fn place(&mut self, path: LayerPath, piece: Piece<'t>) -> Result<(), Problem> {
        let Piece { entry, content, inode } = piece;
        check_name(&path)?;
        self.ensure_dir(&path.parent().unwrap_or_default())?;
        let (was_dir, was_there) = match self.entries.get(&path) {
            Some(placed) => (Some(placed.entry.is_dir()), !placed.is_new),
            None => {
                let below = self.below(&path)?;
                (below.as_ref().map(Entry::is_dir), below.is_some())
            }
        };
        match (entry.is_dir(), was_dir) {
            (true, Some(false)) => return Err(Problem::NonDirectory(path.to_string())),
            (false, Some(true)) => return Err(Problem::OverDirectory(path.to_string())),
            _ => {}
        }
        let entry = Entry { path: path.clone(), ..entry };
        self.entries.insert(path, Placed { entry, content, inode, is_new: !was_there });
        Ok(())
    }

    /// Whether nothing would change: all there is are directories that are there already.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.values().all(|placed| !placed.is_new && placed.entry.is_dir() && placed.inode.is_none())
    }

    /// The layer's tar; no time in it is later than `newest`.
    pub(crate) fn into_tar(self, newest: Option<Time>) -> TarStream<'t> {
        let mut first_names: HashMap<(u64, u64), LayerPath> = HashMap::new();
        let entries = self.entries.into_values().map(|placed| {
            let Placed { mut entry, mut content, inode, .. } = placed;
            if let Some(newest) = newest.filter(|newest| entry.mtime > *newest) {
                entry.mtime = newest;
            }
            if let Some(inode) = inode {
                match first_names.get(&inode) {
                    Some(first) => (entry.kind, content) = (Kind::Hardlink { target: first.clone() }, Content::None),
                    None => _ = first_names.insert(inode, entry.path.clone()),
                }
            }
            (entry, content)
        });
        TarStream::new(entries.collect())
    }
}

fn check_name(path: &LayerPath) -> Result<(), Problem> {
    match path.name() {
        Some(name) if name.starts_with(WHITEOUT) => Err(Problem::Reserved(String::from_utf8_lossy(name).into_owned())),
        _ => Ok(()),
    }
}
