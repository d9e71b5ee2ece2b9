//! The image a container is made from: here already, or pulled first.

use strata_engine::Engine;
use strata_engine::image::{ImageError, ImageRecord, PullWish};
use strata_types::Platform;

use crate::exit::{Failure, Result};
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
    let platform = platform.map(|text| Platform::parse(text, &engine.platform())).transpose()?;
    if let Some(other) = platform.as_ref().filter(|platform| platform.is_windows()) {
        // Known before gigabytes have come.
        return Err(ImageError::OperatingSystem(other.os.clone()).into());
    }
    if pull != Pull::Always
        && let Some(found) = find(engine, name, platform.as_ref())?.filter(|image| !image.damaged)
        && fits(engine, &found, platform.as_ref())?
    {
        return Ok(found);
    }
    let reference = engine.reference(name)?.or_latest();
    let full = reference.to_string();
    if pull != Pull::Always
        && let Some(found) = find(engine, &full, platform.as_ref())?.filter(|image| !image.damaged)
        && fits(engine, &found, platform.as_ref())?
    {
        return Ok(found);
    }
    if pull == Pull::Never {
        return Err(Failure::new(format!("No such image: {}", reference.familiar())));
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

/// An image that is here; for a platform, the one of those that its name stands for.
fn find(engine: &Engine, name: &str, platform: Option<&Platform>) -> Result<Option<ImageRecord>> {
    Ok(match platform {
        Some(platform) => engine.find_image_for(name, platform)?,
        None => engine.find_image(name)?,
    })
}

/// Whether an image is for the platform that was asked for, if one was.
fn fits(engine: &Engine, image: &ImageRecord, wanted: Option<&Platform>) -> Result<bool> {
    let Some(wanted) = wanted else { return Ok(true) };
    let has = engine.config(&image.id)?.platform();
    Ok(wanted.os == has.os
        && wanted.architecture == has.architecture
        && (wanted.variant.is_empty() || wanted.variant == has.variant)
        && wanted.takes_version_of(&has))
}
