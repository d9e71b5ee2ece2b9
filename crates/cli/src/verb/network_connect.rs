//! `strata network connect`: connect a container to a network.

use strata_engine::network::EndpointWish;

use crate::opts;
use crate::verb::prelude::*;

/// What `strata network connect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub alias: Vec<String>,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long)]
    pub ip: Option<String>,
    /// IPv6 address (e.g., "2001:db8::33")
    #[arg(long)]
    pub ip6: Option<String>,
    /// The network
    pub network: String,
    /// The container
    pub container: String,
}

impl Verb for Args {
    const ABOUT: &str = "Connect a container to a network";
    const USAGE: &str = "[OPTIONS] NETWORK CONTAINER";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let (network, container) = (engine.network(&self.network)?, engine.container(&self.container)?);
        let wrong = |invalid: opts::Invalid| Failure::new(format!("invalid endpoint settings:\n{invalid}"));
        let ipv4 = self.ip.as_deref().map(opts::network::ipv4).transpose().map_err(wrong)?;
        let ipv6 = self.ip6.as_deref().map(opts::network::ipv6).transpose().map_err(wrong)?;
        let wish = EndpointWish { network: self.network, aliases: self.alias, ipv4, ipv6, mac: None };
        engine.connect_network(&network, &container, wish)?;
        Ok(Exit::SUCCESS)
    }
}
