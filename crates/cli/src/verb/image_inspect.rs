//! `strata image inspect`: display detailed information on one or more images.

use crate::format;
use crate::operands;
use crate::verb::prelude::*;

/// What `strata image inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// The images
    #[arg(required = true)]
    pub images: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display detailed information on one or more images";
    const USAGE: &str = "[OPTIONS] IMAGE [IMAGE...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let mut found = Vec::new();
        let mut failures = Vec::new();
        for name in &self.images {
            match engine.inspect_image(name) {
                Ok(image) => found.push(serde_json::to_value(image)?),
                Err(error) => failures.push(Failure::from(error)),
            }
        }
        session.out.write_all(format::inspect(self.format.as_deref(), &found)?.as_bytes())?;
        operands::each(session, failures, |_, failure| Err(failure))
    }
}
