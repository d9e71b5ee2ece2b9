//! `--output` and `--metadata-file`.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use strata_build::{Annotation, Built, Output as Destination};
use strata_engine::Engine;
use strata_engine::image::Pushed;
use strata_sys::durable::{self, Durability};
use strata_types::Platform;
use strata_types::reference::Reference;

use super::annotation;
use crate::exit::{Failure, Result};
use crate::opts::csv;
use crate::progress::{Progress, Show};
use crate::session::Session;
use crate::streams::Output;

/// What is made of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// An image here.
    #[default]
    Image,
    /// An image here, and an archive that docker and others read.
    Archive,
    /// Files in a directory.
    Local,
    /// A tar of the files.
    Tar,
}

/// What `--output` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What.
    pub kind: Kind,
    /// Where; `-` is the standard output.
    pub dest: Option<String>,
    /// More names.
    pub names: Vec<String>,
    /// It goes to its registry, too.
    pub push: bool,
    /// What its manifest is to say.
    pub annotations: Vec<Annotation>,
}

/// Reads `type=TYPE,dest=PATH,…`; a path alone is a directory, `-` a tar on the standard output.
pub fn parse(words: &[String], native: &Platform) -> Result<Wanted> {
    let [word] = words else {
        return match words {
            [] => Ok(Wanted::default()),
            _ => Err(Failure::new("multiple outputs are not supported")),
        };
    };
    if !word.contains('=') {
        let kind = if word == "-" { Kind::Tar } else { Kind::Local };
        return Ok(Wanted { kind, dest: Some(word.clone()), ..Wanted::default() });
    }
    let mut wanted = Wanted::default();
    for field in csv::fields(word)? {
        let bad = || Failure::new(format!("invalid value {field}"));
        match field.split_once('=').ok_or_else(bad)? {
            ("type", "image") => {}
            ("type", "registry") => wanted.push = true,
            ("type", "docker" | "oci") => wanted.kind = Kind::Archive,
            ("type", "local") => wanted.kind = Kind::Local,
            ("type", "tar") => wanted.kind = Kind::Tar,
            ("type", other) => return Err(Failure::new(format!("exporter {other:?} could not be found"))),
            ("dest", path) => wanted.dest = Some(path.to_owned()),
            ("name", name) => wanted.names.push(name.to_owned()),
            ("push", value) => wanted.push = crate::opts::go_bool(value).ok_or_else(bad)?,
            (other, value) => match annotation::of_output(other, value, native)? {
                Some(annotation) => wanted.annotations.push(annotation),
                None => return Err(Failure::new(format!("unknown option of --output: {other}"))),
            },
        }
    }
    if wanted.kind == Kind::Local && wanted.dest.is_none() {
        return Err(
            Failure::new("dest is required for local exporter").hint("write --output type=local,dest=DIRECTORY")
        );
    }
    Ok(wanted)
}

/// Opens where it goes: what the build writes itself, and what is written afterwards.
pub fn open(session: &mut Session, wanted: &Wanted) -> Result<(Destination, Option<Output>)> {
    let path = wanted.dest.as_deref().filter(|dest| *dest != "-");
    Ok(match wanted.kind {
        Kind::Image => (Destination::Image, None),
        // Without a place it is only here, as with `docker build`.
        Kind::Archive if wanted.dest.is_none() => (Destination::Image, None),
        Kind::Archive => (Destination::Image, Some(Output::open(session, path)?)),
        Kind::Local => {
            let dir: PathBuf = session.cwd()?.join(wanted.dest.as_deref().unwrap_or_default());
            durable::create_dirs(&dir, 0o755)?;
            (Destination::Dir(dir), None)
        }
        Kind::Tar => {
            let mut output = Output::open(session, path)?;
            let file = std::fs::File::from(output.file().as_fd().try_clone_to_owned()?);
            (Destination::Tar(file), Some(output))
        }
    })
}

/// Does what follows a build that went well.
pub fn finish(
    session: &mut Session,
    engine: &Engine,
    (wanted, push): (&Wanted, bool),
    archive: Option<Output>,
    (built, names): (&Built, &[String]),
) -> Result<Option<Pushed>> {
    let mut last = None;
    if let Some(mut output) = archive {
        if wanted.kind == Kind::Archive {
            let progress = Progress::start(session, Show::Nowhere)?;
            let written = match names {
                [] => {
                    let images: Vec<_> = built.images.iter().map(|(_, image)| image.clone()).collect();
                    engine.save_as_one(&images, output.file(), &progress)
                }
                names => engine.save(names, &[], output.file(), &progress),
            };
            progress.finish();
            if let Err(error) = written {
                return Err(output.fail(error));
            }
        }
        output.keep()?;
    }
    if wanted.push || push {
        let progress = Progress::start(session, Show::Stderr)?;
        let pushed = names.iter().try_for_each(|name| -> Result<()> {
            last = engine.push(&name.parse::<Reference>()?, false, &progress)?.pop();
            Ok(())
        });
        progress.finish();
        pushed?;
    }
    Ok(last)
}

/// Writes `--metadata-file`, with buildx's keys. The digest is that at the registry, or, of an image that is here alone, its
/// id.
pub fn metadata(
    session: &Session,
    path: &str,
    (built, pushed): (&Built, Option<&Pushed>),
    names: &[String],
) -> Result<()> {
    let id = built.image.to_string();
    let mut document = serde_json::json!({ "containerimage.config.digest": id, "containerimage.digest": id });
    if let Some(Pushed { digest, media_type, size_bytes, .. }) = pushed {
        document["containerimage.digest"] = digest.to_string().into();
        document["containerimage.descriptor"] =
            serde_json::json!({ "mediaType": media_type, "digest": digest, "size": size_bytes });
    }
    if !names.is_empty() {
        let whole = names.iter().map(|name| name.parse::<Reference>().map(|name| name.or_latest().to_string()));
        document["image.name"] = whole.collect::<Result<Vec<_>, _>>()?.join(",").into();
    }
    let text = serde_json::to_vec_pretty(&document)?;
    durable::write_file(&session.cwd()?.join(path), &text, 0o644, Durability::Ephemeral)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_paths_or_fields() {
        let native = Platform::new("linux", "amd64", "");
        let check = |word: &str, kind: Kind, dest: Option<&str>| {
            let wanted = parse(&[word.to_owned()], &native).unwrap();
            assert_eq!((wanted.kind, wanted.dest.as_deref()), (kind, dest), "{word}");
        };
        check("out", Kind::Local, Some("out"));
        check("-", Kind::Tar, Some("-"));
        check("type=tar,dest=x.tar", Kind::Tar, Some("x.tar"));
        check("type=oci,dest=x", Kind::Archive, Some("x"));
        check("type=docker", Kind::Archive, None);
        check("type=image,name=a", Kind::Image, None);
        check("type=oci,\"annotation.a=b,c\",dest=x", Kind::Archive, Some("x"));
        for bad in ["type=local", "type=magic", "colour=red"] {
            assert!(parse(&[bad.to_owned()], &native).is_err(), "{bad}");
        }
    }
}
