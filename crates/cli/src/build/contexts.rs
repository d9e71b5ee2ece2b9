//! `--build-context NAME=DIRECTORY|URL|docker-image://IMAGE`.

use std::collections::BTreeMap;

use strata_build::{Context, NamedContext, Remote, RemoteContext};
use strata_engine::Engine;
use strata_types::Silent;

use super::input::ignore_of;
use crate::exit::{Failure, Result};
use crate::session::Session;

/// What begins the name of an image.
const IMAGE: &str = "docker-image://";

/// Reads all of them.
pub fn read(session: &Session, engine: &Engine, words: &[String]) -> Result<BTreeMap<String, NamedContext>> {
    let one = |word: &String| {
        let bad = |why: &str| Failure::new(format!("invalid value {word}: {why}"));
        let (name, value) = word.split_once('=').ok_or_else(|| bad("expected key=value"))?;
        if name.is_empty() || value.is_empty() {
            return Err(bad("expected key=value"));
        }
        if let Some(image) = value.strip_prefix(IMAGE) {
            return Ok((name.to_owned(), NamedContext::Image(image.to_owned())));
        }
        if let Some(remote) = Remote::of_context(value) {
            return match RemoteContext::fetch(engine, &remote, &Silent)? {
                RemoteContext::Files(context) => Ok((name.to_owned(), NamedContext::Files(context))),
                RemoteContext::Dockerfile(_) => Err(bad("the URL is neither a repository nor a tar")),
            };
        }
        if value.contains("://") {
            return Err(bad("directories, docker-image://, and URLs of repositories and tars are known"));
        }
        let dir = session.cwd()?.join(value);
        if !dir.is_dir() {
            return Err(Failure::new(format!("failed to get build context {name}: {value} is not a directory")));
        }
        let ignore = ignore_of(&dir, &dir.join("Dockerfile"))?;
        Ok((name.to_owned(), NamedContext::Files(Context::open(&dir, &ignore)?)))
    };
    words.iter().map(one).collect()
}
