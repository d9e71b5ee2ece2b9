//! What a container wants of the networks, and what it has got: plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Pool, Subnet};

/// A network as the host has to make it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What a person calls it.
    pub name: String,
    /// How containers meet.
    pub driver: Driver,
    /// Its addresses: none, one or both of IPv4 and IPv6.
    pub pools: Vec<Pool>,
    /// Nothing passes between it and other networks.
    pub internal: bool,
}

/// How the containers of a network meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// By a bridge of the host.
    Bridge(Bridge),
    /// By one of the host's interfaces, each container with a MAC address of its own.
    Macvlan {
        /// The interface.
        parent: String,
        /// `bridge`, `vepa`, `passthru` or `private`.
        mode: MacvlanMode,
    },
    /// Not at all: each has a pasta(1) of its own.
    Pasta,
}

impl Driver {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bridge(_) => "bridge",
            Self::Macvlan { .. } => "macvlan",
            Self::Pasta => PASTA,
        }
    }
}

/// A bridge's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// The name of its interface.
    pub interface: String,
    /// What leaves the host gets the host's address.
    pub masquerade: bool,
    /// Containers may talk to each other.
    pub between: bool,
    /// The longest packet.
    pub mtu: Option<u32>,
    /// Where ports are published if nobody says.
    pub publish_at: Option<IpAddr>,
}

/// Whom macvlan interfaces of one parent can talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Each other, directly.
    Bridge,
    /// Each other by way of the switch outside.
    Vepa,
    /// There is only one.
    Passthru,
    /// Not each other.
    Private,
}

impl MacvlanMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bridge, Self::Vepa, Self::Passthru, Self::Private];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Vepa => "vepa",
            Self::Passthru => "passthru",
            Self::Private => "private",
        }
    }
}

/// All that a container wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The container's id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// What it calls itself; its addresses are written behind this into its `hosts` file.
    pub hostname: String,
    /// Where it is connected. The way out is through the first that has one.
    pub attachments: Vec<Attachment>,
    /// What is published.
    pub ports: Vec<Publish>,
    /// The names it can ask for at 127.0.0.11; without, nothing listens there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
    /// The way out of somebody who is not root: in place of attachments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pasta: Option<Pasta>,
}

/// What stands in place of a network's name where pasta(1) connects.
pub const PASTA: &str = "pasta";

/// A wish to be connected by pasta(1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pasta {
    /// The program.
    pub program: PathBuf,
    /// Options for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Without it the container does not start. Otherwise it has a loopback interface if pasta cannot do its work.
    pub required: bool,
}

impl Plan {
    /// Gives the container another name, by which others find it from then on.
    pub fn rename(&mut self, name: &str) {
        let old = std::mem::replace(&mut self.name, name.to_owned());
        self.attachments.iter_mut().for_each(|attachment| rename(&mut attachment.names, &old, name));
    }
}

fn rename(names: &mut [String], old: &str, name: &str) {
    names.iter_mut().filter(|known| *known == old).for_each(|known| name.clone_into(known));
}

/// A wish to be connected to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which.
    pub network: Network,
    /// The IPv4 address; any without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address; any without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// The MAC address; made from the IPv4 address without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Under which names the network's other containers find it, its own name first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// How names are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Who is asked what we do not know; the host's resolvers without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
}

/// A wish to be reached from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The host's address; all of them without.
    pub address: Option<IpAddr>,
    /// The first and last of the host's ports, of which one is taken; any without.
    pub host: Option<(u16, u16)>,
    /// The container's port.
    pub port: u16,
    /// By which protocol.
    pub protocol: Protocol,
}

/// What has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
    /// Streams of datagrams.
    Sctp,
}

impl Protocol {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Its number in packets.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|known| known.name() == text).ok_or(())
    }
}

/// What a running container has got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// Where it is connected, in the order in which it was.
    pub endpoints: Vec<Endpoint>,
}

impl Connected {
    /// Its published ports.
    pub fn ports(&self) -> impl Iterator<Item = &Published> {
        self.endpoints.iter().flat_map(|endpoint| &endpoint.ports)
    }

    /// Its end of a network, by the network's name or id.
    pub fn endpoint(&self, network: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.network == network || endpoint.network_name == network)
    }
}

/// A container's end of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The network's id.
    pub network: String,
    /// The network's name.
    pub network_name: String,
    /// How the network's containers meet.
    pub driver: Driver,
    /// Nothing passes between the network and others.
    pub internal: bool,
    /// The container's id.
    pub container: String,
    /// The container's name.
    pub container_name: String,
    /// The name of its interface in the container.
    pub interface: String,
    /// Its IPv4 address.
    pub ipv4: Option<Address>,
    /// Its IPv6 address.
    pub ipv6: Option<Address>,
    /// Its MAC address.
    pub mac: Mac,
    /// Under which names the network's other containers find it.
    pub names: Vec<String>,
    /// What is published by way of it.
    pub ports: Vec<Published>,
}

impl Endpoint {
    /// Gives the container another name.
    pub(crate) fn rename(&mut self, name: &str) {
        let old = std::mem::replace(&mut self.container_name, name.to_owned());
        rename(&mut self.names, &old, name);
    }

    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        self.ipv4.into_iter().chain(self.ipv6)
    }

    /// Its address of one kind.
    pub(crate) fn address(&self, ipv4: bool) -> Option<IpAddr> {
        let address = if ipv4 { self.ipv4 } else { self.ipv6 };
        address.map(|address| address.address)
    }

    /// The bridge it hangs on.
    pub(crate) fn bridge(&self) -> Option<&Bridge> {
        match &self.driver {
            Driver::Bridge(bridge) => Some(bridge),
            Driver::Macvlan { .. } | Driver::Pasta => None,
        }
    }
}

/// An address in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// How many bits the network's addresses share.
    pub prefix: u8,
    /// The way out; none from a network that has none.
    pub gateway: Option<IpAddr>,
}

impl Address {
    /// The network it is in.
    pub fn subnet(&self) -> Subnet {
        Subnet::of(self.address, self.prefix)
    }
}

/// A port that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Published {
    /// The container's port.
    pub port: u16,
    /// By which protocol.
    pub protocol: Protocol,
    /// The host's address; unspecified for all of them.
    pub host: IpAddr,
    /// The host's port.
    pub host_port: u16,
}

/// Published ports as Docker lists them: by container port, without for those that are only exposed.
pub fn ports_by_name<'a>(
    exposed: impl IntoIterator<Item = &'a str>,
    published: impl IntoIterator<Item = &'a Published>,
) -> BTreeMap<String, Vec<Published>> {
    let mut ports: BTreeMap<String, Vec<Published>> =
        exposed.into_iter().map(|name| (name.to_owned(), Vec::new())).collect();
    for one in published {
        ports.entry(format!("{}/{}", one.port, one.protocol.name())).or_default().push(*one);
    }
    ports
}

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The one that goes with an IPv4 address; another container that gets the address has it too, so that nobody's memory
    /// of it is wrong.
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// One at random.
    pub fn random() -> Self {
        let [a, b, c, d, e] = strata_sys::random::bytes();
        Self([0x02, a, b, c, d, e])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, crate::Error> {
        let bad = || crate::Error::Invalid(format!("invalid MAC address: {text}"));
        let mut bytes = [0; 6];
        let mut words = text.split([':', '-']);
        for byte in &mut bytes {
            let word = words.next().filter(|word| word.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(word, 16).map_err(|_| bad())?;
        }
        // The lowest bit of the first byte is that of groups.
        if words.next().is_some() || bytes[0] & 1 == 1 {
            return Err(bad());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = crate::Error;

    fn try_from(text: String) -> Result<Self, crate::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_parsed_and_printed() {
        let mac: Mac = "02:42:AC:11:00:02".parse().unwrap();
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!(mac, Mac::of("172.17.0.2".parse().unwrap()));
        for wrong in
            ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "01:00:00:00:00:00", "0x:0:0:0:0:0", "2:42:ac:11:00:02"]
        {
            assert_eq!(wrong.parse::<Mac>().unwrap_err().to_string(), format!("invalid MAC address: {wrong}"));
        }
    }
}
