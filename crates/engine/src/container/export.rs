//! A container's filesystem as a tar.

use std::io::Write;

use strata_layer::pipeline::Packer;
use strata_layer::{Entry, LayerSink, dir};
use strata_types::Watch;
use strata_types::mount::Access;

use super::transfer::FdReader;
use crate::{Engine, Error, Result, events};

impl Engine {
    /// Writes a container's filesystem as a tar: its image and its changes, without what is mounted in it.
    ///
    /// # Errors
    /// When there is no such container, or writing fails.
    pub fn export(&self, name: &str, target: &mut (dyn Write + Send), watch: &dyn Watch) -> Result<()> {
        let known = self.container(name)?;
        self.record_event(events::of(&known, "export"));
        let container = known.record;
        let snapshots = self.snapshots()?;
        let root = snapshots.open_root(&snapshots.plan(&container.id, Access::ReadOnly)?)?;
        let mut sink = TarSink(target);
        let mut packer = Packer::new(&mut sink);
        let readable = root.open(std::path::Path::new("."), rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY);
        let readable =
            readable.map_err(|source| Error::Read { what: "the container's filesystem".to_owned(), source })?;
        let walked = dir::walk(std::os::fd::AsFd::as_fd(&readable), &mut |entry, content| {
            if watch.cancelled() {
                return Err(strata_layer::Error::Cancelled);
            }
            match content {
                Some(fd) => packer.add(entry, &mut FdReader(fd)),
                None => packer.add(entry, &mut std::io::empty()),
            }
        });
        walked?;
        packer.finish()?;
        Ok(())
    }
}

/// Writes a tar's bytes, and nothing else.
pub(crate) struct TarSink<'a>(pub(crate) &'a mut (dyn Write + Send));

impl LayerSink for TarSink<'_> {
    fn bytes(&mut self, chunk: &[u8]) -> strata_layer::Result<()> {
        self.0.write_all(chunk).map_err(strata_layer::Error::io("write the archive"))
    }

    fn entry(&mut self, _entry: &Entry, _data_offset: u64) -> strata_layer::Result<()> {
        Ok(())
    }
}
