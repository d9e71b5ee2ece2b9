//! How two images differ.

use strata_layer::diff::{Catalog, Change};
use strata_layer::tar::Limits;
use strata_types::{DiffId, Watch};

use crate::{Engine, Error, Result};

impl Engine {
    /// Lists how an image differs from another, sorted by path; without another, from its own layers but the uppermost. All
    /// that both share is read once; nothing is mounted.
    ///
    /// # Errors
    /// When one of them is not here, or a layer cannot be read.
    pub fn compare_images(&self, name: &str, older: Option<&str>, watch: &dyn Watch) -> Result<Vec<Change>> {
        let new = self.image(name)?.layers;
        let old = match older {
            Some(older) => self.image(older)?.layers,
            None => new[..new.len().saturating_sub(1)].to_vec(),
        };
        let lease = self.store().lease()?;
        lease.protect_layers(&new)?;
        lease.protect_layers(&old)?;
        let common = new.iter().zip(&old).take_while(|(new, old)| new == old).count();
        let mut shared = Catalog::default();
        self.catalog(&mut shared, &new, 0..common, watch)?;
        let mut before = shared.clone();
        self.catalog(&mut before, &old, common..old.len(), watch)?;
        let mut after = shared;
        self.catalog(&mut after, &new, common..new.len(), watch)?;
        lease.release()?;
        Ok(before.changes(&after))
    }

    fn catalog(
        &self,
        catalog: &mut Catalog,
        layers: &[DiffId],
        range: std::ops::Range<usize>,
        watch: &dyn Watch,
    ) -> Result<()> {
        for at in range {
            let mut tar = self.layer_tar_stream(&layers[..=at])?;
            catalog.add(&mut tar, &Limits::GENEROUS, watch).map_err(|error| match error {
                strata_layer::Error::Cancelled => Error::Cancelled,
                other => other.into(),
            })?;
        }
        Ok(())
    }
}
