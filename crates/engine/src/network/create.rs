//! Making networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use strata_net::{Pool, Subnet};
use strata_store::records::CreatedNetwork;

use super::builtin::print;
use super::pool::{unique_local, whole};
use super::remove::happening;
use crate::network::{Definition, NetworkError, NetworkKnown};
use crate::{Engine, Result};

/// A network to be made.
#[derive(Clone, Debug, Default)]
pub struct NetworkRequest {
    /// Its name.
    pub name: String,
    /// `bridge` or `macvlan`.
    pub driver: String,
    /// Its subnets; chosen if none is of a kind it needs.
    pub pools: Vec<PoolRequest>,
    /// It has IPv6 addresses.
    pub ipv6: bool,
    /// Nothing passes between it and other networks.
    pub internal: bool,
    /// `--attachable`.
    pub attachable: bool,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Addresses that a person chose.
#[derive(Clone, Debug)]
pub struct PoolRequest {
    /// All of them.
    pub subnet: Subnet,
    /// Those that are given away unasked.
    pub range: Option<Subnet>,
    /// The host's; the subnet's first without.
    pub gateway: Option<IpAddr>,
    /// Those that are never given away.
    pub reserved: Vec<(String, IpAddr)>,
}

impl Engine {
    /// Makes a network: a record, nothing in the kernel yet. Gives its id.
    ///
    /// # Errors
    /// When the name is taken, the subnet is another's, or the request contradicts itself.
    pub fn create_network(&self, request: NetworkRequest) -> Result<String> {
        let NetworkRequest { name, driver, pools, ipv6, internal, attachable, options, labels } = request;
        check_name(&name)?;
        self.ensure_builtin()?;
        if !["bridge", "macvlan"].contains(&driver.as_str()) {
            return Err(refused_driver(&driver));
        }
        let chosen = !pools.is_empty();
        let mut record = self.network_record(&name, &driver, &Definition::default());
        let pools = self.pools(pools, &driver, ipv6, &record.id)?;
        let has_ipv6 = pools.iter().any(|pool| !pool.subnet.is_ipv4());
        let named = options.get("com.docker.network.bridge.name").filter(|name| !name.is_empty());
        let interface = named.cloned().unwrap_or_else(|| format!("br-{}", &record.id[..12]));
        check_interface(&interface)?;
        let definition = Definition { pools, chosen, ipv6: ipv6 || has_ipv6, internal, attachable, interface };
        (record.options, record.labels, record.spec) = (options, labels, print(&definition));
        let known = NetworkKnown { record, definition };
        known.check()?;
        match self.store().networks().create(&known.record)? {
            CreatedNetwork::New => {
                self.record_event(happening(&known, "create"));
                Ok(known.record.id)
            }
            CreatedNetwork::NameTaken => Err(NetworkError::NameTaken(name).into()),
        }
    }

    /// At most one subnet of each kind, IPv4 first.
    fn pools(&self, requests: Vec<PoolRequest>, driver: &str, ipv6: bool, id: &str) -> Result<Vec<Pool>> {
        let used = self.used_subnets()?;
        let mut kinds: [Option<Pool>; 2] = [None, None];
        for request in requests {
            let pool = pool(request)?;
            if driver == "bridge" && used.iter().any(|used| used.overlaps(&pool.subnet)) {
                return Err(NetworkError::invalid("Pool overlaps with other one on this address space"));
            }
            let kind = &mut kinds[usize::from(!pool.subnet.is_ipv4())];
            if kind.replace(pool).is_some() {
                return Err(
                    NetworkError::Unsupported(format!("{driver} driver doesn't support multiple subnets")).into()
                );
            }
        }
        let [ipv4, of_ipv6] = kinds;
        let ipv4 = match ipv4 {
            Some(pool) => pool,
            None => whole(self.free_subnet()?),
        };
        let of_ipv6 = of_ipv6.or_else(|| ipv6.then(|| whole(unique_local(id))));
        Ok(std::iter::once(ipv4).chain(of_ipv6).collect())
    }
}

fn pool(request: PoolRequest) -> Result<Pool> {
    let PoolRequest { subnet, range, gateway, reserved } = request;
    let inside = |address: IpAddr, what: &str| {
        if subnet.contains(address) {
            return Ok(());
        }
        Err(NetworkError::invalid(format!("no matching subnet for {what} {address}")))
    };
    if let Some(range) = range {
        inside(range.address(), "range")?;
    }
    if let Some(gateway) = gateway {
        inside(gateway, "gateway")?;
    }
    for (_, address) in &reserved {
        inside(*address, "aux-address")?;
    }
    let usual = whole(subnet);
    Ok(Pool { range, gateway: gateway.unwrap_or(usual.gateway), reserved, ..usual })
}

fn refused_driver(driver: &str) -> crate::Error {
    match driver {
        "host" | "null" => NetworkError::InUse(format!("only one instance of \"{driver}\" network is allowed")).into(),
        "overlay" | "ipvlan" => NetworkError::Unsupported(format!(
            "the network driver {driver} is not part of this version: use bridge or macvlan"
        ))
        .into(),
        other => NetworkError::NoPlugin(other.to_owned()).into(),
    }
}

fn check_name(name: &str) -> Result<()> {
    if ["bridge", "host", "none", "default"].contains(&name) {
        let sentence = format!("operation is not permitted on predefined {name} network");
        return Err(NetworkError::InUse(sentence).into());
    }
    if name.is_empty() {
        return Err(NetworkError::invalid("invalid name:"));
    }
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest {
        return Ok(());
    }
    Err(NetworkError::invalid(format!("invalid network name: {name}: only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed")))
}

/// An interface's name: at most 15 bytes, and nothing that means something in a path.
fn check_interface(name: &str) -> Result<()> {
    let is_good =
        name.len() < 16 && !name.starts_with('.') && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    if is_good { Ok(()) } else { Err(NetworkError::invalid(format!("invalid bridge name: {name}"))) }
}
