//! `strata volume create`: create a volume.

use strata_engine::container::VolumeRequest;

use crate::opts;
use crate::verb::prelude::*;

/// What `strata volume create` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Specify volume driver name
    #[arg(short = 'd', long)]
    pub driver: Option<String>,
    /// Set metadata for a volume
    #[arg(long, value_name = "list", value_parser = opts::label::parse)]
    pub label: Vec<(String, String)>,
    /// Set driver specific options
    #[arg(short = 'o', long, value_name = "map", value_parser = opts::label::option)]
    pub opt: Vec<(String, String)>,
    /// Specify volume name
    #[arg(long = "name", value_name = "string", hide = true)]
    pub named: Option<String>,
    /// The name
    pub name: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Create a volume";
    const USAGE: &str = "[OPTIONS] [VOLUME]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        if self.name.is_some() && self.named.is_some() {
            return Err(Failure::new("conflicting options: either specify --name or provide positional arg, not both"));
        }
        let request = VolumeRequest {
            name: self.name.or(self.named).filter(|name| !name.is_empty()),
            labels: self.label.into_iter().collect(),
            driver: self.driver,
            options: self.opt.into_iter().collect(),
        };
        let name = session.engine()?.create_volume(request)?;
        writeln!(session.out, "{name}")?;
        Ok(Exit::SUCCESS)
    }
}
