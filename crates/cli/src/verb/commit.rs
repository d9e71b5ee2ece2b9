//! `strata commit`: create a new image from a container's changes.

use strata_engine::image::{Change, CommitWish};
use strata_types::reference::Reference;

use crate::progress::{Progress, Show};
use crate::verb::prelude::*;

/// What `strata commit` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short = 'a', long)]
    pub author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short = 'c', long, value_name = "list")]
    pub change: Vec<String>,
    /// Commit message
    #[arg(short = 'm', long)]
    pub message: Option<String>,
    /// Pause container during commit
    #[arg(short = 'p', long, default_value = "true")]
    pub pause: bool,
    /// The container
    pub container: String,
    /// The image
    pub image: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Create a new image from a container's changes";
    const USAGE: &str = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let name = self.image.as_deref().map(str::parse::<Reference>).transpose()?;
        let changes = self.change.iter().map(|text| text.parse::<Change>()).collect::<Result<Vec<_>, _>>()?;
        let wish = CommitWish {
            name,
            author: self.author.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            changes,
            pause: self.pause,
        };
        let engine = session.engine()?;
        let progress = Progress::start(session, Show::Nowhere)?;
        let id = engine.commit(&self.container, &wish, &progress);
        progress.finish();
        writeln!(session.out, "{}", id?)?;
        Ok(Exit::SUCCESS)
    }
}
