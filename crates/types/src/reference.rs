//! Image references: `[DOMAIN/]PATH[:TAG][@DIGEST]`, by the grammar of distribution/reference and with the short forms
//! people type for Docker Hub.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, DigestError};

/// The domain a name without one belongs to.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag a name without one means.
pub const DEFAULT_TAG: &str = "latest";
/// The longest path distribution/reference accepts.
pub const PATH_BYTES_MAX: usize = 255;
/// The longest tag.
pub const TAG_BYTES_MAX: usize = 128;

const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";

/// A normalised reference: the domain is always there, official images are under `library/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: Box<str>,
    path: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

/// Why a string is not a reference. The texts are those that Docker prints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository has capital letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It looks like an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// The path is longer than [`PATH_BYTES_MAX`].
    #[error("repository name must not be more than {PATH_BYTES_MAX} characters")]
    TooLong,
    /// What follows `@` is not a digest we verify.
    #[error("invalid reference format: {0}")]
    Digest(DigestError),
}

impl Reference {
    /// The registry's name, such as `docker.io` or `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, such as `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether only a repository was given.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// Domain and path, such as `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository as people write it, such as `debian` or `localhost:5000/debian`.
    pub fn familiar_name(&self) -> String {
        if &*self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(official) if !official.contains('/') => official.to_owned(),
            _ => self.path.to_string(),
        }
    }

    /// The whole reference as people write it, such as `debian:12`.
    pub fn familiar(&self) -> String {
        self.print(self.familiar_name())
    }

    /// The same repository under another tag; the digest is dropped.
    ///
    /// # Errors
    /// When `tag` does not follow the grammar.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Self { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    /// The same repository by digest; the tag is dropped.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The repository alone.
    pub fn name_only(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    /// Adds the tag `latest` where there is neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.is_name_only() {
            self.tag = Some(DEFAULT_TAG.into());
        }
        self
    }

    fn print(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl fmt::Display for Reference {
    /// Prints the normalised form, such as `docker.io/library/debian:12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.print(self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({self})")
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Parses and normalises, as `ParseNormalizedNamed` does.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if is_identifier(text) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(remote.to_owned()));
        }
        let (name, digest) = match remainder.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (&*remainder, None),
        };
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name, None),
        };
        if !is_domain(domain) || !is_path(path) || !tag.is_none_or(is_tag) {
            return Err(ReferenceError::Format);
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(ReferenceError::TooLong);
        }
        let digest = digest.map(parse_digest).transpose()?;
        Ok(Self { domain: domain.into(), path: path.into(), tag: tag.map(Into::into), digest })
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether `text` could be a whole image id, which a repository must not look like.
pub fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether `text` follows the grammar of tags: `[\w][\w.-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= TAG_BYTES_MAX
        && bytes.first().is_some_and(|b| word(*b))
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

/// Splits what people type into a domain and the rest, as `splitDockerDomain` does.
fn split_domain(text: &str) -> (&str, std::borrow::Cow<'_, str>) {
    let official = |rest: &str| format!("{OFFICIAL}{rest}").into();
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN, official(text));
    };
    let domain = match first {
        LEGACY_DOMAIN | DEFAULT_DOMAIN => DEFAULT_DOMAIN,
        "localhost" => first,
        _ if first.contains(['.', ':']) || first.chars().any(char::is_uppercase) => first,
        _ => return (DEFAULT_DOMAIN, text.into()),
    };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') { (domain, official(rest)) } else { (domain, rest.into()) }
}

fn is_domain(text: &str) -> bool {
    let port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        let hex = |b: u8| b.is_ascii_hexdigit() || b == b':';
        return !address.is_empty()
            && address.bytes().all(hex)
            && (after.is_empty() || after.strip_prefix(':').is_some_and(port));
    }
    let (host, after) = text.split_once(':').map_or((text, None), |(host, after)| (host, Some(after)));
    let component = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(component) && after.is_none_or(port)
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    alphanumeric(*first)
        && alphanumeric(*last)
        && bytes
            .split(|b| alphanumeric(*b))
            .filter(|separator| !separator.is_empty())
            .all(|separator| matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

/// Parses what follows `@`: `ALGORITHM:HEX` by the grammar first, by what can be verified second.
fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    let (algorithm, hex) = text.split_once(':').ok_or(ReferenceError::Format)?;
    let component = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let follows_grammar = algorithm.split(['+', '.', '-', '_']).all(component)
        && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if !follows_grammar {
        return Err(ReferenceError::Format);
    }
    text.parse().map_err(ReferenceError::Digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, normal: &str, familiar: &str) {
        let reference: Reference = input.parse().unwrap_or_else(|error| panic!("{input}: {error}"));
        assert_eq!((&*reference.to_string(), &*reference.familiar()), (normal, familiar), "{input}");
        assert_eq!(normal.parse::<Reference>().unwrap(), reference, "{input}: what is printed parses to the same");
        assert_eq!(familiar.parse::<Reference>().unwrap(), reference, "{input}: the familiar form too");
    }

    fn refused(input: &str, text: &str) {
        assert_eq!(input.parse::<Reference>().unwrap_err().to_string(), text, "{input}");
    }

    #[test]
    fn short_names_belong_to_docker_hub() {
        check("debian", "docker.io/library/debian", "debian");
        check("debian:12", "docker.io/library/debian:12", "debian:12");
        check("index.docker.io/debian", "docker.io/library/debian", "debian");
        check("docker.io/user/app", "docker.io/user/app", "user/app");
        check("localhost/app", "localhost/app", "localhost/app");
        check("LOCALHOST/app", "LOCALHOST/app", "LOCALHOST/app");
        check("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1");
        check("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app");
        check("library/debian", "docker.io/library/debian", "debian");
        check("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b");
    }

    #[test]
    fn a_tag_and_a_digest_may_stand_together() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!("quay.io/a/b:1.0@sha256:{hex}");
        check(&text, &text, &text);
    }

    #[test]
    fn bad_names_get_the_texts_of_docker() {
        refused("", "invalid reference format");
        refused("a:", "invalid reference format");
        refused("-a", "invalid reference format");
        refused("a//b", "invalid reference format");
        refused("a..b/../c", "invalid reference format");
        refused("Debian", "invalid reference format: repository name (library/Debian) must be lowercase");
        refused("localhost:5000/A/b:x", "invalid reference format: repository name (A/b) must be lowercase");
        refused(
            &"a".repeat(64),
            &format!("invalid repository name ({}), cannot specify 64-byte hexadecimal strings", "a".repeat(64)),
        );
        refused(&format!("x/{}", "z".repeat(254)), "repository name must not be more than 255 characters");
        refused(&format!("x:{}", "z".repeat(129)), "invalid reference format");
        refused("a@sha256:00", "invalid reference format");
        refused(&format!("a@md5:{}", "0".repeat(32)), "invalid reference format: unsupported digest algorithm `md5`");
    }

    #[test]
    fn a_missing_tag_means_latest() {
        let parse = |text: &str| text.parse::<Reference>().unwrap().or_latest().familiar();
        assert_eq!(parse("debian"), "debian:latest");
        assert_eq!(parse("debian:12"), "debian:12");
    }
}
