//! `strata network prune`: remove all unused networks.

use std::collections::BTreeMap;

use crate::confirm::confirm;
use crate::filter::{self, Filter, Filters};
use crate::verb::prelude::*;

/// What `strata network prune` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    pub force: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Remove all unused networks";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let filters = Filters::new(&self.filter, &["label", "label!", "until"])?;
        let until = filters.until(session)?;
        if !self.force {
            let warning = "WARNING! This will remove all custom networks not used by at least one container.";
            confirm(session, "network prune", warning)?;
        }
        let labels = |labels: &BTreeMap<String, String>| filters.fits_labels(|key| labels.get(key).map(String::as_str));
        let pruned = session.engine()?.prune_networks(until, &labels)?;
        show(session, &pruned)?;
        Ok(Exit::SUCCESS)
    }
}

/// Prints what was removed.
pub(super) fn show(session: &mut Session, pruned: &[String]) -> Result<()> {
    if pruned.is_empty() {
        return Ok(());
    }
    writeln!(session.out, "Deleted Networks:")?;
    for name in pruned {
        writeln!(session.out, "{name}")?;
    }
    Ok(writeln!(session.out)?)
}
