//! `strata save`: save one or more images to a tar archive (streamed to STDOUT by default).

use crate::opts::platform::platforms;
use crate::progress::{Progress, Show};
use crate::streams::Output;
use crate::verb::prelude::*;

/// What `strata save` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short = 'o', long)]
    pub output: Option<String>,
    /// Save only the given platforms (e.g., "linux/amd64,linux/arm64")
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// The images
    #[arg(required = true)]
    pub images: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Save one or more images to a tar archive (streamed to STDOUT by default)";
    const USAGE: &str = "[OPTIONS] IMAGE [IMAGE...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let platforms = platforms(&self.platform, &engine.platform())?;
        let mut output = Output::open(session, self.output.as_deref()).map_err(|failure| match self.output {
            Some(_) => failure.within("failed to save image"),
            None => failure,
        })?;
        let progress = Progress::start(session, Show::Nowhere)?;
        let saved = engine.save(&self.images, &platforms, output.file(), &progress);
        progress.finish();
        match saved {
            Ok(()) => output.keep()?,
            Err(error) => return Err(output.fail(error)),
        }
        Ok(Exit::SUCCESS)
    }
}
