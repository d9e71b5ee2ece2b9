//! What a container changed.

use strata_snapshot::Change;

use crate::{Engine, Result};

impl Engine {
    /// Lists what a container changed in its filesystem, sorted by path.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn diff(&self, name: &str) -> Result<Vec<Change>> {
        let container = self.container(name)?.record;
        Ok(self.snapshots()?.changes(&container.id)?)
    }
}
