//! `strata export`: export a container's filesystem as a tar archive.

use strata_types::Silent;

use crate::streams::Output;
use crate::verb::prelude::*;

/// What `strata export` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short = 'o', long)]
    pub output: Option<String>,
    /// The container
    pub container: String,
}

impl Verb for Args {
    const ABOUT: &str = "Export a container's filesystem as a tar archive";
    const USAGE: &str = "[OPTIONS] CONTAINER";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let mut output = Output::open(session, self.output.as_deref()).map_err(|failure| match self.output {
            Some(_) => failure.within("failed to export container"),
            None => failure,
        })?;
        // No progress is shown, so that this process has one thread: mounting the layers needs that.
        let exported = engine.export(&self.container, output.file(), &Silent);
        match exported {
            Ok(()) => output.keep()?,
            Err(error) => return Err(output.fail(error)),
        }
        Ok(Exit::SUCCESS)
    }
}
