//! From the words of `build` to a Dockerfile and a context.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use strata_build::{Context, Remote, RemoteContext, Secret};
use strata_dockerfile::DOCKERFILE_BYTES_MAX;
use strata_engine::Engine;
use strata_types::{Silent, plain};

use crate::exit::{Failure, Result};
use crate::session::Session;

/// What a Dockerfile is called unless `-f` says so.
const USUAL_NAME: &str = "Dockerfile";
/// What keeps files out of the context.
const IGNORE: &str = ".dockerignore";

/// A Dockerfile and the files it may copy.
#[derive(Debug)]
pub struct Input {
    /// Its text.
    pub dockerfile: String,
    /// What it is called.
    pub name: String,
    /// The files.
    pub context: Context,
    /// The directory that they are in, if it is one of this host.
    pub dir: Option<PathBuf>,
}

/// How what is not here is fetched.
#[derive(Debug)]
pub struct Fetching {
    /// A repository is taken with its `.git`.
    pub keep_git_dir: bool,
    /// Some say who we are.
    pub secrets: BTreeMap<String, Secret>,
}

/// Reads what PATH and `-f` name; `-` is the standard input.
pub fn read(
    session: &Session,
    engine: &Engine,
    (path, file): (&str, Option<&str>),
    remote: &Fetching,
) -> Result<Input> {
    match (path, file) {
        ("", _) => {
            return Err(Failure::new("please specify build context (e.g. \".\" for the current directory)"));
        }
        ("-", Some("-")) => {
            return Err(Failure::new("invalid argument: can't use stdin for both build context and dockerfile"));
        }
        ("-", _) => return piped(engine, file),
        _ => {}
    }
    if let Some(mut found) = Remote::of_context(path)? {
        if let Remote::Git(spec) = &mut found {
            spec.keep_git_dir |= remote.keep_git_dir;
        }
        return fetched(engine, &found, &remote.secrets, file);
    }
    let cwd = session.cwd()?;
    let dir = cwd.join(path);
    match std::fs::metadata(&dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let sentence = format!("unable to prepare context: context must be a directory: {}", dir.display());
            return Err(
                Failure::new(sentence).hint("the Dockerfile is named by -f, PATH is the directory of its files")
            );
        }
        Err(_) => return Err(Failure::new(format!("unable to prepare context: path {path:?} not found"))),
    }
    let (dockerfile, place) = match file {
        Some("-") => (from_stdin()?, dir.join(USUAL_NAME)),
        Some(file) => {
            let here = cwd.join(file);
            // As seen from here, or else from the context, as Docker does.
            let place = if here.exists() { here } else { dir.join(file) };
            (text_of(&place, file)?, place)
        }
        None => (text_of(&dir.join(USUAL_NAME), USUAL_NAME)?, dir.join(USUAL_NAME)),
    };
    let ignore = ignore_of(&dir, &place)?;
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Input { dockerfile, name, context: Context::open(&dir, &ignore)?, dir: Some(dir) })
}

/// What comes on the standard input: a tar is a context, anything else a Dockerfile without one.
fn piped(engine: &Engine, file: Option<&str>) -> Result<Input> {
    let (head, whole) = Context::peek(std::io::stdin())?;
    if !Context::is_archive(&head) {
        if file.is_some() {
            let sentence = "unable to prepare context: with a Dockerfile on standard input, -f names nothing";
            return Err(Failure::new(sentence));
        }
        return Ok(Input {
            dockerfile: text(whole)?,
            name: USUAL_NAME.to_owned(),
            context: Context::empty(),
            dir: None,
        });
    }
    within(Context::of_tar(engine, whole, &Silent)?, file)
}

/// What a URL names: a repository or a tar is a context, anything else a Dockerfile without one.
fn fetched(engine: &Engine, remote: &Remote, secrets: &BTreeMap<String, Secret>, file: Option<&str>) -> Result<Input> {
    match RemoteContext::fetch(engine, remote, secrets, &Silent)? {
        RemoteContext::Files(context) => within(context, file),
        RemoteContext::Dockerfile(dockerfile) => {
            Ok(Input { dockerfile, name: USUAL_NAME.to_owned(), context: Context::empty(), dir: None })
        }
    }
}

/// A context that is no directory here has its Dockerfile within, or it comes on the standard input.
fn within(context: Context, file: Option<&str>) -> Result<Input> {
    let name = file.unwrap_or(USUAL_NAME);
    let text = |name: &str| context.text(Path::new(name), DOCKERFILE_BYTES_MAX as u64 + 1);
    let dockerfile = match name {
        "-" => from_stdin()?,
        name => text(name)?.ok_or_else(|| {
            let sentence = format!("failed to read dockerfile: open {name}: no such file or directory");
            Failure::new(sentence).hint("-f names a file in the context")
        })?,
    };
    let ignore = match text(&format!("{name}{IGNORE}"))? {
        Some(own) => own,
        None => text(IGNORE)?.unwrap_or_default(),
    };
    Ok(Input { dockerfile, name: name.to_owned(), context: context.ignoring(&ignore)?, dir: None })
}

fn text_of(path: &Path, shown: &str) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| {
        let failure = Failure::new(format!("failed to read dockerfile: open {shown}: {}", plain(&error)));
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.hint("name the Dockerfile with -f, or - for the standard input"),
            _ => failure,
        }
    })?;
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("failed to read dockerfile: {shown} is no text")))
}

fn from_stdin() -> Result<String> {
    text(std::io::stdin())
}

fn text(from: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    from.take(DOCKERFILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| Failure::new("failed to read dockerfile: the standard input is no text"))
}

/// The patterns that go with this Dockerfile: its own, or the context's.
pub fn ignore_of(context: &Path, dockerfile: &Path) -> Result<String> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(IGNORE);
    for path in [PathBuf::from(own), context.join(IGNORE)] {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Err(Failure::new(format!("failed to read {name}: {}", plain(&error))));
            }
        }
    }
    Ok(String::new())
}
