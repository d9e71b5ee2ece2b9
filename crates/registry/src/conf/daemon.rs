//! The two lists of Docker's `daemon.json` that concern registries.

use std::net::IpAddr;

use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct DaemonFile {
    #[serde(rename = "registry-mirrors", default)]
    pub(super) mirrors: Vec<String>,
    #[serde(rename = "insecure-registries", default)]
    pub(super) insecure: Vec<String>,
}

impl DaemonFile {
    /// Whether `authority` (`HOST[:PORT]`) is listed as insecure, by name or by network.
    pub(super) fn is_insecure(&self, authority: &str) -> bool {
        let address = super::registries::host_of(authority).parse::<IpAddr>().ok();
        self.insecure.iter().any(|entry| match (entry.split_once('/'), address) {
            (Some((network, bits)), Some(address)) => in_network(address, network, bits),
            _ => entry == authority,
        })
    }
}

fn in_network(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insecure_registries_are_names_or_networks() {
        let daemon = DaemonFile {
            mirrors: Vec::new(),
            insecure: ["10.1.0.0/16", "reg:5000", "fd00::/8", "0.0.0.0/0x"].map(str::to_owned).to_vec(),
        };
        for (authority, expected) in [
            ("10.1.2.3:5000", true),
            ("10.2.2.3", false),
            ("reg:5000", true),
            ("reg", false),
            ("[fd00::1]:443", true),
            ("[fe80::1]", false),
        ] {
            assert_eq!(daemon.is_insecure(authority), expected, "{authority}");
        }
    }
}
