//! `--build-context NAME=DIRECTORY|URL|docker-image://IMAGE|oci-layout://DIRECTORY[:TAG|@DIGEST]`.

use std::collections::BTreeMap;

use strata_build::{Context, LayoutName, NamedContext, Remote, RemoteContext, Secret};
use strata_engine::Engine;
use strata_types::Silent;
use strata_types::reference::Reference;

use super::input::ignore_of;
use crate::exit::{Failure, Result};
use crate::session::Session;

/// What begins the name of an image.
const IMAGE: &str = "docker-image://";

/// What begins the directory of one.
const LAYOUT: &str = "oci-layout://";

/// Reads all of them.
pub fn read(
    session: &Session,
    engine: &Engine,
    words: &[String],
    secrets: &BTreeMap<String, Secret>,
) -> Result<BTreeMap<String, NamedContext>> {
    let one = |word: &String| {
        let bad = |why: &str| Failure::new(format!("invalid value {word}: {why}"));
        let pair = word.split_once('=').filter(|(_, value)| !value.is_empty());
        let (name, value) =
            pair.ok_or_else(|| Failure::new(format!("invalid context value: {word}, expected key=value")))?;
        if let Err(error) = name.parse::<Reference>() {
            return Err(Failure::new(format!("invalid context name {name}: {error}")));
        }
        let (shown, name) = (name, NamedContext::key(name));
        if let Some(image) = value.strip_prefix(IMAGE) {
            return Ok((name, NamedContext::Image(image.to_owned())));
        }
        if let Some(layout) = value.strip_prefix(LAYOUT) {
            let (dir, which) = self::layout(layout).ok_or_else(|| bad("the digest is none"))?;
            let dir = session.cwd()?.join(dir);
            if !dir.join("index.json").is_file() {
                let sentence =
                    format!("failed to get build context {shown}: {value} is no directory with an OCI layout");
                return Err(Failure::new(sentence));
            }
            return Ok((name, NamedContext::Layout { dir, name: which }));
        }
        if let Some(remote) = Remote::of_context(value)? {
            return match RemoteContext::fetch(engine, &remote, secrets, &Silent)? {
                RemoteContext::Files(context) => Ok((name, NamedContext::Files(context))),
                RemoteContext::Dockerfile(_) => Err(bad("the URL is neither a repository nor a tar")),
            };
        }
        if value.contains("://") {
            return Err(bad(
                "directories, docker-image://, oci-layout://, and URLs of repositories and tars are known",
            ));
        }
        let dir = session.cwd()?.join(value);
        if !dir.is_dir() {
            return Err(Failure::new(format!("failed to get build context {shown}: {value} is not a directory")));
        }
        let ignore = ignore_of(&dir, &dir.join("Dockerfile"))?;
        Ok((name, NamedContext::Files(Context::open(&dir, &ignore)?)))
    };
    words.iter().map(one).collect()
}

/// Reads `DIRECTORY[:TAG][@DIGEST]`; a digest goes before a tag. None if it is no digest.
fn layout(text: &str) -> Option<(&str, LayoutName)> {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let (dir, tag) = rest.split_once(':').map_or((rest, None), |(dir, tag)| (dir, Some(tag)));
    let name = match (digest, tag) {
        (Some(digest), _) => LayoutName::Digest(digest.parse().ok()?),
        (None, Some(tag)) => LayoutName::Tag(tag.to_owned()),
        (None, None) => LayoutName::Usual,
    };
    Some((dir, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_tags_or_digests() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest = format!("sha256:{hex}");
        let by_digest = LayoutName::Digest(digest.parse().unwrap());
        assert_eq!(layout("./a/b"), Some(("./a/b", LayoutName::Usual)));
        assert_eq!(layout("a:1"), Some(("a", LayoutName::Tag("1".to_owned()))));
        assert_eq!(layout(&format!("a@{digest}")), Some(("a", by_digest.clone())));
        assert_eq!(layout(&format!("a:1@{digest}")), Some(("a", by_digest)));
        assert_eq!(layout("a@sha256:00"), None);
    }
}
