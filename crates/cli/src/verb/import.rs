//! `strata import`: import the contents from a tarball to create a filesystem image.

use strata_engine::image::ImportWish;
use strata_types::reference::Reference;

use crate::opts::platform::platform;
use crate::progress::{Progress, Show};
use crate::streams::source;
use crate::verb::prelude::*;

/// What `strata import` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Apply Dockerfile instruction to the created image
    #[arg(short = 'c', long, value_name = "list")]
    pub change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short = 'm', long)]
    pub message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    pub platform: Option<String>,
    /// What to take
    pub source: String,
    /// The image
    pub image: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Import the contents from a tarball to create a filesystem image";
    const USAGE: &str = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let name = self.image.as_deref().map(str::parse::<Reference>).transpose()?;
        let engine = session.engine()?;
        let platform = platform(self.platform.as_deref(), &engine.platform())?;
        if self.source.starts_with("http://") || self.source.starts_with("https://") {
            let hint = format!("curl -fL {} | {} - …", self.source, session.invoked_as);
            return Err(Failure::new("images are not imported from URLs").hint(hint));
        }
        let mut tar = source(&self.source)?;
        let wish = ImportWish { name, message: self.message, changes: self.change, platform, source: self.source };
        let progress = Progress::start(session, Show::Nowhere)?;
        let id = engine.import(&mut tar, &wish, &progress);
        progress.finish();
        writeln!(session.out, "{}", id?)?;
        Ok(Exit::SUCCESS)
    }
}
