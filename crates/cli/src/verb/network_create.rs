//! `strata network create`: create a network.

use std::net::IpAddr;

use strata_engine::network::{NetworkRequest, PoolRequest};
use strata_net::Subnet;

use crate::opts;
use crate::verb::prelude::*;

/// What `strata network create` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Enable manual container attachment
    #[arg(long)]
    pub attachable: bool,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver
    #[arg(long, value_name = "map")]
    pub aux_address: Vec<String>,
    /// Driver to manage the Network
    #[arg(short = 'd', long, default_value = "bridge")]
    pub driver: String,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub gateway: Vec<String>,
    /// Restrict external access to the network
    #[arg(long)]
    pub internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub ip_range: Vec<String>,
    /// IP Address Management Driver
    #[arg(long, default_value = "default")]
    pub ipam_driver: String,
    /// Enable IPv6 networking
    #[arg(long)]
    pub ipv6: bool,
    /// Set metadata on a network
    #[arg(long, value_name = "list", value_parser = opts::label::parse)]
    pub label: Vec<(String, String)>,
    /// Set driver specific options
    #[arg(short = 'o', long, value_name = "map", value_parser = opts::label::option)]
    pub opt: Vec<(String, String)>,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub subnet: Vec<String>,
    /// The name
    pub network: String,
}

impl Verb for Args {
    const ABOUT: &str = "Create a network";
    const USAGE: &str = "[OPTIONS] NETWORK";

    fn run(self, session: &mut Session) -> Result<Exit> {
        if self.ipam_driver != "default" {
            return Err(Failure::new(format!("plugin {:?} not found", self.ipam_driver)));
        }
        let pools = self.pools()?;
        let request = NetworkRequest {
            name: self.network,
            driver: self.driver,
            pools,
            ipv6: self.ipv6,
            internal: self.internal,
            attachable: self.attachable,
            options: self.opt.into_iter().collect(),
            labels: self.label.into_iter().collect(),
        };
        let id = session.engine()?.create_network(request)?;
        writeln!(session.out, "{id}")?;
        Ok(Exit::SUCCESS)
    }
}

impl Args {
    /// Gives each range, gateway and reserved address to the subnet it is in.
    fn pools(&self) -> Result<Vec<PoolRequest>> {
        let subnets: Vec<Subnet> = self.subnet.iter().map(|text| block("subnet", text)).collect::<Result<_>>()?;
        let overlap = |(at, subnet): (usize, &Subnet)| subnets[..at].iter().any(|other| other.overlaps(subnet));
        if subnets.iter().enumerate().any(overlap) {
            return Err(Failure::new("multiple overlapping subnet configuration is not supported"));
        }
        if subnets.is_empty() && !(self.ip_range.is_empty() && self.gateway.is_empty()) {
            return Err(Failure::new("every ip-range or gateway must have a corresponding subnet"));
        }
        let pool = |subnet| PoolRequest { subnet, range: None, gateway: None, reserved: Vec::new() };
        let mut pools: Vec<PoolRequest> = subnets.into_iter().map(pool).collect();
        for range in &self.ip_range {
            let (pool, _) = of(&mut pools, "range", range.split('/').next().unwrap_or(range), range)?;
            if pool.range.replace(block("ip-range", range)?).is_some() {
                return Err(Failure::new(format!("cannot configure multiple ranges ({range}) on the same subnet")));
            }
        }
        for gateway in &self.gateway {
            let (pool, address) = of(&mut pools, "gateway", gateway, gateway)?;
            if pool.gateway.replace(address).is_some() {
                return Err(Failure::new(format!(
                    "cannot configure multiple gateways ({gateway}) for the same subnet"
                )));
            }
        }
        for auxiliary in &self.aux_address {
            let (name, address) = auxiliary.split_once('=').unwrap_or((auxiliary, ""));
            let (pool, address) = of(&mut pools, "aux-address", address, address)?;
            pool.reserved.push((name.to_owned(), address));
        }
        Ok(pools)
    }
}

/// The subnet that an address is in, and the address.
fn of<'p>(
    pools: &'p mut [PoolRequest],
    what: &str,
    address: &str,
    shown: &str,
) -> Result<(&'p mut PoolRequest, IpAddr)> {
    let parsed = address.parse().ok();
    let found = parsed.and_then(|address| pools.iter_mut().find(|pool| pool.subnet.contains(address)).zip(parsed));
    found.ok_or_else(|| Failure::new(format!("no matching subnet for {what} {shown}")))
}

/// Reads a block of addresses, which begins with its first.
fn block(what: &str, text: &str) -> Result<Subnet> {
    let invalid = |why: String| Failure::new(format!("invalid network config:\ninvalid {what} {text}: {why}"));
    let block: Subnet = text.parse().map_err(|_| invalid("invalid CIDR block notation".to_owned()))?;
    let first = text.split('/').next().and_then(|address| address.parse().ok());
    if first == Some(block.address()) { Ok(block) } else { Err(invalid(format!("it should be {block}"))) }
}
