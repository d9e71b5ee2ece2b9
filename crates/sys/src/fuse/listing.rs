//! Reading directories: what all layers have, each name once, and without what is marked as gone.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{FileType, OFlags};
use rustix::io::{Errno, Result};

use super::copy_up::list;
use super::union::{Found, Union, is_whiteout, stat_in};

/// One entry of a directory as programs see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: OsString,
    pub(super) inode: u64,
    pub(super) kind: FileType,
}

impl Union {
    /// What a directory holds now, itself and its parent first.
    pub(super) fn list(&self, node: u64) -> Result<Vec<Listed>> {
        let dir = self.nodes.at(node)?;
        let parent =
            self.nodes.name(node)?.map_or(Ok(dir.inode), |(parent, _)| self.nodes.at(parent).map(|up| up.inode))?;
        let listed = |name: &str, inode| Listed { name: name.into(), inode, kind: FileType::Directory };
        let mut found = vec![listed(".", dir.inode), listed("..", parent)];
        match self.nodes.path(node) {
            Ok(path) => self.list_at(&dir.layers, &path, &mut |entry| {
                found.push(entry);
                true
            })?,
            // Nobody can put anything into a directory that was removed.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    /// Shows what some layers have in a directory, until `see` says that it is enough.
    fn list_at(&self, layers: &[usize], path: &Path, see: &mut dyn FnMut(Listed) -> bool) -> Result<()> {
        let mut seen: HashSet<OsString> = HashSet::new();
        for (position, layer) in layers.iter().enumerate() {
            let dir = self.open_at(*layer, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let is_last = position + 1 == layers.len();
            for (name, inode, mut kind) in list(dir.as_fd())? {
                let inode = if self.is_upper(*layer) { *self.moved.get(&inode).unwrap_or(&inode) } else { inode };
                if seen.contains(&name) {
                    continue;
                }
                let mut is_gone = false;
                if matches!(kind, FileType::CharacterDevice | FileType::Unknown)
                    && let Some(stat) = stat_in(dir.as_fd(), &name)?
                {
                    kind = FileType::from_raw_mode(stat.st_mode);
                    is_gone = is_whiteout(&stat);
                }
                if !is_last {
                    seen.insert(name.clone());
                }
                if !is_gone && !see(Listed { name, inode, kind }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Whether a directory of the union is empty.
pub(super) fn is_empty(union: &Union, parent: u64, name: &OsStr, found: &Found) -> Result<bool> {
    let mut is_empty = true;
    union.list_at(&found.layers, &union.nodes.path(parent)?.join(name), &mut |_| {
        is_empty = false;
        false
    })?;
    Ok(is_empty)
}

/// What a directory's entry says its kind is (`DT_…` of readdir(3)).
pub(super) fn entry_kind(kind: FileType) -> u32 {
    kind.as_raw_mode() >> 12
}
