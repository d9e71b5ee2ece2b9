//! `--network NAME` or `--network name=NAME,alias=…,ip=…`.

use std::net::{Ipv4Addr, Ipv6Addr};

use strata_engine::network::EndpointWish;
use strata_net::Mac;

use super::{Invalid, Refusal, Result};

/// One network to be connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name, or `none`, `host`, `container:NAME`.
    pub name: String,
    /// Further names of the container there.
    pub aliases: Vec<String>,
    /// The IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// The MAC address.
    pub mac: Option<Mac>,
}

impl Network {
    /// What is wished of it.
    pub fn wish(&self) -> EndpointWish {
        let Self { name, aliases, ipv4, ipv6, mac } = self.clone();
        let network = if name == "default" { String::from("bridge") } else { name };
        EndpointWish { network, aliases, ipv4, ipv6, mac }
    }
}

/// Parses the value of `--network`.
pub fn parse(text: &str) -> std::result::Result<Network, Refusal> {
    if text.is_empty() {
        return Err(Refusal::Alone(Invalid::new("no name set for network")));
    }
    // What follows `pasta:` are options of that program.
    if !text.contains('=') || text.starts_with("pasta:") {
        return Ok(Network { name: text.to_owned(), ..Network::default() });
    }
    let mut network = Network::default();
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(Invalid(format!("invalid field {field}")).into());
        };
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut network.name),
            "alias" => network.aliases.push(value.to_owned()),
            "ip" => network.ipv4 = Some(ipv4(value)?),
            "ip6" => network.ipv6 = Some(ipv6(value)?),
            "mac-address" => network.mac = Some(mac(value).map_err(Refusal::Alone)?),
            "driver-opt" | "link-local-ip" | "gw-priority" => {
                return Err(Invalid(format!("{key} is not part of this version: {field}")).into());
            }
            other => return Err(Invalid(format!("invalid field key {other}")).into()),
        }
    }
    if network.name.is_empty() {
        return Err(Invalid("network name/id is not specified".to_owned()).into());
    }
    Ok(network)
}

/// An IPv4 address.
pub fn ipv4(text: &str) -> Result<Ipv4Addr> {
    text.parse().map_err(|_| Invalid(format!("invalid IPv4 address: {text}")))
}

/// An IPv6 address.
pub fn ipv6(text: &str) -> Result<Ipv6Addr> {
    text.parse().map_err(|_| Invalid(format!("invalid IPv6 address: {text}")))
}

/// A MAC address.
pub fn mac(text: &str) -> Result<Mac> {
    text.parse().map_err(|_| Invalid(format!("{text} is not a valid mac address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_name_or_fields() {
        let plain = |name: &str| Network { name: name.into(), ..Network::default() };
        assert_eq!(parse("blue").unwrap(), plain("blue"));
        assert_eq!(parse("container:a").unwrap(), plain("container:a"));
        assert_eq!(parse("pasta:--ns-ifname=x").unwrap(), plain("pasta:--ns-ifname=x"));
        let all = parse("name=blue,alias=a,alias=b,ip=10.0.0.5,ip6=fd00::5,mac-address=02:00:00:00:00:01").unwrap();
        assert_eq!(all.aliases, ["a", "b"]);
        assert_eq!(
            (all.ipv4.unwrap().to_string(), all.ipv6.unwrap().to_string()),
            ("10.0.0.5".into(), "fd00::5".into())
        );
        assert_eq!(all.mac.unwrap().to_string(), "02:00:00:00:00:01");
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(refused("alias=x"), "network name/id is not specified");
        assert_eq!(refused("name=a,nope=b"), "invalid field key nope");
        assert_eq!(refused("name=a,b"), "invalid field b");
        assert_eq!(refused("name=a,ip=x"), "invalid IPv4 address: x");
    }
}
