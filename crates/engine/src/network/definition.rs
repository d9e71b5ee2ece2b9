//! What a network's record says, and what the host has to make of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use strata_net::{Bridge, Driver, MacvlanMode, Network, Pool};
use strata_store::records::NetworkRecord;

use crate::Result;
use crate::network::NetworkError;

/// The name of the network that containers are in if nobody says.
pub(crate) const DEFAULT: &str = "bridge";

/// What fits into a packet of a bridge if nobody says, in bytes.
const MTU: u32 = 1500;

/// What a record holds beyond its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its addresses.
    pub pools: Vec<Pool>,
    /// A person chose the subnet, so that containers may wish for addresses.
    pub chosen: bool,
    /// It has IPv6 addresses.
    pub ipv6: bool,
    /// Nothing passes between it and other networks.
    pub internal: bool,
    /// `--attachable`: kept and shown.
    pub attachable: bool,
    /// The interface of its bridge.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
}

/// A network's record, read.
#[derive(Clone, Debug)]
pub struct NetworkKnown {
    /// What the store keeps in columns.
    pub record: NetworkRecord,
    /// The rest.
    pub definition: Definition,
}

impl NetworkKnown {
    /// Reads a record.
    pub(crate) fn read(record: NetworkRecord) -> Result<Self> {
        let definition =
            serde_json::from_str(&record.spec).map_err(|source| NetworkError::Record(record.name.clone(), source))?;
        Ok(Self { record, definition })
    }

    /// Whether it is there by itself.
    pub fn is_builtin(&self) -> bool {
        [DEFAULT, "host", "none"].contains(&self.record.name.as_str())
    }

    /// Whether its containers find each other by name.
    pub fn has_names(&self) -> bool {
        self.record.name != DEFAULT
    }

    /// What the host has to make; an error for `host` and `none`, which are nothing.
    pub(crate) fn to_make(&self) -> Result<Network> {
        let NetworkRecord { id, name, driver, .. } = &self.record;
        let driver = match driver.as_str() {
            "bridge" => Driver::Bridge(self.bridge()?),
            "macvlan" => self.macvlan()?,
            other => return Err(NetworkError::invalid(format!("network {name} ({other}) has no endpoints"))),
        };
        let Definition { pools, internal, .. } = &self.definition;
        Ok(Network { id: id.clone(), name: name.clone(), driver, pools: pools.clone(), internal: *internal })
    }

    /// Its options as they are shown: those of the network that is there by itself are what it has, as with Docker, so that its
    /// bridge can be found.
    pub(crate) fn shown_options(&self) -> Result<BTreeMap<String, String>> {
        if self.record.name != DEFAULT {
            return Ok(self.record.options.clone());
        }
        let Bridge { interface, masquerade, between, mtu, publish_at } = self.bridge()?;
        let bridge = |option: &str, value: String| (format!("com.docker.network.bridge.{option}"), value);
        Ok(BTreeMap::from([
            bridge("default_bridge", String::from("true")),
            bridge("enable_icc", between.to_string()),
            bridge("enable_ip_masquerade", masquerade.to_string()),
            bridge("host_binding_ipv4", publish_at.unwrap_or(Ipv4Addr::UNSPECIFIED.into()).to_string()),
            bridge("name", interface),
            (String::from("com.docker.network.driver.mtu"), mtu.unwrap_or(MTU).to_string()),
        ]))
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.record.options.get(name).map(String::as_str)
    }

    fn bridge(&self) -> Result<Bridge> {
        let flag = |name: &str| match self.option(name) {
            None => Ok(true),
            Some(word) => go_bool(word).ok_or_else(|| bad_option(name, word)),
        };
        let mtu = self
            .option("com.docker.network.driver.mtu")
            .map(|word| word.parse().map_err(|_| bad_option("com.docker.network.driver.mtu", word)));
        let publish_at = self.option("com.docker.network.bridge.host_binding_ipv4").map(|word| {
            word.parse::<IpAddr>().map_err(|_| bad_option("com.docker.network.bridge.host_binding_ipv4", word))
        });
        Ok(Bridge {
            interface: self.definition.interface.clone(),
            masquerade: flag("com.docker.network.bridge.enable_ip_masquerade")?,
            between: flag("com.docker.network.bridge.enable_icc")?,
            mtu: mtu.transpose()?.filter(|mtu| *mtu != 0),
            publish_at: publish_at.transpose()?,
        })
    }

    fn macvlan(&self) -> Result<Driver> {
        let parent = self.option("parent").unwrap_or_default().to_owned();
        if parent.is_empty() {
            return Err(NetworkError::invalid("macvlan networks need the interface of the host: -o parent=eth0"));
        }
        let name = self.option("macvlan_mode").or_else(|| self.option("mode")).unwrap_or("bridge");
        let mode = MacvlanMode::ALL.into_iter().find(|mode| mode.name() == name);
        let mode = mode.ok_or_else(|| {
            NetworkError::invalid(format!(
                "requested macvlan mode '{name}' is not valid, 'bridge' mode is the macvlan driver default"
            ))
        })?;
        Ok(Driver::Macvlan { parent, mode })
    }

    /// Whether its options make sense.
    pub(crate) fn check(&self) -> Result<()> {
        self.to_make().map(drop)
    }
}

fn bad_option(name: &str, word: &str) -> crate::Error {
    NetworkError::invalid(format!("invalid value for option {name}: {word}"))
}

/// What Go's `strconv.ParseBool` takes.
fn go_bool(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
