//! Choosing subnets that nobody uses.

use std::net::{IpAddr, Ipv6Addr};

use strata_net::{Pool, Subnet};

use crate::network::{NetworkError, NetworkKnown};
use crate::{Engine, Result};

impl Engine {
    /// An IPv4 subnet of Docker's pools that is no other network's and that the host has no route into.
    pub(super) fn free_subnet(&self) -> Result<Subnet> {
        let mut used = self.used_subnets()?;
        used.extend(strata_net::host_routes().map_err(NetworkError::from)?);
        candidates().find(|candidate| !used.iter().any(|used| used.overlaps(candidate))).ok_or_else(|| {
            NetworkError::invalid(
                "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
            )
        })
    }

    /// The subnets of all networks.
    pub(super) fn used_subnets(&self) -> Result<Vec<Subnet>> {
        let mut used = Vec::new();
        for record in self.store().networks().list()? {
            // Those on interfaces of the host may share subnets, as they share the wire.
            let is_bridge = record.driver == "bridge";
            let known = NetworkKnown::read(record)?;
            used.extend(known.definition.pools.iter().filter(|_| is_bridge).map(|pool| pool.subnet));
        }
        Ok(used)
    }
}

/// Docker's default pools: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in parts of 4096.
fn candidates() -> impl Iterator<Item = Subnet> {
    let large = (17..32).map(|second| Subnet::of(IpAddr::from([172, second, 0, 0]), 16));
    let small = (0..16).map(|part| Subnet::of(IpAddr::from([192, 168, part * 16, 0]), 20));
    large.chain(small)
}

/// An IPv6 subnet of a network's own (RFC 4193), from the digits of its id.
pub(super) fn unique_local(id: &str) -> Subnet {
    let digits = u128::from_str_radix(id.get(..10).unwrap_or("0"), 16).unwrap_or(0);
    Subnet::of(Ipv6Addr::from_bits((0xfd << 120) | (digits << 80)).into(), 64)
}

/// A pool whose gateway is the subnet's first address.
pub(super) fn whole(subnet: Subnet) -> Pool {
    let gateway = subnet.nth(1).unwrap_or(subnet.address());
    Pool { subnet, range: None, gateway, reserved: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_dockers_in_dockers_order() {
        let all: Vec<String> = candidates().map(|subnet| subnet.to_string()).collect();
        assert_eq!(all[..2], ["172.17.0.0/16", "172.18.0.0/16"]);
        assert_eq!(all[14..17], ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]);
        assert_eq!(all.len(), 31);
        assert_eq!(unique_local(&"ab".repeat(32)).to_string(), "fdab:abab:abab::/64");
        assert_eq!(whole("10.0.0.0/8".parse().unwrap()).gateway.to_string(), "10.0.0.1");
    }
}
