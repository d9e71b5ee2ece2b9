//! Interfaces, addresses and routes (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::netlink::{Attributes, Batch, CREATE, EXCLUSIVE, Socket, attribute, is, number, text};
use crate::{Mac, MacvlanMode, Subnet};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;

const UP: u32 = 1;
const LOOPBACK: u32 = 8;

// Attributes of links (linux/if_link.h).
const MAC: u16 = 1;
const NAME: u16 = 3;
const MTU: u16 = 4;
const LINK: u16 = 5;
const MASTER: u16 = 10;
const INFO: u16 = 18;
const NAMESPACE_FD: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
const SEND_QUEUES: u16 = 31;
const RECEIVE_QUEUES: u16 = 32;
const BRIDGE_SNOOPING: u16 = 23;
const VETH_PEER: u16 = 1;
const MACVLAN_MODE: u16 = 1;
const FAMILY_SPEC: u16 = 26;
const INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;
const INET_SETTINGS: u16 = 1;
const INET_ROUTE_LOCALNET: u16 = 26;
const BRIDGE_PORT_HAIRPIN: u16 = 4;
const BRIDGE_PORT_ISOLATED: u16 = 33;

// Attributes of addresses and routes (linux/if_addr.h, linux/rtnetlink.h).
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const FLAGS: u16 = 8;
const NO_DETECTION: u32 = 0x02;
const DESTINATION: u16 = 1;
const OUT: u16 = 4;
const GATEWAY: u16 = 5;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;
const SCOPE_UNIVERSE: u8 = 0;
const UNICAST: u8 = 1;

const FAMILY_INET: u8 = 2;
const FAMILY_INET6: u8 = 10;

/// What rtnetlink can do, in the network namespace in which its socket was opened.
#[derive(Debug)]
pub(crate) struct Links(Socket);

/// A veth pair: one end on a bridge of the host, the other in a container.
#[derive(Debug)]
pub(crate) struct Veth<'a> {
    pub(crate) host: &'a str,
    pub(crate) bridge: u32,
    pub(crate) name: &'a str,
    pub(crate) mac: Mac,
    pub(crate) mtu: Option<u32>,
    pub(crate) namespace: BorrowedFd<'a>,
    /// Packets are sent back to where they came from, which is how a container reaches itself by a published port where
    /// bridged packets are filtered (br_netfilter).
    pub(crate) hairpin: bool,
    /// It does not talk to other isolated ones.
    pub(crate) isolated: bool,
}

/// What an interface in a container gets.
#[derive(Debug)]
pub(crate) struct Furniture<'a> {
    pub(crate) name: &'a str,
    pub(crate) addresses: &'a [(IpAddr, u8)],
    /// Without, it gets no IPv6 address at all.
    pub(crate) has_ipv6: bool,
    /// Where that is sent which is for nobody nearer.
    pub(crate) gateways: &'a [IpAddr],
}

impl From<OwnedFd> for Links {
    fn from(socket: OwnedFd) -> Self {
        Self(socket.into())
    }
}

impl From<Links> for OwnedFd {
    fn from(links: Links) -> Self {
        links.0.into()
    }
}

impl Links {
    pub(crate) fn open() -> io::Result<Self> {
        Socket::route().map(Self)
    }

    /// The number of the interface of that name, or alternative name; none if there is none. Asked for by ioctl(2)
    /// (netdevice(7)): a netlink message would be answered with all there is to say of an interface, under a lock.
    pub(crate) fn find(&self, name: &str) -> io::Result<Option<u32>> {
        match rustix::net::netdevice::name_to_index(self.0.as_fd(), name) {
            Ok(index) => Ok(Some(index)),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a bridge and sets it up, with these addresses; its number.
    ///
    /// It does not listen for who wants which multicast group: nobody asks on it, and without an answer all is sent to all in
    /// any case. What it would say itself (IGMP) was a connection that the packet filter remembered for ten minutes, and
    /// as long as it remembers any, the first rule that needs connections costs a walk through the whole table of them.
    pub(crate) fn make_bridge(&mut self, name: &str, mtu: Option<u32>, addresses: &[(IpAddr, u8)]) -> io::Result<u32> {
        let has = |ipv4: bool| addresses.iter().any(|(address, _)| address.is_ipv4() == ipv4);
        let mut batch = Batch::default();
        batch.message(NEW_LINK, CREATE | EXCLUSIVE, |message| {
            link(message, 0, 0, 0);
            message.text(NAME, name);
            // Chosen once: otherwise it changes with the ports that come and go.
            message.put(MAC, &Mac::random().0);
            if let Some(mtu) = mtu {
                message.number(MTU, mtu);
            }
            message.nest(INFO, |info| {
                info.text(INFO_KIND, "bridge");
                info.nest(INFO_DATA, |data| data.put(BRIDGE_SNOOPING, &[0]));
            });
        });
        if has(true) {
            set_by_name(&mut batch, name, take_loopback);
        }
        if !has(false) {
            set_by_name(&mut batch, name, no_link_local);
            batch.optional();
        }
        up_by_name(&mut batch, name);
        self.0.send(&batch)?;
        let index = self.find(name)?.ok_or(Errno::NODEV)?;
        let mut batch = Batch::default();
        for (address, prefix) in addresses {
            put_address(&mut batch, index, *address, *prefix);
        }
        batch.acknowledge();
        self.0.send(&batch)?;
        Ok(index)
    }

    /// Makes a veth pair. The end in the container must not be up yet: its peer does not exist at that moment.
    pub(crate) fn make_veth(&mut self, veth: &Veth<'_>) -> io::Result<()> {
        let Veth { host, bridge, name, mac, mtu, namespace, hairpin, isolated } = veth;
        let mut batch = Batch::default();
        let put_common = |message: &mut Attributes<'_>| {
            mtu.iter().for_each(|mtu| message.number(MTU, *mtu));
            // It would use one of each in any case, and otherwise makes one for each processor before it gives them up.
            message.number(SEND_QUEUES, 1);
            message.number(RECEIVE_QUEUES, 1);
        };
        batch.message(NEW_LINK, CREATE | EXCLUSIVE, |message| {
            link(message, 0, 0, 0);
            message.text(NAME, host);
            message.number(MASTER, *bridge);
            put_common(message);
            message.nest(INFO, |info| {
                info.text(INFO_KIND, "veth");
                info.nest(INFO_DATA, |data| {
                    data.nest(VETH_PEER, |peer| {
                        link(peer, 0, 0, 0);
                        peer.text(NAME, name);
                        peer.put(MAC, &mac.0);
                        put_common(peer);
                        peer.number(NAMESPACE_FD, namespace.as_raw_fd() as u32);
                    });
                });
            });
        });
        // Nobody talks to the port itself.
        set_by_name(&mut batch, host, no_link_local);
        batch.optional();
        if *hairpin || *isolated {
            set_by_name(&mut batch, host, |message| {
                message.nest(INFO, |info| {
                    info.text(INFO_SLAVE_KIND, "bridge");
                    info.nest(INFO_SLAVE_DATA, |port| {
                        port.put(BRIDGE_PORT_HAIRPIN, &[u8::from(*hairpin)]);
                        port.put(BRIDGE_PORT_ISOLATED, &[u8::from(*isolated)]);
                    });
                });
            });
        }
        up_by_name(&mut batch, host);
        self.0.send(&batch)
    }

    /// Makes a macvlan interface on `parent`, in a container.
    pub(crate) fn make_macvlan(
        &mut self,
        parent: u32,
        mode: MacvlanMode,
        name: &str,
        mac: Mac,
        namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mode: u32 = match mode {
            MacvlanMode::Private => 1,
            MacvlanMode::Vepa => 2,
            MacvlanMode::Bridge => 4,
            MacvlanMode::Passthru => 8,
        };
        let mut batch = Batch::default();
        batch.message(NEW_LINK, CREATE | EXCLUSIVE, |message| {
            link(message, 0, 0, 0);
            message.text(NAME, name);
            message.put(MAC, &mac.0);
            message.number(LINK, parent);
            message.number(NAMESPACE_FD, namespace.as_raw_fd() as u32);
            message.nest(INFO, |info| {
                info.text(INFO_KIND, "macvlan");
                info.nest(INFO_DATA, |data| data.number(MACVLAN_MODE, mode));
            });
        });
        batch.acknowledge();
        self.0.send(&batch)
    }

    /// Gives an interface addresses, sets it up and makes it the way out.
    pub(crate) fn furnish(&mut self, furniture: &Furniture<'_>) -> io::Result<()> {
        let Furniture { name, addresses, has_ipv6, gateways } = furniture;
        let index = self.find(name)?.ok_or(Errno::NODEV)?;
        let mut batch = Batch::default();
        if !has_ipv6 {
            // Before it is up: of one message the kernel does that first, and an interface that is ready has its address then.
            set_by_name(&mut batch, name, no_link_local);
            batch.optional();
        }
        batch.message(NEW_LINK, 0, |message| link(message, index, UP, UP));
        for (address, prefix) in *addresses {
            put_address(&mut batch, index, *address, *prefix);
        }
        gateways.iter().for_each(|gateway| put_default_route(&mut batch, index, *gateway));
        batch.acknowledge();
        self.0.send(&batch)
    }

    /// Sends what is for nobody nearer to `gateway`.
    pub(crate) fn set_default_route(&mut self, name: &str, gateway: IpAddr) -> io::Result<()> {
        let index = self.find(name)?.ok_or(Errno::NODEV)?;
        let mut batch = Batch::default();
        put_default_route(&mut batch, index, gateway);
        batch.acknowledge();
        self.0.send(&batch)
    }

    /// Removes an interface; it may be gone.
    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.message(DELETE_LINK, 0, |message| {
            link(message, 0, 0, 0);
            message.text(NAME, name);
        });
        batch.acknowledge();
        match self.0.send(&batch) {
            Err(error) if is(&error, Errno::NODEV) => Ok(()),
            other => other,
        }
    }

    /// Where the host has routes to, the default routes left out.
    pub(crate) fn routes(&mut self) -> io::Result<Vec<Subnet>> {
        let mut routes = Vec::new();
        self.0.list(
            GET_ROUTE,
            |message| message.raw(&[0; 12]),
            |message| {
                let Some(prefix) = message.content.get(1).copied().filter(|prefix| *prefix > 0) else { return };
                let is_main = message.content.get(4) == Some(&TABLE_MAIN);
                let destination = message.content.get(12..).and_then(|content| attribute(content, DESTINATION));
                if let (true, Some(address)) = (is_main, destination.and_then(address)) {
                    routes.push(Subnet::of(address, prefix));
                }
            },
        )?;
        Ok(routes)
    }

    /// The first interface that is not the loopback: its number, name and MAC address.
    pub(crate) fn first(&mut self) -> io::Result<Option<(u32, String, Mac)>> {
        let mut first = None;
        self.0.list(
            GET_LINK,
            |message| link(message, 0, 0, 0),
            |message| {
                let at = |from: usize| message.content.get(from..).and_then(number);
                let (Some(index), Some(flags), Some(rest)) = (at(4), at(8), message.content.get(16..)) else { return };
                let mac = attribute(rest, MAC).and_then(|bytes| bytes.try_into().ok());
                if let (Some(mac), Some(name), true, true) =
                    (mac, attribute(rest, NAME), first.is_none(), flags & LOOPBACK == 0)
                {
                    first = Some((index, text(name), Mac(mac)));
                }
            },
        )?;
        Ok(first)
    }

    /// The addresses of an interface that are known beyond its wire.
    pub(crate) fn addresses(&mut self, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
        let mut addresses = Vec::new();
        self.0.list(
            GET_ADDRESS,
            |message| message.raw(&[0; 8]),
            |message| {
                let [_, prefix, _, scope, ..] = message.content.as_slice() else { return };
                let of = message.content.get(4..).and_then(number);
                let found = message.content.get(8..).and_then(|rest| attribute(rest, ADDRESS)).and_then(address);
                if let (Some(found), true, true) = (found, of == Some(index), *scope == SCOPE_UNIVERSE) {
                    addresses.push((found, *prefix));
                }
            },
        )?;
        Ok(addresses)
    }

    /// The gateways of the default routes, in the order of preference.
    pub(crate) fn gateways(&mut self) -> io::Result<Vec<IpAddr>> {
        let mut gateways = Vec::new();
        self.0.list(
            GET_ROUTE,
            |message| message.raw(&[0; 12]),
            |message| {
                let is_default = message.content.get(1) == Some(&0) && message.content.get(4) == Some(&TABLE_MAIN);
                let gateway = message.content.get(12..).and_then(|rest| attribute(rest, GATEWAY)).and_then(address);
                gateways.extend(gateway.filter(|_| is_default));
            },
        )?;
        Ok(gateways)
    }
}

/// Adds an address to an interface, to be used at once: nobody else on the network can have it.
fn put_address(batch: &mut Batch, index: u32, address: IpAddr, prefix: u8) {
    batch.message(NEW_ADDRESS, CREATE | EXCLUSIVE, |message| {
        let [a, b, c, d] = index.to_ne_bytes();
        message.raw(&[family(address), prefix, 0, 0, a, b, c, d]);
        message.put(LOCAL, &octets(address));
        message.put(ADDRESS, &octets(address));
        if !address.is_ipv4() {
            message.number(FLAGS, NO_DETECTION);
        }
    });
}

fn put_default_route(batch: &mut Batch, index: u32, gateway: IpAddr) {
    batch.message(NEW_ROUTE, CREATE | EXCLUSIVE, |message| {
        let family = family(gateway);
        message.raw(&[family, 0, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, SCOPE_UNIVERSE, UNICAST, 0, 0, 0, 0]);
        message.put(GATEWAY, &octets(gateway));
        message.number(OUT, index);
    });
}

const fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { FAMILY_INET } else { FAMILY_INET6 }
}

/// Changes an interface that is there, perhaps since the message before.
fn set_by_name(batch: &mut Batch, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    batch.message(NEW_LINK, 0, |message| {
        link(message, 0, 0, 0);
        message.text(NAME, name);
        fill(message);
    });
}

/// Sets an interface up, and ends the batch.
fn up_by_name(batch: &mut Batch, name: &str) {
    batch.message(NEW_LINK, 0, |message| {
        link(message, 0, UP, UP);
        message.text(NAME, name);
    });
    batch.acknowledge();
}

/// Lets packets between the host's 127.0.0.1 and containers pass a bridge; our guard chain stops all others.
fn take_loopback(message: &mut Attributes<'_>) {
    message.nest(FAMILY_SPEC, |families| {
        families.nest(u16::from(FAMILY_INET), |inet| {
            inet.nest(INET_SETTINGS, |settings| settings.number(INET_ROUTE_LOCALNET, 1));
        });
    });
}

/// Keeps the kernel from giving an interface an IPv6 address by itself, and from the talk on the wire that goes with it.
fn no_link_local(message: &mut Attributes<'_>) {
    message.nest(FAMILY_SPEC, |families| {
        families.nest(u16::from(FAMILY_INET6), |inet6| inet6.put(INET6_ADDR_GEN_MODE, &[ADDR_GEN_NONE]));
    });
}

fn link(message: &mut Attributes<'_>, index: u32, flags: u32, change: u32) {
    // `struct ifinfomsg`.
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    message.raw(&header);
}

/// An address as it stands in messages and packets.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(octets).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(octets).ok()?)),
        _ => None,
    }
}
