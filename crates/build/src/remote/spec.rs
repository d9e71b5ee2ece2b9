//! What a URL names: a file, or a place in a repository.

/// A source that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A file.
    Web(String),
    /// A repository.
    Git(GitSpec),
}

/// A place in a repository: `URL#REFERENCE:DIRECTORY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitSpec {
    /// Where the repository is.
    pub url: String,
    /// A branch, a tag or a commit; the usual branch if empty.
    pub reference: String,
    /// A directory in it; all if empty.
    pub dir: String,
}

impl Remote {
    /// Reads a source of ADD; none if it is a path.
    pub fn of_source(text: &str) -> Option<Self> {
        let has_host = |rest: &str| !rest.is_empty() && !rest.starts_with('/');
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        match scheme {
            "git" | "ssh" if has_host(rest) => Some(Self::Git(GitSpec::parse(text))),
            "http" | "https" if has_host(rest) => {
                let path = text.split(['#', '?']).next().unwrap_or_default();
                let is_git = path.strip_suffix(".git").is_some_and(|path| path.matches('/').count() > 2);
                Some(if is_git { Self::Git(GitSpec::parse(text)) } else { Self::Web(text.to_owned()) })
            }
            _ if is_scp(text) => Some(Self::Git(GitSpec::parse(text))),
            _ => None,
        }
    }

    /// Reads the context of a build: as for ADD, and `github.com/OWNER/NAME`.
    pub fn of_context(text: &str) -> Option<Self> {
        if text.starts_with("github.com/") {
            return Some(Self::Git(GitSpec::parse(&format!("https://{text}"))));
        }
        Self::of_source(text)
    }
}

/// `git@HOST:PATH`.
fn is_scp(text: &str) -> bool {
    let Some((host, path)) = text.strip_prefix("git@").and_then(|rest| rest.split_once(':')) else { return false };
    !host.is_empty() && !host.contains('/') && !host.starts_with('-') && !path.is_empty()
}

impl GitSpec {
    /// After `#` it is `REFERENCE:DIRECTORY`; after `?` fields `ref`, `branch`, `tag` and `subdir`.
    fn parse(text: &str) -> Self {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (url, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (reference, dir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut spec = Self { url: url.to_owned(), reference: reference.to_owned(), dir: dir.to_owned() };
        for (name, value) in query.split('&').filter_map(|field| field.split_once('=')) {
            match name {
                "ref" => value.clone_into(&mut spec.reference),
                "branch" => spec.reference = format!("refs/heads/{value}"),
                "tag" => spec.reference = format!("refs/tags/{value}"),
                "subdir" => value.clone_into(&mut spec.dir),
                _ => {}
            }
        }
        spec
    }
}

/// A URL without who we are.
pub(super) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(url: &str, reference: &str, dir: &str) -> Option<Remote> {
        Some(Remote::Git(GitSpec { url: url.to_owned(), reference: reference.to_owned(), dir: dir.to_owned() }))
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("https://me:p@ss@h/x@y.git"), "https://h/x@y.git");
        assert_eq!(shown("git@h:x"), "git@h:x");
    }

    #[test]
    fn urls_are_files_or_repositories() {
        for (text, expected) in [
            ("https://h/x.git", git("https://h/x.git", "", "")),
            ("https://h/x.git#v1:a/b", git("https://h/x.git", "v1", "a/b")),
            ("https://h/x.git#:a", git("https://h/x.git", "", "a")),
            ("https://h/x.git?tag=v1&subdir=a", git("https://h/x.git", "refs/tags/v1", "a")),
            ("git://h/x#main", git("git://h/x", "main", "")),
            ("ssh://git@h:22/x.git", git("ssh://git@h:22/x.git", "", "")),
            ("git@h:team/x.git#v1", git("git@h:team/x.git", "v1", "")),
            ("https://h/x.tgz", Some(Remote::Web("https://h/x.tgz".to_owned()))),
            ("http://h/x.git.tar?a=b.git", Some(Remote::Web("http://h/x.git.tar?a=b.git".to_owned()))),
            ("https://", None),
            ("https:///x", None),
            ("ftp://h/x", None),
            ("dir/x.git", None),
            ("git@h", None),
            ("git@-oProxyCommand=x:y", None),
            ("github.com/a/b", None),
        ] {
            assert_eq!(Remote::of_source(text), expected, "{text}");
        }
        assert_eq!(Remote::of_context("github.com/a/b#main"), git("https://github.com/a/b", "main", ""));
    }
}
