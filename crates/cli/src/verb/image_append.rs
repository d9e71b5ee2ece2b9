//! `strata image append`: put a layer on top of an image.

use strata_engine::image::AppendWish;
use strata_types::reference::Reference;

use crate::progress::{Progress, Show};
use crate::streams::source;
use crate::verb::prelude::*;

/// What `strata image append` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Apply Dockerfile instruction to the created image
    #[arg(short = 'c', long, value_name = "list")]
    pub change: Vec<String>,
    /// Set commit message for the created image
    #[arg(short = 'm', long)]
    pub message: Option<String>,
    /// The image below
    pub image: String,
    /// What to put on top
    pub source: String,
    /// The name of the new image
    pub name: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Create a new image from an image and the contents of a tarball";
    const USAGE: &str = "[OPTIONS] IMAGE file|- [REPOSITORY[:TAG]]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let name = self.name.as_deref().map(str::parse::<Reference>).transpose()?;
        let engine = session.engine()?;
        let mut tar = source(&self.source)?;
        let wish =
            AppendWish { name, message: self.message.unwrap_or_default(), changes: self.change, source: self.source };
        let progress = Progress::start(session, Show::Nowhere)?;
        let id = engine.append(&self.image, &mut tar, wish, &progress);
        progress.finish();
        writeln!(session.out, "{}", id?)?;
        Ok(Exit::SUCCESS)
    }
}
