//! `strata inspect`: return low-level information on containers and images, whichever has the name.

use serde_json::Value as Json;
use strata_engine::Engine;
use strata_types::ErrorClass;

use crate::verb::prelude::*;
use crate::{format, mask, operands};

/// What `strata inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// Show values that look like secrets
    #[arg(long)]
    pub reveal: bool,
    /// Display total file sizes if the type is container
    #[arg(short = 's', long)]
    pub size: bool,
    /// Return JSON for specified type
    #[arg(long = "type")]
    pub kind: Option<String>,
    /// Containers or images
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// What may have the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Container,
    Image,
}

impl Verb for Args {
    const ABOUT: &str = "Return low-level information on strata objects";
    const USAGE: &str = "[OPTIONS] NAME|ID [NAME|ID...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let kind = match self.kind.as_deref() {
            None | Some("") => Kind::Any,
            Some("container") => Kind::Container,
            Some("image") => Kind::Image,
            Some(other) => return Err(Failure::new(format!("{other:?} is not a valid value for --type"))),
        };
        let engine = session.engine()?;
        show(session, self.format.as_deref(), self.reveal, &self.names, |name| thing(&engine, name, kind, self.size))
    }
}

/// Prints what is found and tells what is not.
pub(super) fn show(
    session: &mut Session,
    format: Option<&str>,
    reveal: bool,
    names: &[String],
    find: impl Fn(&str) -> Result<Json>,
) -> Result<Exit> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match find(name) {
            Ok(mut thing) => {
                if !reveal {
                    mask::inspected(&mut thing);
                }
                found.push(thing);
            }
            Err(failure) => failures.push(failure),
        }
    }
    let text = format::inspect(format, &found)?;
    session.out.write_all(text.as_bytes())?;
    mask_note(session, reveal, &text)?;
    operands::each(session, failures, |_, failure| Err(failure))
}

/// Says how to see what is masked, if something in the output is.
pub(super) fn mask_note(session: &mut Session, reveal: bool, output: &str) -> Result<()> {
    if !reveal && output.contains(mask::MASK) {
        session.err.write_all(mask::NOTE.as_bytes())?;
    }
    Ok(())
}

fn thing(engine: &Engine, name: &str, kind: Kind, with_size: bool) -> Result<Json> {
    if kind != Kind::Image {
        match engine.container(name) {
            Ok(known) => return Ok(engine.inspect_container(&known, with_size)?),
            Err(error) if kind == Kind::Any && error.class() == ErrorClass::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    match engine.inspect_image(name) {
        Ok(image) => Ok(serde_json::to_value(image)?),
        // A name that cannot be an image's may still have been meant for a container.
        Err(error) if kind == Kind::Any && matches!(error.class(), ErrorClass::NotFound | ErrorClass::InvalidInput) => {
            Err(Failure::new(format!("No such object: {name}")))
        }
        Err(error) => Err(error.into()),
    }
}
