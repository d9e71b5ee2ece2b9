//! Warnings of credentials that an image would show to everybody who has it: at build, commit and push.

use std::io::Write as _;

use strata_engine::Engine;
use strata_engine::image::Exposed;
use strata_types::Silent;
use strata_types::reference::Reference;

use crate::exit::Result;
use crate::session::Session;

/// How many are named; more are counted.
const SHOWN_MAX: usize = 10;

/// Warns of what was found.
pub fn warn(session: &mut Session, found: &[Exposed]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    for exposed in found.iter().take(SHOWN_MAX) {
        writeln!(session.err, "warning: the image shows what looks like a credential: {exposed}")?;
    }
    if let Some(more) = found.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        writeln!(session.err, "warning: and {more} more")?;
    }
    let hint = "give it with --secret, to the build or to the container; --allow-secrets if it is meant to be seen";
    Ok(writeln!(session.err, "hint: {hint}")?)
}

/// Warns before an image is pushed. That there is none is the push's to say.
pub fn warn_of_pushed(session: &mut Session, engine: &Engine, reference: &Reference) -> Result<()> {
    match engine.find_image(&reference.clone().or_latest().to_string())? {
        Some(image) => warn(session, &engine.exposed_by(&image.id, &Silent)?),
        None => Ok(()),
    }
}
