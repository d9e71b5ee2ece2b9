//! The networks of one running container, from its start to its end: held by its shim.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use strata_sys::packet;
use strata_sys::process::{self, NamespaceSet};

use crate::dns::{Names, Server};
use crate::error::{Error, Result};
use crate::firewall::Firewall;
use crate::link::{Furniture, Links, Veth};
use crate::netlink::{Socket, is};
use crate::pasta::{self, Helper};
use crate::plan::{
    Address, Attachment, Bridge, Connected, Driver, Endpoint, Mac, Network, PASTA, Pasta, Plan, Published,
};
use crate::port::{self, Kinds, Reserved};
use crate::registry::{Changing, Claim, Left, Registry};
use crate::sweep;

/// A running container's connections. What it holds outside this process is given back by [`Sandbox::leave`] and
/// [`Leaving::finish`], or by [`crate::sweep()`] if this process is killed.
#[derive(Debug)]
pub struct Sandbox {
    registry: Registry,
    plan: Plan,
    namespace: OwnedFd,
    held: Vec<Held>,
    names: Option<Server>,
    changes: Option<Socket>,
    /// Stays open once it was used: closing it waits until the kernel has carried out what was sent by it, which takes all
    /// processors' consent (`nft_rcv_nl_event`, ten milliseconds).
    firewall: Option<Firewall>,
    /// Something happened to the packet filter that nobody may have heard.
    has_missed: bool,
    outside: Option<Outside>,
    warning: Option<String>,
}

/// The connection of somebody who is not root.
#[derive(Debug)]
struct Outside {
    endpoint: Endpoint,
    helper: Helper,
}

/// One connection.
#[derive(Debug)]
struct Held {
    endpoint: Endpoint,
    claim: Claim,
    _ports: Vec<Reserved>,
}

/// Connections that are given back: their addresses and ports are free, and the kernel still knows of them. Nobody else
/// changes anything until that is over.
#[derive(Debug)]
pub struct Leaving {
    registry: Registry,
    left: Vec<Left>,
    changing: Changing,
    firewall: Option<Firewall>,
}

impl Leaving {
    /// Removes what was there for them alone.
    pub fn finish(self) -> Result<()> {
        sweep::remove_from_kernel(&self.registry, self.firewall, &self.left, &self.changing)
    }
}

impl Sandbox {
    /// Connects the container whose network namespace is given. If that fails, nothing stays.
    pub fn connect(run_dir: &Path, plan: &Plan, namespace: OwnedFd) -> Result<Self> {
        let registry = Registry::in_run_dir(run_dir);
        let (plan, held) = (plan.clone(), Vec::new());
        let mut sandbox = Self {
            registry,
            plan,
            namespace,
            held,
            names: None,
            changes: None,
            firewall: None,
            has_missed: false,
            outside: None,
            warning: None,
        };
        match sandbox.connect_all() {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                sandbox.leave_or_log();
                Err(error)
            }
        }
    }

    fn connect_all(&mut self) -> Result<()> {
        for attachment in &self.plan.attachments.clone() {
            self.add(attachment)?;
        }
        if let Some(pasta) = &self.plan.pasta {
            match self.by_pasta(pasta) {
                Ok(outside) => self.outside = Some(outside),
                Err(error) if !pasta.required => {
                    self.warning = Some(format!("{error}: the container has a loopback interface"));
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(resolver) = &self.plan.resolver {
            let failed = || Error::step("listen for questions at 127.0.0.11");
            let listening = self.within(Server::listen).map_err(failed())?;
            self.names = Some(Server::new(listening, &resolver.servers).map_err(failed())?);
        }
        Ok(())
    }

    /// What its shim waits for on its behalf.
    pub fn sources(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let mut sources = self.names.as_ref().map_or_else(Vec::new, Server::sources);
        sources.extend(self.changes.as_ref().map(|changes| (changes.as_fd(), PollFlags::IN)));
        sources.extend(self.outside.as_ref().map(|outside| (outside.helper.ended(), PollFlags::IN)));
        sources
    }

    /// What the person who started the container has to know.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// When to call [`Sandbox::turn`] even if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.names.as_ref().and_then(Server::deadline)
    }

    /// Does what can be done now: answers questions, mends our tables. Never blocks for long.
    pub fn turn(&mut self) {
        if let Some(names) = &mut self.names {
            let networks: Vec<&str> = self.held.iter().map(|held| held.endpoint.network.as_str()).collect();
            names.turn(&Names { registry: &self.registry, networks: &networks });
        }
        if self.changes.as_mut().is_some_and(Socket::has_heard) {
            self.mend();
        }
        if self.outside.as_ref().is_some_and(|outside| outside.helper.is_over()) {
            tracing::debug!("pasta has ended before the container");
            self.outside = None;
        }
    }

    fn mend(&self) {
        if let Err(error) = sweep::mend(&self.registry) {
            tracing::debug!(%error, "our tables may be missing");
        }
    }

    /// What it has got.
    pub fn connected(&self) -> Connected {
        let outside = self.outside.iter().map(|outside| &outside.endpoint);
        Connected { endpoints: self.held.iter().map(|held| &held.endpoint).chain(outside).cloned().collect() }
    }

    /// Connects it to one more network.
    pub fn add(&mut self, attachment: &Attachment) -> Result<()> {
        if self.held.iter().any(|held| held.endpoint.network == attachment.network.id) {
            let (name, network) = (&self.plan.name, &attachment.network.name);
            return Err(Error::Invalid(format!("endpoint with name {name} already exists in network {network}")));
        }
        let changing = self.registry.change()?;
        let mut links = Links::open().map_err(Error::step("speak to the host's network"))?;
        let (mut claim, addresses) = self.claim(attachment, &changing)?;
        let made = self.make(attachment, &addresses, &mut claim, &mut links, &changing);
        let (endpoint, ports, bridge) = match made {
            Ok(made) => made,
            Err(error) => {
                // The first error is the one to tell; what stays is swept later.
                let undone = claim.release(&changing).and_then(|()| self.tidy(&attachment.network, &changing));
                if let Err(error) = undone {
                    tracing::debug!(%error, "a network that could not be connected stays");
                }
                return Err(error);
            }
        };
        drop(changing);
        if std::mem::take(&mut self.has_missed) {
            self.mend();
        }
        let plugged = self.plug(&endpoint, bridge, &mut links);
        self.held.push(Held { endpoint, claim, _ports: ports });
        plugged.inspect_err(|_| self.drop_last())
    }

    /// Gives the container another name: the others in its networks find it by that one from now on.
    pub fn rename(&mut self, name: &str) -> Result<()> {
        let _changing = self.registry.change()?;
        self.plan.rename(name);
        for held in &mut self.held {
            held.endpoint.rename(name);
            held.claim.fill(&held.endpoint)?;
        }
        Ok(())
    }

    /// Disconnects it from a network; false if it was not connected.
    pub fn remove(&mut self, network: &str) -> Result<bool> {
        let Some(at) = self.held.iter().position(|held| held.endpoint.network == network) else { return Ok(false) };
        let held = self.held.remove(at);
        let interface = held.endpoint.interface.clone();
        self.inside()
            .and_then(|mut links| links.remove(&interface))
            .map_err(Error::step("remove an interface of the container"))?;
        self.let_go(vec![held])?;
        self.route_out()?;
        Ok(true)
    }

    /// Gives everything back. What waits for the kernel is left to [`Leaving::finish`]: nobody has to wait for that.
    pub fn leave(mut self) -> Result<Option<Leaving>> {
        if let Some(outside) = self.outside.take() {
            outside.helper.end();
        }
        let held = std::mem::take(&mut self.held);
        let firewall = self.firewall.take();
        Ok(self.leave_those(held)?.map(|leaving| Leaving { firewall, ..leaving }))
    }

    /// Connects it by pasta(1).
    fn by_pasta(&self, wish: &Pasta) -> Result<Outside> {
        let failed = || Error::step("look at what pasta made");
        pasta::check(&self.plan.ports)?;
        let has_ipv6 =
            Links::open().and_then(|mut links| links.gateways()).map_err(Error::step("look at the routes"))?;
        let kinds = Kinds { ipv4: true, ipv6: has_ipv6.iter().any(IpAddr::is_ipv6), ipv6_loopback: true };
        let id = strata_sys::random::hex::<32>();
        // Says who has a port that is taken, and chooses those that nobody chose. pasta takes them a moment later.
        let reserved = port::reserve(&self.plan, None, kinds, &id)?;
        let ports: Vec<Published> = reserved.iter().map(|port| port.published).collect();
        drop(reserved);
        let helper = Helper::start(wish, &ports, self.namespace.as_fd())?;
        let look = |links: &mut Links| {
            let Some((index, interface, mac)) = links.first()? else { return Ok(None) };
            let (addresses, gateways) = (links.addresses(index)?, links.gateways()?);
            let address = |ipv4: bool| {
                let (address, prefix) = addresses.iter().find(|(address, _)| address.is_ipv4() == ipv4)?;
                let gateway = gateways.iter().copied().find(|gateway| gateway.is_ipv4() == ipv4);
                Some(Address { address: *address, prefix: *prefix, gateway })
            };
            Ok(Some((interface, mac, address(true), address(false))))
        };
        let found = self
            .inside()
            .and_then(|mut links| look(&mut links))
            .map_err(failed())
            .inspect_err(|_| tracing::debug!("pasta made nothing"));
        let (interface, mac, ipv4, ipv6) = match found {
            Ok(Some(found)) => found,
            other => {
                helper.end();
                other?;
                return Err(Error::Pasta(String::from("it made no interface")));
            }
        };
        let endpoint = Endpoint {
            id,
            network: String::from(PASTA),
            network_name: String::from(PASTA),
            driver: Driver::Pasta,
            internal: false,
            container: self.plan.container.clone(),
            container_name: self.plan.name.clone(),
            interface,
            ipv4,
            ipv6,
            mac,
            names: Vec::new(),
            ports,
        };
        Ok(Outside { endpoint, helper })
    }

    fn leave_or_log(self) {
        if let Err(error) = self.leave().and_then(|leaving| leaving.map_or(Ok(()), Leaving::finish)) {
            tracing::debug!(%error, "connections of a container that did not start stay");
        }
    }

    fn drop_last(&mut self) {
        let held = self.held.pop().into_iter().collect();
        if let Err(error) = self.let_go(held) {
            tracing::debug!(%error, "a connection that could not be made stays");
        }
    }

    fn let_go(&self, held: Vec<Held>) -> Result<()> {
        self.leave_those(held)?.map_or(Ok(()), Leaving::finish)
    }

    fn leave_those(&self, held: Vec<Held>) -> Result<Option<Leaving>> {
        if held.is_empty() {
            return Ok(None);
        }
        let changing = self.registry.change()?;
        let mut left = Vec::new();
        for Held { endpoint, claim, .. } in held {
            left.extend(claim.leave(endpoint, &changing)?);
        }
        Ok(Some(Leaving { registry: self.registry.clone(), left, changing, firewall: None }))
    }

    /// Finds addresses. If those wished for are taken, or none is left, the dead give back theirs first.
    fn claim(&self, attachment: &Attachment, changing: &Changing) -> Result<(Claim, Vec<IpAddr>)> {
        let network = &attachment.network;
        let wished: Vec<IpAddr> =
            attachment.ipv4.map(IpAddr::V4).into_iter().chain(attachment.ipv6.map(IpAddr::V6)).collect();
        let dead = self.registry.bury_some(&network.id, changing)?;
        sweep::remove_from_kernel(&self.registry, None, &dead, changing)?;
        match self.registry.claim(network, &wished, changing) {
            Err(Error::AddressTaken | Error::AddressesExhausted { .. }) => {
                sweep::bury_all(&self.registry, changing)?;
                self.registry.claim(network, &wished, changing)
            }
            other => other,
        }
    }

    /// Removes a network nobody is connected to.
    fn tidy(&self, network: &Network, changing: &Changing) -> Result<()> {
        if self.registry.is_used(&network.id)? {
            return Ok(());
        }
        let made = self.registry.is_made(&network.id);
        self.registry.forget(&network.id, changing)?;
        if let (true, Driver::Bridge(bridge)) = (made, &network.driver) {
            let removed = Links::open().and_then(|mut links| links.remove(&bridge.interface));
            removed.map_err(Error::step(format!("remove the bridge {}", bridge.interface)))?;
        }
        Ok(())
    }

    /// Makes what the host needs for a connection: the bridge, ports, rules.
    fn make(
        &mut self,
        attachment: &Attachment,
        addresses: &[IpAddr],
        claim: &mut Claim,
        links: &mut Links,
        changing: &Changing,
    ) -> Result<(Endpoint, Vec<Reserved>, Option<u32>)> {
        let mut endpoint = self.endpoint(attachment, addresses);
        let mut ports = Vec::new();
        // Ports are published by way of the first connection that leads out.
        let is_first = self.held.iter().all(|held| held.endpoint.ports.is_empty());
        if let Driver::Bridge(bridge) = &attachment.network.driver
            && !self.plan.ports.is_empty()
            && is_first
            && !endpoint.internal
        {
            let (ipv4, ipv6) = (endpoint.ipv4.is_some(), endpoint.ipv6.is_some());
            let kinds = Kinds { ipv4, ipv6, ipv6_loopback: false };
            ports = port::reserve(&self.plan, bridge.publish_at, kinds, &endpoint.id)?;
            endpoint.ports = ports.iter().map(|port| port.published).collect();
        }
        claim.fill(&endpoint)?;
        let mut index = None;
        if let Driver::Bridge(bridge) = &attachment.network.driver {
            index = Some(self.ensure_bridge(&attachment.network, bridge, links)?);
            self.let_pass(&endpoint, changing)?;
        }
        Ok((endpoint, ports, index))
    }

    /// Adds what an endpoint needs to our tables, or makes those, and hears from then on what happens to them.
    fn let_pass(&mut self, endpoint: &Endpoint, changing: &Changing) -> Result<()> {
        let failed = || Error::step("add rules to the packet filter (nf_tables)");
        let mut firewall = match self.firewall.take() {
            Some(firewall) => firewall,
            None => {
                Firewall::open(self.registry.table()).map_err(Error::step("speak to the packet filter (nf_tables)"))?
            }
        };
        if self.registry.has_tables() {
            self.watch()?;
            let added = match firewall.add(endpoint) {
                // A dead one published the port.
                Err(error) if is(&error, Errno::BUSY) || is(&error, Errno::EXIST) => {
                    sweep::bury_all(&self.registry, changing)?;
                    false
                }
                other => other.map_err(failed())?,
            };
            if !added {
                sweep::rebuild(&self.registry, &mut firewall)?;
            }
        } else {
            // It is the first of all. It listens only then, so that the kernel does not tell it of each thing that it makes
            // itself. What others did since the look at their rules shows in the number of changes.
            let state = firewall.state().map_err(failed())?;
            sweep::rebuild_for(&self.registry, &mut firewall, std::slice::from_ref(endpoint))?;
            self.watch()?;
            self.has_missed = firewall.state().map_err(failed())? != state;
        }
        self.firewall = Some(firewall);
        Ok(())
    }

    /// Hears of what happens to the packet filter.
    fn watch(&mut self) -> Result<()> {
        if self.changes.is_none() {
            let changes = Socket::netfilter_changes();
            self.changes = Some(changes.map_err(Error::step("watch the packet filter (nf_tables)"))?);
        }
        Ok(())
    }

    fn endpoint(&self, attachment: &Attachment, addresses: &[IpAddr]) -> Endpoint {
        let Network { id, name, driver, pools, internal } = &attachment.network;
        let address = |ipv4: bool| {
            let (pool, address) = pools.iter().zip(addresses).find(|(_, address)| address.is_ipv4() == ipv4)?;
            let gateway = (!internal).then_some(pool.gateway);
            Some(Address { address: *address, prefix: pool.subnet.prefix(), gateway })
        };
        let (ipv4, ipv6) = (address(true), address(false));
        let of_address = match ipv4.map(|address| address.address) {
            Some(IpAddr::V4(address)) => Mac::of(address),
            _ => Mac::random(),
        };
        let taken = |name: &String| self.held.iter().any(|held| held.endpoint.interface == *name);
        let free = (0..).map(|number| format!("eth{number}")).find(|name| !taken(name));
        Endpoint {
            id: strata_sys::random::hex::<32>(),
            network: id.clone(),
            network_name: name.clone(),
            driver: driver.clone(),
            internal: *internal,
            container: self.plan.container.clone(),
            container_name: self.plan.name.clone(),
            interface: free.unwrap_or_default(),
            ipv4,
            ipv6,
            mac: attachment.mac.unwrap_or(of_address),
            names: attachment.names.clone(),
            ports: Vec::new(),
        }
    }

    /// Makes a network's bridge unless it is there; its number.
    fn ensure_bridge(&self, network: &Network, bridge: &Bridge, links: &mut Links) -> Result<u32> {
        let name = &bridge.interface;
        let failed = || Error::step(format!("make the bridge {name}"));
        if let Some(index) = links.find(name).map_err(failed())? {
            return Ok(index);
        }
        self.registry.note_made(&network.id)?;
        let addresses: Vec<(IpAddr, u8)> =
            network.pools.iter().map(|pool| (pool.gateway, pool.subnet.prefix())).collect();
        links.make_bridge(name, bridge.mtu, &addresses).map_err(failed())
    }

    /// Makes the container's interface; `bridge` is the number of its bridge.
    fn plug(&self, endpoint: &Endpoint, bridge: Option<u32>, links: &mut Links) -> Result<()> {
        let failed = || Error::step(format!("connect the container to network {}", endpoint.network_name));
        let namespace = self.namespace.as_fd();
        match &endpoint.driver {
            Driver::Bridge(Bridge { mtu, between, .. }) => {
                let veth = Veth {
                    host: &format!("veth{}", &endpoint.id[..7]),
                    bridge: bridge.ok_or_else(|| Errno::NODEV.into()).map_err(failed())?,
                    name: &endpoint.interface,
                    mac: endpoint.mac,
                    mtu: *mtu,
                    namespace,
                    hairpin: !endpoint.ports.is_empty(),
                    isolated: !between,
                };
                links.make_veth(&veth).map_err(failed())?;
            }
            Driver::Macvlan { parent, mode } => {
                let no_parent = || Error::Invalid(format!("invalid subinterface vlan name {parent}, no such device"));
                let index = links.find(parent).map_err(failed())?.ok_or_else(no_parent)?;
                let name = &endpoint.interface;
                links.make_macvlan(index, *mode, name, endpoint.mac, namespace).map_err(failed())?;
            }
            Driver::Pasta => return Err(Error::Invalid(String::from("pasta connects to no network"))),
        }
        let addresses: Vec<(IpAddr, u8)> =
            endpoint.addresses().map(|address| (address.address, address.prefix)).collect();
        let gateways: Vec<IpAddr> = ways_out(endpoint, self.held.iter().map(|held| &held.endpoint)).collect();
        let (name, has_ipv6) = (endpoint.interface.as_str(), endpoint.ipv6.is_some());
        let furniture = Furniture { name, addresses: &addresses, has_ipv6, gateways: &gateways };
        self.inside().and_then(|mut inside| inside.furnish(&furniture)).map_err(failed())
    }

    /// Sets the ways out that are still missing after an interface was removed.
    fn route_out(&self) -> Result<()> {
        let mut inside = self.inside().map_err(Error::step("speak to the container's network"))?;
        for (number, Held { endpoint, .. }) in self.held.iter().enumerate() {
            for gateway in ways_out(endpoint, self.held[..number].iter().map(|held| &held.endpoint)) {
                match inside.set_default_route(&endpoint.interface, gateway) {
                    // The way was there already.
                    Err(error) if is(&error, Errno::EXIST) => {}
                    other => {
                        other.map_err(Error::step(format!("route by way of network {}", endpoint.network_name)))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The interfaces of the container's network namespace.
    fn inside(&self) -> std::io::Result<Links> {
        let sockets = self.within(|| Ok(vec![Links::open()?.into()]))?;
        let socket = sockets.into_iter().next().ok_or(Errno::BADF)?;
        Ok(Links::from(socket))
    }

    /// Opens sockets in the container's network namespace.
    fn within(&self, open: impl FnOnce() -> std::io::Result<Vec<OwnedFd>>) -> std::io::Result<Vec<OwnedFd>> {
        if self.plan.pasta.is_some() {
            return by_another(&self.namespace, open);
        }
        let own = process::own_namespace("net")?;
        process::join(self.namespace.as_fd(), NamespaceSet::NET)?;
        let opened = open();
        process::join(own.as_fd(), NamespaceSet::NET)?;
        opened
    }
}

/// The gateways by which an endpoint is the way out: of each kind for which none of the `others` is.
fn ways_out<'a>(
    endpoint: &'a Endpoint,
    others: impl Iterator<Item = &'a Endpoint> + Clone,
) -> impl Iterator<Item = IpAddr> {
    let leads_out = move |ipv4: bool| {
        let mut addresses = others.clone().flat_map(Endpoint::addresses);
        addresses.any(|address| address.address.is_ipv4() == ipv4 && address.gateway.is_some())
    };
    endpoint.addresses().filter_map(|address| address.gateway).filter(move |gateway| !leads_out(gateway.is_ipv4()))
}

/// Opens sockets in another network namespace where there is no return from that: whoever is not root may not enter the
/// host's again. Another process goes there and hands them over.
fn by_another(
    namespace: &OwnedFd,
    open: impl FnOnce() -> std::io::Result<Vec<OwnedFd>>,
) -> std::io::Result<Vec<OwnedFd>> {
    let (ours, theirs) = packet::pair()?;
    let other = process::clone(NamespaceSet::default(), None, || {
        let joined = process::join(namespace.as_fd(), NamespaceSet::NET).map_err(std::io::Error::from);
        let told = match joined.and_then(|()| open()) {
            Ok(opened) => {
                let opened: Vec<BorrowedFd<'_>> = opened.iter().map(AsFd::as_fd).collect();
                packet::send(theirs.as_fd(), b"0", &opened, true)
            }
            Err(error) => {
                packet::send(theirs.as_fd(), error.raw_os_error().unwrap_or(0).to_string().as_bytes(), &[], true)
            }
        };
        u8::from(told.is_err())
    })?;
    drop(theirs);
    let heard = packet::receive(ours.as_fd())?;
    process::reap(other.pidfd.as_fd(), true)?;
    let heard = heard.ok_or(Errno::PIPE)?;
    if heard.fds.is_empty() {
        let errno = std::str::from_utf8(&heard.bytes).ok().and_then(|text| text.parse().ok());
        return Err(errno.map_or_else(|| Errno::IO.into(), std::io::Error::from_raw_os_error));
    }
    Ok(heard.fds)
}
