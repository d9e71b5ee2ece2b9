//! Connecting containers to further networks, and disconnecting them.

use super::attach::{Mode, attachment, check_wish};
use super::remove::happening;
use crate::container::Known;
use crate::network::{EndpointWish, NetworkError, NetworkKnown};
use crate::{Engine, Result};

impl Engine {
    /// Connects a container to a network: at once if it runs, and whenever it is started.
    ///
    /// # Errors
    /// When it has no network of its own, is connected already, or the address it wishes is another's.
    pub fn connect_network(&self, network: &NetworkKnown, container: &Known, mut wish: EndpointWish) -> Result<()> {
        wish.network.clone_from(&network.record.name);
        check_wish(network, &wish)?;
        let _changing = self.store().lock_container(container.id())?;
        let mut known = self.container(container.id().as_str())?;
        let mode = known.document.host.network_mode.clone();
        if mode == "host" {
            return Err(NetworkError::invalid(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        if mode.starts_with("container:") {
            return Err(NetworkError::invalid(
                "container sharing network namespace with another container or host cannot be connected to any other network",
            ));
        }
        if matches!(known.document.host.network(), Mode::Pasta(_)) {
            return Err(NetworkError::invalid("container connected by pasta cannot be connected to any network"));
        }
        if mode == "none" {
            return Err(NetworkError::invalid(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            ));
        }
        let (name, id) = (&network.record.name, known.record.name.clone());
        if known.document.networks.iter().any(|present| present.network == *name) {
            let sentence = format!("endpoint with name {id} already exists in network {name}");
            return Err(NetworkError::InUse(sentence).into());
        }
        if self.container_state(&known)?.status.is_up() {
            self.process(known.id()).connect_network(&attachment(&known, network, &wish)?)?;
            self.record_event(happening(network, "connect").with("container", known.id().as_str()));
        }
        known.document.networks.push(wish);
        self.keep_networks(&known)
    }

    /// Disconnects a container from a network.
    ///
    /// # Errors
    /// When it is not connected to it.
    pub fn disconnect_network(&self, network: &NetworkKnown, container: &Known) -> Result<()> {
        let _changing = self.store().lock_container(container.id())?;
        let mut known = self.container(container.id().as_str())?;
        let (name, id) = (&network.record.name, known.id().to_string());
        if known.document.host.network_mode == "host" {
            return Err(NetworkError::invalid(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        let before = known.document.networks.len();
        known.document.networks.retain(|wish| wish.network != *name);
        if known.document.networks.len() == before {
            return Err(NetworkError::InUse(format!("container {id} is not connected to network {name}")).into());
        }
        if self.container_state(&known)?.status.is_up() {
            self.process(known.id()).disconnect_network(&network.record.id)?;
            self.record_event(happening(network, "disconnect").with("container", known.id().as_str()));
        }
        self.keep_networks(&known)
    }

    fn keep_networks(&self, known: &Known) -> Result<()> {
        self.store().containers().update(known.id(), &known.document.print(), known.durability())?;
        Ok(())
    }
}
