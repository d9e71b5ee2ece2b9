//! Removing networks.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::events::{Happening, Kind};
use crate::network::{NetworkError, NetworkKnown};
use crate::{Engine, Result};

impl Engine {
    /// Removes a network's record; its bridge is gone since its last container is.
    ///
    /// # Errors
    /// When it is one of those that are always there, or containers are connected.
    pub fn remove_network(&self, known: &NetworkKnown) -> Result<()> {
        let (name, id) = (&known.record.name, &known.record.id);
        if known.is_builtin() {
            let sentence = format!("{name} is a pre-defined network and cannot be removed");
            return Err(NetworkError::InUse(sentence).into());
        }
        if !self.network_endpoints(known)?.is_empty() {
            let sentence = format!("error while removing network: network {name} id {id} has active endpoints");
            return Err(NetworkError::InUse(sentence).into());
        }
        self.store().networks().remove(id)?;
        self.record_event(happening(known, "destroy"));
        Ok(())
    }

    /// Removes the networks that no container wants to be in, were made before `until` and whose labels fit; their names.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn prune_networks(
        &self,
        until: Option<Timestamp>,
        fits: &dyn Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<Vec<String>> {
        let mut wanted = Vec::new();
        for listed in self.containers()? {
            wanted.extend(listed.known.document.networks.into_iter().map(|wish| wish.network));
        }
        let mut pruned = Vec::new();
        for known in self.networks()? {
            let record = &known.record;
            let is_late = until.is_some_and(|until| record.created > until);
            if known.is_builtin() || is_late || wanted.contains(&record.name) || !fits(&record.labels) {
                continue;
            }
            self.remove_network(&known)?;
            pruned.push(known.record.name);
        }
        self.record_prune(Kind::Network, 0);
        Ok(pruned)
    }
}

/// Something that happened to a network.
pub(super) fn happening(known: &NetworkKnown, action: &str) -> Happening {
    let record = &known.record;
    Happening::new(Kind::Network, action, &record.id).with("name", &record.name).with("type", &record.driver)
}
