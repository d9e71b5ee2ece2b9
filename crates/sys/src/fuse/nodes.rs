//! What the kernel knows of the union: nodes by number, and their names.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::{Errno, Result};

use super::wire::ROOT;

/// One file or directory that the kernel may ask about.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) is_dir: bool,
    /// The layers in which it lies, the uppermost first: one, or more for a directory that several have.
    pub(super) layers: Vec<usize>,
    /// The number that programs see.
    pub(super) inode: u64,
    /// What it is once it has no name any more.
    pub(super) held: Option<OwnedFd>,
    /// With what the kernel reads and writes it by itself, as long as somebody has it open so.
    pub(super) backing: Option<Backing>,
    /// How often it is open through us.
    pub(super) opens: usize,
    /// Its number in the writable layer, by which its further names are known.
    upper_inode: Option<u64>,
    /// With their directories. A directory has one; files of the writable layer may have more.
    names: Vec<(u64, OsString)>,
    children: HashMap<OsString, u64>,
    /// How often the kernel was told of it, and did not forget it yet.
    lookups: u64,
}

impl Node {
    /// One without names, of which the kernel was not told yet.
    pub(super) fn new(is_dir: bool, layers: Vec<usize>, inode: u64) -> Self {
        Self { is_dir, layers, inode, ..Self::default() }
    }
}

/// A file that was handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backing {
    /// The kernel's number for it.
    pub(super) number: i32,
    /// Of which layer it is.
    pub(super) layer: usize,
    /// How often the node is open with it.
    pub(super) opens: usize,
}

/// All that the kernel knows.
#[derive(Debug)]
pub(super) struct Nodes {
    all: HashMap<u64, Node>,
    by_upper_inode: HashMap<u64, u64>,
    next: u64,
}

impl Nodes {
    /// The root only, a directory in all of so many layers.
    pub(super) fn new(layers: usize, inode: u64) -> Self {
        let root = Node { lookups: 1, ..Node::new(true, (0..layers).collect(), inode) };
        Self { all: HashMap::from([(ROOT, root)]), by_upper_inode: HashMap::new(), next: ROOT + 1 }
    }

    /// The node with that number; `ESTALE` if there is none.
    pub(super) fn at(&self, node: u64) -> Result<&Node> {
        self.all.get(&node).ok_or(Errno::STALE)
    }

    /// The same, to change it.
    pub(super) fn at_mut(&mut self, node: u64) -> Result<&mut Node> {
        self.all.get_mut(&node).ok_or(Errno::STALE)
    }

    /// Where a node is below the root of each layer; `ENOENT` if it has no name any more.
    pub(super) fn path(&self, mut node: u64) -> Result<PathBuf> {
        let mut names = Vec::new();
        while node != ROOT {
            let (parent, name) = self.at(node)?.names.first().ok_or(Errno::NOENT)?;
            names.push(name);
            node = *parent;
        }
        if names.is_empty() { Ok(PathBuf::from(".")) } else { Ok(names.into_iter().rev().collect()) }
    }

    /// The directory and the name of a node, if it has one.
    pub(super) fn name(&self, node: u64) -> Result<Option<(u64, OsString)>> {
        Ok(self.at(node)?.names.first().cloned())
    }

    /// What a name in a directory stands for, if that is known.
    pub(super) fn child(&self, parent: u64, name: &OsStr) -> Option<u64> {
        self.all.get(&parent)?.children.get(name).copied()
    }

    /// The node of a file of the writable layer.
    pub(super) fn of_upper_inode(&self, inode: u64) -> Option<u64> {
        self.by_upper_inode.get(&inode).copied()
    }

    /// Adds one, without a name.
    pub(super) fn add(&mut self, node: Node) -> u64 {
        let number = self.next;
        self.next += 1;
        self.all.insert(number, node);
        number
    }

    /// From now on it is found by its number in the writable layer.
    pub(super) fn set_upper_inode(&mut self, node: u64, inode: u64) -> Result<()> {
        self.at_mut(node)?.upper_inode = Some(inode);
        self.by_upper_inode.insert(inode, node);
        Ok(())
    }

    /// Gives a node a further name.
    pub(super) fn give_name(&mut self, node: u64, parent: u64, name: &OsStr) -> Result<()> {
        self.take_name(parent, name);
        self.at_mut(parent)?.children.insert(name.to_owned(), node);
        let named = self.at_mut(node)?;
        named.names.push((parent, name.to_owned()));
        Ok(())
    }

    /// Takes a name away and says whose it was. One that the kernel was never told of is gone with its last name.
    pub(super) fn take_name(&mut self, parent: u64, name: &OsStr) -> Option<u64> {
        let node = self.all.get_mut(&parent)?.children.remove(name)?;
        if let Some(named) = self.all.get_mut(&node) {
            named.names.retain(|(dir, own)| (*dir, own.as_os_str()) != (parent, name));
        }
        self.collect(node);
        Some(node)
    }

    /// Takes all names away: from now on it is only what is held of it, and who looks its names up finds another one.
    pub(super) fn detach(&mut self, node: u64, held: OwnedFd) -> Result<()> {
        for (parent, name) in std::mem::take(&mut self.at_mut(node)?.names) {
            self.at_mut(parent)?.children.remove(&name);
        }
        let detached = self.at_mut(node)?;
        detached.held = Some(held);
        if let Some(inode) = detached.upper_inode.take() {
            self.by_upper_inode.remove(&inode);
        }
        Ok(())
    }

    /// The kernel was told of it.
    pub(super) fn remember(&mut self, node: u64) -> Result<()> {
        self.at_mut(node)?.lookups += 1;
        Ok(())
    }

    /// The kernel forgets that it was told so often.
    pub(super) fn forget(&mut self, node: u64, times: u64) {
        if let Some(forgotten) = self.all.get_mut(&node) {
            forgotten.lookups = forgotten.lookups.saturating_sub(times);
            self.collect(node);
        }
    }

    /// Drops a node of which nobody knows, and then the directories above it of which the same is true.
    fn collect(&mut self, mut node: u64) {
        while let Some(found) = self.all.get(&node) {
            if node == ROOT || found.lookups > 0 || !found.children.is_empty() {
                return;
            }
            let Some(gone) = self.all.remove(&node) else { return };
            if let Some(inode) = gone.upper_inode {
                self.by_upper_inode.remove(&inode);
            }
            let Some((first, _)) = gone.names.first().cloned() else { return };
            for (parent, name) in gone.names {
                if let Some(above) = self.all.get_mut(&parent) {
                    above.children.remove(&name);
                }
            }
            node = first;
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn add(nodes: &mut Nodes, parent: u64, text: &str) -> u64 {
        let node = nodes.add(Node::new(false, vec![0], 7));
        nodes.give_name(node, parent, name(text)).unwrap();
        nodes.remember(node).unwrap();
        node
    }

    #[test]
    fn what_the_kernel_forgets_goes_when_nothing_is_below_it() {
        let mut nodes = Nodes::new(1, 2);
        let dir = add(&mut nodes, ROOT, "dir");
        let file = add(&mut nodes, dir, "file");
        nodes.remember(file).unwrap();
        assert_eq!(nodes.path(file).unwrap(), PathBuf::from("dir/file"));
        nodes.forget(dir, 1);
        nodes.forget(file, 1);
        assert_eq!(nodes.len(), 3);
        nodes.forget(file, 1);
        assert_eq!(nodes.len(), 1);
        assert_eq!(nodes.child(ROOT, name("dir")), None);
        nodes.forget(ROOT, 5);
        assert_eq!(nodes.path(ROOT).unwrap(), PathBuf::from("."));
    }

    #[test]
    fn one_of_two_names_goes_and_the_file_stays() {
        let mut nodes = Nodes::new(1, 2);
        let file = add(&mut nodes, ROOT, "one");
        nodes.set_upper_inode(file, 77).unwrap();
        nodes.give_name(file, ROOT, name("two")).unwrap();
        assert_eq!(nodes.take_name(ROOT, name("one")), Some(file));
        assert_eq!(nodes.path(file).unwrap(), PathBuf::from("two"));
        assert_eq!(nodes.of_upper_inode(77), Some(file));
        assert_eq!(nodes.take_name(ROOT, name("two")), Some(file));
        assert_eq!(nodes.path(file), Err(Errno::NOENT));
        nodes.forget(file, 1);
        assert_eq!((nodes.of_upper_inode(77), nodes.len()), (None, 1));
    }
}
