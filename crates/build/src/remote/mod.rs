//! Files from elsewhere: `ADD` of URLs and repositories, and contexts that are such.
//!
//! ```text
//! web.rs    a file by URL: a layer with that file
//! git.rs    a commit of a repository, by the program `git`: a layer with its tree
//! spec.rs   what a URL names
//! ```
//!
//! What was fetched is a layer that is remembered as a step is: it is not fetched again while the server says, or the commit
//! means, that it is the same.

mod git;
mod spec;
mod web;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use strata_engine::workbench::{Layer, Memory, Workbench};
use strata_types::{DiffId, Watch};

use crate::error::Problem;
use crate::request::Secret;

pub use git::last_commit_time;
pub use spec::{GitSpec, QueryError, Remote};
pub(crate) use web::body;

/// What was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    /// A layer with the files, on no other; none if there are no files.
    pub(crate) layers: Vec<DiffId>,
    /// What of it was meant: a path.
    pub(crate) path: String,
    /// What counts beside the content: when it was changed last.
    pub(crate) time: i64,
}

/// How it is fetched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish<'a> {
    /// `--checksum`.
    pub(crate) checksum: &'a str,
    /// `--keep-git-dir`.
    pub(crate) keep_git_dir: bool,
    /// What was fetched before does not count.
    pub(crate) anew: bool,
    /// Who we are, as a header of HTTP.
    pub(crate) authorization: Option<String>,
}

impl Remote {
    /// What BuildKit calls it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Web(_) => "URL",
            Self::Git(_) => "git ref",
        }
    }

    /// Who we are where it is, if one of these secrets says so.
    pub(crate) fn authorization(&self, secrets: &BTreeMap<String, Secret>) -> Result<Option<String>, Problem> {
        for (id, is_token) in self.credentials() {
            let Some(secret) = secrets.get(&id) else { continue };
            let value = String::from_utf8_lossy(&secret.read(&id)?).trim().to_owned();
            return Ok(Some(if is_token { self.header_of(&value) } else { value }));
        }
        Ok(None)
    }

    /// The secrets that say it, the first that there is counts; with whether it is a token alone.
    fn credentials(&self) -> Vec<(String, bool)> {
        match self {
            Self::Web(url) => {
                let host = without_port(host_of(url));
                [("HTTP_AUTH_HEADER", false), ("HTTP_AUTH_TOKEN", true)]
                    .map(|(name, token)| (format!("{name}_{host}"), token))
                    .into()
            }
            Self::Git(spec) => {
                let host = host_of(&spec.url);
                let names = [("GIT_AUTH_HEADER", false), ("GIT_AUTH_TOKEN", true)];
                let with_host = names.map(|(name, token)| (format!("{name}.{host}"), token));
                with_host.into_iter().chain(names.map(|(name, token)| (name.to_owned(), token))).collect()
            }
        }
    }

    /// A token as a header: servers of repositories take it for a password.
    fn header_of(&self, token: &str) -> String {
        match self {
            Self::Web(_) => format!("Bearer {token}"),
            Self::Git(_) => format!("basic {}", BASE64.encode(format!("x-access-token:{token}"))),
        }
    }

    /// Fetches it, or finds that it is here.
    pub(crate) fn fetch(&self, bench: &Workbench<'_>, wish: &Wish<'_>, watch: &dyn Watch) -> Result<Fetched, Problem> {
        match self {
            Self::Web(url) => web::fetch(bench, url, wish, watch),
            Self::Git(spec) => git::fetch(bench, spec, wish, watch),
        }
    }
}

/// The host in a URL, without user.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    place.rsplit('@').next().unwrap_or_default()
}

fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Remembers a layer under its keys.
fn remember(
    bench: &Workbench<'_>,
    keys: impl IntoIterator<Item = String>,
    what: &str,
    layer: Option<Layer>,
    created: Timestamp,
) -> Result<Vec<DiffId>, Problem> {
    let size_bytes = layer.as_ref().map_or(0, |layer| layer.size_bytes);
    let layers: Vec<DiffId> = layer.into_iter().map(|layer| layer.diff_id).collect();
    let memory = Memory { layers, size_bytes, created };
    keys.into_iter().try_for_each(|key| bench.remember(&key, what, &memory))?;
    Ok(memory.layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_for_servers_are_called_by_their_hosts() {
        let check = |url: &str, expected: &[&str]| {
            let names = Remote::of_source(url).unwrap().unwrap().credentials();
            assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected, "{url}");
        };
        check(
            "https://me@files.example.org:8443/x?y",
            &["HTTP_AUTH_HEADER_files.example.org", "HTTP_AUTH_TOKEN_files.example.org"],
        );
        check("http://[::1]:80/x", &["HTTP_AUTH_HEADER_::1", "HTTP_AUTH_TOKEN_::1"]);
        let git = ["GIT_AUTH_HEADER.h:8", "GIT_AUTH_TOKEN.h:8", "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"];
        check("https://me@h:8/x.git#main", &git);
        let repository = Remote::of_source("https://h/x.git").unwrap().unwrap();
        assert_eq!(repository.header_of("t"), "basic eC1hY2Nlc3MtdG9rZW46dA==");
    }
}
