//! `strata rmi`: remove one or more images.

use strata_engine::image::{Removal, RemoveWish};
use strata_types::{ErrorClass, Silent};

use crate::operands;
use crate::verb::prelude::*;

/// What `strata rmi` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Force removal of the image
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    pub no_prune: bool,
    /// The images
    #[arg(required = true)]
    pub images: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove one or more images";
    const USAGE: &str = "[OPTIONS] IMAGE [IMAGE...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let wish = RemoveWish { force: self.force, prune: !self.no_prune };
        operands::each(session, &self.images, |session, name| {
            match engine.remove_image(name, wish, &Silent) {
                Ok(removals) => tell(session, &removals),
                // With force, what is not there is as good as removed.
                Err(error) if self.force && error.class() == ErrorClass::NotFound => {
                    Ok(writeln!(session.err, "strata: {error}")?)
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}

/// Says what is gone, in Docker's words.
pub(super) fn tell(session: &mut Session, removals: &[Removal]) -> Result<()> {
    for removal in removals {
        match removal {
            Removal::Untagged(name) => writeln!(session.out, "Untagged: {name}")?,
            Removal::Image(id) => writeln!(session.out, "Deleted: {id}")?,
            Removal::Layer(chain) => writeln!(session.out, "Deleted: {chain}")?,
        }
    }
    Ok(())
}
