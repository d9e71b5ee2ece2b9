//! `strata create`: create a new container.

use std::fs::File;
use std::io::ErrorKind;

use strata_engine::Engine;
use strata_engine::container::Created;

use crate::container::image::{Pull, image};
use crate::container::request::{Given, request};
use crate::verb::container_options::ContainerOptions;
use crate::verb::prelude::*;

/// What `strata create` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the container is
    #[command(flatten)]
    pub options: ContainerOptions,
    /// Pull image before creating ("always", "|missing", "never")
    #[arg(long, default_value = "missing")]
    pub pull: String,
    /// The image
    pub image: String,
    /// The command and its arguments
    pub command: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Create a new container";
    const USAGE: &str = "[OPTIONS] IMAGE [COMMAND] [ARG...]";
    const OPTIONS_END_AT_NAME: bool = true;

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let created = make(session, &engine, &self.options, &self.pull, (self.image, self.command), false)?;
        writeln!(session.out, "{}", created.known.id())?;
        Ok(Exit::SUCCESS)
    }
}

/// Makes a container of what the options say, pulls its image if need be, and writes its id where `--cidfile` says.
pub(super) fn make(
    session: &mut Session,
    engine: &Engine,
    options: &ContainerOptions,
    pull: &str,
    what: (String, Vec<String>),
    detach: bool,
) -> Result<Created> {
    let Some(path) = options.cidfile.as_deref() else {
        return make_one(session, engine, options, pull, what, detach);
    };
    // Before there is a container whose id could not be written.
    let mut file = new_id_file(path)?;
    let made = make_one(session, engine, options, pull, what, detach).and_then(|created| {
        let written = file.write_all(created.known.id().as_str().as_bytes());
        let wrong = |error| Failure::new(format!("failed to write the container ID to the file: {error}"));
        written.map(|()| created).map_err(wrong)
    });
    if made.is_err()
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(%error, "cannot remove {path}");
    }
    made
}

fn new_id_file(path: &str) -> Result<File> {
    let made = File::create_new(path);
    made.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            let advice = "make sure the other container isn't running or delete";
            Failure::new(format!("container ID file found, {advice} {path}"))
        }
        _ => Failure::new(format!("failed to create the container ID file: open {path}: {error}")),
    })
}

fn make_one(
    session: &mut Session,
    engine: &Engine,
    options: &ContainerOptions,
    pull: &str,
    (image_name, command): (String, Vec<String>),
    detach: bool,
) -> Result<Created> {
    let pull = Pull::parse(pull).map_err(|failure| failure.exit(Exit::ENGINE))?;
    let platform = options.platform.as_deref().filter(|platform| !platform.is_empty());
    let image = image(session, engine, &image_name, pull, platform, options.quiet)?;
    let request = request(session, options, Given { image, image_name, command, detach })?;
    let created = engine.create_container(request)?;
    for warning in &created.warnings {
        writeln!(session.err, "WARNING: {warning}")?;
    }
    Ok(created)
}
