//! A tree as files outside the store.

use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::OFlags;
use strata_layer::dir::{self, Applier, Options, Power, Whiteouts};
use strata_layer::pipeline::{self, Packer};
use strata_layer::tar::Limits;
use strata_layer::{Entry, LayerSink};
use strata_types::{DiffId, Watch};

use super::Workbench;
use crate::container::{FdReader, TarSink};
use crate::{Error, Result};

/// Where a tree is written.
pub enum TreeTarget<'a> {
    /// As a tar.
    Tar(&'a mut (dyn Write + Send)),
    /// As files in a directory that is there, all of them its owner's.
    Dir(&'a Path),
}

impl Workbench<'_> {
    /// Writes the tree of some layers.
    ///
    /// # Errors
    /// When it cannot be read or not be written.
    pub fn write_tree(&self, layers: &[DiffId], to: TreeTarget<'_>, watch: &dyn Watch) -> Result<()> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source: io::Error| Error::Read { what, source }
        };
        let root = self.tree(layers)?;
        let root = root.open(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed("the image's tree"))?;
        match to {
            TreeTarget::Tar(target) => copy(root.as_fd(), &mut TarSink(target), false, watch),
            TreeTarget::Dir(path) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let target = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
                let target = target.map_err(|errno| failed(&path.display().to_string())(errno.into()))?;
                let options = Options { whiteouts: Whiteouts::Execute, power: Power::here() };
                let mut applier = Applier::new(target, options)?;
                copy(root.as_fd(), &mut applier, true, watch)?;
                Ok(applier.finish()?)
            }
        }
    }
}

impl Workbench<'_> {
    /// Reads the exact tar of the uppermost of `layers`, taken apart.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_layer(&self, layers: &[DiffId], sink: &mut dyn LayerSink, watch: &dyn Watch) -> Result<()> {
        let mut tar = self.engine.layer_tar(layers)?;
        pipeline::unpack(&mut tar.reader, sink, &Limits::GENEROUS, watch)?;
        Ok(())
    }
}

fn copy(root: std::os::fd::BorrowedFd<'_>, sink: &mut dyn LayerSink, is_ours: bool, watch: &dyn Watch) -> Result<()> {
    let mut packer = Packer::new(sink);
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    dir::walk(root, &mut |entry, content| {
        if watch.cancelled() {
            return Err(strata_layer::Error::Cancelled);
        }
        let owned = is_ours.then(|| Entry { uid, gid, ..entry.clone() });
        let entry = owned.as_ref().unwrap_or(entry);
        match content {
            Some(fd) => packer.add(entry, &mut FdReader(fd)),
            None => packer.add(entry, &mut io::empty()),
        }
    })?;
    packer.finish()?;
    Ok(())
}
