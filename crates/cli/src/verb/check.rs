//! `strata check`: checks the store and says what is wrong.

use std::collections::BTreeSet;

use strata_engine::system::Checked;

use crate::verb::prelude::*;

/// What `strata check` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Repair what can be repaired
    #[arg(long)]
    pub repair: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Check the store and say what is wrong";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let checked = session.engine()?.check(self.repair, &strata_types::Silent)?;
        for finding in &checked.findings {
            let mended = if finding.is_mended { "repaired: " } else { "" };
            writeln!(session.out, "{mended}{}", finding.problem)?;
        }
        if checked.findings.is_empty() {
            let Checked { images, blobs, layers, .. } = checked;
            writeln!(session.out, "no problems in {images} images, {layers} layers, {blobs} blobs")?;
            return Ok(Exit::SUCCESS);
        }
        let hurt: BTreeSet<_> = checked.findings.iter().flat_map(|finding| &finding.images).collect();
        let is_left = checked.findings.iter().any(|finding| !finding.is_mended);
        if is_left && !self.repair {
            writeln!(session.err, "hint: `strata check --repair` removes what is damaged or left over")?;
        } else {
            for name in hurt {
                writeln!(session.err, "hint: `strata pull {name}` brings back what was removed")?;
            }
        }
        Ok(if is_left { Exit::FAILURE } else { Exit::SUCCESS })
    }
}
