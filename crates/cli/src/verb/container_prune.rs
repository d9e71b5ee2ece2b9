//! `strata container prune`: remove all stopped containers.

use std::collections::BTreeMap;

use strata_engine::container::{PruneFilter, Pruned};

use crate::confirm::confirm;
use crate::filter::{self, Filter, Filters};
use crate::format::size;
use crate::verb::prelude::*;

/// What `strata container prune` understands.
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
    const ABOUT: &str = "Remove all stopped containers";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let filters = Filters::new(&self.filter, &["label", "label!", "until"])?;
        let until = filters.until(session)?;
        if !self.force {
            confirm(session, "container prune", "WARNING! This will remove all stopped containers.")?;
        }
        let labels = |labels: &BTreeMap<String, String>| filters.fits_labels(|key| labels.get(key).map(String::as_str));
        let pruned = session.engine()?.prune_containers(&PruneFilter { until, labels: &labels })?;
        show(session, &pruned)?;
        writeln!(session.out, "Total reclaimed space: {}", size::human(pruned.reclaimed_bytes))?;
        Ok(Exit::SUCCESS)
    }
}

/// Says which containers are gone; nothing if none is.
pub(super) fn show(session: &mut Session, pruned: &Pruned) -> Result<()> {
    if pruned.ids.is_empty() {
        return Ok(());
    }
    writeln!(session.out, "Deleted Containers:")?;
    for id in &pruned.ids {
        writeln!(session.out, "{id}")?;
    }
    Ok(writeln!(session.out)?)
}
