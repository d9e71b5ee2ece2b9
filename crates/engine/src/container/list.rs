//! Listing containers.

use strata_net::Connected;
use strata_runtime::State;
use strata_snapshot::Usage;

use crate::container::{Known, MountFrom};
use crate::network::Mode;
use crate::{Engine, Result};

/// A container in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The container.
    pub known: Known,
    /// What it is doing.
    pub state: State,
    /// What it is connected to, if it runs.
    pub connected: Connected,
}

impl Listed {
    /// The networks it is in or wants to be in, by name.
    pub fn networks(&self) -> Vec<&str> {
        let document = &self.known.document;
        if document.networks.is_empty() {
            return vec![&document.host.network_mode];
        }
        document.networks.iter().map(|wish| wish.network.as_str()).collect()
    }

    /// Its mounts as `ps` shows them: names of volumes, paths of the host.
    pub fn mounts(&self) -> Vec<String> {
        let shown = |source: &MountFrom| match source {
            MountFrom::Bind { path, .. } => Some(path.to_string_lossy().into_owned()),
            MountFrom::Volume { name, .. } => Some(name.clone()),
            MountFrom::Tmpfs { .. } | MountFrom::Image { .. } => None,
        };
        self.known.document.mounts.iter().filter_map(|point| shown(&point.source)).collect()
    }
}

impl Engine {
    /// All containers, the newest first.
    ///
    /// # Errors
    /// When records or states cannot be read.
    pub fn containers(&self) -> Result<Vec<Listed>> {
        self.sweep_networks()?;
        let mut listed = Vec::new();
        for record in self.container_records()? {
            let known = Known::read(record)?;
            let state = self.container_state(&known)?;
            let has_network =
                !known.document.networks.is_empty() || matches!(known.document.host.network(), Mode::Pasta(_));
            let is_connected = state.status.is_alive() && has_network;
            let connected = if is_connected { self.process(known.id()).connected()? } else { Connected::default() };
            listed.push(Listed { known, state, connected });
        }
        Ok(listed)
    }

    /// What a container's own files take, and those of its image in bytes.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn container_usage(&self, known: &Known) -> Result<(Usage, u64)> {
        let image = self.store().images().get(&known.record.image)?;
        let image_bytes = match image {
            Some(image) => image.size_bytes,
            None => {
                let sizes = self.layer_sizes()?;
                known.record.layers.iter().filter_map(|layer| sizes.get(layer)).sum()
            }
        };
        Ok((self.snapshots()?.usage(known.id())?, image_bytes))
    }
}
