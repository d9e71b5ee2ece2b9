//! `strata top`: display the running processes of a container.

use crate::format::tabs;
use crate::verb::prelude::*;

/// Docker's columns are as wide as this here, and nowhere else.
const WIDTH_MIN: usize = 20;

/// What `strata top` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container
    pub container: String,
    /// Options for `ps`
    pub ps_options: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display the running processes of a container";
    const USAGE: &str = "CONTAINER [ps OPTIONS]";
    const OPTIONS_END_AT_NAME: bool = true;

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let known = engine.container(&self.container)?;
        let processes = engine.top(&known, &self.ps_options, session.zone())?;
        let mut text = processes.titles.join("\t") + "\n";
        for row in &processes.rows {
            text += &(row.join("\t") + "\n");
        }
        session.out.write_all(tabs::align_widely(&text, WIDTH_MIN).as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}
