//! `strata secret inspect`: display detailed information on one or more secrets, never their values.

use serde_json::{Value as Json, json};
use strata_engine::secret::Secret;

use crate::verb::inspect;
use crate::verb::prelude::*;

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
        let find = |name: &str| Ok(shown(&engine.secret(name)?));
        let how = inspect::How { format: self.format.as_deref(), reveal: true, of: None };
        inspect::show(session, how, &self.secrets, find)
    }
}

/// What is known about a secret, which is not its value.
pub(super) fn shown(secret: &Secret) -> Json {
    let created = secret.created.to_string();
    json!({
        "ID": secret.id, "Version": {}, "CreatedAt": created, "UpdatedAt": created,
        "Spec": { "Name": secret.name, "Labels": secret.labels },
    })
}
