//! Addresses: subnets, and which of their addresses may be given away.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network address with its length, `172.17.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct SubnetError(String);

impl Subnet {
    /// The subnet of `prefix` bits that `address` is in.
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        let width = width(address);
        let prefix = prefix.min(width);
        let host_bits = u32::from(width - prefix);
        let base = to_number(address).checked_shr(host_bits).unwrap_or(0).checked_shl(host_bits).unwrap_or(0);
        Self { address: to_address(base, address.is_ipv4()), prefix }
    }

    /// Its first address, which is its name.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits all its addresses share.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// IPv4, not IPv6.
    pub const fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && Self::of(address, self.prefix).address == self.address
    }

    /// Whether they share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Its address number `index`, counted from 0.
    pub fn nth(&self, index: u128) -> Option<IpAddr> {
        let address = to_number(self.address).checked_add(index)?;
        (index <= self.last()).then(|| to_address(address, self.is_ipv4()))
    }

    /// The number of its last address.
    pub fn last(&self) -> u128 {
        let host_bits = u32::from(width(self.address) - self.prefix);
        1_u128.checked_shl(host_bits).map_or(u128::MAX, |count| count - 1)
    }

    /// The number of an address that is in it.
    pub fn index_of(&self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| to_number(address) - to_number(self.address))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let address: IpAddr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok().filter(|prefix| *prefix <= width(address))?;
            Some(Self::of(address, prefix))
        });
        parsed.ok_or_else(|| SubnetError(text.to_owned()))
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn to_address(number: u128, ipv4: bool) -> IpAddr {
    if ipv4 { Ipv4Addr::from_bits(number as u32).into() } else { Ipv6Addr::from_bits(number).into() }
}

/// Addresses of a network and who may have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// All of them.
    pub subnet: Subnet,
    /// Those that are given away unasked; all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Subnet>,
    /// The host's.
    pub gateway: IpAddr,
    /// Those that are never given away, with their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<(String, IpAddr)>,
}

impl Pool {
    /// An address that `is_free`, the first behind number `after` of the range, or from its beginning.
    pub fn choose(&self, after: Option<u128>, is_free: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        /// So many addresses are looked at in one search: more containers than that no host runs.
        const LOOKS_MAX: u128 = 1 << 20;
        let range = self.range.unwrap_or(self.subnet);
        let last = range.last();
        let start = after.map_or(0, |after| after.wrapping_add(1) & last);
        let count = last.saturating_add(1).min(LOOKS_MAX);
        let mut candidates = (0..count).filter_map(|step| range.nth(start.wrapping_add(step) & last));
        candidates.find(|address| self.may_be_given(*address) && is_free(*address))
    }

    /// Whether a container may have an address: not the host's, the network's own, or a reserved one.
    pub fn may_be_given(&self, address: IpAddr) -> bool {
        let Some(index) = self.subnet.index_of(address) else { return false };
        // In subnets of two addresses or one, all of them are ordinary (RFC 3021).
        let last = self.subnet.last();
        let is_edge = last > 1 && (index == 0 || (index == last && self.subnet.is_ipv4()));
        !is_edge && address != self.gateway && self.reserved.iter().all(|(_, reserved)| *reserved != address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str, range: Option<&str>, gateway: &str) -> Pool {
        let range = range.map(|text| text.parse().unwrap());
        let reserved = vec![("router".to_owned(), "10.1.0.2".parse().unwrap())];
        Pool { subnet: subnet.parse().unwrap(), range, gateway: gateway.parse().unwrap(), reserved }
    }

    #[test]
    fn a_subnet_is_printed_as_it_was_parsed_without_host_bits() {
        for (text, expected) in [
            ("172.17.0.9/16", "172.17.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::1/64", "fd00::/64"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Subnet>().unwrap().to_string(), expected);
        }
        for wrong in ["172.17.0.0", "172.17.0.0/33", "x/8", "::/129", "1.2.3.4/-1"] {
            assert_eq!(wrong.parse::<Subnet>().unwrap_err().to_string(), format!("invalid CIDR address: {wrong}"));
        }
    }

    #[test]
    fn subnets_overlap_if_one_is_in_the_other() {
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        assert!(subnet("10.0.0.0/8").overlaps(&subnet("10.1.0.0/16")));
        assert!(subnet("10.1.0.0/16").overlaps(&subnet("10.0.0.0/8")));
        assert!(!subnet("10.1.0.0/16").overlaps(&subnet("10.2.0.0/16")));
        assert!(!subnet("0.0.0.0/0").overlaps(&subnet("::/0")));
    }

    #[test]
    fn addresses_are_given_in_turn_but_never_the_hosts_or_the_edges() {
        let pool = pool("10.1.0.0/29", None, "10.1.0.1");
        let mut given = Vec::new();
        let mut after = None;
        while let Some(address) = pool.choose(after, |address| !given.contains(&address)) {
            after = pool.subnet.index_of(address);
            given.push(address);
        }
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        assert_eq!(given, ["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]);
        let again = pool.choose(Some(5), |_| true).unwrap();
        assert_eq!(again.to_string(), "10.1.0.6");
        assert_eq!(pool.choose(Some(6), |_| true).unwrap().to_string(), "10.1.0.3");
    }

    #[test]
    fn a_range_limits_what_is_given_unasked() {
        let pool = pool("10.1.0.0/16", Some("10.1.5.0/30"), "10.1.0.1");
        assert_eq!(pool.choose(None, |_| true).unwrap().to_string(), "10.1.5.0");
        assert!(pool.may_be_given("10.1.9.9".parse().unwrap()));
        assert!(!pool.may_be_given("10.1.255.255".parse().unwrap()));
        let tiny = Pool { reserved: vec![], ..pool_of_two() };
        assert_eq!(tiny.choose(None, |_| true).unwrap().to_string(), "10.0.0.1");
    }

    fn pool_of_two() -> Pool {
        pool("10.0.0.0/31", None, "10.0.0.0")
    }
}
