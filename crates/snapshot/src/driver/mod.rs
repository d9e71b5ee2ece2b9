//! What a storage driver is, which there are, and which of them work here.

mod aufs;
mod btrfs;
mod devicemapper;
mod erofs;
mod overlay;
mod recorded;
mod tree;
pub(crate) mod upper;
mod vfs;
mod windowsfilter;
mod zfs;

pub(crate) use erofs::Leaving;
pub(crate) use recorded::FILES;
pub(crate) use vfs::copy_tree;
pub(crate) use windowsfilter::WindowsFilter;

use std::fmt;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use strata_layer::dir::Whiteouts;
use strata_layer::pipeline::{Pack, Shares};
use strata_layer::{Time, Unpacked, diff::Change};
use strata_sys::project::{self, Projects};
use strata_types::Watch;
use strata_types::mount::{Access, Mount, Union};

use crate::{Error, Result};

/// Knows how one layer lies in one directory. Names, parents, atomicity and recovery are not its business: it is handed
/// directories, those of layers lowest first.
pub(crate) trait Driver: Send + Sync + fmt::Debug {
    /// Which it is.
    fn name(&self) -> DriverName;

    /// What a layer's directory holds.
    fn model(&self) -> Model;

    /// Writes the layer in `source`, a tar, compressed or not, into the empty directory `layer`. Everything is synced when
    /// it returns.
    fn fill(&self, layer: &Path, below: &[PathBuf], source: Source<'_>, watch: &dyn Watch) -> Result<Unpacked>;

    /// Makes the container's changes a layer in the empty directory `layer`. Synced like [`fill`](Self::fill).
    fn pack(&self, layer: &Path, changes: &Changes<'_>, watch: &dyn Watch) -> Result<Unpacked>;

    /// Hands over the container's changes as entries of a layer's tar, as fast as they can be taken.
    fn hand_over(&self, below: &[PathBuf], container: &Path, to: &mut dyn Pack, watch: &dyn Watch) -> Result<()>;

    /// Opens a layer's tar: exactly the bytes that its diff id is the digest of.
    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>>;

    /// Looks for damage that reading the tar does not show, and says it in words. What is damaged in `derived` is removed.
    fn verify(&self, layer: &Path, derived: &Path, watch: &dyn Watch) -> Result<Option<String>> {
        let _ = (layer, derived, watch);
        Ok(None)
    }

    /// Looks whether a layer has all its parts, and they fit, without reading its content; says in words what is wrong.
    fn look(&self, layer: &Path) -> Result<Option<String>>;

    /// Removes what in `derived` was made of a layer; says its names.
    fn discard_derived(&self, layer: &Path, derived: &Path) -> Result<Vec<String>> {
        let _ = (layer, derived);
        Ok(Vec::new())
    }

    /// Looks at a layer that is about to be removed; nothing if it has no bytes in common with others.
    fn leaving(&self, layer: &Path, derived: &Path) -> Result<Option<Leaving>> {
        let _ = (layer, derived);
        Ok(None)
    }

    /// Gives back what is left of such a layer in `home`, the directory of all layers, and no other needs.
    fn reclaim(&self, home: &Path, leaving: &Leaving) -> Result<()> {
        let _ = (home, leaving);
        Ok(())
    }

    /// Where in a layer's directory there are other layers' files.
    fn of_others(&self, layer: &Path) -> Option<PathBuf> {
        let _ = layer;
        None
    }

    /// Bytes on the disk that a layer keeps of layers that are gone.
    fn kept_of_the_gone(&self, layer: &Path) -> Result<u64> {
        let _ = layer;
        Ok(0)
    }

    /// How long that tar is, if that is known without producing it.
    fn tar_bytes(&self, layer: &Path) -> Result<Option<u64>> {
        let _ = layer;
        Ok(None)
    }

    /// Makes a container's writable layer in its directory. What it may hold is limited only if [nothing](Self::no_limit) is in
    /// the way.
    fn prepare(&self, container: &Path, layers: &[PathBuf], size_bytes: Option<u64>) -> Result<()>;

    /// Why containers in the directory `home` cannot be limited in what they hold, in words.
    fn no_limit(&self, home: &Path) -> Result<Option<String>> {
        let _ = home;
        Ok(Some("it has no quotas".to_owned()))
    }

    /// Says how a stack is mounted; without a container it is only ever seen read-only.
    fn mount(&self, stack: &Stack<'_>, access: Access) -> Result<Mount>;

    /// Lists what a container changed.
    fn changes(&self, container: &Path, layers: &[PathBuf]) -> Result<Vec<Change>>;

    /// Where the files of a layer or container are, if not below its directory.
    fn files(&self, holder: &Path, access: Access) -> Result<Option<OwnedFd>> {
        let _ = (holder, access);
        Ok(None)
    }

    /// Makes it durable that containers are gone which were removed from the directory `home`, where the next durable write of
    /// anything does not.
    fn settle(&self, home: &Path) -> Result<()> {
        let _ = home;
        Ok(())
    }

    /// Gives back what belonged to layers and containers that are gone.
    fn tidy(&self) -> Result<()> {
        Ok(())
    }

    /// Opens what a container writes, so that changes can be put there as a layer's tar says them, and says how that is done;
    /// none if it cannot be.
    fn refill(&self, container: &Path) -> Result<Option<(OwnedFd, Whiteouts)>> {
        let _ = container;
        Ok(None)
    }

    /// The names in a container's directory that are the driver's.
    fn parts(&self) -> &'static [&'static str];
}

/// A tar to make a layer of.
pub(crate) struct Source<'a> {
    /// Its bytes, compressed or not.
    pub(crate) tar: &'a mut dyn Read,
    /// Content that lies in a file already, whose blocks the layer may share. Its places are those in the plain tar.
    pub(crate) shares: Option<Shares>,
}

/// What a container changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes<'a> {
    /// The layers it stands on, lowest first.
    pub(crate) below: &'a [PathBuf],
    /// The container's directory.
    pub(crate) container: &'a Path,
    /// Times later than this become it.
    pub(crate) newest: Option<Time>,
}

/// Layers, and perhaps what a container writes on top of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack<'a> {
    /// The layers' directories, lowest first.
    pub(crate) layers: &'a [PathBuf],
    /// The container's directory.
    pub(crate) container: Option<&'a Path>,
    /// Whether what the container writes need not survive the power.
    pub(crate) volatile: bool,
    /// An empty directory, for what is made of nothing and for unions of one.
    pub(crate) empty: &'a Path,
    /// A directory of the driver's, perhaps not there yet, for what it makes of layers and can make again.
    pub(crate) derived: &'a Path,
    /// What every running container has something mounted on, for images that lack it.
    pub(crate) places: Option<&'a Path>,
}

/// What a layer's directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// What the layer changes. Named by diff id, filled in any order, shared by all chains that have the layer.
    Diff,
    /// The tree of the layer and all below it. Named by chain id, filled on top of its parent.
    Tree,
}

/// The name of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DriverName {
    /// A layer is its tar and an EROFS index of it.
    Erofs,
    /// A layer is a directory for overlayfs.
    Overlay,
    /// A layer is a subvolume, a snapshot of the one below.
    Btrfs,
    /// A layer is a directory as for overlayfs, which a process of ours shows.
    Fuse,
    /// A layer is a copy of everything.
    Vfs,
    /// A layer is a directory for aufs.
    Aufs,
    /// A layer is a thin device, a snapshot of the one below.
    DeviceMapper,
    /// A layer of a Windows image is its tar. No store's driver: such layers lie beside others.
    WindowsFilter,
    /// A layer is a dataset, a clone of the one below.
    Zfs,
}

/// Whether a driver works on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    /// Which.
    pub driver: DriverName,
    /// Why not, if it does not.
    pub missing: Option<String>,
}

impl DriverName {
    /// All of them, the best first: the order in which they are tried.
    pub const ALL: [Self; 9] = [
        Self::Erofs,
        Self::Overlay,
        Self::Btrfs,
        Self::Zfs,
        Self::Fuse,
        Self::Vfs,
        Self::Aufs,
        Self::DeviceMapper,
        Self::WindowsFilter,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Overlay => "overlay",
            Self::Btrfs => "btrfs",
            Self::Fuse => "fuse",
            Self::Vfs => "vfs",
            Self::Aufs => "aufs",
            Self::DeviceMapper => "devicemapper",
            Self::WindowsFilter => "windowsfilter",
            Self::Zfs => "zfs",
        }
    }

    /// All of them, as they are written.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// It, for the store at `root`.
    pub(crate) fn driver(self, root: &Path) -> Box<dyn Driver> {
        match self {
            Self::Erofs => Box::new(erofs::Erofs { projects: projects(root) }),
            Self::Overlay => Box::new(overlay::Overlay { how: Union::Overlay, projects: projects(root) }),
            Self::Fuse => Box::new(overlay::Overlay { how: Union::Fuse, projects: projects(root) }),
            Self::Btrfs => Box::new(tree::Tree(btrfs::Subvolumes)),
            Self::Vfs => Box::new(tree::Tree(vfs::Copies { projects: projects(root) })),
            Self::Aufs => Box::new(aufs::Aufs),
            Self::DeviceMapper => Box::new(tree::Tree(devicemapper::Devices::new(root))),
            Self::WindowsFilter => Box::new(WindowsFilter),
            Self::Zfs => Box::new(tree::Tree(zfs::Clones::new(root))),
        }
    }

    /// Tries whether the driver works with files in `scratch`, a directory of the store's filesystem.
    pub(crate) fn probe(self, scratch: &Path) -> Result<(), String> {
        match self {
            Self::Erofs => erofs::probe(scratch),
            Self::Overlay => overlay::probe(scratch),
            Self::Btrfs => btrfs::probe(scratch),
            Self::Fuse => strata_sys::fuse::probe(),
            Self::Vfs => Ok(()),
            Self::Aufs => aufs::probe(),
            Self::DeviceMapper => devicemapper::probe(),
            Self::WindowsFilter => Err(windowsfilter::REASON.to_owned()),
            Self::Zfs => zfs::probe(scratch),
        }
    }
}

/// The limits of containers that are directories, for the store at `root`.
fn projects(root: &Path) -> Projects {
    Projects::new(&root.join("projects"))
}

/// Why containers in the directory `home` cannot be limited by the filesystem that their directories lie on.
fn no_projects(home: &Path) -> Result<Option<String>> {
    let lacking = project::lacking(home).map_err(Error::at("look for quotas in", home))?;
    Ok(lacking.map(str::to_owned))
}

/// Gives back those of containers that are gone.
fn tidy(projects: &Projects) -> Result<()> {
    projects.tidy().map_err(Error::at("take away limits of containers that are gone, in", projects.dir()))
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DriverName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Docker's name for the same thing.
        let text = if text == "overlay2" { "overlay" } else { text };
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| Error::UnknownDriver(text.to_owned()))
    }
}
