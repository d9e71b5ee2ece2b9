//! The engine's dealings with the layer store: every operation reaches it through these few functions.

use std::collections::HashMap;
use std::io::{self, Read};

use strata_snapshot::{LayerAdded, Model};
use strata_store::records::LayerRecord;
use strata_store::{Collected, Lease, Scope};
use strata_types::config::ImageConfig;
use strata_types::{DiffId, Watch};

use crate::{Engine, Error, Result};

/// Who keeps the layers of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// The store's driver.
    Driver,
    /// What keeps the layers of Windows images, which no driver here could mount.
    Windows,
}

impl Keeper {
    /// Who keeps those of an image with this config.
    pub(crate) fn of(config: &ImageConfig) -> Self {
        if config.platform().is_windows() { Self::Windows } else { Self::Driver }
    }
}

/// The exact tar of a layer.
pub(crate) struct LayerTar {
    /// How long it is.
    pub(crate) size_bytes: u64,
    /// Its bytes.
    pub(crate) reader: Box<dyn Read + Send>,
}

impl Engine {
    /// Whether the uppermost of `layers` has files.
    pub(crate) fn has_layer(&self, layers: &[DiffId]) -> Result<bool> {
        Ok(self.snapshots()?.has_layer(layers))
    }

    /// The same, with whoever has to keep it.
    pub(crate) fn is_kept(&self, keeper: Keeper, layers: &[DiffId]) -> Result<bool> {
        match keeper {
            Keeper::Driver => self.has_layer(layers),
            Keeper::Windows => {
                let snapshots = self.snapshots()?;
                Ok(layers.last().is_none_or(|layer| snapshots.has_windows_layer(layer)))
            }
        }
    }

    /// Whether layers can be made in any order.
    pub(crate) fn layers_are_independent(&self, keeper: Keeper) -> Result<bool> {
        Ok(keeper == Keeper::Windows || self.snapshots()?.model() == Model::Diff)
    }

    /// Makes the uppermost of `layers` of its tar, compressed or not; fails if it turns out to be another layer.
    pub(crate) fn import_layer(
        &self,
        keeper: Keeper,
        layers: &[DiffId],
        tar: &mut dyn Read,
        watch: &dyn Watch,
    ) -> Result<LayerRecord> {
        let (expected, below) = layers.split_last().expect("a layer and those below it");
        let added = self.import_onto(keeper, below, Some(expected), tar, watch)?;
        Ok(self.record_of_layer(added))
    }

    /// Makes a layer whose diff id nobody knows yet, on top of others.
    pub(crate) fn import_unknown_layer(
        &self,
        keeper: Keeper,
        below: &[DiffId],
        lease: &Lease<'_>,
        tar: &mut dyn Read,
        watch: &dyn Watch,
    ) -> Result<LayerRecord> {
        let added = self.import_onto(keeper, below, None, tar, watch)?;
        self.keep(keeper, lease, below, added)
    }

    fn import_onto(
        &self,
        keeper: Keeper,
        below: &[DiffId],
        expected: Option<&DiffId>,
        tar: &mut dyn Read,
        watch: &dyn Watch,
    ) -> Result<LayerAdded> {
        let snapshots = self.snapshots()?;
        if keeper == Keeper::Windows {
            return Ok(snapshots.import_windows_layer(expected, tar, watch)?);
        }
        // Differences are kept each for itself, so that those below may still be on their way.
        let below = if snapshots.model() == Model::Diff { &[] } else { below };
        Ok(snapshots.import_layer(below, expected, tar, watch)?)
    }

    /// Protects a layer of the driver's that was just made, and whose name was not known before.
    pub(crate) fn keep_layer(&self, lease: &Lease<'_>, below: &[DiffId], added: LayerAdded) -> Result<LayerRecord> {
        self.keep(Keeper::Driver, lease, below, added)
    }

    fn keep(&self, keeper: Keeper, lease: &Lease<'_>, below: &[DiffId], added: LayerAdded) -> Result<LayerRecord> {
        let layers: Vec<DiffId> = below.iter().chain([&added.diff_id]).cloned().collect();
        lease.protect_layers(&layers)?;
        // A collector may have seen it before it was protected.
        if !self.is_kept(keeper, &layers)? {
            return Err(strata_store::Error::BeingRemoved.into());
        }
        Ok(self.record_of_layer(added))
    }

    /// Opens the exact tar of the uppermost of `layers`, whatever its length.
    pub(crate) fn layer_tar_stream(&self, layers: &[DiffId]) -> Result<Box<dyn Read + Send>> {
        Ok(self.snapshots()?.open_layer_tar(layers)?)
    }

    /// Opens the exact tar of the uppermost of `layers`, and says its length.
    pub(crate) fn layer_tar(&self, layers: &[DiffId]) -> Result<LayerTar> {
        let snapshots = self.snapshots()?;
        let reader = snapshots.open_layer_tar(layers)?;
        let size_bytes = match snapshots.layer_tar_bytes(layers)? {
            Some(size_bytes) => size_bytes,
            // Drivers that keep trees know it only when they have produced the tar.
            None => io::copy(&mut snapshots.open_layer_tar(layers)?, &mut io::sink())
                .map_err(|source| Error::Read { what: "a layer".to_owned(), source })?,
        };
        Ok(LayerTar { size_bytes, reader })
    }

    /// The sizes of all layers.
    pub(crate) fn layer_sizes(&self) -> Result<HashMap<DiffId, u64>> {
        let layers = self.store().layers().list()?;
        Ok(layers.into_iter().map(|layer| (layer.diff_id, layer.size_bytes)).collect())
    }

    /// Removes what nobody needs.
    pub(crate) fn collect(&self, scope: Scope, watch: &dyn Watch) -> Result<Collected> {
        Ok(self.store().gc(scope, self.snapshots()?, watch)?)
    }

    fn record_of_layer(&self, added: LayerAdded) -> LayerRecord {
        LayerRecord { diff_id: added.diff_id, size_bytes: added.size_bytes, added: self.now() }
    }
}
