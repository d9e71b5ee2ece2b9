//! A tree that files are copied from, and what a source names in it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use strata_dockerfile::{Ignore, Seen};
use strata_layer::{Device, Entry, Kind, LayerPath, Time, dir};
use strata_sys::root_dir::RootDir;
use strata_types::{Digest, Hasher};

use super::glob;
use super::pivot::Pivot;
use super::resolve::resolve;
use crate::error::{Problem, read};
use crate::meant;
use crate::stamps::{Stamp, Stamps};

/// How much is read at once to be digested.
const CHUNK_BYTES: usize = 128 << 10;

/// A tree that files are copied from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree<'t> {
    /// Its root.
    pub(crate) root: &'t RootDir,
    /// What does not count.
    pub(crate) ignore: &'t Ignore,
    /// It is somebody's directory: who owns the files does not count, nor do most extended attributes.
    pub(crate) is_host: bool,
    /// What is known of its files.
    pub(crate) stamps: Option<&'t Stamps>,
}

/// What a source names.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its own name.
    pub(crate) name: Vec<u8>,
    /// Where it is.
    pub(crate) path: LayerPath,
    /// The file; or the files in a directory, by their paths below it.
    pub(crate) items: Vec<Item>,
    /// The directory itself, if it is one.
    pub(crate) dir: Option<Item>,
    /// With `--parents`, the directories from the pivot on that come along, itself if it is one.
    pub(crate) above: Vec<Item>,
}

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// What it is; its path is that below the source.
    pub(crate) entry: Entry,
    /// Where it is in the tree.
    pub(crate) at: LayerPath,
    /// Its device and inode, if it has several names.
    pub(crate) inode: Option<(u64, u64)>,
    /// What tells whether its content is known.
    stamp: Option<Stamp>,
}

/// What a path names.
enum Named {
    Source(Box<Source>),
    /// What is not to be copied.
    Excluded,
    Missing,
}

impl Tree<'_> {
    /// All that a source names: one thing, or several if it has wildcards. With `parents`, `**` stands for any number of
    /// directories, and what is excluded is seen from the pivot.
    pub(crate) fn select(&self, source: &str, exclude: &Ignore, parents: bool) -> Result<Vec<Source>, Problem> {
        let paths = if glob::is_wild(source) { self.expand(source, parents)? } else { [source.to_owned()].into() };
        let pivot = parents.then(|| Pivot::of(source)).transpose()?;
        let mut found = Vec::new();
        for path in paths {
            match self.one(&path, exclude, pivot.as_ref())? {
                Named::Source(source) => found.push(*source),
                Named::Excluded => {}
                Named::Missing if glob::is_wild(source) => {}
                Named::Missing => return Err(self.missing(source)),
            }
        }
        Ok(found)
    }

    fn missing(&self, source: &str) -> Problem {
        Problem::NotFound { path: meant::path(source), hint: meant::source(self, source) }
    }

    /// The paths that fit a pattern, sorted.
    fn expand(&self, pattern: &str, deep: bool) -> Result<BTreeSet<String>, Problem> {
        let mut paths = BTreeSet::from([String::new()]);
        // Before `/./`, `**` is no more than `*`.
        let (before, after) = pattern.split_once("/./").unwrap_or(("", pattern));
        let parts = before.split('/').map(|part| (part, false)).chain(after.split('/').map(|part| (part, deep)));
        for (part, deep) in parts.filter(|(part, _)| !part.is_empty() && *part != ".") {
            let mut next = BTreeSet::new();
            for dir in &paths {
                if deep && part == "**" {
                    self.dirs_below(dir, 0, &mut next)?;
                } else if glob::is_wild(part) {
                    let wanted: Vec<char> = part.chars().collect();
                    let names = self.list(dir)?;
                    let names = names.iter().filter_map(|(name, _)| name.to_str());
                    let fitting = names.filter(|name| glob::fits(&wanted, &name.chars().collect::<Vec<_>>()));
                    next.extend(fitting.map(|name| joined(dir, name)));
                } else {
                    next.insert(joined(dir, part));
                }
            }
            paths = next;
        }
        Ok(paths)
    }

    /// A directory with all those below it that are not left out; links are not followed.
    fn dirs_below(&self, dir: &str, depth: usize, found: &mut BTreeSet<String>) -> Result<(), Problem> {
        if depth > DEPTH_MAX {
            return Err(Problem::Path(dir.to_owned()));
        }
        found.insert(dir.to_owned());
        for (name, _) in self.list(dir)?.into_iter().filter(|(_, kind)| *kind == FileType::Directory) {
            let Some(path) = name.to_str().map(|name| joined(dir, name)) else { continue };
            if self.ignore.takes_back() || !self.ignore.ignores(&path) {
                self.dirs_below(&path, depth + 1, found)?;
            }
        }
        Ok(())
    }

    /// What is in a directory; nothing if there is none.
    fn list(&self, dir: &str) -> Result<Vec<(OsString, FileType)>, Problem> {
        let at = if dir.is_empty() { "." } else { dir };
        match self.root.list(Path::new(at)) {
            Ok(names) => Ok(names),
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            Err(error) => Err(read(at)(error)),
        }
    }

    fn one(&self, source: &str, exclude: &Ignore, pivot: Option<&Pivot>) -> Result<Named, Problem> {
        let path = match resolve(self.root, source.as_bytes()) {
            Ok(path) => path,
            Err(error) if is_missing(&error) => return Ok(Named::Missing),
            Err(error) => return Err(read(source)(error)),
        };
        let stat = self.root.lstat(at(&path)).map_err(read(source))?;
        let Some(stat) = stat else { return Ok(Named::Missing) };
        let text = String::from_utf8_lossy(path.as_bytes()).into_owned();
        let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !is_dir && self.ignore.ignores(&text) {
            return Ok(Named::Missing);
        }
        let above = pivot.map(|pivot| pivot.dirs(&path, is_dir)).unwrap_or_default();
        // Without --parents it is its own name, or what is in the directory.
        let written = match pivot {
            Some(pivot) => pivot.relative(&path),
            None if is_dir => String::new(),
            None => String::from_utf8_lossy(&name).into_owned(),
        };
        let (excluded, without) = seen(exclude, &written);
        if excluded && (!is_dir || !exclude.takes_back()) {
            return Ok(Named::Excluded);
        }
        let above = above.iter().map(|dir| self.dir_itself(dir)).collect::<Result<Vec<_>, _>>()?;
        if !is_dir {
            let dir = self.parent(&path)?;
            let own = path.name().unwrap_or_default().to_vec();
            let item = self.describe(&dir, &own, &stat, LayerPath::root(), path.clone())?;
            let source = item.map(|item| Source { name, path, items: vec![item], dir: None, above });
            return Ok(source.map_or(Named::Missing, |source| Named::Source(Box::new(source))));
        }
        let within = if path.is_root() { Seen::default() } else { seen(self.ignore, &text).1 };
        let mut walk = Walk { tree: self, exclude, written, items: Vec::new() };
        walk.dir(&path, &LayerPath::root(), [&within, &without])?;
        let items = walk.items;
        // Of an ignored directory there is only what is taken back.
        let is_there = path.is_root() || !items.is_empty() || !self.ignore.ignores(&text);
        Ok(match is_there {
            false => Named::Missing,
            true if excluded && items.is_empty() => Named::Excluded,
            true => {
                let dir = Some(self.dir_itself(&path)?);
                Named::Source(Box::new(Source { name, path, items, dir, above }))
            }
        })
    }

    /// A directory without what is in it.
    fn dir_itself(&self, path: &LayerPath) -> Result<Item, Problem> {
        let stat = self.root.lstat(at(path)).map_err(read(path.to_string()))?;
        let Some(stat) = stat else { return Err(self.missing(&path.to_string())) };
        let own = path.name().unwrap_or(b".").to_vec();
        let dir = match path.is_root() {
            true => None,
            false => self.describe(&self.parent(path)?, &own, &stat, LayerPath::root(), path.clone())?,
        };
        Ok(dir.unwrap_or_else(|| Item {
            entry: root_entry(&stat, self.is_host),
            at: path.clone(),
            inode: None,
            stamp: None,
        }))
    }

    /// The directory that something is in.
    fn parent(&self, path: &LayerPath) -> Result<OwnedFd, Problem> {
        let parent = path.parent().unwrap_or_default();
        self.root.open(at(&parent), OFlags::PATH | OFlags::DIRECTORY).map_err(read(path.to_string()))
    }

    /// What is called `name` in `dir`; nothing if it is of a kind that is not copied.
    fn describe(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        below: LayerPath,
        at: LayerPath,
    ) -> Result<Option<Item>, Problem> {
        let device = || Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) };
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let kind = match file_type {
            FileType::RegularFile => Kind::File { size_bytes: u64::try_from(stat.st_size).unwrap_or(0), sparse: None },
            FileType::Directory => Kind::Dir,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(read(at.to_string()))?;
                Kind::Symlink { target: target.into_bytes() }
            }
            FileType::CharacterDevice => Kind::Char(device()),
            FileType::BlockDevice => Kind::Block(device()),
            FileType::Fifo => Kind::Fifo,
            FileType::Socket | FileType::Unknown => return Ok(None),
        };
        let single = LayerPath::root().join(name).map_err(|_| Problem::Path(at.to_string()))?;
        let xattrs = match self.is_host {
            true => Vec::new(),
            false => dir::entry_at(dir.as_fd(), &single)?.map(|entry| entry.xattrs).unwrap_or_default(),
        };
        let entry = Entry {
            path: below,
            kind,
            mode: (stat.st_mode & 0o7777) as u16,
            uid: if self.is_host { 0 } else { stat.st_uid },
            gid: if self.is_host { 0 } else { stat.st_gid },
            mtime: Time { seconds: stat.st_mtime, nanoseconds: 0 },
            xattrs,
        };
        let several = file_type == FileType::RegularFile && stat.st_nlink > 1;
        let inode = several.then_some((stat.st_dev, stat.st_ino));
        Ok(Some(Item { entry, at, inode, stamp: self.stamps.map(|_| Stamp::of(stat)) }))
    }

    /// Opens a file.
    pub(crate) fn open(&self, path: &LayerPath) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        self.root.open(at(path), flags).map(File::from)
    }

    /// The digest of a file's content; it is not read if it is known.
    pub(crate) fn digest(&self, item: &Item) -> Result<Digest, Problem> {
        let known = self.stamps.zip(item.stamp);
        if let Some(digest) = known.and_then(|(stamps, stamp)| stamps.digest(&stamp)) {
            return Ok(digest);
        }
        let now = strata_sys::clock::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let digest = self.read_digest(&item.at)?;
        if let Some((stamps, stamp)) = known {
            stamps.remember(stamp, &digest, i64::try_from(now).unwrap_or(0));
        }
        Ok(digest)
    }

    fn read_digest(&self, path: &LayerPath) -> Result<Digest, Problem> {
        let mut file = self.open(path).map_err(read(path.to_string()))?;
        let mut hasher = Hasher::sha256();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(length) => hasher.update(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read(path.to_string())(error)),
            }
        }
    }
}

/// The root of a tree as a directory to be copied.
fn root_entry(stat: &Stat, is_host: bool) -> Entry {
    let (uid, gid) = if is_host { (0, 0) } else { (stat.st_uid, stat.st_gid) };
    let mtime = Time { seconds: stat.st_mtime, nanoseconds: 0 };
    Entry { mode: (stat.st_mode & 0o7777) as u16, uid, gid, mtime, ..Entry::implicit_dir(LayerPath::root()) }
}

/// How deep directories may be nested.
const DEPTH_MAX: usize = 512;

struct Walk<'w, 't> {
    tree: &'w Tree<'t>,
    exclude: &'w Ignore,
    /// Where it begins, as patterns to be excluded see it.
    written: String,
    items: Vec<Item>,
}

impl Walk<'_, '_> {
    /// Takes what is in a directory; `seen` is what the tree's patterns and `--exclude` said of it.
    fn dir(&mut self, path: &LayerPath, below: &LayerPath, seen: [&Seen; 2]) -> Result<(), Problem> {
        if below.components().count() > DEPTH_MAX {
            return Err(Problem::Path(path.to_string()));
        }
        let (tree, exclude) = (self.tree, self.exclude);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = tree.root.open(at(path), flags).map_err(read(path.to_string()))?;
        let names = tree.root.list(at(path)).map_err(read(path.to_string()))?;
        for (name, _) in names {
            let name = name.as_bytes();
            let bad = |_| Problem::Path(path.to_string());
            let (path, below) = (path.join(name).map_err(bad)?, below.join(name).map_err(bad)?);
            let (ignored, within) = is_ignored(tree.ignore, "", &path, seen[0]);
            let (excluded, without) = is_ignored(exclude, &self.written, &below, seen[1]);
            let out = ignored || excluded;
            let takes_back = (!ignored || tree.ignore.takes_back()) && (!excluded || exclude.takes_back());
            if out && !takes_back {
                continue;
            }
            let stat = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                // Removed since the directory was read.
                Err(rustix::io::Errno::NOENT) => continue,
                stat => stat.map_err(read(path.to_string()))?,
            };
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if out && !is_dir {
                continue;
            }
            let place = self.items.len();
            let item = tree.describe(&dir, name, &stat, below.clone(), path.clone())?;
            self.items.extend(item);
            if is_dir {
                self.dir(&path, &below, [&within, &without])?;
            }
            if out && self.items.len() == place + 1 {
                self.items.pop();
            }
        }
        Ok(())
    }
}

fn is_ignored(ignore: &Ignore, dir: &str, path: &LayerPath, above: &Seen) -> (bool, Seen) {
    if ignore.is_empty() {
        return (false, Seen::default());
    }
    let path = String::from_utf8_lossy(path.as_bytes());
    match dir {
        "" => ignore.ignores_in(&path, above),
        dir => ignore.ignores_in(&joined(dir, &path), above),
    }
}

/// What patterns say of a path and of what is in it.
fn seen(ignore: &Ignore, path: &str) -> (bool, Seen) {
    let (mut ignored, mut seen) = (false, Seen::default());
    if !path.is_empty() {
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            (ignored, seen) = ignore.ignores_in(&path[..end], &seen);
        }
    }
    (ignored, seen)
}

fn joined(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// A path as the kernel takes it below a root.
pub(crate) fn at(path: &LayerPath) -> &Path {
    let bytes = if path.is_root() { b"." } else { path.as_bytes() };
    Path::new(OsStr::from_bytes(bytes))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
