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
    /// What the commit begins with.
    pub checksum: String,
    /// Leaves `.git` in the tree.
    pub keep_git_dir: bool,
    /// Leaves out the repositories in it.
    pub without_submodules: bool,
}

/// A query that says what no repository knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(String);

impl Remote {
    /// Reads a source of ADD; none if it is a path.
    ///
    /// # Errors
    /// When the query of a repository is none.
    pub fn of_source(text: &str) -> Result<Option<Self>, QueryError> {
        let has_host = |rest: &str| !rest.is_empty() && !rest.starts_with('/');
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let git = || Ok(Some(Self::Git(GitSpec::parse(text)?)));
        match scheme {
            "git" | "ssh" if has_host(rest) => git(),
            "http" | "https" if has_host(rest) => {
                let path = text.split(['#', '?']).next().unwrap_or_default();
                let is_git = path.strip_suffix(".git").is_some_and(|path| path.matches('/').count() > 2);
                if is_git { git() } else { Ok(Some(Self::Web(text.to_owned()))) }
            }
            _ if is_scp(text) => git(),
            _ => Ok(None),
        }
    }

    /// Reads the context of a build: as for ADD, and `github.com/OWNER/NAME`.
    ///
    /// # Errors
    /// When the query of a repository is none.
    pub fn of_context(text: &str) -> Result<Option<Self>, QueryError> {
        if text.starts_with("github.com/") {
            return Ok(Some(Self::Git(GitSpec::parse(&format!("https://{text}"))?)));
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
    /// After `#` it is `REFERENCE:DIRECTORY`; after `?` fields with the names that BuildKit gives them.
    fn parse(text: &str) -> Result<Self, QueryError> {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (url, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (reference, dir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut spec =
            Self { url: url.to_owned(), reference: reference.to_owned(), dir: dir.to_owned(), ..Self::default() };
        let mut seen = Vec::new();
        for field in query.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            if seen.contains(&name) {
                return Err(QueryError(format!("query {name:?} has multiple values")));
            }
            seen.push(name);
            spec.field(name, value)?;
        }
        Ok(spec)
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        let is_switch = matches!(name, "submodules" | "keep-git-dir" | "fetch-by-commit");
        if value.is_empty() && !is_switch {
            return Err(QueryError(format!("query {name:?} has no value")));
        }
        let switch = || match value {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(QueryError(format!("invalid {name} value: {value:?}"))),
        };
        let below =
            |prefix: &str| if value.starts_with(prefix) { value.to_owned() } else { format!("{prefix}{value}") };
        match name {
            "ref" => once("ref", &mut self.reference, value.to_owned()),
            "branch" => once("ref", &mut self.reference, below("refs/heads/")),
            "tag" => once("ref", &mut self.reference, below("refs/tags/")),
            "subdir" => once("subdir", &mut self.dir, value.to_owned()),
            "checksum" | "commit" => once("checksum", &mut self.checksum, value.to_owned()),
            "keep-git-dir" => switch().map(|keep| self.keep_git_dir = keep),
            "submodules" => switch().map(|with| self.without_submodules = !with),
            // The commit is fetched by its id where the server gives it, and its time is that of the files.
            "fetch-by-commit" => switch().map(drop),
            "mtime" if matches!(value, "checkout" | "commit") => Ok(()),
            "mtime" => Err(QueryError(format!("invalid mtime value: {value:?} (must be \"checkout\" or \"commit\")"))),
            _ => Err(QueryError(format!("unexpected query {name:?}"))),
        }
    }
}

/// Takes a value that was not given yet, or is the same.
fn once(name: &str, place: &mut String, value: String) -> Result<(), QueryError> {
    if !place.is_empty() && *place != value {
        return Err(QueryError(format!("{name} conflicts: {place:?} vs {value:?}")));
    }
    *place = value;
    Ok(())
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
        let (url, reference, dir) = (url.to_owned(), reference.to_owned(), dir.to_owned());
        Some(Remote::Git(GitSpec { url, reference, dir, ..GitSpec::default() }))
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
            assert_eq!(Remote::of_source(text), Ok(expected), "{text}");
        }
        assert_eq!(Remote::of_context("github.com/a/b#main"), Ok(git("https://github.com/a/b", "main", "")));
    }

    #[test]
    fn queries_say_what_of_a_repository() {
        let parse = |query: &str| match Remote::of_source(&format!("https://h/x.git{query}")) {
            Ok(Some(Remote::Git(spec))) => Ok(spec),
            Ok(other) => panic!("{query}: {other:?}"),
            Err(error) => Err(error.to_string()),
        };
        let spec = parse("?ref=main&subdir=a&commit=0af1&keep-git-dir&submodules=false&mtime=commit#main:a").unwrap();
        assert_eq!((spec.reference.as_str(), spec.dir.as_str(), spec.checksum.as_str()), ("main", "a", "0af1"));
        assert!(spec.keep_git_dir && spec.without_submodules);
        assert!(!parse("?keep-git-dir=0&submodules").unwrap().without_submodules);
        for (query, expected) in [
            ("?colour=red", "unexpected query \"colour\""),
            ("?ref=", "query \"ref\" has no value"),
            ("?ref=a&ref=b", "query \"ref\" has multiple values"),
            ("?ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("?tag=a#b", "ref conflicts: \"b\" vs \"refs/tags/a\""),
            ("?tag=a&branch=a", "ref conflicts: \"refs/tags/a\" vs \"refs/heads/a\""),
            ("?subdir=a#:b", "subdir conflicts: \"b\" vs \"a\""),
            ("?keep-git-dir=maybe", "invalid keep-git-dir value: \"maybe\""),
            ("?mtime=now", "invalid mtime value: \"now\" (must be \"checkout\" or \"commit\")"),
        ] {
            assert_eq!(parse(query), Err(expected.to_owned()), "{query}");
        }
    }
}
