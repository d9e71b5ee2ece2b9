//! `strata pull`: download an image from a registry.

use strata_engine::Error as EngineError;
use strata_engine::image::{ImageError, LayerState, PullPlan, PullWish};
use strata_types::reference::Reference;

use crate::format::size;
use crate::opts::platform::platforms;
use crate::progress::{Progress, Show};
use crate::verb::prelude::*;

/// What `strata pull` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Download all tagged images in the repository
    #[arg(short = 'a', long)]
    pub all_tags: bool,
    /// Say what would be fetched, written and kept, and whether it fits on the disk
    #[arg(long)]
    pub plan: bool,
    /// Set platform if server is multi-platform capable; several with commas, or "all"
    #[arg(long)]
    pub platform: Option<String>,
    /// Suppress verbose output
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// The image
    pub image: String,
}

impl Verb for Args {
    const ABOUT: &str = "Download an image from a registry";
    const USAGE: &str = "[OPTIONS] NAME[:TAG|@DIGEST]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let written: Reference = self.image.parse()?;
        let engine = session.engine()?;
        let reference = engine.reference(&self.image)?;
        let mut platforms = match self.platform.as_deref() {
            Some("all") => engine.platforms_of(&reference)?,
            text => platforms(&text.map(words).unwrap_or_default(), &engine.platform())?,
        };
        let more = platforms.split_off(platforms.len().min(1));
        if self.plan && !more.is_empty() {
            return Err(Failure::new("--plan says what a pull for one platform would do"));
        }
        let wish = PullWish { platform: platforms.pop(), more, all_tags: self.all_tags };
        if reference.is_name_only() && !self.all_tags && !self.quiet {
            writeln!(session.out, "Using default tag: latest")?;
        }
        if reference.name() != written.name() && !self.quiet {
            writeln!(session.err, "Resolved \"{}\" as an alias of {}", written.familiar_name(), reference.name())?;
        }
        if self.plan {
            let plan = engine.plan_pull(&reference, &wish)?;
            return show_plan(session, &plan);
        }
        let show = if self.quiet { Show::Nowhere } else { Show::Stdout };
        let progress = Progress::start(session, show)?;
        let pulled = engine.pull(&reference, &wish, &progress);
        progress.finish();
        let pulled = pulled.map_err(|error| {
            let is_other_system = matches!(error, EngineError::Image(ImageError::OperatingSystem(_)));
            let failure = Failure::from(error);
            let hint = "with `--platform windows/amd64` it is pulled all the same, to be looked at and passed on";
            if is_other_system { failure.hint(hint) } else { failure }
        })?;
        let asked = if self.all_tags { reference } else { reference.or_latest() };
        if !self.quiet {
            let status = match pulled.iter().any(|one| one.is_newer) {
                true => "Downloaded newer image for",
                false => "Image is up to date for",
            };
            writeln!(session.out, "Status: {status} {}", asked.familiar())?;
        }
        writeln!(session.out, "{asked}")?;
        Ok(Exit::SUCCESS)
    }
}

/// What stands between commas.
fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

/// Says what a pull would do; fails when it does not fit.
fn show_plan(session: &mut Session, plan: &PullPlan) -> Result<Exit> {
    let out = &mut session.out;
    writeln!(out, "{} for {}", plan.reference.familiar(), plan.platform.with_version())?;
    writeln!(out, "Digest: {}", plan.digest)?;
    for layer in &plan.layers {
        let state = match layer.state {
            LayerState::Kept => "Already exists",
            LayerState::Fetched => "Would be fetched",
        };
        let (fetched, all) = (size::human(layer.fetch_bytes), size::human(layer.size_bytes));
        let begun = layer.state == LayerState::Fetched && layer.fetch_bytes < layer.size_bytes;
        let bytes = if begun { format!("{fetched} of {all}") } else { all };
        writeln!(out, "{}: {state} ({bytes})", layer.digest.short())?;
    }
    let kept = plan.layers.iter().filter(|layer| layer.state == LayerState::Kept).count();
    writeln!(out, "Fetch: {} in {} layers", size::human(plan.fetch_bytes), plan.layers.len() - kept)?;
    writeln!(out, "Keep:  {kept} layers")?;
    writeln!(out, "Write: about {}", size::human(plan.write_bytes))?;
    let (free, place) = (size::human(plan.free_bytes), plan.root.display());
    if plan.fits() {
        writeln!(out, "Fits:  yes, {free} are free at {place}")?;
        return Ok(Exit::SUCCESS);
    }
    let peak = size::human(plan.peak_bytes);
    writeln!(out, "Fits:  no, about {peak} are needed and {free} are free at {place}")?;
    Ok(Exit::FAILURE)
}
