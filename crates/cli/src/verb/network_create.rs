//! `strata network create`: create a network.

use std::net::IpAddr;

use strata_engine::network::{NetworkRequest, PoolRequest};
use strata_net::Subnet;

use crate::opts::{self, Invalid};
use crate::verb::prelude::*;

/// What `strata network create` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Enable manual container attachment
    #[arg(long)]
    pub attachable: bool,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver
    #[arg(long, value_name = "map", value_parser = auxiliary)]
    pub aux_address: Vec<(String, IpAddr)>,
    /// Driver to manage the Network
    #[arg(short = 'd', long, default_value = "bridge")]
    pub driver: String,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long, value_name = "strings", value_delimiter = ',', value_parser = address)]
    pub gateway: Vec<IpAddr>,
    /// Restrict external access to the network
    #[arg(long)]
    pub internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_name = "strings", value_delimiter = ',', value_parser = subnet)]
    pub ip_range: Vec<Subnet>,
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
    #[arg(short = 'o', long, value_name = "map", value_parser = opts::label::parse)]
    pub opt: Vec<(String, String)>,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "strings", value_delimiter = ',', value_parser = subnet)]
    pub subnet: Vec<Subnet>,
    /// The name
    pub network: String,
}

impl Verb for Args {
    const ABOUT: &str = "Create a network";
    const USAGE: &str = "[OPTIONS] NETWORK";

    fn run(self, session: &mut Session) -> Result<Exit> {
        if self.ipam_driver != "default" {
            return Err(Failure::new(format!("could not find ipam driver \"{}\"", self.ipam_driver)));
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
        let pool = |subnet: &Subnet| PoolRequest { subnet: *subnet, range: None, gateway: None, reserved: Vec::new() };
        let mut pools: Vec<PoolRequest> = self.subnet.iter().map(pool).collect();
        let overlap = |(at, subnet): (usize, &Subnet)| self.subnet[..at].iter().any(|other| other.overlaps(subnet));
        if self.subnet.iter().enumerate().any(overlap) {
            return Err(Failure::new("multiple overlapping subnet configuration is not supported"));
        }
        if pools.is_empty() && !(self.ip_range.is_empty() && self.gateway.is_empty()) {
            return Err(Failure::new("every ip-range or gateway must have a corresponding subnet"));
        }
        for range in &self.ip_range {
            let pool = of(&mut pools, range.address(), "range", &range.to_string())?;
            if pool.range.replace(*range).is_some() {
                return Err(Failure::new(format!("cannot configure multiple ranges ({range}) on the same subnet")));
            }
        }
        for gateway in &self.gateway {
            let pool = of(&mut pools, *gateway, "gateway", &gateway.to_string())?;
            if pool.gateway.replace(*gateway).is_some() {
                return Err(Failure::new(format!(
                    "cannot configure multiple gateways ({gateway}) for the same subnet"
                )));
            }
        }
        for (name, address) in &self.aux_address {
            of(&mut pools, *address, "aux-address", &address.to_string())?.reserved.push((name.clone(), *address));
        }
        Ok(pools)
    }
}

fn of<'p>(pools: &'p mut [PoolRequest], address: IpAddr, what: &str, shown: &str) -> Result<&'p mut PoolRequest> {
    let found = pools.iter_mut().find(|pool| pool.subnet.contains(address));
    found.ok_or_else(|| Failure::new(format!("no matching subnet for {what} {shown}")))
}

fn subnet(text: &str) -> opts::Result<Subnet> {
    text.parse().map_err(|error: strata_net::SubnetError| Invalid::new(error.to_string()))
}

fn address(text: &str) -> opts::Result<IpAddr> {
    text.parse().map_err(|_| Invalid::new(format!("invalid IP address: {text}")))
}

fn auxiliary(text: &str) -> opts::Result<(String, IpAddr)> {
    let (name, value) = text.split_once('=').ok_or_else(|| Invalid::new(format!("invalid aux-address: {text}")))?;
    Ok((name.to_owned(), address(value)?))
}
