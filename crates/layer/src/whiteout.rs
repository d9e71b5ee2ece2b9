//! How a layer says that something below it is gone.
//!
//! | form | gone | contents gone |
//! |---|---|---|
//! | OCI (in tars) | file `.wh.NAME` | file `.wh..wh..opq` in the directory |
//! | overlay (on disk) | character device 0:0 `NAME`, or an empty file with `overlay.whiteout` in an `x` directory | `overlay.opaque` = `y` on the directory |
//! | aufs (on disk) | as in tars | as in tars |
//!
//! Names that begin with `.wh..wh.` other than the opaque mark (`.wh..wh.plnk`, `.wh..wh.aufs`) are bookkeeping of aufs:
//! they are passed over, as Docker does. `.wh.`, `.wh..` and `.wh...` would remove the directory itself or its parent:
//! they are refused.

use strata_types::mount::{PLACE_MARK, PLACE_MARK_OF_A_PERSON};

use crate::path::shown;
use crate::{Device, Entry, Error, Kind, LayerPath, Result, Time, Xattr};

/// What every whiteout's name begins with.
pub const PREFIX: &[u8] = b".wh.";
/// The name of the mark that hides all that is below a directory.
pub const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// What a name in a layer's tar says about layers below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing: it is an entry like any other.
    Plain,
    /// What is at this path in layers below is gone.
    Removes(LayerPath),
    /// What layers below have in this directory is gone.
    Opaque(LayerPath),
    /// Bookkeeping of aufs, no part of the tree.
    Ignored,
}

/// Says what `path` means in a tar.
pub fn meaning(path: &LayerPath) -> Result<Meaning> {
    let Some((dir, name)) = path.split() else { return Ok(Meaning::Plain) };
    let Some(rest) = name.strip_prefix(PREFIX) else { return Ok(Meaning::Plain) };
    if name == OPAQUE_NAME {
        return Ok(Meaning::Opaque(path.parent().unwrap_or_default()));
    }
    if name.starts_with(AUFS_PREFIX) {
        return Ok(Meaning::Ignored);
    }
    if matches!(rest, b"" | b"." | b"..") {
        return Err(Error::Header { entry: shown(path.as_bytes()), problem: "a whiteout of no name" });
    }
    let dir = if dir.is_empty() { LayerPath::root() } else { path.parent().unwrap_or_default() };
    let removed = dir.join(rest).map_err(|source| Error::Path { entry: shown(path.as_bytes()), source })?;
    Ok(Meaning::Removes(removed))
}

/// Where overlayfs keeps its marks: `trusted.` needs privilege, `user.` goes with the mount option `userxattr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// `trusted.overlay.`
    Trusted,
    /// `user.overlay.`
    User,
}

impl Namespace {
    /// What the names of all marks begin with.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Trusted => b"trusted.overlay.",
            Self::User => b"user.overlay.",
        }
    }

    /// The attribute that makes a directory opaque.
    pub fn opaque(self) -> Xattr {
        Xattr { name: [self.prefix(), b"opaque"].concat(), value: b"y".to_vec() }
    }
}

/// Whether overlayfs would take `name` for a mark of its own; such attributes never pass from or to an image.
pub fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(Namespace::Trusted.prefix()) || name.starts_with(Namespace::User.prefix())
}

/// Whether an attribute of this name means something to us or to overlayfs: no image may say that of its files.
pub(crate) fn is_mark(name: &[u8]) -> bool {
    is_overlay_xattr(name) || [PLACE_MARK, PLACE_MARK_OF_A_PERSON].map(str::as_bytes).contains(&name)
}

/// The entry by which overlayfs knows that `path` is gone.
pub fn overlay_device(path: LayerPath) -> Entry {
    let kind = Kind::Char(Device { major: 0, minor: 0 });
    Entry { path, kind, mode: 0, uid: 0, gid: 0, mtime: Time::default(), xattrs: Vec::new() }
}

/// The entry by which a tar says that `path` is gone; `None` for the root, which cannot be.
pub fn oci_file(path: &LayerPath, mtime: Time) -> Result<Option<Entry>> {
    let Some((_, name)) = path.split() else { return Ok(None) };
    let dir = path.parent().unwrap_or_default();
    let marked =
        dir.join(&[PREFIX, name].concat()).map_err(|source| Error::Path { entry: shown(path.as_bytes()), source })?;
    Ok(Some(empty_file(marked, mtime)))
}

/// The entry by which a tar says that `dir` hides all that is below it.
pub fn oci_opaque(dir: &LayerPath, mtime: Time) -> Result<Entry> {
    let marked = dir.join(OPAQUE_NAME).map_err(|source| Error::Path { entry: shown(dir.as_bytes()), source })?;
    Ok(empty_file(marked, mtime))
}

fn empty_file(path: LayerPath, mtime: Time) -> Entry {
    let kind = Kind::File { size_bytes: 0, sparse: None };
    Entry { path, kind, mode: 0o600, uid: 0, gid: 0, mtime, xattrs: Vec::new() }
}

/// What an entry found in an overlay's upper directory says about layers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpperMark {
    /// Nothing.
    Plain,
    /// It stands for something gone.
    Whiteout,
    /// A directory that hides all below it.
    Opaque,
}

/// Says what an entry of an upper directory means. `x` as value of `opaque` only says that the directory has
/// whiteouts made of attributes.
pub fn upper_mark(entry: &Entry) -> UpperMark {
    if entry.kind == Kind::Char(Device { major: 0, minor: 0 }) {
        return UpperMark::Whiteout;
    }
    let has = |suffix: &[u8], value: Option<&[u8]>| {
        entry.xattrs.iter().any(|xattr| {
            let rest = [Namespace::Trusted, Namespace::User].iter().find_map(|n| xattr.name.strip_prefix(n.prefix()));
            rest == Some(suffix) && value.is_none_or(|value| xattr.value == value)
        })
    };
    match &entry.kind {
        Kind::Dir if has(b"opaque", Some(b"y")) => UpperMark::Opaque,
        Kind::File { size_bytes: 0, .. } if has(b"whiteout", None) => UpperMark::Whiteout,
        _ => UpperMark::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> LayerPath {
        LayerPath::parse(raw.as_bytes()).unwrap()
    }

    #[test]
    fn whiteouts_are_told_from_names_that_look_like_them() {
        let check = |raw: &str, expected: Meaning| assert_eq!(meaning(&path(raw)).unwrap(), expected, "{raw}");
        check("etc/passwd", Meaning::Plain);
        check("etc/.wh.passwd", Meaning::Removes(path("etc/passwd")));
        check(".wh.etc", Meaning::Removes(path("etc")));
        check("etc/.wh..wh..opq", Meaning::Opaque(path("etc")));
        check(".wh..wh..opq", Meaning::Opaque(LayerPath::root()));
        check(".wh..wh.plnk", Meaning::Ignored);
        check(".wh..wh.aufs", Meaning::Ignored);
        check("a/.wh..hidden", Meaning::Removes(path("a/.hidden")));
        check("a/.wh....", Meaning::Removes(path("a/...")));
        check("a/.wh", Meaning::Plain);
        check("a/x.wh.b", Meaning::Plain);
        check(".wh.a/b", Meaning::Plain);
    }

    #[test]
    fn whiteouts_of_no_name_are_refused() {
        for raw in [".wh.", "a/.wh.", "a/.wh..", "a/.wh...", ".wh..."] {
            assert!(meaning(&path(raw)).is_err(), "{raw}");
        }
    }

    #[test]
    fn both_forms_mean_the_same() {
        let gone = oci_file(&path("etc/passwd"), Time::default()).unwrap().unwrap();
        assert_eq!(meaning(&gone.path).unwrap(), Meaning::Removes(path("etc/passwd")));
        assert_eq!(upper_mark(&overlay_device(path("etc/passwd"))), UpperMark::Whiteout);
        let opaque = oci_opaque(&path("etc"), Time::default()).unwrap();
        assert_eq!(meaning(&opaque.path).unwrap(), Meaning::Opaque(path("etc")));
    }

    #[test]
    fn only_y_is_opaque() {
        let mut dir = Entry::implicit_dir(path("etc"));
        assert_eq!(upper_mark(&dir), UpperMark::Plain);
        for namespace in [Namespace::Trusted, Namespace::User] {
            dir.xattrs = vec![namespace.opaque()];
            assert_eq!(upper_mark(&dir), UpperMark::Opaque);
            dir.xattrs[0].value = b"x".to_vec();
            assert_eq!(upper_mark(&dir), UpperMark::Plain);
        }
    }

    #[test]
    fn an_empty_file_with_the_whiteout_attribute_is_a_whiteout() {
        let mut file = empty_file(path("a"), Time::default());
        file.xattrs = vec![Xattr { name: b"user.overlay.whiteout".to_vec(), value: Vec::new() }];
        assert_eq!(upper_mark(&file), UpperMark::Whiteout);
        file.kind = Kind::File { size_bytes: 1, sparse: None };
        assert_eq!(upper_mark(&file), UpperMark::Plain);
    }
}
