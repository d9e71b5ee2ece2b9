//! `strata secret inspect`: display detailed information on one or more secrets, never their values.

use serde_json::{Value as Json, json};

use crate::verb::prelude::*;
use crate::{format, operands};

/// What `strata secret inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// The secrets
    #[arg(required = true)]
    pub secrets: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display detailed information on one or more secrets";
    const USAGE: &str = "[OPTIONS] SECRET [SECRET...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let mut things: Vec<Json> = Vec::new();
        let exit = operands::each(session, &self.secrets, |_, name| {
            let secret = engine.secret(name)?;
            let created = secret.created.to_string();
            things.push(json!({
                "ID": secret.id, "Version": {}, "CreatedAt": created, "UpdatedAt": created,
                "Spec": { "Name": secret.name, "Labels": secret.labels },
            }));
            Ok(())
        })?;
        session.out.write_all(format::inspect(self.format.as_deref(), &things)?.as_bytes())?;
        Ok(exit)
    }
}
