//! `strata image prune`: remove unused images.

use strata_engine::image::{PruneWish, Pruned, Removal};
use strata_types::Silent;

use crate::confirm::confirm;
use crate::filter::{self, Filter, Filters};
use crate::format::size;
use crate::verb::prelude::*;

/// What `strata image prune` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove all unused images, not just dangling ones
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    pub force: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Remove unused images";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let filters = Filters::new(&self.filter, &["label", "label!", "until", "dangling"])?;
        let all = self.all || filters.truth("dangling")? == Some(false);
        let wish = wish(all, &filters, session)?;
        if !self.force {
            let which = if all {
                "all images without at least one container associated to them"
            } else {
                "all dangling images"
            };
            confirm(session, "image prune", &format!("WARNING! This will remove {which}."))?;
        }
        let pruned = session.engine()?.prune_images(&wish, &Silent)?;
        show(session, &pruned)?;
        writeln!(session.out, "Total reclaimed space: {}", size::human(pruned.reclaimed_bytes))?;
        Ok(Exit::SUCCESS)
    }
}

/// Which images go, by the filters that all prunings share.
pub(super) fn wish(all: bool, filters: &Filters, session: &Session) -> Result<PruneWish> {
    let values = |name: &str| filters.values(name).to_vec();
    Ok(PruneWish { all, labels: values("label"), labels_not: values("label!"), until: filters.until(session)? })
}

/// Says which images are gone; nothing if none is.
pub(super) fn show(session: &mut Session, pruned: &Pruned) -> Result<()> {
    if pruned.removals.is_empty() {
        return Ok(());
    }
    writeln!(session.out, "Deleted Images:")?;
    for removal in &pruned.removals {
        match removal {
            Removal::Untagged(name) => writeln!(session.out, "untagged: {name}")?,
            Removal::Image(id) => writeln!(session.out, "deleted: {id}")?,
            Removal::Layer(chain) => writeln!(session.out, "deleted: {chain}")?,
        }
    }
    Ok(writeln!(session.out)?)
}
