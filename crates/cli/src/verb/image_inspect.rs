//! `strata image inspect`: display detailed information on one or more images.

use crate::opts::platform::platform;
use crate::verb::inspect;
use crate::verb::prelude::*;

/// What `strata image inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// Inspect a specific platform of the multi-platform image. If the image or the server is not multi-platform capable, the
    /// command will error out if the platform does not match. 'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)
    #[arg(long)]
    pub platform: Option<String>,
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
        let platform = platform(self.platform.as_deref(), &engine.platform())?;
        let find = |name: &str| {
            let found = match &platform {
                Some(platform) => engine.inspect_image_for(name, platform)?,
                None => engine.inspect_image(name)?,
            };
            Ok(serde_json::to_value(found)?)
        };
        let how = inspect::How { format: self.format.as_deref(), reveal: self.reveal, of: None };
        inspect::show(session, how, &self.images, find)
    }
}
