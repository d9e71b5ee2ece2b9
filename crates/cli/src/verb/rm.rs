//! `strata rm`: remove one or more containers.

use strata_engine::container::Remove;
use strata_types::ErrorClass;

use crate::operands;
use crate::verb::prelude::*;

/// What `strata rm` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Remove the specified link
    #[arg(short = 'l', long)]
    pub link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short = 'v', long)]
    pub volumes: bool,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove one or more containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        if self.link {
            return Err(Failure::new("links between containers are not part of strata: `--link` removes nothing"));
        }
        let engine = session.engine()?;
        let how = Remove { force: self.force, volumes: self.volumes };
        operands::each(session, &self.containers, |session, name| {
            let removed = engine.container(name).and_then(|known| engine.remove_container(&known, how));
            match removed {
                Ok(()) => Ok(writeln!(session.out, "{name}")?),
                // With force, what is not there is as good as removed.
                Err(error) if self.force && error.class() == ErrorClass::NotFound => {
                    Ok(writeln!(session.err, "strata: {error}")?)
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}
