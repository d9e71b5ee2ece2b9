//! From a container's wishes to what its shim connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use strata_net::{Attachment, Mac, PASTA, Plan, Protocol, Publish, Resolver};
use strata_runtime::spec::Network;
use strata_types::ContainerId;

use super::definition::DEFAULT;
use super::pasta;
use crate::container::{ContainerError, Document, HostConfig, Known, etc_files};
use crate::network::{NetworkError, NetworkKnown};
use crate::{Engine, Error, Result, rootless};

/// What a container wishes of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointWish {
    /// The network, by name.
    pub network: String,
    /// Further names in that network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// The MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
}

/// What `--network` can say.
pub(crate) enum Mode<'a> {
    None,
    Host,
    /// Another container's.
    Of(&'a str),
    /// pasta(1), with these options.
    Pasta(&'a str),
    Networks,
}

impl HostConfig {
    /// Reads `network_mode`.
    pub(crate) fn network(&self) -> Mode<'_> {
        match self.network_mode.as_str() {
            "none" => Mode::None,
            "host" => Mode::Host,
            PASTA => Mode::Pasta(""),
            mode => match mode.split_once(':') {
                Some(("container", other)) => Mode::Of(other),
                Some((PASTA, options)) => Mode::Pasta(options),
                _ => Mode::Networks,
            },
        }
    }
}

impl Engine {
    /// Checks what a new container wishes, and names the networks as they are called.
    ///
    /// Who is not root on the machine has no networks, but pasta if that is installed, else a loopback and a warning.
    pub(crate) fn resolve_networks(
        &self,
        host: &mut HostConfig,
        wishes: &mut Vec<EndpointWish>,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        if rootless::entered() && matches!(host.network(), Mode::Networks) {
            return pasta::in_place_of_networks(host, wishes, warnings);
        }
        match host.network() {
            Mode::Of("") => {
                let sentence = "Invalid network mode: invalid container format container:<name|id>";
                return Err(ContainerError::invalid(sentence));
            }
            Mode::Of(name) => {
                let other = self.container(name)?;
                host.network_mode = format!("container:{}", other.id());
                return Ok(());
            }
            Mode::Pasta(_) => return pasta::check(),
            mode @ (Mode::None | Mode::Host) => {
                if !host.port_bindings.is_empty() {
                    let mode = if matches!(mode, Mode::Host) { "host" } else { "none" };
                    warnings.push(format!("Published ports are discarded when using {mode} network mode"));
                }
                return Ok(());
            }
            Mode::Networks => {}
        }
        publishes(host, &[])?;
        for wish in wishes.iter_mut() {
            let known = self.network(&wish.network)?;
            check_wish(&known, wish).map_err(|error| match error {
                Error::Network(NetworkError::Invalid(what)) => {
                    NetworkError::invalid(format!("invalid config for network {}: {what}", known.record.name))
                }
                other => other,
            })?;
            wish.network.clone_from(&known.record.name);
        }
        if let Some(first) = wishes.first() {
            host.network_mode.clone_from(&first.network);
        }
        Ok(())
    }

    /// What the runtime is told about a container's network.
    pub(crate) fn network_of(&self, known: &Known) -> Result<Network> {
        let Document { host, .. } = &known.document;
        match host.network() {
            Mode::None => Ok(Network::None),
            Mode::Host => Ok(Network::Host),
            Mode::Of(name) => Ok(Network::Container(self.running(name, "network")?)),
            Mode::Pasta(_) | Mode::Networks => Ok(Network::Connected(Box::new(self.plan(known)?))),
        }
    }

    /// The container of a name, which has to run because something of it is joined.
    pub(crate) fn running(&self, name: &str, what: &str) -> Result<ContainerId> {
        let other = self.container(name)?;
        if self.container_state(&other)?.status.is_alive() {
            return Ok(other.id().clone());
        }
        let sentence = format!("cannot join {what} of a non running container: {}", other.id());
        Err(ContainerError::NotRunning(sentence).into())
    }

    /// Where a container that asks for it reaches the host: the gateway of its first network that has one.
    pub(crate) fn host_gateway(&self, document: &Document) -> Result<Option<IpAddr>> {
        let asks =
            |entry: &String| entry.split_once(':').is_some_and(|(_, address)| address == etc_files::HOST_GATEWAY);
        if !document.host.extra_hosts.iter().flatten().any(asks) {
            return Ok(None);
        }
        for wish in &document.networks {
            if let Some(pool) = self.network(&wish.network)?.definition.pools.first() {
                return Ok(Some(pool.gateway));
            }
        }
        Ok(None)
    }

    fn plan(&self, known: &Known) -> Result<Plan> {
        let Document { config, host, networks, .. } = &known.document;
        let mut attachments = Vec::new();
        for wish in networks {
            let network = self.network(&wish.network)?;
            attachments.push(attachment(known, &network, wish)?);
        }
        let exposed: Vec<&str> = config.run.exposed_ports.iter().map(String::as_str).collect();
        let servers = host.dns.iter().filter_map(|server| server.parse().ok()).collect();
        Ok(Plan {
            container: known.id().to_string(),
            name: known.record.name.clone(),
            hostname: config.hostname.clone(),
            attachments,
            ports: publishes(host, if host.publish_all_ports { &exposed } else { &[] })?,
            resolver: etc_files::asks_us(&known.document).then_some(Resolver { servers }),
            pasta: match host.network() {
                Mode::Pasta(options) => Some(pasta::plan(host, options)?),
                _ => None,
            },
        })
    }
}

/// What the shim is told about one network.
pub(super) fn attachment(known: &Known, network: &NetworkKnown, wish: &EndpointWish) -> Result<Attachment> {
    let mut names = vec![known.record.name.clone()];
    let hostname = &known.document.config.hostname;
    let more = wish.aliases.iter().map(String::as_str).chain([known.id().short(), hostname.as_str()]);
    for name in more {
        if !name.is_empty() && !names.iter().any(|present| present == name) {
            names.push(name.to_owned());
        }
    }
    Ok(Attachment {
        network: network.to_make()?,
        ipv4: wish.ipv4,
        ipv6: wish.ipv6,
        mac: wish.mac,
        names: if network.has_names() { names } else { Vec::new() },
    })
}

/// Refuses what a network cannot do.
pub(super) fn check_wish(known: &NetworkKnown, wish: &EndpointWish) -> Result<()> {
    let invalid = |sentence: &str| Err(NetworkError::invalid(sentence));
    if known.record.driver == "host" || known.record.driver == "null" {
        return invalid("container cannot be disconnected from host network or connected to host network");
    }
    match &*misfits(known, wish) {
        [] => Ok(()),
        [one] => invalid(&format!("invalid endpoint settings:\n{one}")),
        several => {
            let listed: Vec<String> = several.iter().map(|one| format!("\n* {one}")).collect();
            invalid(&format!("invalid endpoint settings:{}", listed.concat()))
        }
    }
}

/// What is wrong with a wish, in Docker's words.
fn misfits(known: &NetworkKnown, wish: &EndpointWish) -> Vec<String> {
    let mut misfits = Vec::new();
    let addresses: Vec<IpAddr> = wish.ipv4.map(IpAddr::V4).into_iter().chain(wish.ipv6.map(IpAddr::V6)).collect();
    let is_default = known.record.name == DEFAULT;
    if is_default && !addresses.is_empty() {
        misfits.push("user specified IP address is supported on user defined networks only".to_owned());
    }
    if is_default && !wish.aliases.is_empty() {
        misfits.push("network-scoped alias is supported only for containers in user defined networks".to_owned());
    }
    for address in addresses {
        let pools = known.definition.pools.iter().map(|pool| pool.subnet);
        let mut of_kind = pools.filter(|subnet| subnet.address().is_ipv4() == address.is_ipv4()).peekable();
        if of_kind.peek().is_none() || !(known.definition.chosen || is_default) {
            misfits.push(
                "user specified IP address is supported only when connecting to networks with user configured subnets"
                    .to_owned(),
            );
        } else if !of_kind.any(|subnet| subnet.contains(address)) {
            misfits.push(format!("no configured subnet or ip-range contain the IP address {address}"));
        }
    }
    misfits
}

/// `-p` and, for the `exposed` ports that have none, `-P`.
pub(crate) fn publishes(host: &HostConfig, exposed: &[&str]) -> Result<Vec<Publish>> {
    let mut all = Vec::new();
    for (name, bindings) in &host.port_bindings {
        let (port, protocol) = container_port(name)?;
        for binding in bindings {
            let address: Option<IpAddr> = match binding.host_ip.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| NetworkError::invalid(format!("Invalid ip address: {text}")))?),
            };
            let host_port = match binding.host_port.as_str() {
                "" | "0" => None,
                text => Some(range(text).ok_or_else(|| NetworkError::invalid(format!("Invalid hostPort: {text}")))?),
            };
            all.push(Publish { address, host: host_port, port, protocol });
        }
    }
    for name in exposed.iter().filter(|name| !host.port_bindings.contains_key(**name)) {
        let (port, protocol) = container_port(name)?;
        all.push(Publish { address: None, host: None, port, protocol });
    }
    Ok(all)
}

fn container_port(name: &str) -> Result<(u16, Protocol)> {
    let bad = || NetworkError::invalid(format!("invalid port specification: {name:?}"));
    let (number, protocol) = name.split_once('/').unwrap_or((name, "tcp"));
    Ok((number.parse().map_err(|_| bad())?, protocol.parse().map_err(|()| bad())?))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}
