//! `strata builder prune`: remove what builds remember.

use strata_engine::workbench::{CachePruned, CacheWish};
use strata_types::Silent;

use crate::confirm::confirm;
use crate::filter::{Filter, Filters};
use crate::format::size;
use crate::opts;
use crate::verb::prelude::*;

/// What `strata builder prune` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove all build cache (there is no other)
    #[arg(short = 'a', long)]
    pub all: bool,
    /// The builder: there is one, "default"
    #[arg(long)]
    pub builder: Option<String>,
    /// Provide filter values (e.g., "until=24h")
    #[arg(long, value_name = "filter", value_parser = crate::filter::parse)]
    pub filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Amount of disk space to keep for cache
    #[arg(long, value_name = "bytes", value_parser = opts::size::bytes)]
    pub keep_storage: Option<u64>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove build cache";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        super::build::one_builder(self.builder.as_deref())?;
        let filters = Filters::new(&self.filter, &["until"])?;
        let until = filters.until(session).map_err(|failure| match filters.values("until") {
            [until] => Failure::new(format!(
                "\"until\" filter expects a duration (e.g., '24h'): time: invalid duration {until:?}"
            )),
            _ => failure,
        })?;
        let unused_for = until.map(|until| session.now().duration_since(until).unsigned_abs());
        if !self.force {
            confirm(session, "builder prune", "WARNING! This will remove all build cache.")?;
        }
        let wish = CacheWish { unused_for, keep_bytes: self.keep_storage };
        let pruned = session.engine()?.prune_build_cache(wish, &Silent)?;
        show(session, &pruned)?;
        writeln!(session.out, "Total reclaimed space: {}", size::human(pruned.freed_bytes))?;
        Ok(Exit::SUCCESS)
    }
}

/// Says which steps are forgotten; nothing if none is.
pub(super) fn show(session: &mut Session, pruned: &CachePruned) -> Result<()> {
    if pruned.steps.is_empty() {
        return Ok(());
    }
    writeln!(session.out, "Deleted build cache objects:")?;
    for step in &pruned.steps {
        writeln!(session.out, "{}", step.key)?;
    }
    Ok(writeln!(session.out)?)
}
