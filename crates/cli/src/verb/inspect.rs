//! `strata inspect`: return low-level information on whatever has the name.

use serde_json::{Value as Json, json};
use strata_engine::Engine;
use strata_types::ErrorClass;

use crate::format::template::Value;
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
    /// Containers, images, networks, volumes or secrets
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// What may have a name, in the order in which it is looked for.
const KINDS: [(&str, Find); 5] =
    [("container", container), ("image", image), ("network", network), ("volume", volume), ("secret", secret)];

/// Looks for something of one kind; also says whether sizes are wanted.
type Find = fn(&Engine, &str, bool) -> Result<Json, strata_engine::Error>;

impl Verb for Args {
    const ABOUT: &str = "Return low-level information on strata objects";
    const USAGE: &str = "[OPTIONS] NAME|ID [NAME|ID...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let kinds: Vec<Find> = KINDS
            .iter()
            .filter(|(kind, _)| self.kind.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == *kind))
            .map(|(_, find)| *find)
            .collect();
        if let (true, Some(kind)) = (kinds.is_empty(), &self.kind) {
            let known = KINDS.map(|(kind, _)| kind).join(", ");
            return Err(
                Failure::new(format!("{kind:?} is not a valid value for --type")).hint(format!("types are {known}"))
            );
        }
        let engine = session.engine()?;
        let how = How { format: self.format.as_deref(), reveal: self.reveal, of: None };
        show(session, how, &self.names, |name| thing(&engine, name, &kinds, self.size))
    }
}

/// How things are shown.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    pub(super) format: Option<&'a str>,
    /// Shows what looks like a secret.
    pub(super) reveal: bool,
    /// Docker's type of them, if that is what it applies templates to, and not to their JSON.
    pub(super) of: Option<&'static str>,
}

/// Prints what is found and tells what is not.
pub(super) fn show(
    session: &mut Session,
    how: How<'_>,
    names: &[String],
    find: impl Fn(&str) -> Result<Json>,
) -> Result<Exit> {
    let mut inspection = format::Inspection::new(how.format)?;
    let mut failures = Vec::new();
    for name in names {
        let added = find(name).and_then(|mut thing| {
            if !how.reveal {
                mask::inspected(&mut thing);
            }
            inspection.add(&how.of.map_or_else(|| Value::new("", &thing), |of| Value::typed(of, &thing)))
        });
        failures.extend(added.err());
    }
    let text = inspection.finish()?;
    session.out.write_all(text.as_bytes())?;
    mask_note(session, how.reveal, &text)?;
    operands::each(session, failures, |_, failure| Err(failure))
}

/// Says how to see what is masked, if something in the output is.
pub(super) fn mask_note(session: &mut Session, reveal: bool, output: &str) -> Result<()> {
    if !reveal && output.contains(mask::MASK) {
        session.err.write_all(mask::NOTE.as_bytes())?;
    }
    Ok(())
}

/// The first thing of some kinds that has the name.
fn thing(engine: &Engine, name: &str, kinds: &[Find], with_size: bool) -> Result<Json> {
    for find in kinds {
        match find(engine, name, with_size) {
            Ok(found) => return Ok(found),
            // A name that cannot be of one kind may still have been meant for another.
            Err(error)
                if kinds.len() > 1 && matches!(error.class(), ErrorClass::NotFound | ErrorClass::InvalidInput) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new(format!("No such object: {name}")))
}

fn container(engine: &Engine, name: &str, with_size: bool) -> Result<Json, strata_engine::Error> {
    engine.inspect_container(&engine.container(name)?, with_size)
}

fn image(engine: &Engine, name: &str, _: bool) -> Result<Json, strata_engine::Error> {
    Ok(json!(engine.inspect_image(name)?))
}

fn network(engine: &Engine, name: &str, _: bool) -> Result<Json, strata_engine::Error> {
    engine.inspect_network(&engine.network(name)?)
}

fn volume(engine: &Engine, name: &str, _: bool) -> Result<Json, strata_engine::Error> {
    Ok(super::volume_inspect::shown(&engine.volume(name)?))
}

fn secret(engine: &Engine, name: &str, _: bool) -> Result<Json, strata_engine::Error> {
    Ok(super::secret_inspect::shown(&engine.secret(name)?))
}
