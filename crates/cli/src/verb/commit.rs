//! `strata commit`: create a new image from a container's changes.

use strata_engine::image::CommitWish;
use strata_types::reference::Reference;

use crate::exposure;
use crate::progress::{Progress, Show};
use crate::verb::prelude::*;

/// What `strata commit` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not warn of credentials in the image
    #[arg(long)]
    pub allow_secrets: bool,
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short = 'a', long)]
    pub author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short = 'c', long, value_name = "list")]
    pub change: Vec<String>,
    /// Make the image of a snapshot ("CONTAINER:NAME" or an ID) instead of a container
    #[arg(long, value_name = "node")]
    pub from: Option<String>,
    /// Commit message
    #[arg(short = 'm', long)]
    pub message: Option<String>,
    /// Pause container during commit
    #[arg(short = 'p', long, default_value = "true")]
    pub pause: bool,
    /// The container
    #[arg(required_unless_present = "from")]
    pub container: Option<String>,
    /// The image
    pub image: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Create a new image from a container's changes";
    const USAGE: &str = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]";

    const EXAMPLES: &str = "  strata commit web shop:tuned            Make an image of what container web has become
  strata commit --from web:clean shop:1   Make an image of a snapshot of it";

    fn run(self, session: &mut Session) -> Result<Exit> {
        // With `--from` nothing names a container, and the image comes first.
        let (container, image) = match (&self.from, self.container, self.image) {
            (Some(_), Some(_), Some(_)) => {
                return Err(Failure::new(
                    "with --from, name an image only: the snapshot says which container it is of",
                ));
            }
            (Some(_), image, None) | (Some(_), None, image) => (None, image),
            (None, container, image) => (container, image),
        };
        let name = image.as_deref().map(str::parse::<Reference>).transpose()?;
        let wish = CommitWish {
            name,
            author: self.author.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            changes: self.change,
            pause: self.pause,
        };
        let engine = session.engine()?;
        let progress = Progress::start(session, Show::Nowhere)?;
        let id = match (&self.from, &container) {
            (Some(node), _) => engine.snapshot_named(node).and_then(|node| engine.commit_snapshot(&node, &wish)),
            (None, container) => engine.commit(container.as_deref().unwrap_or_default(), &wish, &progress),
        };
        progress.finish();
        let id = id?;
        if !self.allow_secrets {
            exposure::warn(session, &engine.exposed_by_commit(&id, &strata_types::Silent)?)?;
        }
        writeln!(session.out, "{id}")?;
        Ok(Exit::SUCCESS)
    }
}
