//! `strata system prune`: remove unused data.

use std::collections::BTreeMap;

use strata_engine::container::PruneFilter;
use strata_engine::workbench::CacheWish;
use strata_types::Silent;

use crate::confirm::confirm;
use crate::filter::{self, Filter, Filters};
use crate::format::size;
use crate::verb::prelude::*;

/// What `strata system prune` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove all unused images not just dangling ones
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    pub volumes: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Remove unused data";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let filters = Filters::new(&self.filter, &["label", "label!", "until"])?;
        let until = filters.until(session)?;
        if self.volumes && until.is_some() {
            return Err(Failure::new("ERROR: The \"until\" filter is not supported with \"--volumes\""));
        }
        if !self.force {
            confirm(session, "system prune", &self.warning())?;
        }
        let engine = session.engine()?;
        let fits = |labels: &BTreeMap<String, String>| filters.fits_labels(|key| labels.get(key).map(String::as_str));
        let containers = engine.prune_containers(&PruneFilter { until, labels: &fits })?;
        super::container_prune::show(session, &containers)?;
        let mut reclaimed_bytes = containers.reclaimed_bytes;
        super::network_prune::show(session, &engine.prune_networks(until, &fits)?)?;
        if self.volumes {
            let volumes = engine.prune_volumes(false, &fits)?;
            super::volume_prune::show(session, &volumes)?;
            reclaimed_bytes += volumes.reclaimed_bytes;
        }
        let images = engine.prune_images(&super::image_prune::wish(self.all, &filters, session)?, &Silent)?;
        super::image_prune::show(session, &images)?;
        reclaimed_bytes += images.reclaimed_bytes;
        // Steps have no labels: who asks for those means other things.
        if !self.filters_labels() {
            let unused_for = until.map(|until| session.now().duration_since(until).unsigned_abs());
            let steps = engine.prune_build_cache(CacheWish { unused_for, keep_bytes: None }, &Silent)?;
            super::builder_prune::show(session, &steps)?;
            reclaimed_bytes += steps.freed_bytes;
        }
        reclaimed_bytes += engine.tidy(&Silent)?;
        writeln!(session.out, "Total reclaimed space: {}", size::human(reclaimed_bytes))?;
        Ok(Exit::SUCCESS)
    }
}

impl Args {
    fn filters_labels(&self) -> bool {
        self.filter.iter().any(|filter| filter.name.starts_with("label"))
    }

    fn warning(&self) -> String {
        let mut lines = vec!["  - all stopped containers", "  - all networks not used by at least one container"];
        if self.volumes {
            lines.push("  - all anonymous volumes not used by at least one container");
        }
        lines.push(match self.all {
            true => "  - all images without at least one container associated to them",
            false => "  - all dangling images",
        });
        if !self.filters_labels() {
            lines.push("  - all build cache");
        }
        lines.push("  - all partial downloads");
        format!("WARNING! This will remove:\n{}\n", lines.join("\n"))
    }
}
