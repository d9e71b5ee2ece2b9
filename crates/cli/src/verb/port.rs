//! `strata port`: list port mappings or a specific mapping for the container.

use strata_net::Published;

use crate::container::port::place;
use crate::verb::prelude::*;

/// What `strata port` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container
    pub container: String,
    /// One of its ports
    pub private_port: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "List port mappings or a specific mapping for the container";
    const USAGE: &str = "CONTAINER [PRIVATE_PORT[/PROTO]]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let known = engine.container(&self.container)?;
        let connected = engine.process(known.id()).connected()?;
        let mut ports: Vec<Published> = connected.ports().copied().collect();
        ports.sort();
        let name = |port: &Published| format!("{}/{}", port.port, port.protocol.name());
        let Some(wanted) = self.private_port else {
            for port in &ports {
                writeln!(session.out, "{} -> {}", name(port), place(port))?;
            }
            return Ok(Exit::SUCCESS);
        };
        let (number, protocol) = wanted.split_once('/').unwrap_or((&wanted, "tcp"));
        let number: u16 = number.parse().map_err(|_| {
            Failure::new(format!("invalid port ({number}): strconv.ParseUint: parsing {number:?}: invalid syntax"))
        })?;
        let full = format!("{number}/{protocol}");
        ports.retain(|port| name(port) == full);
        if ports.is_empty() {
            return Err(Failure::new(format!("No public port '{wanted}' published for {}", self.container)));
        }
        for port in &ports {
            writeln!(session.out, "{}", place(port))?;
        }
        Ok(Exit::SUCCESS)
    }
}
