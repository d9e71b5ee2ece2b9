//! Networks as Docker shows them.

use serde_json::{Map, Value, json};
use strata_net::{Address, Connected, Endpoint, Published, ports_by_name};

use crate::container::Known;
use crate::network::NetworkKnown;
use crate::{Engine, Result};

impl Engine {
    /// All there is to say about a network, in Docker's shape.
    ///
    /// # Errors
    /// When what runs cannot be read.
    pub fn inspect_network(&self, known: &NetworkKnown) -> Result<Value> {
        let (record, definition) = (&known.record, &known.definition);
        let config = |pool: &strata_net::Pool| {
            let mut config = Map::new();
            config.insert("Subnet".into(), json!(pool.subnet.to_string()));
            if let Some(range) = pool.range {
                config.insert("IPRange".into(), json!(range.to_string()));
            }
            config.insert("Gateway".into(), json!(pool.gateway.to_string()));
            if !pool.reserved.is_empty() {
                let reserved: Map<_, _> =
                    pool.reserved.iter().map(|(name, address)| (name.clone(), json!(address.to_string()))).collect();
                config.insert("AuxiliaryAddresses".into(), Value::Object(reserved));
            }
            Value::Object(config)
        };
        // As Docker: none for what is always there.
        let options = if known.is_builtin() { Value::Null } else { json!({}) };
        let pools: Vec<Value> = definition.pools.iter().map(config).collect();
        let containers: Map<String, Value> = self
            .network_endpoints(known)?
            .iter()
            .map(|endpoint| (endpoint.container.clone(), of_container(endpoint)))
            .collect();
        Ok(json!({
            "Name": record.name,
            "Id": record.id,
            "Created": record.created.to_string(),
            "Scope": "local",
            "Driver": record.driver,
            "EnableIPv6": definition.ipv6,
            "IPAM": { "Driver": "default", "Options": options, "Config": pools },
            "Internal": definition.internal,
            "Attachable": definition.attachable,
            "Ingress": false,
            "ConfigFrom": { "Network": "" },
            "ConfigOnly": false,
            "Containers": containers,
            "Options": known.shown_options()?,
            "Labels": record.labels,
        }))
    }

    /// Docker's `NetworkSettings` of a container.
    pub(crate) fn network_settings(&self, known: &Known, connected: &Connected) -> Value {
        let document = &known.document;
        let mut networks = Map::new();
        for wish in &document.networks {
            let endpoint = connected.endpoint(&wish.network);
            let aliases = (!wish.aliases.is_empty()).then_some(&wish.aliases);
            networks.insert(wish.network.clone(), endpoint_value(endpoint, aliases));
        }
        if document.networks.is_empty() && !document.host.network_mode.starts_with("container:") {
            let name = document.host.network_mode.split(':').next().unwrap_or_default();
            let mut endpoint = endpoint_value(connected.endpoint(name), None);
            // A network that connects nothing has no endpoints, but it has an id.
            if let (Some(""), Ok(known)) = (endpoint["NetworkID"].as_str(), self.network(name)) {
                endpoint["NetworkID"] = json!(known.record.id);
            }
            networks.insert(name.to_owned(), endpoint);
        }
        let of_default =
            connected.endpoint(super::definition::DEFAULT).or_else(|| connected.endpoint(strata_net::PASTA));
        let flat = endpoint_value(of_default, None);
        let exposed = document.config.run.exposed_ports.iter().map(String::as_str);
        let ports = if connected.endpoints.is_empty() { Map::new() } else { ports(exposed, connected) };
        let sandbox = connected.endpoints.first().map_or("", |_| known.id().as_str());
        json!({
            "Bridge": "", "SandboxID": sandbox, "SandboxKey": "", "Ports": ports, "HairpinMode": false,
            "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0, "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null, "EndpointID": flat["EndpointID"], "Gateway": flat["Gateway"],
            "GlobalIPv6Address": flat["GlobalIPv6Address"], "GlobalIPv6PrefixLen": flat["GlobalIPv6PrefixLen"],
            "IPAddress": flat["IPAddress"], "IPPrefixLen": flat["IPPrefixLen"], "IPv6Gateway": flat["IPv6Gateway"],
            "MacAddress": flat["MacAddress"], "Networks": networks,
        })
    }
}

fn of_container(endpoint: &Endpoint) -> Value {
    let shown = |address: Option<Address>| {
        address.map_or_else(String::new, |address| format!("{}/{}", address.address, address.prefix))
    };
    json!({
        "Name": endpoint.container_name, "EndpointID": endpoint.id, "MacAddress": endpoint.mac.to_string(),
        "IPv4Address": shown(endpoint.ipv4), "IPv6Address": shown(endpoint.ipv6),
    })
}

fn ports<'a>(exposed: impl IntoIterator<Item = &'a str>, connected: &'a Connected) -> Map<String, Value> {
    let binding = |port: &Published| json!({ "HostIp": port.host.to_string(), "HostPort": port.host_port.to_string() });
    let of = |published: Vec<Published>| match published.as_slice() {
        [] => Value::Null,
        published => published.iter().map(binding).collect(),
    };
    ports_by_name(exposed, connected.ports()).into_iter().map(|(name, published)| (name, of(published))).collect()
}

fn endpoint_value(endpoint: Option<&Endpoint>, aliases: Option<&Vec<String>>) -> Value {
    let text = |address: Option<std::net::IpAddr>| address.map_or_else(String::new, |address| address.to_string());
    let of = |address: Option<Address>| {
        let gateway = address.and_then(|address| address.gateway);
        (text(address.map(|address| address.address)), address.map_or(0, |address| address.prefix), text(gateway))
    };
    let (ipv4, prefix4, gateway4) = of(endpoint.and_then(|endpoint| endpoint.ipv4));
    let (ipv6, prefix6, gateway6) = of(endpoint.and_then(|endpoint| endpoint.ipv6));
    let names = endpoint.map(|endpoint| &endpoint.names).filter(|names| !names.is_empty());
    json!({
        "IPAMConfig": null, "Links": null, "Aliases": aliases,
        "MacAddress": endpoint.map_or_else(String::new, |endpoint| endpoint.mac.to_string()),
        "NetworkID": endpoint.map_or("", |endpoint| endpoint.network.as_str()),
        "EndpointID": endpoint.map_or("", |endpoint| endpoint.id.as_str()),
        "Gateway": gateway4, "IPAddress": ipv4, "IPPrefixLen": prefix4, "IPv6Gateway": gateway6,
        "GlobalIPv6Address": ipv6, "GlobalIPv6PrefixLen": prefix6, "DriverOpts": null, "DNSNames": names,
    })
}
