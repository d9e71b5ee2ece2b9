//! Several layers' indexes laid out as one: what overlayfs would show of a stack, without the stack.
//!
//! The result is a layer like those it is made of: what they hide of layers further below, it hides.

use std::collections::HashMap;

use super::image::Image;
use super::reader::{Node, Reader};
use super::tree::{self, Body, Dir, NodeId, ROOT, Tree};
use crate::whiteout::Namespace;
use crate::{Device, Kind, Result};

/// One of the layers.
#[derive(Debug)]
pub struct Part {
    /// Its index.
    pub index: Reader,
    /// How long its tars are: its own first, then its lenders'.
    pub tars: Vec<u64>,
}

/// Makes one index of layers, the lowest first, whose overlay marks are in `namespace`. Its devices are the layers' tars
/// in the same order, each layer's own before its lenders'.
///
/// # Errors
/// When an index is damaged, or all of them together are too large for one.
pub fn merge(parts: &[Part], namespace: Namespace) -> Result<Image> {
    let mut tree = Tree::new();
    let mut tar = 0;
    for part in parts {
        Stacking { tree: &mut tree, index: &part.index, tar, namespace, files: HashMap::new() }.stack()?;
        tar += part.tars.len() as u16;
    }
    let tars: Vec<u64> = parts.iter().flat_map(|part| part.tars.iter().copied()).collect();
    Image::new(&tree, namespace, &tars)
}

/// One layer on its way onto those below it.
struct Stacking<'a> {
    tree: &'a mut Tree,
    index: &'a Reader,
    /// The number of its first tar.
    tar: u16,
    namespace: Namespace,
    /// Files with several names, by their inode.
    files: HashMap<u64, NodeId>,
}

impl Stacking<'_> {
    fn stack(mut self) -> Result<()> {
        let root = self.index.root()?;
        if self.is_opaque(&root) {
            *self.tree.dir_mut(ROOT) = Dir { opaque: true, ..Dir::default() };
        }
        self.tree.describe(ROOT, &root.entry);
        let mut todo = vec![(root, ROOT)];
        while let Some((dir, onto)) = todo.pop() {
            for child in self.index.children(&dir)? {
                let Some((_, name)) = child.entry.path.split() else { continue };
                if child.entry.is_dir() {
                    let merged = self.put_dir(onto, name, &child)?;
                    todo.push((child, merged));
                } else {
                    let node = self.file(&child)?;
                    self.tree.put(onto, name, node);
                }
            }
        }
        Ok(())
    }

    /// A directory on a directory is both in one; on anything else, it hides that.
    fn put_dir(&mut self, onto: NodeId, name: &[u8], dir: &Node) -> Result<NodeId> {
        let below = self.tree.child(onto, name);
        let is_opaque = self.is_opaque(dir);
        if let Some(below) = below.filter(|&below| !is_opaque && self.tree.dir(below).is_some()) {
            self.tree.describe(below, &dir.entry);
            return Ok(below);
        }
        let body = Body::Dir(Dir { opaque: is_opaque || below.is_some(), ..Dir::default() });
        let node = self.tree.push(tree::Node { body, ..tree::Node::implicit_dir() }, &dir.entry)?;
        self.tree.describe(node, &dir.entry);
        self.tree.put(onto, name, node);
        Ok(node)
    }

    fn file(&mut self, file: &Node) -> Result<NodeId> {
        if let Some(known) = self.files.get(&file.inode) {
            return Ok(*known);
        }
        let body = match &file.entry.kind {
            Kind::File { .. } => self.index.body(file, self.tar, self.tree)?,
            Kind::Symlink { target } => Body::Symlink(target.clone()),
            Kind::Char(Device { major: 0, minor: 0 }) => Body::Whiteout,
            Kind::Char(device) => Body::Char(*device),
            Kind::Block(device) => Body::Block(*device),
            // An index has no hard links: names of one file have one inode.
            Kind::Fifo | Kind::Dir | Kind::Hardlink { .. } => Body::Fifo,
        };
        let node = self.tree.push(tree::Node { body, ..tree::Node::implicit_dir() }, &file.entry)?;
        self.tree.describe(node, &file.entry);
        if file.links > 1 {
            self.files.insert(file.inode, node);
        }
        Ok(node)
    }

    fn is_opaque(&self, dir: &Node) -> bool {
        let mark = self.namespace.opaque();
        dir.entry.xattr(&mark.name) == Some(&mark.value)
    }
}
