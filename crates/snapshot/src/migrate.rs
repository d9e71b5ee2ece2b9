//! From one driver to another.
//!
//! The layers are made again from their exact tars, each under the new driver beside the old one, and what each container wrote
//! is put into a new writable layer beside its old one; then the new driver is recorded as the store's, in one step; then what
//! was the old driver's is removed. Killed anywhere, the store is with one of the two, and moving it again goes on.

use std::path::PathBuf;

use strata_layer::dir::{Applier, Options, Power, Whiteouts};
use strata_layer::tar::{Limits, Times};
use strata_sys::{durable, failpoint};
use strata_types::{ContainerId, DiffId, Watch};

use crate::chosen::{availability, record_driver};
use crate::{DriverName, Error, Prepare, Result, Snapshots};

/// A store that is being moved: nobody else works with its layers.
#[derive(Debug)]
pub struct Migration<'a> {
    from: &'a Snapshots,
    to: Snapshots,
    layers: usize,
}

impl Snapshots {
    /// Starts to move the store to another driver. Waits for nobody: if others work with it, it fails.
    pub fn migrate(&self, to: DriverName) -> Result<Migration<'_>> {
        let path = self.root().join("layers/driver.lock");
        if !self.in_use.upgrade().map_err(Error::at("lock", &path))? {
            return Err(Error::InUse);
        }
        if let Some(reason) =
            availability(self.root())?.into_iter().find(|one| one.driver == to).and_then(|one| one.missing)
        {
            return Err(Error::Unavailable { driver: to, reason });
        }
        self.drop_spare()?;
        durable::create_dirs(&self.root().join("layers").join(to.as_str()), 0o711)?;
        Ok(Migration { from: self, to: self.with_driver(to)?, layers: 0 })
    }
}

impl Migration<'_> {
    /// Makes the layers of an image under the new driver, as far as they are not there and the old one has them.
    pub fn copy(&mut self, layers: &[DiffId], watch: &dyn Watch) -> Result<()> {
        for length in 1..=layers.len() {
            let chain = &layers[..length];
            if self.to.has_layer(chain) {
                continue;
            }
            if !self.from.has_layer(chain) {
                // The image was incomplete before; checking tells.
                return Ok(());
            }
            let mut tar = self.from.open_layer_tar(chain)?;
            self.to.import_layer(&chain[..length - 1], chain.last(), &mut tar, watch)?;
            self.layers += 1;
            failpoint!("snapshot.migrate.layer");
        }
        Ok(())
    }

    /// Makes a container's writable layer under the new driver, with all that the container wrote. It must not run.
    ///
    /// # Errors
    /// When both drivers have it under one name in different forms, or the new one cannot limit its size.
    pub fn container(&mut self, id: &ContainerId, size_bytes: Option<u64>, watch: &dyn Watch) -> Result<()> {
        let (footing, _) = self.from.footing(id)?;
        self.copy(&footing.layers, watch)?;
        let container = self.from.container_dir(id);
        let (from, to) = (self.from.driver(), self.to.driver());
        let immovable = || Error::Immovable { from: from.name(), to: to.name() };
        if from.parts().iter().any(|part| to.parts().contains(part)) {
            let forms = [from, to].map(|driver| driver.refill(&container).map(|form| form.map(|(_, form)| form)));
            let [Ok(Some(Whiteouts::Overlay(old))), Ok(Some(Whiteouts::Overlay(new)))] = forms else {
                return Err(immovable());
            };
            // One form for both: nothing has to be done.
            return if old == new { Ok(()) } else { Err(immovable()) };
        }
        for part in to.parts() {
            // A move that was killed left it.
            durable::remove(&container.join(part))?;
        }
        let dirs = self.to.dirs(&footing.layers)?;
        self.to.furnish(&container, &dirs, Prepare { volatile: footing.volatile, size_bytes })?;
        let (_, capture) = self.from.take_down(id, Times::Nanoseconds, watch)?;
        if capture.entries() > 0 {
            let (root, whiteouts) = to.refill(&container)?.ok_or_else(immovable)?;
            let files = root.try_clone().map_err(Error::at("open", &container))?;
            let mut tar = capture.finish()?;
            let applier = Applier::new(root, Options { whiteouts, power: Power::here() })?;
            let mut applier = applier.sharing(tar.shares());
            strata_layer::unpack(&mut tar, &mut applier, &Limits::GENEROUS, watch)?;
            applier.finish()?;
            rustix::fs::syncfs(&files).map_err(Error::at("sync", &container))?;
        }
        failpoint!("snapshot.migrate.container");
        Ok(())
    }

    /// Makes the new driver the store's and removes what the old one had, in these containers, too. Says how many layers were
    /// made.
    pub fn finish(self, containers: &[ContainerId]) -> Result<usize> {
        failpoint!("snapshot.migrate.copied");
        record_driver(self.from.root(), self.to.driver_name())?;
        failpoint!("snapshot.migrate.recorded");
        let driver = self.from.driver_name();
        let dropped = self.from.mounts.drop_all();
        dropped.map_err(|source| Error::Mount { act: "unmount the layers", driver, source })?;
        let Self { from, to, layers } = self;
        let driver = to.driver_name();
        let parts = to.driver().parts();
        drop(to);
        for id in containers {
            let old = DriverName::ALL.into_iter().flat_map(|name| name.driver(from.root()).parts());
            for part in old.filter(|part| !parts.contains(part)) {
                durable::remove(&from.container_dir(id).join(part))?;
            }
            failpoint!("snapshot.migrate.emptied");
        }
        // Layers of Windows images are no driver's business.
        for old in DriverName::ALL.into_iter().filter(|name| ![driver, DriverName::WindowsFilter].contains(name)) {
            let of = |name: String| -> PathBuf { from.root().join("layers").join(name) };
            let home = of(old.to_string());
            if !home.is_dir() {
                continue;
            }
            let old_layers = from.with_driver(old)?;
            for digest in old_layers.sealed()? {
                old_layers.remove_sealed(&digest)?;
                failpoint!("snapshot.migrate.removed");
            }
            old_layers.driver().tidy()?;
            for dir in [of(format!("{old}-derived")), home] {
                durable::remove(&dir)?;
            }
        }
        Ok(layers)
    }
}
