//! `strata check`: checks the store and says what is wrong.

use strata_engine::system::{Checked, Depth, Finding, Problem};

use crate::format::count::counted;
use crate::verb::prelude::*;

/// What `strata check` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look at structure only, not at every byte
    #[arg(long)]
    pub fast: bool,
    /// Remove what is damaged or left over, and fetch that again from where it came
    #[arg(long)]
    pub repair: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Check the store and say what is wrong";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let depth = if self.fast { Depth::Structure } else { Depth::Bytes };
        let checked = session.engine()?.check_to(depth, self.repair, &strata_types::Silent)?;
        // What was taken away is not repaired before it is there again.
        let lacking: Vec<&str> =
            checked.fetched.iter().filter(|one| one.failure.is_some()).map(|one| one.name.as_str()).collect();
        for finding in &checked.findings {
            let is_repaired = finding.is_mended && !finding.images.iter().any(|name| lacking.contains(&name.as_str()));
            let mended = if is_repaired { "repaired: " } else { "" };
            writeln!(session.out, "{mended}{}", finding.problem)?;
        }
        for fetched in &checked.fetched {
            match &fetched.failure {
                None => writeln!(session.out, "fetched what was missing of {}", fetched.name)?,
                Some(failure) => writeln!(session.err, "strata: cannot fetch {} again: {failure}", fetched.name)?,
            }
        }
        if checked.findings.is_empty() && checked.fetched.is_empty() {
            let Checked { images, blobs, layers, .. } = checked;
            let of = [counted(images, "image"), counted(layers, "layer"), counted(blobs, "blob")];
            writeln!(session.out, "no problems in {}", of.join(", "))?;
            return Ok(Exit::SUCCESS);
        }
        // That an image lacked something is over once it was fetched.
        let is_over = |finding: &Finding| {
            finding.is_mended || (lacking.is_empty() && matches!(finding.problem, Problem::ImageIncomplete { .. }))
        };
        let is_left = !lacking.is_empty() || !checked.findings.iter().all(|finding| self.repair && is_over(finding));
        let is_in_doubt =
            |finding: &Finding| matches!(&finding.problem, Problem::DriverLost { owners } if owners.len() > 1);
        if checked.findings.iter().any(is_in_doubt) {
            let hint = "says which it is, and writes it again";
            writeln!(session.err, "hint: `strata --storage-driver DRIVER info` {hint}")?;
        } else if is_left && !self.repair {
            let hint = "removes what is damaged or left over, and fetches that again from where it came";
            writeln!(session.err, "hint: `strata check --repair` {hint}")?;
        }
        Ok(if is_left { Exit::FAILURE } else { Exit::SUCCESS })
    }
}
