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
const SET_LINK: u16 = 19;
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
const VETH_PEER: u16 = 1;
const MACVLAN_MODE: u16 = 1;
const FAMILY_SPEC: u16 = 26;
const INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;
const PROTOCOL_INFO: u16 = 12;
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
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;

const FAMILY_BRIDGE: u8 = 7;
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
    pub(crate) fn make_bridge(&mut self, name: &str, mtu: Option<u32>, addresses: &[(IpAddr, u8)]) -> io::Result<u32> {
        let mut batch = Batch::default();
        batch.message(NEW_LINK, CREATE | EXCLUSIVE, |message| {
            link(message, 0, UP, UP);
            message.text(NAME, name);
            // Chosen once: otherwise it changes with the ports that come and go.
            message.put(MAC, &Mac::random().0);
            if let Some(mtu) = mtu {
                message.number(MTU, mtu);
            }
            message.nest(INFO, |info| info.text(INFO_KIND, "bridge"));
        });
        batch.acknowledge();
        self.0.send(&batch)?;
        let index = self.find(name)?.ok_or(Errno::NODEV)?;
        let mut batch = Batch::default();
        for (address, prefix) in addresses {
            put_address(&mut batch, index, *address, *prefix);
        }
        self.0.send(&batch)?;
        Ok(index)
    }

    /// Makes a veth pair. The end in the container must not be up yet: its peer does not exist at that moment.
    pub(crate) fn make_veth(&mut self, veth: &Veth<'_>) -> io::Result<()> {
        let Veth { host, bridge, name, mac, mtu, namespace } = veth;
        let mut batch = Batch::default();
        let put_mtu = |message: &mut Attributes<'_>| mtu.iter().for_each(|mtu| message.number(MTU, *mtu));
        batch.message(NEW_LINK, CREATE | EXCLUSIVE, |message| {
            link(message, 0, UP, UP);
            message.text(NAME, host);
            message.number(MASTER, *bridge);
            put_mtu(message);
            message.nest(INFO, |info| {
                info.text(INFO_KIND, "veth");
                info.nest(INFO_DATA, |data| {
                    data.nest(VETH_PEER, |peer| {
                        link(peer, 0, 0, 0);
                        peer.text(NAME, name);
                        peer.put(MAC, &mac.0);
                        put_mtu(peer);
                        peer.number(NAMESPACE_FD, namespace.as_raw_fd() as u32);
                    });
                });
            });
        });
        batch.acknowledge();
        self.0.send(&batch)
    }

    /// Says what a bridge's port does: `hairpin` sends packets back to where they came from, which is how a container
    /// reaches itself by a published port where bridged packets are filtered (br_netfilter); `isolated` ports do not talk
    /// to each other.
    pub(crate) fn set_port(&mut self, name: &str, hairpin: bool, isolated: bool) -> io::Result<()> {
        let index = self.find(name)?.ok_or(Errno::NODEV)?;
        let mut batch = Batch::default();
        batch.message(SET_LINK, 0, |message| {
            message.raw(&link_header(FAMILY_BRIDGE, index, 0, 0));
            message.nest(PROTOCOL_INFO, |port| {
                port.put(BRIDGE_PORT_HAIRPIN, &[u8::from(hairpin)]);
                port.put(BRIDGE_PORT_ISOLATED, &[u8::from(isolated)]);
            });
        });
        batch.acknowledge();
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

    /// Gives an interface addresses and sets it up. Without `ipv6` it gets no address of that kind at all.
    pub(crate) fn furnish(&mut self, name: &str, addresses: &[(IpAddr, u8)], ipv6: bool) -> io::Result<()> {
        let index = self.find(name)?.ok_or(Errno::NODEV)?;
        let mut batch = Batch::default();
        if !ipv6 {
            // Before it is up: of one message the kernel does that first, and an interface that is ready has its address then.
            batch.message(NEW_LINK, 0, |message| {
                link(message, index, 0, 0);
                no_link_local(message);
            });
        }
        batch.message(NEW_LINK, 0, |message| link(message, index, UP, UP));
        for (address, prefix) in addresses {
            put_address(&mut batch, index, *address, *prefix);
        }
        batch.acknowledge();
        self.0.send(&batch)
    }

    /// Sends what is for nobody nearer to `gateway`; without one, straight out by the interface.
    pub(crate) fn set_default_route(&mut self, name: &str, gateway: Option<IpAddr>, ipv4: bool) -> io::Result<()> {
        let index = self.find(name)?.ok_or(Errno::NODEV)?;
        let mut batch = Batch::default();
        let family = if ipv4 { FAMILY_INET } else { FAMILY_INET6 };
        let scope = if gateway.is_some() { SCOPE_UNIVERSE } else { SCOPE_LINK };
        batch.message(NEW_ROUTE, CREATE | EXCLUSIVE, |message| {
            message.raw(&[family, 0, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, scope, UNICAST, 0, 0, 0, 0]);
            if let Some(gateway) = gateway {
                message.put(GATEWAY, &octets(gateway));
            }
            message.number(OUT, index);
        });
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
        let family = if address.is_ipv4() { FAMILY_INET } else { FAMILY_INET6 };
        let [a, b, c, d] = index.to_ne_bytes();
        message.raw(&[family, prefix, 0, 0, a, b, c, d]);
        message.put(LOCAL, &octets(address));
        message.put(ADDRESS, &octets(address));
        if !address.is_ipv4() {
            message.number(FLAGS, NO_DETECTION);
        }
    });
    batch.acknowledge();
}

/// Keeps the kernel from giving an interface an IPv6 address by itself, and from the talk on the wire that goes with it.
fn no_link_local(message: &mut Attributes<'_>) {
    message.nest(FAMILY_SPEC, |families| {
        families.nest(u16::from(FAMILY_INET6), |inet6| inet6.put(INET6_ADDR_GEN_MODE, &[ADDR_GEN_NONE]));
    });
}

fn link(message: &mut Attributes<'_>, index: u32, flags: u32, change: u32) {
    message.raw(&link_header(0, index, flags, change));
}

/// `struct ifinfomsg`.
fn link_header(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
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
