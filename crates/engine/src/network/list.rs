//! Looking at networks.

use strata_net::Endpoint;

use crate::network::{NetworkError, NetworkKnown};
use crate::{Engine, Result};

impl Engine {
    /// All networks, by name.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn networks(&self) -> Result<Vec<NetworkKnown>> {
        self.ensure_builtin()?;
        self.store().networks().list()?.into_iter().map(NetworkKnown::read).collect()
    }

    /// The containers that are connected to a network now.
    ///
    /// # Errors
    /// When what runs cannot be read.
    pub fn network_endpoints(&self, network: &NetworkKnown) -> Result<Vec<Endpoint>> {
        self.sweep_networks()?;
        let endpoints = strata_net::endpoints(&self.settings().run_dir, &network.record.id);
        Ok(endpoints.map_err(NetworkError::from)?)
    }

    /// Removes what killed containers left in networks.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn sweep_networks(&self) -> Result<()> {
        Ok(strata_net::sweep(&self.settings().run_dir).map_err(NetworkError::from)?)
    }
}
