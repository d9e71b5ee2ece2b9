//! The image a container is made from: here already, or pulled first.

use strata_engine::image::{ImageError, ImageRecord, PullWish};
use strata_engine::{Engine, Error};
use strata_types::Platform;

use crate::exit::{Failure, Result};
use crate::opts;
use crate::progress::{Progress, Show};
use crate::session::Session;

/// `--pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// Even if it is here.
    Always,
    /// If it is not here.
    Missing,
    /// Never.
    Never,
}

impl Pull {
    /// Parses the value of `--pull`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "always" => Ok(Self::Always),
            "missing" | "" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            other => {
                let known = "must be one of \"always\", \"missing\" or \"never\"";
                Err(Failure::new(format!("invalid pull option: '{other}': {known}")))
            }
        }
    }
}

/// Finds the image, or pulls it with what that has to say on stderr.
pub fn image(
    session: &mut Session,
    engine: &Engine,
    name: &str,
    pull: Pull,
    platform: Option<&str>,
    quiet: bool,
) -> Result<ImageRecord> {
    let unread = |error| Failure::from(error).within("error parsing specified platform");
    let platform = opts::platform::platform(platform, &engine.platform()).map_err(unread)?;
    if let Some(other) = platform.as_ref().filter(|platform| platform.is_windows()) {
        // Known before gigabytes have come.
        return Err(ImageError::OperatingSystem(other.os.clone()).into());
    }
    let mut absent = None;
    if pull != Pull::Always {
        match here(engine, name, platform.as_ref())? {
            Ok(found) => return Ok(found),
            Err(why) => absent = Some(why),
        }
    }
    let reference = engine.reference(name)?.or_latest();
    let full = reference.to_string();
    if pull != Pull::Always
        && let Ok(found) = here(engine, &full, platform.as_ref())?
    {
        return Ok(found);
    }
    if let Some(why) = absent.filter(|_| pull == Pull::Never) {
        return Err(why.into());
    }
    if pull == Pull::Missing && !quiet {
        writeln!(session.err, "Unable to find image '{}' locally", reference.familiar())?;
    }
    let show = if quiet { Show::Nowhere } else { Show::Stderr };
    let progress = Progress::start(session, show)?;
    let pulled = engine.pull(&reference, &PullWish { platform, ..PullWish::default() }, &progress);
    progress.finish();
    let newer = pulled?.iter().any(|one| one.is_newer);
    if !quiet {
        let status = if newer { "Downloaded newer image for" } else { "Image is up to date for" };
        writeln!(session.err, "Status: {status} {}", reference.familiar())?;
    }
    Ok(engine.image(&full)?)
}

/// An image that is here and whole, for the platform that was asked for if one was; or why there is none.
fn here(engine: &Engine, name: &str, platform: Option<&Platform>) -> Result<Result<ImageRecord, ImageError>> {
    let found = match platform {
        Some(platform) => engine.image_for(name, platform),
        None => engine.image(name),
    };
    match found {
        Ok(image) if image.damaged => Ok(Err(ImageError::NotFound(name.to_owned()))),
        Ok(image) => Ok(Ok(image)),
        Err(Error::Image(absent @ (ImageError::NotFound(_) | ImageError::WrongPlatform { .. }))) => Ok(Err(absent)),
        Err(other) => Err(other.into()),
    }
}
