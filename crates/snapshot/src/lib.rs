//! Layered filesystems by name; data kept by one of the drivers.
//!
//! ```text
//! ROOT/driver                        the driver's name, written once
//! ROOT/layers/<driver>/<id>/         a sealed layer; <id> is the hex of its diff id, or of its chain id where trees are kept
//!      erofs:   tar  index.erofs     the exact tar, and metadata whose extents point into it
//!      aufs:    fs/  recipe          the files as aufs wants them, and what else the tar had
//!      overlay: fs/  recipe          the files as overlayfs wants them, and what else the tar had
//!      fuse:    fs/  recipe          the same
//!      btrfs:   fs/  recipe          the whole tree as a subvolume, and what else the layer's tar had
//!      vfs:     fs/  recipe          the whole tree, and what else the layer's tar had
//!      devicemapper: thin  recipe    the whole tree on a thin device, of which this is a name; see `sys::thin`
//!      zfs:     zfs  recipe          the whole tree in a dataset, whose name this is; see `sys::zfs`
//! ROOT/layers/windowsfilter/<id>/    a layer of a Windows image, beside any driver's: tar  bytes (how long that is)
//! ROOT/devicemapper/  zfs/           the pool of thin devices, or the list of datasets
//! ROOT/projects/<id>                 a project of the filesystem, of which a container's `….project` is a name; see `sys::project`
//! ROOT/layers/<driver>/.new-<random>/   a layer being made or removed, flock'd by who does; garbage without an owner
//! ROOT/layers/empty/                 nothing, where a union needs something
//! ROOT/layers/places/                what every container has something mounted on
//! ROOT/containers/<id>/layers.json   what the container stands on
//!      erofs, overlay, fuse, aufs: upper/ work/ upper.project
//!      btrfs, vfs:     fs/ fs.project
//!      devicemapper:   thin
//!      zfs:            zfs
//! ROOT/containers/<id>/.old-<part>   what a container had before it was put back; garbage
//! ```
//!
//! Names, parents, atomicity and recovery are here, once; a driver knows only how one layer lies in one directory.

mod checkpoint;
mod chosen;
mod driver;
mod error;
mod files;
mod import;
mod integrity;
mod migrate;
mod places;
mod snapshots;
mod spare;
mod staging;
mod windows;

pub use checkpoint::Captured;
pub use chosen::{lost_driver, record_driver};
pub use driver::{Availability, DriverName, Model};
pub use error::{Error, Result};
pub use integrity::Integrity;
pub use migrate::Migration;
pub use snapshots::{LayerAdded, Options, Prepare, Snapshots, Usage};
pub use strata_layer::diff::{Change, ChangeKind};
