//! `strata secret create`: create a secret from a file or standard input.

use std::io::Read as _;

use strata_engine::secret::SECRET_BYTES_MAX;

use crate::opts;
use crate::verb::prelude::*;

/// What `strata secret create` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Secret labels
    #[arg(short = 'l', long, value_name = "list", value_parser = opts::label::parse)]
    pub label: Vec<(String, String)>,
    /// The name
    pub secret: String,
    /// The file with its value; standard input for `-`
    pub file: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Create a secret from a file or STDIN as content";
    const USAGE: &str = "[OPTIONS] SECRET [file|-]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let failed = |source: std::io::Error| Failure::new(format!("error reading content: {source}"));
        // One byte more than is allowed tells that it is too much.
        let most = SECRET_BYTES_MAX as u64 + 1;
        let mut value = Vec::new();
        match self.file.as_deref() {
            None => return Err(Failure::new("the value has to come from a file, or from standard input with `-`")),
            Some("-") => std::io::stdin().lock().take(most).read_to_end(&mut value).map_err(failed)?,
            Some(path) => {
                let file = std::fs::File::open(path).map_err(failed)?;
                file.take(most).read_to_end(&mut value).map_err(failed)?
            }
        };
        let secret = session.engine()?.create_secret(&self.secret, &value, self.label.into_iter().collect())?;
        writeln!(session.out, "{}", secret.id)?;
        Ok(Exit::SUCCESS)
    }
}
