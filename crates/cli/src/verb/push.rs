//! `strata push`: upload an image to a registry.

use strata_types::reference::Reference;

use crate::exposure;
use crate::progress::{Progress, Show};
use crate::verb::prelude::*;

/// What `strata push` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not warn of credentials in the image
    #[arg(long)]
    pub allow_secrets: bool,
    /// Push all tags of an image to the repository
    #[arg(short = 'a', long)]
    pub all_tags: bool,
    /// Suppress verbose output
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// The image
    pub image: String,
}

impl Verb for Args {
    const ABOUT: &str = "Upload an image to a registry";
    const USAGE: &str = "[OPTIONS] NAME[:TAG]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let reference: Reference = self.image.parse()?;
        if self.all_tags && !reference.is_name_only() {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        let engine = session.engine()?;
        if reference.is_name_only() && !self.all_tags && !self.quiet {
            writeln!(session.out, "Using default tag: latest")?;
        }
        if !self.allow_secrets {
            exposure::warn_of_pushed(session, &engine, &reference)?;
        }
        let show = if self.quiet { Show::Nowhere } else { Show::Stdout };
        let progress = Progress::start(session, show)?;
        let pushed = engine.push(&reference, self.all_tags, &progress);
        progress.finish();
        let pushed = pushed?;
        if self.quiet {
            let asked = if self.all_tags { reference } else { reference.or_latest() };
            writeln!(session.out, "{asked}")?;
        }
        debug_assert!(!pushed.is_empty(), "a push without a tag fails");
        Ok(Exit::SUCCESS)
    }
}
