//! The host's packet filter as containers need it: one table for IPv4 and one for IPv6, all of it our own.
//!
//! ```text
//! table ip strata-…
//!   sets  bridges, masquerade, internal: names of interfaces      same: pairs of one and the same interface
//!         self: pairs of one and the same address, of containers that publish ports
//!   maps  any: protocol . port → address . port                   at: address . protocol . port → address . port
//!   guard        prerouting, raw       nobody outside talks to 127.0.0.0/8
//!   in, out      prerouting, output    packets for a published port get the container's address
//!   forward      forward               what reaches a container is an answer, published, or from its own bridge
//!   gate…        prerouting, dstnat-10 copies of the host's own input chains, for packets to published ports
//!   masquerade   postrouting           what leaves the host has the host's address
//! ```
//!
//! The rules never change: what comes and goes are elements of sets and maps. The whole is a function of the endpoints
//! there are and of the host's input chains, so it can be made anew at any time in one transaction.

mod mirror;

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;

use crate::link::octets;
use crate::netlink::{Socket, attribute, big, is};
use crate::nft::{
    self, FORWARD, Family, Hook, OUTPUT, POSTROUTING, PREROUTING, Set, Transaction, interface, of, state, verdict,
};
use crate::{Endpoint, Published};
pub(crate) use mirror::HostInput;

/// Key and data of an element.
type Element = (Vec<u8>, Option<Vec<u8>>);

/// The part of the kernel that filters packets, and our tables in it.
#[derive(Debug)]
pub(crate) struct Firewall {
    socket: Socket,
    table: String,
    /// So many changes of ours were carried out.
    commits: u32,
}

/// What the tables are made of.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Every endpoint there is.
    pub(crate) endpoints: &'a [Endpoint],
    /// We made the host a router: it is to route for containers only.
    pub(crate) only_ours: bool,
}

impl Firewall {
    /// Opens the conversation. `table` is the name of ours.
    pub(crate) fn open(table: String) -> io::Result<Self> {
        Ok(Self { socket: Socket::netfilter()?, table, commits: 0 })
    }

    /// A number that differs when somebody else has changed anything: the kernel's number of changes without our own.
    pub(crate) fn state(&mut self) -> io::Result<u32> {
        let found = self.socket.get(nft::full(nft::kind::GET_GENERATION), |message| message.raw(&nft::header(0, 0)))?;
        let number =
            found.and_then(|message| message.content.get(4..).and_then(|rest| attribute(rest, 1)).and_then(big));
        Ok(number.ok_or(Errno::BADMSG)?.wrapping_sub(self.commits))
    }

    /// Adds what an endpoint needs to the tables that are there. False if they are not.
    pub(crate) fn add(&mut self, endpoint: &Endpoint) -> io::Result<bool> {
        self.change(true, endpoint, true)
    }

    /// Removes what an endpoint needed; `last_of_bridge` with what its bridge needed. False if it was not there.
    pub(crate) fn remove(&mut self, endpoint: &Endpoint, last_of_bridge: bool) -> io::Result<bool> {
        self.change(false, endpoint, last_of_bridge)
    }

    fn change(&mut self, add: bool, endpoint: &Endpoint, with_bridge: bool) -> io::Result<bool> {
        for family in families(std::slice::from_ref(endpoint)) {
            let mut transaction = Transaction::new(family, &self.table);
            if with_bridge {
                put_bridge(&mut transaction, add, endpoint);
            }
            put_ports(&mut transaction, add, family, endpoint);
            let Some(batch) = transaction.finish() else { continue };
            match self.socket.send(&batch) {
                Err(error) if is(&error, Errno::NOENT) => return Ok(false),
                other => other?,
            }
        }
        Ok(true)
    }

    /// Whether all tables are there that these endpoints need.
    pub(crate) fn is_there(&mut self, endpoints: &[Endpoint]) -> io::Result<bool> {
        for family in families(endpoints) {
            if !self.has_table(family)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has_table(&mut self, family: Family) -> io::Result<bool> {
        let Self { socket, table, .. } = self;
        let found = socket.get(nft::full(nft::kind::GET_TABLE), |message| {
            message.raw(&nft::header(family.number(), 0));
            message.text(1, table);
        })?;
        Ok(found.is_some())
    }

    /// The host's own input chains.
    pub(crate) fn host_input(&mut self) -> io::Result<HostInput> {
        HostInput::read(&mut self.socket)
    }

    /// Makes the tables anew, in one step each: no packet meets half of one. Where the kernel does not take copies of the
    /// host's input chains, published ports are closed to the world outside: better closed than open against its will.
    pub(crate) fn rebuild(&mut self, wanted: &Wanted<'_>, host: &HostInput) -> io::Result<()> {
        let copied = self.try_rebuild(wanted, &|transaction, family| host.put(transaction, family));
        let Err(error) = copied else { return Ok(()) };
        tracing::debug!(%error, "the host's input chains cannot be copied");
        self.try_rebuild(wanted, &|transaction, _| host.put_closed(transaction))
    }

    fn try_rebuild(&mut self, wanted: &Wanted<'_>, put_host: &dyn Fn(&mut Transaction<'_>, Family)) -> io::Result<()> {
        for family in families(wanted.endpoints) {
            let mut transaction = Transaction::new(family, &self.table);
            transaction.renew_table();
            declare(&mut transaction, family);
            put_rules(&mut transaction, family, wanted.only_ours);
            put_host(&mut transaction, family);
            for endpoint in wanted.endpoints {
                put_bridge(&mut transaction, true, endpoint);
                put_ports(&mut transaction, true, family, endpoint);
            }
            if let Some(batch) = transaction.finish() {
                self.socket.send(&batch)?;
                self.commits += 1;
            }
        }
        Ok(())
    }

    /// Removes the tables; they may be gone.
    pub(crate) fn remove_all(&mut self) -> io::Result<()> {
        for family in Family::BOTH {
            // Asked for: a transaction that fails takes the kernel as long as one that does something.
            if !self.has_table(family)? {
                continue;
            }
            let mut transaction = Transaction::new(family, &self.table);
            transaction.delete_table();
            let Some(batch) = transaction.finish() else { continue };
            match self.socket.send(&batch) {
                Err(error) if is(&error, Errno::NOENT) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

/// The kinds of addresses that endpoints have on bridges.
fn families(endpoints: &[Endpoint]) -> impl Iterator<Item = Family> {
    let has = |family| {
        let on_bridges = endpoints.iter().filter(|endpoint| endpoint.bridge().is_some());
        on_bridges.filter_map(|endpoint| endpoint.address(family == Family::V4)).next().is_some()
    };
    let found = Family::BOTH.map(|family| has(family).then_some(family));
    found.into_iter().flatten()
}

fn put_bridge(transaction: &mut Transaction<'_>, add: bool, endpoint: &Endpoint) {
    let Some(bridge) = endpoint.bridge() else { return };
    let name = interface(&bridge.interface).to_vec();
    let pair = [name.clone(), name.clone()].concat();
    let mut put = |set: &str, key: Vec<u8>| transaction.elements(add, set, &[(key, None)]);
    put("same", pair);
    if endpoint.internal {
        put("internal", name.clone());
    } else if bridge.masquerade {
        put("masquerade", name.clone());
    }
    put("bridges", name);
}

fn put_ports(transaction: &mut Transaction<'_>, add: bool, family: Family, endpoint: &Endpoint) {
    let Some(container) = endpoint.address(family == Family::V4) else { return };
    let ours = |port: &&Published| port.host.is_ipv4() == container.is_ipv4();
    let of_kind = |any: bool| -> Vec<Element> {
        let some = endpoint.ports.iter().filter(ours).filter(|port| port.host.is_unspecified() == any);
        some.map(|port| port_element(port, container, any, add)).collect()
    };
    if !endpoint.ports.is_empty() {
        let address = octets(container);
        transaction.elements(add, "self", &[([address.clone(), address].concat(), None)]);
    }
    transaction.elements(add, "any", &of_kind(true));
    transaction.elements(add, "at", &of_kind(false));
}

fn port_element(port: &Published, container: IpAddr, any: bool, add: bool) -> Element {
    let number = |port: u16| {
        let [high, low] = port.to_be_bytes();
        [high, low, 0, 0]
    };
    let mut key = if any { Vec::new() } else { octets(port.host) };
    key.extend([port.protocol.number(), 0, 0, 0]);
    key.extend(number(port.host_port));
    let data = add.then(|| [octets(container), number(port.port).to_vec()].concat());
    (key, data)
}

fn declare(transaction: &mut Transaction<'_>, family: Family) {
    let (address, bytes) = match family {
        Family::V4 => (of::IPV4, 4),
        Family::V6 => (of::IPV6, 16),
    };
    for name in ["bridges", "masquerade", "internal"] {
        transaction.set(&Set { name, key: (of::INTERFACE, 16), data: None });
    }
    let key = (of::several(&[of::INTERFACE, of::INTERFACE]), 32);
    transaction.set(&Set { name: "same", key, data: None });
    transaction.set(&Set { name: "self", key: (of::several(&[address, address]), bytes * 2), data: None });
    let data = Some((of::several(&[address, of::PORT]), bytes + 4));
    transaction.set(&Set { name: "any", key: (of::several(&[of::PROTOCOL, of::PORT]), 8), data });
    let key = (of::several(&[address, of::PROTOCOL, of::PORT]), bytes + 8);
    transaction.set(&Set { name: "at", key, data });
}

fn put_rules(transaction: &mut Transaction<'_>, family: Family, only_ours: bool) {
    let hook = |kind, number, priority| Some(Hook { kind, number, priority });
    if family == Family::V4 {
        // Bridges take packets for 127.0.0.0/8 so that ports published there work. Containers must not send such.
        transaction.chain("guard", hook("filter", PREROUTING, -300));
        transaction.rule("guard", |rule| rule.not_from_loopback().loopback_address(false).verdict(verdict::DROP, None));
    }
    for (name, number) in [("in", PREROUTING), ("out", OUTPUT)] {
        transaction.chain(name, hook("nat", number, -100));
        if family == Family::V6 {
            // The kernel takes no answers to ::1 from a bridge: better refused at once, so that 127.0.0.1 is tried, than lost.
            transaction.rule(name, |rule| rule.loopback_address(false).verdict(verdict::ACCEPT, None));
        }
        for (map, with_address) in [("at", true), ("any", false)] {
            transaction.rule(name, |rule| rule.for_this_host().find_port(map, with_address).redirect());
        }
    }
    transaction.chain("forward", hook("filter", FORWARD, 0));
    let mut forward = |fill: &dyn Fn(&mut nft::Rule<'_, '_>)| transaction.rule("forward", |rule| fill(rule));
    let answer = state::ESTABLISHED | state::RELATED;
    forward(&|rule| rule.between("same").verdict(verdict::ACCEPT, None));
    forward(&|rule| rule.to("bridges", true).state(answer).verdict(verdict::ACCEPT, None));
    forward(&|rule| rule.to("internal", true).verdict(verdict::DROP, None));
    forward(&|rule| rule.from("internal", true).verdict(verdict::DROP, None));
    forward(&|rule| rule.to("bridges", true).redirected().verdict(verdict::ACCEPT, None));
    forward(&|rule| rule.to("bridges", true).verdict(verdict::DROP, None));
    if only_ours {
        forward(&|rule| rule.from("bridges", false).verdict(verdict::DROP, None));
    }
    transaction.chain("masquerade", hook("nat", POSTROUTING, 100));
    // One that reaches itself or its neighbour by a published port would be answered past us. Of packets that are bridged it
    // is not known by which bridge they came; of those, only the ones to oneself need it.
    transaction.rule("masquerade", |rule| rule.addresses("self").masquerade());
    transaction.rule("masquerade", |rule| rule.between("same").redirected().masquerade());
    transaction.rule("masquerade", |rule| rule.from("masquerade", true).to("bridges", false).masquerade());
    if family == Family::V4 {
        transaction.rule("masquerade", |rule| rule.loopback_address(true).to("bridges", true).masquerade());
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use strata_sys::process::{self, NamespaceSet};
    use strata_testkit::{host, need};

    use super::*;
    use crate::plan::{Address, Bridge, Driver, Mac, Protocol};

    fn endpoint() -> Endpoint {
        let bridge = Bridge { interface: "b".into(), masquerade: true, between: true, mtu: None, publish_at: None };
        Endpoint {
            id: "e".into(),
            network: "a".repeat(64),
            network_name: "n".into(),
            driver: Driver::Bridge(bridge),
            internal: false,
            container: "c".into(),
            container_name: "c".into(),
            interface: "eth0".into(),
            ipv4: Some(Address { address: Ipv4Addr::new(10, 0, 0, 2).into(), prefix: 24, gateway: None }),
            ipv6: None,
            mac: Mac([2; 6]),
            names: vec![],
            ports: vec![],
        }
    }

    /// In a network of its own.
    fn alone(test: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let test = scope.spawn(|| {
                process::unshare(NamespaceSet::NET).unwrap();
                test();
            });
            test.join().unwrap();
        });
    }

    #[test]
    fn the_state_differs_by_what_others_do_and_not_by_what_we_do() {
        need!(host::root());
        alone(|| {
            let mut ours = Firewall::open("strata-1".into()).unwrap();
            let mut others = Firewall::open("strata-2".into()).unwrap();
            let endpoints = [endpoint()];
            let wanted = Wanted { endpoints: &endpoints, only_ours: false };
            let before = ours.state().unwrap();
            ours.rebuild(&wanted, &HostInput::default()).unwrap();
            assert_eq!(ours.state().unwrap(), before);
            others.rebuild(&wanted, &HostInput::default()).unwrap();
            assert_ne!(ours.state().unwrap(), before);
        });
    }

    #[test]
    fn tables_are_made_that_are_longer_than_a_socket_has_room_for() {
        need!(host::root());
        alone(|| {
            let mut firewall = Firewall::open("strata-1".into()).unwrap();
            let port =
                |port: u16| Published { port, protocol: Protocol::Tcp, host: [0, 0, 0, 0].into(), host_port: port };
            let endpoints = [Endpoint { ports: (1..10_000).map(port).collect(), ..endpoint() }];
            firewall.rebuild(&Wanted { endpoints: &endpoints, only_ours: false }, &HostInput::default()).unwrap();
            assert!(firewall.is_there(&endpoints).unwrap());
        });
    }

    #[test]
    fn tables_are_removed_and_may_be_gone() {
        need!(host::root());
        alone(|| {
            let mut firewall = Firewall::open("strata-1".into()).unwrap();
            let endpoints = [endpoint()];
            firewall.rebuild(&Wanted { endpoints: &endpoints, only_ours: false }, &HostInput::default()).unwrap();
            assert!(firewall.is_there(&endpoints).unwrap());
            for _ in 0..2 {
                firewall.remove_all().unwrap();
                assert!(!firewall.is_there(&endpoints).unwrap());
            }
        });
    }
}
