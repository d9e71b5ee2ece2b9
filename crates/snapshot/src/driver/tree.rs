//! Drivers whose layers are whole trees. They differ in how a tree becomes the copy of another, and share the rest.

use std::fmt;
use std::io::Read;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use strata_layer::Unpacked;
use strata_layer::diff::{Change, pack_trees, tree_changes};
use strata_layer::dir::Whiteouts;
use strata_layer::pipeline::{Pack, Packer};
use strata_types::Watch;
use strata_types::mount::{Access, Mount};

use super::recorded::{self, FILES};
use super::{Changes, Driver, DriverName, Model, Source, Stack};
use crate::Result;

/// How trees are kept. Each is in a directory of its own, the holder: a layer's or a container's.
pub(super) trait Trees: Send + Sync + fmt::Debug {
    /// Whose they are.
    fn name(&self) -> DriverName;

    /// Makes the holder's tree: a copy of that of the layer `below`, or an empty one.
    fn make(&self, below: Option<&Path>, holder: &Path) -> Result<()>;

    /// Opens a tree's root directory: to read a layer's, to write a new one's, and either for a container's.
    fn open(&self, holder: &Path, access: Access) -> Result<OwnedFd> {
        let _ = access;
        recorded::open(holder)
    }

    /// Nothing in the tree changes from here on.
    fn seal(&self, holder: &Path) -> Result<()> {
        let _ = holder;
        Ok(())
    }

    /// Makes a container's tree, as [`make`](Self::make) does, that may hold so much.
    fn make_limited(&self, below: Option<&Path>, container: &Path, bytes: u64) -> Result<()>;

    /// See [`Driver::no_limit`].
    fn no_limit(&self, home: &Path) -> Result<Option<String>>;

    /// Whether the files are not below the holder's directory.
    fn is_elsewhere(&self) -> bool {
        false
    }

    /// See [`Driver::settle`].
    fn settle(&self, home: &Path) -> Result<()> {
        let _ = home;
        Ok(())
    }

    /// Gives back what belonged to holders that are gone.
    fn tidy(&self) -> Result<()> {
        Ok(())
    }

    /// The names in a holder's directory that are a tree's.
    fn parts(&self) -> &'static [&'static str] {
        &[FILES]
    }

    /// Says how the tree is mounted; a layer's is sealed.
    fn mount(&self, holder: &Path, sealed: bool) -> Result<Mount> {
        let _ = sealed;
        Ok(Mount::Dir(holder.join(FILES)))
    }
}

/// A driver made of them.
#[derive(Debug)]
pub(super) struct Tree<T>(pub(super) T);

impl<T: Trees> Tree<T> {
    fn make_on(&self, below: &[PathBuf], holder: &Path) -> Result<OwnedFd> {
        self.0.make(below.last().map(PathBuf::as_path), holder)?;
        self.0.open(holder, Access::ReadWrite)
    }

    fn top(&self, layers: &[PathBuf]) -> Result<Option<OwnedFd>> {
        layers.last().map(|top| self.0.open(top, Access::ReadOnly)).transpose()
    }
}

impl<T: Trees> Driver for Tree<T> {
    fn name(&self) -> DriverName {
        self.0.name()
    }

    fn model(&self) -> Model {
        Model::Tree
    }

    fn fill(&self, layer: &Path, below: &[PathBuf], source: Source<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        let root = self.make_on(below, layer)?;
        let unpacked = recorded::fill(layer, root, Whiteouts::Execute, source, watch)?;
        self.0.seal(layer)?;
        Ok(unpacked)
    }

    fn pack(&self, layer: &Path, changes: &Changes<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        let Changes { below, container, newest } = *changes;
        let root = self.make_on(below, layer)?;
        let (old, new) = (self.top(below)?, self.0.open(container, Access::ReadWrite)?);
        let unpacked = recorded::record(layer, root, Whiteouts::Execute, None, |sink| {
            let mut packer = Packer::new(sink).newest(newest);
            pack_trees(old.as_ref().map(|old| old.as_fd()), new.as_fd(), &mut packer, watch)?;
            packer.finish()
        })?;
        self.0.seal(layer)?;
        Ok(unpacked)
    }

    fn hand_over(&self, below: &[PathBuf], container: &Path, to: &mut dyn Pack, watch: &dyn Watch) -> Result<()> {
        let (old, new) = (self.top(below)?, self.0.open(container, Access::ReadWrite)?);
        Ok(pack_trees(old.as_ref().map(|old| old.as_fd()), new.as_fd(), to, watch)?)
    }

    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>> {
        recorded::play(layer, self.0.open(layer, Access::ReadOnly)?)
    }

    fn look(&self, layer: &Path) -> Result<Option<String>> {
        recorded::look(layer, self.0.open(layer, Access::ReadOnly)?)
    }

    fn prepare(&self, container: &Path, layers: &[PathBuf], size_bytes: Option<u64>) -> Result<()> {
        let below = layers.last().map(PathBuf::as_path);
        match size_bytes {
            Some(bytes) => self.0.make_limited(below, container, bytes),
            None => self.0.make(below, container),
        }
    }

    fn no_limit(&self, home: &Path) -> Result<Option<String>> {
        self.0.no_limit(home)
    }

    fn mount(&self, stack: &Stack<'_>, _access: Access) -> Result<Mount> {
        let holder = stack.container.or_else(|| stack.layers.last().map(PathBuf::as_path));
        let sealed = stack.container.is_none();
        holder.map_or_else(|| Ok(Mount::Dir(stack.empty.to_owned())), |holder| self.0.mount(holder, sealed))
    }

    fn changes(&self, container: &Path, layers: &[PathBuf]) -> Result<Vec<Change>> {
        let new = self.0.open(container, Access::ReadWrite)?;
        let Some(old) = self.top(layers)? else { return Ok(Vec::new()) };
        Ok(tree_changes(old.as_fd(), new.as_fd())?)
    }

    fn files(&self, holder: &Path, access: Access) -> Result<Option<OwnedFd>> {
        self.0.is_elsewhere().then(|| self.0.open(holder, access)).transpose()
    }

    fn settle(&self, home: &Path) -> Result<()> {
        self.0.settle(home)
    }

    fn tidy(&self) -> Result<()> {
        self.0.tidy()
    }

    fn refill(&self, container: &Path) -> Result<Option<(OwnedFd, Whiteouts)>> {
        Ok(Some((self.0.open(container, Access::ReadWrite)?, Whiteouts::Execute)))
    }

    fn parts(&self) -> &'static [&'static str] {
        self.0.parts()
    }
}
