//! Layers of Windows images beside those of the store's driver.
//!
//! Every store can have both, because every store can pull images for any platform. A layer that a Linux and a Windows image
//! have in common is there twice: the driver's can be mounted, the other one was checked by Windows' rules. Both give the same
//! tar, and go together.

use std::io::Read;
use std::path::PathBuf;

use strata_sys::durable;
use strata_types::{DiffId, Digest, Watch};

use crate::driver::{Driver as _, Source, WindowsFilter};
use crate::snapshots::{digest_of_hex, names};
use crate::staging::{self, Staging};
use crate::{DriverName, LayerAdded, Result, Snapshots};

impl Snapshots {
    /// Takes in a layer of a Windows image: a tar, compressed or not. With `expected` the content must have that digest.
    /// Atomic, and safe beside others who do the same.
    ///
    /// # Errors
    /// When Windows would not take it, its digest is another one, or it cannot be written.
    pub fn import_windows_layer(
        &self,
        expected: Option<&DiffId>,
        source: &mut dyn Read,
        watch: &dyn Watch,
    ) -> Result<LayerAdded> {
        let home = self.windows_home();
        durable::create_dirs(&home, 0o711)?;
        staging::sweep(&home)?;
        let new = Staging::new(&home)?;
        let unpacked = WindowsFilter.fill(new.path(), &[], Source { tar: source, shares: None }, watch)?;
        let added = |was_there| LayerAdded {
            diff_id: unpacked.diff_id.clone(),
            size_bytes: unpacked.content_bytes,
            tar_bytes: unpacked.tar_bytes,
            was_there,
        };
        if let Some(expected) = expected.filter(|expected| **expected != unpacked.diff_id) {
            return Err(crate::Error::DiffId { expected: expected.clone(), actual: unpacked.diff_id });
        }
        let is_new = new.publish(&self.windows_dir(&unpacked.diff_id))?;
        Ok(added(!is_new))
    }

    /// Whether a layer of a Windows image is here.
    pub fn has_windows_layer(&self, layer: &DiffId) -> bool {
        self.windows_dir(layer).is_dir()
    }

    /// Where it is.
    pub fn windows_dir(&self, layer: &DiffId) -> PathBuf {
        self.windows_home().join(layer.digest().hex())
    }

    /// Their digests. Clears away what makers that died left behind.
    pub(crate) fn windows_layers(&self) -> Result<Vec<Digest>> {
        let home = self.windows_home();
        staging::sweep(&home)?;
        Ok(names(&home)?.iter().filter_map(|name| digest_of_hex(name)).collect())
    }

    /// Removes one; says whether it was there.
    pub(crate) fn remove_windows_layer(&self, layer: &DiffId) -> Result<bool> {
        staging::discard(&self.windows_dir(layer), &self.windows_home())
    }

    fn windows_home(&self) -> PathBuf {
        self.root().join("layers").join(DriverName::WindowsFilter.as_str())
    }
}
