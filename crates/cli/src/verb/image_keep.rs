//! `strata image keep`: never remove images for want of room.

use crate::operands;
use crate::verb::prelude::*;

/// What `strata image keep` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep them no longer
    #[arg(long)]
    pub undo: bool,
    /// The images; what is kept is listed without any
    pub images: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Keep images when others are removed for want of room, or list what is kept";
    const USAGE: &str = "[OPTIONS] [IMAGE...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        if self.images.is_empty() {
            for name in engine.kept_images()? {
                writeln!(session.out, "{name}")?;
            }
            return Ok(Exit::SUCCESS);
        }
        operands::each(session, &self.images, |session, name| {
            if !self.undo {
                let kept = engine.keep_image(name)?;
                return Ok(writeln!(session.out, "{kept}")?);
            }
            match engine.release_image(name)? {
                true => Ok(writeln!(session.out, "{name}")?),
                false => Err(Failure::new(format!("image {name} is not kept"))),
            }
        })
    }
}
