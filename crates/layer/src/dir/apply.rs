//! From entries to a directory.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use strata_sys::reflink;

use super::attributes::{At, give, give_time};
use super::aufs;
use super::remove::{Farewell, Own, Remover};
use super::resolve::{Parent, Parents, open_in_root};
use crate::path::shown;
use crate::pipeline::{Piece, Shares};
use crate::whiteout::{Meaning, Namespace, meaning};
use crate::{Device, Entry, Error, Kind, LayerPath, LayerSink, Result, Time};

/// What to do about things a layer removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whiteouts {
    /// Write overlayfs's marks: the directory holds one layer.
    Overlay(Namespace),
    /// Write them as files, as aufs has them and tars do: the directory holds one layer.
    Aufs,
    /// Remove them: the directory holds a tree of all layers below.
    Execute,
}

/// How to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// See there.
    pub whiteouts: Whiteouts,
    /// What this process may do. Owners and devices that it may not set or make are left out, as Docker does.
    pub power: Power,
}

/// What a process may do to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Everything.
    Root,
    /// Give files to those who have an id in its user namespace; make no devices.
    NamespaceRoot,
    /// Nothing that an ordinary user may not.
    Person,
}

impl Power {
    /// What this process may do.
    pub fn here() -> Self {
        match (rustix::process::geteuid().is_root(), strata_sys::user_namespace::is_initial()) {
            (true, true) => Self::Root,
            (true, false) => Self::NamespaceRoot,
            (false, _) => Self::Person,
        }
    }
}

/// Applies a layer to a directory. Only [`finish`](Self::finish) sets the modes and times of directories.
pub struct Applier {
    parents: Parents,
    options: Options,
    /// What this layer has put there; its whiteouts are for layers below only.
    own: Own,
    /// Directories with the mode and time they get at the end.
    dirs: Vec<(Vec<u8>, u16, Time)>,
    current: Option<Current>,
    /// Content whose blocks the files can share.
    shares: Option<Shares>,
}

/// The file whose content is coming.
struct Current {
    file: File,
    entry: Entry,
    /// Up to where content was written.
    end: u64,
    /// Up to where it shares the blocks of another file, so that what comes is there already.
    shared: u64,
    inode: u64,
    real: Vec<u8>,
}

impl Applier {
    /// Starts on the directory `root`.
    pub fn new(root: OwnedFd, options: Options) -> Result<Self> {
        let parents = Parents::new(root)?;
        Ok(Self { parents, options, own: Own::new(), dirs: Vec::new(), current: None, shares: None })
    }

    /// Lets files share the blocks of content that lies in a file already, where the filesystem can.
    #[must_use]
    pub fn sharing(self, shares: Option<Shares>) -> Self {
        Self { shares, ..self }
    }

    /// Lets the file whose content is coming share all blocks of `from`, which is its content. False where the filesystem
    /// cannot.
    pub fn share_whole(&mut self, from: BorrowedFd<'_>) -> Result<bool> {
        let Some(Current { file, entry, end, .. }) = &mut self.current else { return Ok(false) };
        let size = entry.content_bytes();
        let shared = reflink::share(from, 0, size, file.as_fd(), 0);
        let shared = shared.map_err(|error| Error::file("share the blocks of", &entry.path, error))?;
        if shared {
            *end = size;
        }
        Ok(shared)
    }

    /// Completes the tree.
    pub fn finish(self) -> Result<()> {
        // Deepest first: setting a mode may close the way for whoever has no privilege. Of one path the last counts.
        let mut done = HashSet::new();
        for (path, mode, time) in self.dirs.iter().rev().filter(|dir| done.insert(&dir.0)) {
            let dir = match open_in_root(self.parents.root(), path, DIR) {
                Ok(dir) => dir,
                // Replaced by a later entry.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(Error::file("open the directory", shown(path), error)),
            };
            rustix::fs::fchmod(&dir, Mode::from(u32::from(*mode)))
                .and_then(|()| give_time(At::Fd(dir.as_fd()), *time))
                .map_err(|error| Error::file("complete the directory", shown(path), error))?;
        }
        Ok(())
    }

    /// The inode number and the real path of the file whose content is coming.
    pub(crate) fn current_file(&self) -> Option<(u64, &[u8])> {
        self.current.as_ref().map(|current| (current.inode, current.real.as_slice()))
    }

    /// Takes what content it can of the file that was just made from where it lies already.
    pub(crate) fn share(&mut self, data_offset: u64) -> Result<()> {
        let (Some(shares), Some(current)) = (&self.shares, &mut self.current) else { return Ok(()) };
        let Some(Piece { offset, bytes }) = shares.at(data_offset) else { return Ok(()) };
        let whole = bytes - bytes % reflink::BLOCK_BYTES;
        if bytes != current.entry.content_bytes() || whole == 0 {
            return Ok(());
        }
        let shared = reflink::share(shares.file(), offset, whole, current.file.as_fd(), 0);
        if shared.map_err(|error| Error::file("share the blocks of", &current.entry.path, error))? {
            (current.shared, current.end) = (whole, whole);
            let start = std::io::Seek::seek(&mut current.file, std::io::SeekFrom::Start(whole));
            start.map_err(|error| Error::file("write", &current.entry.path, error))?;
        }
        Ok(())
    }

    /// Applies an entry; `farewell` sees regular files that it replaces.
    pub(crate) fn apply(&mut self, entry: &Entry, farewell: &mut Farewell<'_>) -> Result<()> {
        self.current = None;
        match meaning(&entry.path)? {
            Meaning::Plain => self.plain(entry, farewell),
            Meaning::Ignored => Ok(()),
            Meaning::Opaque(dir) => self.opaque(&dir, entry, farewell),
            Meaning::Removes(path) => self.whiteout(&path, entry, farewell),
        }
    }

    fn opaque(&mut self, path: &LayerPath, entry: &Entry, farewell: &mut Farewell<'_>) -> Result<()> {
        let dir = self.make_parent(path.as_bytes())?;
        match self.options.whiteouts {
            Whiteouts::Overlay(namespace) => set_opaque(dir.fd.as_fd(), namespace, entry),
            Whiteouts::Aufs => aufs::set_opaque(dir.fd.as_fd(), &entry.path),
            Whiteouts::Execute => {
                let own = &self.own;
                let mut remover = Remover { path: &entry.path, farewell };
                remover.children(dir.fd.as_fd(), &mut |inode| own.contains(&inode))?;
                self.parents.forget();
                Ok(())
            }
        }
    }

    fn whiteout(&mut self, path: &LayerPath, entry: &Entry, farewell: &mut Farewell<'_>) -> Result<()> {
        let Some((parent, name)) = path.split() else { return Ok(()) };
        let parent = self.make_parent(parent)?;
        if self.options.whiteouts == Whiteouts::Aufs {
            return aufs::whiteout(parent.fd.as_fd(), name, &entry.path);
        }
        let Whiteouts::Overlay(namespace) = self.options.whiteouts else {
            let own = &self.own;
            Remover { path: &entry.path, farewell }
                .below(parent.fd.as_fd(), name, &mut |inode| own.contains(&inode))?;
            self.parents.forget();
            return Ok(());
        };
        let kind = FileType::CharacterDevice;
        match rustix::fs::mknodat(&parent.fd, name, kind, Mode::empty(), 0) {
            Ok(()) => give_time(At::Name(parent.fd.as_fd(), name), Time::default())
                .map_err(|error| Error::file("set the time of", &entry.path, error)),
            // The layer's own: a directory loses what is below it, anything else hides it anyway.
            Err(Errno::EXIST) => match rustix::fs::openat(&parent.fd, name, DIR, Mode::empty()) {
                Ok(dir) => set_opaque(dir.as_fd(), namespace, entry),
                Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(error) => Err(Error::file("open the directory", &entry.path, error)),
            },
            Err(error) => Err(Error::file("make the whiteout", &entry.path, error)),
        }
    }

    fn plain(&mut self, entry: &Entry, farewell: &mut Farewell<'_>) -> Result<()> {
        let Some((parent, name)) = entry.path.split() else {
            give(At::Fd(self.parents.root()), entry, self.options.power, false)?;
            self.dirs.push((Vec::new(), entry.mode, entry.mtime));
            return Ok(());
        };
        let parent = self.make_parent(parent)?;
        if self.options.whiteouts == Whiteouts::Aufs && !entry.is_dir() {
            aufs::take_whiteout(parent.fd.as_fd(), name, &entry.path)?;
        }
        match &entry.kind {
            Kind::Dir => self.dir(&parent, name, entry, farewell),
            Kind::File { .. } => self.file(parent, name, entry, farewell),
            Kind::Hardlink { target } => self.hardlink(&parent, name, target, entry, farewell),
            Kind::Symlink { target } => {
                let make = || rustix::fs::symlinkat(target.as_slice(), &parent.fd, name);
                self.node(&parent, name, entry, farewell, make)
            }
            Kind::Fifo => self.device(&parent, name, entry, farewell, FileType::Fifo, None),
            Kind::Char(device) => self.device(&parent, name, entry, farewell, FileType::CharacterDevice, Some(*device)),
            Kind::Block(device) => self.device(&parent, name, entry, farewell, FileType::BlockDevice, Some(*device)),
        }
    }

    fn dir(&mut self, parent: &Parent, name: &[u8], entry: &Entry, farewell: &mut Farewell<'_>) -> Result<()> {
        let make = || rustix::fs::mkdirat(&parent.fd, name, Mode::from(0o700));
        let mut over_whiteout = false;
        if let Err(error) = make() {
            if error != Errno::EXIST {
                return Err(Error::file("make the directory", &entry.path, error));
            }
            let existing = look(parent.fd.as_fd(), name, entry)?;
            if FileType::from_raw_mode(existing.st_mode) != FileType::Directory {
                over_whiteout = is_whiteout(&existing);
                self.replace(parent, name, entry, farewell)?;
                make().map_err(|error| Error::file("make the directory", &entry.path, error))?;
            }
        }
        let dir = rustix::fs::openat(&parent.fd, name, DIR, Mode::empty());
        let dir = dir.map_err(|error| Error::file("open the directory", &entry.path, error))?;
        give(At::Fd(dir.as_fd()), entry, self.options.power, false)?;
        if over_whiteout && let Whiteouts::Overlay(namespace) = self.options.whiteouts {
            set_opaque(dir.as_fd(), namespace, entry)?;
        }
        if self.options.whiteouts == Whiteouts::Aufs {
            aufs::settle_dir(dir.as_fd(), name, &entry.path)?;
        }
        self.note_own(dir.as_fd(), entry)?;
        self.dirs.push((entry.path.as_bytes().to_vec(), entry.mode, entry.mtime));
        Ok(())
    }

    fn file(&mut self, parent: Parent, name: &[u8], entry: &Entry, farewell: &mut Farewell<'_>) -> Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(&parent.fd, name, flags, Mode::from(0o600));
        let file = match make() {
            Err(Errno::EXIST) => {
                self.replace(&parent, name, entry, farewell)?;
                make()
            }
            result => result,
        };
        let file = file.map_err(|error| Error::file("make", &entry.path, error))?;
        let inode = self.note_own(file.as_fd(), entry)?;
        let slash = if parent.real.is_empty() { &b""[..] } else { b"/" };
        let real = [&parent.real[..], slash, name].concat();
        self.current = Some(Current { file: file.into(), entry: entry.clone(), end: 0, shared: 0, inode, real });
        Ok(())
    }

    fn hardlink(
        &mut self,
        parent: &Parent,
        name: &[u8],
        target: &LayerPath,
        entry: &Entry,
        farewell: &mut Farewell<'_>,
    ) -> Result<()> {
        let refuse = |problem| Error::Apply { entry: shown(entry.path.as_bytes()), problem };
        let Some((dir, target)) = target.split() else { return Err(refuse("it links to a directory")) };
        let missing = "the file it links to is not in the layer";
        let dir = self.parents.find(dir).map_err(|_| refuse(missing))?;
        let stat = rustix::fs::statat(&dir.fd, target, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| refuse(missing))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(refuse("it links to a directory"));
        }
        if is_whiteout(&stat) && matches!(self.options.whiteouts, Whiteouts::Overlay(_)) {
            return Err(refuse(missing));
        }
        let link = || rustix::fs::linkat(&dir.fd, target, &parent.fd, name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                let existing = look(parent.fd.as_fd(), name, entry)?;
                if (existing.st_dev, existing.st_ino) == (stat.st_dev, stat.st_ino) {
                    return Ok(());
                }
                self.replace(parent, name, entry, farewell)?;
                link()
            }
            result => result,
        }
        .map_err(|error| Error::file("link", &entry.path, error))?;
        self.own.insert(stat.st_ino);
        Ok(())
    }

    fn device(
        &mut self,
        parent: &Parent,
        name: &[u8],
        entry: &Entry,
        farewell: &mut Farewell<'_>,
        kind: FileType,
        device: Option<Device>,
    ) -> Result<()> {
        if device.is_some() && self.options.power != Power::Root {
            return Ok(());
        }
        let number = device.map_or(0, |device| rustix::fs::makedev(device.major, device.minor));
        let make = || rustix::fs::mknodat(&parent.fd, name, kind, Mode::from(0o600), number);
        self.node(parent, name, entry, farewell, make)
    }

    /// Makes something without content.
    fn node(
        &mut self,
        parent: &Parent,
        name: &[u8],
        entry: &Entry,
        farewell: &mut Farewell<'_>,
        make: impl Fn() -> rustix::io::Result<()>,
    ) -> Result<()> {
        match make() {
            Err(Errno::EXIST) => {
                self.replace(parent, name, entry, farewell)?;
                make()
            }
            result => result,
        }
        .map_err(|error| Error::file("make", &entry.path, error))?;
        let at = At::Name(parent.fd.as_fd(), name);
        // The mode of a symbolic link cannot be changed and does not matter.
        let with_mode = !matches!(entry.kind, Kind::Symlink { .. });
        give(at, entry, self.options.power, with_mode)?;
        give_time(at, entry.mtime).map_err(|error| Error::file("set the time of", &entry.path, error))?;
        self.own.insert(look(parent.fd.as_fd(), name, entry)?.st_ino);
        Ok(())
    }

    /// Makes room for `entry`.
    fn replace(&mut self, parent: &Parent, name: &[u8], entry: &Entry, farewell: &mut Farewell<'_>) -> Result<()> {
        Remover { path: &entry.path, farewell }.tree(parent.fd.as_fd(), name)?;
        self.parents.forget();
        Ok(())
    }

    fn make_parent(&mut self, path: &[u8]) -> Result<Parent> {
        let Self { parents, own, dirs, options, .. } = self;
        parents.make(path, &mut |dir, path, over_whiteout| {
            let stat = rustix::fs::fstat(dir).map_err(|error| Error::file("look at", shown(path), error))?;
            own.insert(stat.st_ino);
            dirs.push((path.to_vec(), 0o755, Time::default()));
            match options.whiteouts {
                Whiteouts::Overlay(namespace) if over_whiteout => {
                    let opaque = namespace.opaque();
                    rustix::fs::fsetxattr(dir, opaque.name, &opaque.value, XattrFlags::empty())
                        .map_err(|error| Error::file("mark as opaque", shown(path), error))
                }
                Whiteouts::Aufs => {
                    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
                    aufs::settle_dir(dir, name, shown(path))
                }
                _ => Ok(()),
            }
        })
    }

    fn note_own(&mut self, fd: BorrowedFd<'_>, entry: &Entry) -> Result<u64> {
        let stat = rustix::fs::fstat(fd).map_err(|error| Error::file("look at", &entry.path, error))?;
        self.own.insert(stat.st_ino);
        Ok(stat.st_ino)
    }
}

impl LayerSink for Applier {
    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        self.apply(entry, &mut |_, _| Ok(()))?;
        self.share(data_offset)
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let there = usize::try_from(current.shared.saturating_sub(offset)).unwrap_or(usize::MAX).min(chunk.len());
        let (offset, chunk) = (offset + there as u64, &chunk[there..]);
        if chunk.is_empty() {
            return Ok(());
        }
        let written = if offset == current.end {
            // Without holes the file's own position is right.
            current.file.write_all(chunk)
        } else {
            current.file.write_all_at(chunk, offset).and_then(|()| {
                let end = offset + chunk.len() as u64;
                std::io::Seek::seek(&mut current.file, std::io::SeekFrom::Start(end)).map(|_| ())
            })
        };
        current.end = offset + chunk.len() as u64;
        written.map_err(|error| Error::file("write", &current.entry.path, error))
    }

    fn end(&mut self) -> Result<()> {
        let Some(Current { file, entry, end, .. }) = self.current.take() else { return Ok(()) };
        if let Kind::File { size_bytes, .. } = entry.kind
            && end < size_bytes
        {
            file.set_len(size_bytes).map_err(|error| Error::file("write", &entry.path, error))?;
        }
        // After writing, which would take set-id bits and capabilities away.
        give(At::Fd(file.as_fd()), &entry, self.options.power, true)?;
        give_time(At::Fd(file.as_fd()), entry.mtime).map_err(|error| Error::file("set the time of", &entry.path, error))
    }
}

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn look(dir: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<Stat> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| Error::file("look at", &entry.path, error))
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn set_opaque(dir: BorrowedFd<'_>, namespace: Namespace, entry: &Entry) -> Result<()> {
    let opaque = namespace.opaque();
    rustix::fs::fsetxattr(dir, opaque.name, &opaque.value, XattrFlags::empty())
        .map_err(|error| Error::file("mark as opaque", &entry.path, error))
}
