//! `strata load`: load an image from a tar archive or STDIN.

use std::path::Path;

use strata_engine::image::Archive;

use crate::opts::platform::platforms;
use crate::progress::{Progress, Show};
use crate::streams::input;
use crate::verb::prelude::*;

/// What `strata load` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read from tar archive file, instead of STDIN
    #[arg(short = 'i', long)]
    pub input: Option<String>,
    /// Load only the given platforms (e.g., "linux/amd64,linux/arm64")
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Suppress the load output
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Load an image from a tar archive or STDIN";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let platforms = platforms(&self.platform, &engine.platform())?;
        let path = self.input.as_deref().map(Path::new);
        let name = path.map_or_else(|| String::from("the standard input"), |path| path.display().to_string());
        if path.is_none() && session.terminal().stdin {
            return Err(Failure::new("requested load from stdin, but stdin is empty").hint("name an archive with -i"));
        }
        let archive = match path.filter(|path| path.is_dir()) {
            Some(dir) => Archive::Dir(dir),
            None => Archive::File(input(self.input.as_deref())?),
        };
        let show = if self.quiet || !session.terminal().stdout { Show::Nowhere } else { Show::Stdout };
        let progress = Progress::start(session, show)?;
        let loaded = engine.load(archive, &name, &platforms, &progress);
        progress.finish();
        for image in loaded? {
            for name in &image.names {
                writeln!(session.out, "Loaded image: {}", name.familiar())?;
            }
            if image.names.is_empty() {
                writeln!(session.out, "Loaded image ID: {}", image.id)?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}
