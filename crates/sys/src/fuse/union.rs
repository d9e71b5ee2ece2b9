//! Several directories seen as one, the way overlayfs sees them: the same marks say what is gone, so that a layer and what
//! a container wrote can be read by either.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};

use super::files::Files;
use super::nodes::{Node, Nodes};

/// The layer that is written, if one is.
pub(super) const UPPER: usize = 0;
/// Longer paths are opened piece by piece: the kernel takes 4096 bytes at once.
const PATH_BYTES_MAX: usize = 4000;

/// The layers and what is known of them.
#[derive(Debug)]
pub(super) struct Union {
    /// Their roots, the uppermost first.
    pub(super) layers: Vec<OwnedFd>,
    /// How the first of them is written; without it none is.
    pub(super) writing: Option<Writing>,
    /// What the names of its marks begin with.
    pub(super) marks: &'static str,
    pub(super) nodes: Nodes,
    pub(super) files: Files,
    /// Numbers of files in the writable layer, with those that programs saw before they were copied there.
    pub(super) moved: HashMap<u64, u64>,
    /// The filesystems that the layers lie on.
    devices: Vec<u64>,
}

/// How changes are kept.
#[derive(Debug)]
pub(super) struct Writing {
    /// A directory beside the writable layer, where things are made before they get their names.
    pub(super) work: OwnedFd,
    /// Nobody waits for the disk.
    pub(super) volatile: bool,
    /// How many things were made there.
    pub(super) made: u64,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Found {
    /// The layers in which it lies, the uppermost first.
    pub(super) layers: Vec<usize>,
    /// What it is in the uppermost of them.
    pub(super) stat: Stat,
}

impl Found {
    pub(super) fn is_dir(&self) -> bool {
        is_dir(&self.stat)
    }

    /// Whether it lies in the writable layer alone.
    pub(super) fn is_own(&self) -> bool {
        self.layers == [UPPER]
    }
}

impl Union {
    /// Of these roots, the uppermost first. With `writing` the first of them is written.
    pub(super) fn new(layers: Vec<OwnedFd>, writing: Option<Writing>, marks: &'static str) -> Result<Self> {
        let mut devices = Vec::new();
        for layer in &layers {
            let device = rustix::fs::fstat(layer)?.st_dev;
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        let root = rustix::fs::fstat(layers.first().ok_or(Errno::INVAL)?)?;
        // Layers below one that hides them have no part in the root.
        let mut count = layers.len();
        for (index, layer) in layers.iter().enumerate() {
            if is_opaque(layer.as_fd(), marks)? {
                count = index + 1;
                break;
            }
        }
        let nodes = Nodes::new(count, root.st_ino);
        Ok(Self { layers, writing, marks, nodes, files: Files::default(), moved: HashMap::new(), devices })
    }

    /// What a name in a directory stands for; none if for nothing.
    pub(super) fn find(&self, parent: u64, name: &OsStr) -> Result<Option<Found>> {
        let dir = self.nodes.at(parent)?;
        if !dir.is_dir {
            return Err(Errno::NOTDIR);
        }
        let path = match self.nodes.path(parent) {
            // A directory that was removed is empty.
            Err(Errno::NOENT) => return Ok(None),
            path => path?.join(name),
        };
        self.find_at(&dir.layers, &path)
    }

    /// What lies at a path in some layers, the uppermost first.
    fn find_at(&self, layers: &[usize], path: &Path) -> Result<Option<Found>> {
        let mut found: Option<Found> = None;
        for layer in layers {
            let Some((file, stat)) = self.look(*layer, path)? else { continue };
            if is_whiteout(&stat) {
                break;
            }
            match &mut found {
                Some(_) if !is_dir(&stat) => break,
                Some(found) => found.layers.push(*layer),
                None => found = Some(Found { layers: vec![*layer], stat }),
            }
            if !is_dir(&stat) || is_opaque(file.as_fd(), self.marks)? {
                break;
            }
        }
        Ok(found)
    }

    /// Whether a directory shows something under that name without its writable layer.
    pub(super) fn lower_has(&self, parent: u64, name: &OsStr) -> Result<bool> {
        let layers: Vec<usize> =
            self.nodes.at(parent)?.layers.iter().copied().filter(|layer| !self.is_upper(*layer)).collect();
        Ok(self.find_at(&layers, &self.nodes.path(parent)?.join(name))?.is_some())
    }

    /// What a layer has at a path, marks included.
    pub(super) fn look(&self, layer: usize, path: &Path) -> Result<Option<(OwnedFd, Stat)>> {
        match self.open_at(layer, path, OFlags::PATH) {
            Ok(file) => {
                let stat = rustix::fs::fstat(&file)?;
                Ok(Some((file, stat)))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens what a layer has at a path; no link is followed.
    pub(super) fn open_at(&self, layer: usize, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let root = self.layers.get(layer).ok_or(Errno::STALE)?;
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return open_beneath(root.as_fd(), path, flags);
        }
        let mut here = root.try_clone().map_err(|_| Errno::MFILE)?;
        let mut piece = PathBuf::new();
        for part in path.components() {
            if piece.as_os_str().len() + part.as_os_str().len() >= PATH_BYTES_MAX {
                here = open_beneath(here.as_fd(), &piece, OFlags::PATH | OFlags::DIRECTORY)?;
                piece = PathBuf::new();
            }
            piece.push(part);
        }
        open_beneath(here.as_fd(), &piece, flags)
    }

    /// A descriptor of what a node is in its uppermost layer, good for its attributes only.
    pub(super) fn reach(&self, node: u64) -> Result<OwnedFd> {
        let known = self.nodes.at(node)?;
        if let Some(held) = &known.held {
            return rustix::io::fcntl_dupfd_cloexec(held, 0);
        }
        let layer = *known.layers.first().ok_or(Errno::STALE)?;
        self.open_at(layer, &self.nodes.path(node)?, OFlags::PATH)
    }

    /// Opens a node's directory in the writable layer, to make things in it; it has to be there.
    pub(super) fn upper_dir(&self, node: u64) -> Result<OwnedFd> {
        self.open_at(UPPER, &self.nodes.path(node)?, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// The node of what a name stands for: the known one if it is still the same, or a new one.
    pub(super) fn node_of(&mut self, parent: u64, name: &OsStr, found: &Found) -> Result<u64> {
        if let Some(known) = self.nodes.child(parent, name) {
            let node = self.nodes.at(known)?;
            if node.is_dir == found.is_dir() && node.layers == found.layers {
                return Ok(known);
            }
            self.nodes.take_name(parent, name);
        }
        let in_upper = found.layers.first().is_some_and(|layer| self.is_upper(*layer)) && !found.is_dir();
        if in_upper && let Some(known) = self.nodes.of_upper_inode(found.stat.st_ino) {
            self.nodes.give_name(known, parent, name)?;
            return Ok(known);
        }
        let inode = self.shown_inode(found);
        let node = self.nodes.add(Node::new(found.is_dir(), found.layers.clone(), inode));
        self.nodes.give_name(node, parent, name)?;
        if in_upper {
            self.nodes.set_upper_inode(node, found.stat.st_ino)?;
        }
        Ok(node)
    }

    /// The number that programs see of it: its own, where all layers are on one filesystem.
    fn shown_inode(&self, found: &Found) -> u64 {
        if found.layers.first().is_some_and(|layer| self.is_upper(*layer))
            && let Some(before) = self.moved.get(&found.stat.st_ino)
        {
            return *before;
        }
        let device = self.devices.iter().position(|device| *device == found.stat.st_dev).unwrap_or(0xff);
        found.stat.st_ino ^ ((device as u64) << 48)
    }

    /// What a node is, as programs see it.
    pub(super) fn attributes(&self, node: u64) -> Result<Stat> {
        let stat = rustix::fs::fstat(self.reach(node)?)?;
        self.shown(node, stat)
    }

    /// The same from what its uppermost layer says.
    pub(super) fn shown(&self, node: u64, mut stat: Stat) -> Result<Stat> {
        let known = self.nodes.at(node)?;
        stat.st_ino = known.inode;
        if known.layers.len() > 1 {
            // How many directories are in it nobody has counted.
            stat.st_nlink = 1;
        }
        Ok(stat)
    }

    pub(super) fn is_upper(&self, layer: usize) -> bool {
        layer == UPPER && self.writing.is_some()
    }

    /// Whether a node lies in the writable layer.
    pub(super) fn is_in_upper(&self, node: u64) -> Result<bool> {
        Ok(self.nodes.at(node)?.layers.first().is_some_and(|layer| self.is_upper(*layer)))
    }
}

/// Where a program finds what a descriptor of this process is open on, even if it is good for attributes only.
pub(super) fn by_descriptor(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Whether what a layer has there says that lower layers' is gone.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether a directory hides what lower layers have in it.
fn is_opaque(dir: BorrowedFd<'_>, marks: &str) -> Result<bool> {
    let mut value = [0; 2];
    match rustix::fs::getxattr(by_descriptor(dir), format!("{marks}opaque"), &mut value) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a directory hide what lower layers have in it.
pub(super) fn set_opaque(dir: BorrowedFd<'_>, marks: &str) -> Result<()> {
    rustix::fs::setxattr(by_descriptor(dir), format!("{marks}opaque"), b"y", rustix::fs::XattrFlags::empty())
}

/// Whether an attribute is one of the marks, which nobody sees.
pub(super) fn is_mark(name: &OsStr) -> bool {
    [TRUSTED, USER].iter().any(|marks| name.as_bytes().starts_with(marks.as_bytes()))
}

/// What the names of marks begin with that only the machine's root may set.
pub(super) const TRUSTED: &str = "trusted.overlay.";
/// The same of those that anyone may set.
pub(super) const USER: &str = "user.overlay.";

fn open_beneath(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    crate::resolve::open(dir, path, flags | OFlags::NOFOLLOW, Mode::empty(), resolve)
}

/// What is under a name in a directory of one layer, marks included.
pub(super) fn stat_in(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
