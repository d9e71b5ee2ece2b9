//! Names from tars, made safe: relative, clean, bounded.
//!
//! The policy is Docker's and containerd's: an absolute name is taken relative to the layer's root, `.` and empty
//! components vanish, `..` removes the component before it, and a name that climbs out of the root is refused.

use std::fmt;

/// The longest component: `NAME_MAX` of Linux.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest path: `PATH_MAX` of Linux, with its final NUL.
pub const PATH_BYTES_MAX: usize = 4095;

/// How deep directories may be nested: whoever walks them holds a descriptor of each level. Nobody needs the 2048 for which
/// a path has room.
pub const DEPTH_MAX: usize = 512;
/// The longest path of a directory that can hold any name.
pub(crate) const DIR_BYTES_MAX: usize = PATH_BYTES_MAX - NAME_BYTES_MAX - 1;

/// A path below a layer's root: no leading slash, no `.`, `..`, empty component or NUL; empty for the root itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LayerPath(Vec<u8>);

/// Why a name from a tar cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// The tar's header has no name.
    #[error("the name is empty")]
    Empty,
    /// The name would end in the middle for the kernel.
    #[error("the name contains a NUL byte")]
    Nul,
    /// `..` goes above the root.
    #[error("the name leaves the layer's root")]
    Escapes,
    /// A component is longer than any filesystem takes.
    #[error("a component of the name is longer than {NAME_BYTES_MAX} bytes")]
    NameLength,
    /// The whole is longer than the kernel takes.
    #[error("the name is longer than {PATH_BYTES_MAX} bytes")]
    PathLength,
}

impl LayerPath {
    /// The layer's root.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Parses a name as it stands in a tar.
    pub fn parse(raw: &[u8]) -> Result<Self, PathProblem> {
        if raw.is_empty() {
            return Err(PathProblem::Empty);
        }
        if raw.contains(&0) {
            return Err(PathProblem::Nul);
        }
        let mut clean = Vec::with_capacity(raw.len());
        for component in raw.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." if clean.is_empty() => return Err(PathProblem::Escapes),
                b".." => clean.truncate(clean.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
                name if name.len() > NAME_BYTES_MAX => return Err(PathProblem::NameLength),
                name => {
                    if !clean.is_empty() {
                        clean.push(b'/');
                    }
                    clean.extend_from_slice(name);
                }
            }
        }
        if clean.len() > PATH_BYTES_MAX {
            return Err(PathProblem::PathLength);
        }
        Ok(Self(clean))
    }

    /// The path of `name`, one component, in this directory.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathProblem> {
        if name.contains(&b'/') || name == b".." || name == b"." {
            return Err(PathProblem::Escapes);
        }
        if name.is_empty() || name.contains(&0) {
            return Err(if name.is_empty() { PathProblem::Empty } else { PathProblem::Nul });
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(PathProblem::NameLength);
        }
        let mut joined = Vec::with_capacity(self.0.len() + 1 + name.len());
        joined.extend_from_slice(&self.0);
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(name);
        if joined.len() > PATH_BYTES_MAX { Err(PathProblem::PathLength) } else { Ok(Self(joined)) }
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the layer's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components from the root down; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// The directory's bytes and the last component; `None` for the root.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => Some((&self.0[..slash], &self.0[slash + 1..])),
            None => Some((b"", &self.0)),
        }
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.split().map(|(_, name)| name)
    }

    /// The directory it is in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        self.split().map(|(dir, _)| Self(dir.to_vec()))
    }

    /// Whether it is `dir` or below it.
    pub fn is_below(&self, dir: &Self) -> bool {
        match self.0.strip_prefix(dir.as_bytes()) {
            Some(rest) => dir.is_root() || rest.is_empty() || rest[0] == b'/',
            None => false,
        }
    }
}

impl fmt::Display for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A name from a tar fit for a message: printable and short.
pub(crate) fn shown(raw: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 200;
    if raw.len() <= SHOWN_BYTES_MAX {
        return raw.escape_ascii().to_string();
    }
    format!("{}…", raw[..SHOWN_BYTES_MAX].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expected: Result<&str, PathProblem>) {
        let parsed = LayerPath::parse(raw.as_bytes());
        assert_eq!(parsed.as_ref().map(LayerPath::as_bytes), expected.as_ref().map(|path| path.as_bytes()), "{raw:?}");
    }

    #[test]
    fn names_are_made_relative_and_clean() {
        check("etc/passwd", Ok("etc/passwd"));
        check("./etc//passwd/", Ok("etc/passwd"));
        check("/etc/passwd", Ok("etc/passwd"));
        check("///", Ok(""));
        check("./", Ok(""));
        check(".", Ok(""));
        check("a/../b", Ok("b"));
        check("a/b/../../c/.", Ok("c"));
        check("a/..", Ok(""));
        check("...", Ok("..."));
        check("..a/b..", Ok("..a/b.."));
    }

    #[test]
    fn names_that_climb_out_are_refused() {
        for raw in ["..", "../etc/passwd", "/../etc", "a/../../b", "./..", "a/b/../../../c"] {
            check(raw, Err(PathProblem::Escapes));
        }
    }

    #[test]
    fn names_no_kernel_takes_are_refused() {
        check("", Err(PathProblem::Empty));
        check("a\0b", Err(PathProblem::Nul));
        check(&"n".repeat(256), Err(PathProblem::NameLength));
        check(&"n".repeat(255), Ok(&"n".repeat(255)));
        check(&"n/".repeat(2049), Err(PathProblem::PathLength));
        check(&["n"; 2048].join("/"), Ok(&["n"; 2048].join("/")));
    }

    #[test]
    fn a_joined_name_is_one_component() {
        let dir = LayerPath::parse(b"usr").unwrap();
        assert_eq!(dir.join(b"bin").unwrap().as_bytes(), b"usr/bin");
        assert_eq!(LayerPath::root().join(b"bin").unwrap().as_bytes(), b"bin");
        for bad in [&b"a/b"[..], b"..", b".", b"", b"a\0"] {
            assert!(dir.join(bad).is_err());
        }
    }

    #[test]
    fn being_below_counts_whole_components() {
        let path = |raw: &str| LayerPath::parse(raw.as_bytes()).unwrap();
        assert!(path("a/b").is_below(&path("a")));
        assert!(path("a").is_below(&path("a")));
        assert!(path("a").is_below(&LayerPath::root()));
        assert!(!path("ab").is_below(&path("a")));
    }
}
