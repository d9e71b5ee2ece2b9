//! The tree that one layer's entries make, or several layers' (see `merge`).
//!
//! Parents are found as a kernel would find them inside the layer's root: symbolic links of the layer are followed and
//! end at the root. What nobody described becomes a directory of mode 0755.

use std::collections::BTreeMap;

use super::format::{XATTRS_BYTES_MAX, xattrs_bytes};
use super::holes::Holes;
use crate::attribute;
use crate::path::{DIR_BYTES_MAX, shown};
use crate::whiteout::{Meaning, is_mark, meaning};
use crate::{DEPTH_MAX, Device, Entry, Error, Kind, LayerPath, NAME_BYTES_MAX, Result, Time, Xattr};

/// How many symbolic links one path may lead through: as the kernel.
const LINKS_MAX: usize = 40;
/// How many nodes there may be, implicit directories included.
const NODES_MAX: usize = 8_000_000;

/// Bytes of the maps of all files with holes, copied content included.
const MAPS_BYTES_MAX: u64 = 256 << 20;

pub(super) type NodeId = usize;
pub(super) const ROOT: NodeId = 0;

/// What is behind one or several names.
pub(super) struct Node {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) body: Body,
}

/// What a node is.
pub(super) enum Body {
    Dir(Dir),
    /// A file whose content is `size` bytes of a tar.
    File {
        size: u64,
        /// Which tar, counted from 0.
        tar: u16,
        tar_offset: u64,
    },
    /// A file with holes.
    Sparse(Box<Holes>),
    Symlink(Vec<u8>),
    Char(Device),
    Block(Device),
    Fifo,
    /// What layers below have here is gone.
    Whiteout,
}

/// What is in a directory.
#[derive(Default)]
pub(super) struct Dir {
    pub(super) children: BTreeMap<Box<[u8]>, NodeId>,
    /// Hides what layers below have.
    pub(super) opaque: bool,
}

pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// The last parent, because entries come directory by directory.
    recent: Option<(Vec<u8>, NodeId)>,
    /// Of all maps of files with holes.
    map_bytes: u64,
}

/// What adding an entry did.
pub(super) enum Added {
    /// Its content goes to this node's holes.
    Sparse(NodeId),
    /// Its content is not needed.
    Other,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::implicit_dir()], recent: None, map_bytes: 0 }
    }

    /// Adds one entry of the tar; the last of one name wins.
    pub(super) fn add(&mut self, entry: &Entry, tar_offset: u64) -> Result<Added> {
        match meaning(&entry.path)? {
            Meaning::Plain => return self.add_plain(entry, tar_offset),
            Meaning::Ignored => {}
            Meaning::Opaque(dir) => {
                let dir = self.dir_at(dir.as_bytes(), entry)?;
                self.dir_mut(dir).opaque = true;
            }
            Meaning::Removes(path) => self.whiteout(&path, entry)?,
        }
        Ok(Added::Other)
    }

    /// A whiteout hides layers below and never what is in its own layer, in whatever order they come (OCI image-spec,
    /// layer.md#whiteouts): a directory beside its own whiteout is opaque.
    fn whiteout(&mut self, path: &LayerPath, entry: &Entry) -> Result<()> {
        let Some((parent, name)) = path.split() else { return Ok(()) };
        let parent = self.dir_at(parent, entry)?;
        match self.child(parent, name) {
            None => {
                let node = self.push(Node::whiteout(), entry)?;
                self.dir_mut(parent).children.insert(name.into(), node);
            }
            Some(own) => {
                if let Body::Dir(dir) = &mut self.nodes[own].body {
                    dir.opaque = true;
                }
            }
        }
        Ok(())
    }

    fn add_plain(&mut self, entry: &Entry, tar_offset: u64) -> Result<Added> {
        if xattrs_bytes(&entry.xattrs) > XATTRS_BYTES_MAX {
            let (entry, what) = (shown(entry.path.as_bytes()), "the size of its attributes");
            return Err(Error::Limit { entry, what, limit: XATTRS_BYTES_MAX as u64 });
        }
        let Some((parent, name)) = entry.path.split() else {
            self.describe_again(ROOT, entry);
            return Ok(Added::Other);
        };
        let parent = self.dir_at(parent, entry)?;
        let existing = self.child(parent, name);
        let body = match &entry.kind {
            Kind::Hardlink { target } => {
                let target = self.link_target(target, entry)?;
                self.put(parent, name, target);
                return Ok(Added::Other);
            }
            Kind::Dir => match existing.map(|node| &self.nodes[node].body) {
                Some(Body::Dir(_)) => {
                    self.describe_again(existing.unwrap_or(ROOT), entry);
                    return Ok(Added::Other);
                }
                whiteout => Body::Dir(Dir { opaque: matches!(whiteout, Some(Body::Whiteout)), ..Dir::default() }),
            },
            Kind::File { sparse: Some(extents), size_bytes } => {
                self.with_holes(Holes::new(entry, *size_bytes, extents, tar_offset)?, entry)?
            }
            Kind::File { size_bytes: size, .. } => Body::File { size: *size, tar: 0, tar_offset },
            Kind::Symlink { target } => Body::Symlink(target.clone()),
            Kind::Char(device) => Body::Char(*device),
            Kind::Block(device) => Body::Block(*device),
            Kind::Fifo => Body::Fifo,
        };
        let sparse = matches!(body, Body::Sparse(_));
        let node = self.push(Node { body, ..Node::implicit_dir() }, entry)?;
        self.describe(node, entry);
        self.put(parent, name, node);
        Ok(if sparse { Added::Sparse(node) } else { Added::Other })
    }

    /// The body of a file with holes, if there is room for one more.
    pub(super) fn with_holes(&mut self, holes: Holes, entry: &Entry) -> Result<Body> {
        self.map_bytes += holes.map_bytes();
        if self.map_bytes > MAPS_BYTES_MAX {
            let what = "the size of all maps of files with holes";
            return Err(Error::Limit { entry: shown(entry.path.as_bytes()), what, limit: MAPS_BYTES_MAX });
        }
        Ok(Body::Sparse(Box::new(holes)))
    }

    /// Gives a node the attributes of `entry`, without those that are overlayfs's own.
    pub(super) fn describe(&mut self, node: NodeId, entry: &Entry) {
        let node = &mut self.nodes[node];
        // Linux gives every symbolic link this mode.
        node.mode = if matches!(node.body, Body::Symlink(_)) { 0o777 } else { entry.mode };
        node.uid = entry.uid;
        node.gid = entry.gid;
        node.mtime = entry.mtime;
        let can_have = |xattr: &&Xattr| !is_mark(&xattr.name) && node.body.can_have(&xattr.name);
        let xattrs = entry.xattrs.iter().filter(|xattr| !attribute::is_nothing(xattr)).filter(can_have);
        node.xattrs = xattrs.cloned().collect();
    }

    /// Describes a directory that the layer may have described before: as in a directory of the disk, attributes that are
    /// not named again stay.
    fn describe_again(&mut self, node: NodeId, entry: &Entry) {
        let before = std::mem::take(&mut self.nodes[node].xattrs);
        self.describe(node, entry);
        let xattrs = &mut self.nodes[node].xattrs;
        for xattr in before {
            if !xattrs.iter().any(|one| one.name == xattr.name) {
                xattrs.push(xattr);
            }
        }
    }

    fn link_target(&mut self, target: &LayerPath, entry: &Entry) -> Result<NodeId> {
        let missing = |problem| Error::Apply { entry: shown(entry.path.as_bytes()), problem };
        let found = target.split().and_then(|(parent, name)| {
            let parent = self.find_dir(parent)?;
            self.child(parent, name)
        });
        match found.map(|node| (node, &self.nodes[node].body)) {
            None | Some((_, Body::Whiteout)) => Err(missing("the file it links to is not in the layer")),
            Some((_, Body::Dir(_))) => Err(missing("it links to a directory")),
            Some((node, _)) => Ok(node),
        }
    }

    pub(super) fn dir(&self, node: NodeId) -> Option<&Dir> {
        match &self.nodes[node].body {
            Body::Dir(dir) => Some(dir),
            _ => None,
        }
    }

    pub(super) fn dir_mut(&mut self, node: NodeId) -> &mut Dir {
        match &mut self.nodes[node].body {
            Body::Dir(dir) => dir,
            _ => unreachable!("callers hold a directory"),
        }
    }

    pub(super) fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        self.dir(dir)?.children.get(name).copied()
    }

    pub(super) fn put(&mut self, dir: NodeId, name: &[u8], node: NodeId) {
        if let Some(replaced) = self.dir_mut(dir).children.insert(name.into(), node) {
            // A directory or a link on the way to the recent parent may be gone.
            if matches!(self.nodes[replaced].body, Body::Dir(_) | Body::Symlink(_)) {
                self.recent = None;
            }
        }
    }

    pub(super) fn push(&mut self, node: Node, entry: &Entry) -> Result<NodeId> {
        if self.nodes.len() >= NODES_MAX {
            let what = "the number of files and directories";
            return Err(Error::Limit { entry: shown(entry.path.as_bytes()), what, limit: NODES_MAX as u64 });
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// Finds or makes the directory at `path`, following symbolic links.
    fn dir_at(&mut self, path: &[u8], entry: &Entry) -> Result<NodeId> {
        if path.is_empty() {
            return Ok(ROOT);
        }
        if let Some((recent, node)) = &self.recent
            && recent == path
        {
            return Ok(*node);
        }
        let node = self.walk(path, Some(entry))?.unwrap_or(ROOT);
        self.recent = Some((path.to_vec(), node));
        Ok(node)
    }

    /// Finds the directory at `path`, following symbolic links.
    fn find_dir(&mut self, path: &[u8]) -> Option<NodeId> {
        self.walk(path, None).ok().flatten()
    }

    /// Walks to a directory. What is missing is made if `make` says for which entry; otherwise it is `None`.
    fn walk(&mut self, path: &[u8], make: Option<&Entry>) -> Result<Option<NodeId>> {
        let problem = |problem| match make {
            Some(entry) => Error::Apply { entry: shown(entry.path.as_bytes()), problem },
            None => Error::Apply { entry: shown(path), problem },
        };
        // Links may lead deeper than any name says: so directories are counted where they are.
        let mut way = vec![(ROOT, 0)];
        let mut rest: Vec<Vec<u8>> = components(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let (here, above_bytes) = way.last().copied().unwrap_or((ROOT, 0));
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if way.len() > 1 {
                        way.pop();
                    }
                    continue;
                }
                _ => {}
            }
            let bytes = above_bytes + name.len() + 1;
            if way.len() >= DEPTH_MAX || bytes > DIR_BYTES_MAX {
                return Err(problem("its directories are too deep"));
            }
            let next = match self.child(here, &name) {
                Some(next) => next,
                None => {
                    let Some(entry) = make else { return Ok(None) };
                    if name.len() > NAME_BYTES_MAX {
                        return Err(problem("its parent is a symbolic link to a name that cannot be"));
                    }
                    let next = self.push(Node::implicit_dir(), entry)?;
                    self.dir_mut(here).children.insert(name.into(), next);
                    next
                }
            };
            match &mut self.nodes[next].body {
                Body::Dir(_) => way.push((next, bytes)),
                Body::Symlink(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(problem("its parent leads through too many symbolic links"));
                    }
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    rest.extend(components(target));
                }
                Body::Whiteout if make.is_some() => {
                    // Something new where something below is gone.
                    let dir = Dir { opaque: true, ..Dir::default() };
                    self.nodes[next] = Node { body: Body::Dir(dir), ..Node::implicit_dir() };
                    way.push((next, bytes));
                }
                _ => return Err(problem("its parent is not a directory")),
            }
        }
        Ok(way.last().map(|(node, _)| *node))
    }
}

impl Body {
    /// Whether Linux lets such a thing have this attribute (xattr(7)). Of those that it cannot have, nothing would be seen.
    fn can_have(&self, name: &[u8]) -> bool {
        match self {
            Self::Dir(_) => true,
            Self::File { .. } | Self::Sparse(_) => name != b"system.posix_acl_default",
            Self::Symlink(_) => !name.starts_with(b"user.") && !name.starts_with(b"system."),
            _ => !name.starts_with(b"user.") && name != b"system.posix_acl_default",
        }
    }
}

impl Node {
    pub(super) fn implicit_dir() -> Self {
        let body = Body::Dir(Dir::default());
        Self { mode: 0o755, uid: 0, gid: 0, mtime: Time::default(), xattrs: Vec::new(), body }
    }

    fn whiteout() -> Self {
        Self { mode: 0, body: Body::Whiteout, ..Self::implicit_dir() }
    }
}

/// Components, the first one last.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.rsplit(|&byte| byte == b'/').map(<[u8]>::to_vec).collect()
}
