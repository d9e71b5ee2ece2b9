//! `strata image inspect`: display detailed information on one or more images.

use crate::verb::inspect;
use crate::verb::prelude::*;

/// What `strata image inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// Show values that look like secrets
    #[arg(long)]
    pub reveal: bool,
    /// The images
    #[arg(required = true)]
    pub images: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display detailed information on one or more images";
    const USAGE: &str = "[OPTIONS] IMAGE [IMAGE...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let find = |name: &str| Ok(serde_json::to_value(engine.inspect_image(name)?)?);
        inspect::show(session, self.format.as_deref(), self.reveal, &self.images, find)
    }
}
