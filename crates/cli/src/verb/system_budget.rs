//! `strata system budget`: say how much images may take after a pull.

use crate::format::size;
use crate::opts;
use crate::verb::prelude::*;

/// What `strata system budget` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How much, or `none`; shown if it is not given
    pub size: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Show or set how much images may take after a pull";
    const USAGE: &str = "[SIZE|none]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let Some(text) = self.size else {
            let shown = engine.budget()?.map_or_else(|| "none".to_owned(), size::binary);
            writeln!(session.out, "{shown}")?;
            return Ok(Exit::SUCCESS);
        };
        let bytes = match text.as_str() {
            "none" => None,
            _ => Some(opts::size::bytes(&text).map_err(|invalid| Failure::new(invalid.to_string()))?),
        };
        engine.set_budget(bytes)?;
        Ok(Exit::SUCCESS)
    }
}
