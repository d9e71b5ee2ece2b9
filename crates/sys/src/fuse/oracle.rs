//! Overlayfs as the oracle: programs that do the same things on it and on ours see the same, and it reads what we wrote.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, RenameFlags, XattrFlags};
use rustix::io::{Errno, Result};
use strata_types::mount::{Access, Mount, MountPlan, Union as How, Upper};

use super::{copy_up, probe, union};
use crate::assemble::assemble;
use crate::layer_mounts::LayerMounts;

/// Few, so that they meet; some are in layers.
const NAMES: [&str; 10] =
    ["a", "b", "dir", "dir/a", "dir/sub", "dir/sub/a", "other", "other/a", "other/twin", "other/sub"];

#[derive(Clone, Debug)]
enum Act {
    Write(&'static str, usize),
    Truncate(&'static str),
    MakeDir(&'static str),
    Remove(&'static str),
    RemoveAll(&'static str),
    Rename(&'static str, &'static str, u32),
    Link(&'static str, &'static str),
    Symlink(&'static str),
    Mode(&'static str, u32),
    Owner(&'static str, u32),
    Attribute(&'static str),
}

impl Act {
    fn any() -> impl Strategy<Value = Self> {
        let name = || prop::sample::select(NAMES.to_vec());
        prop_oneof![
            (name(), 0..5000usize).prop_map(|(name, length)| Self::Write(name, length)),
            name().prop_map(Self::Truncate),
            name().prop_map(Self::MakeDir),
            name().prop_map(Self::Remove),
            name().prop_map(Self::RemoveAll),
            (name(), name(), 0..3u32).prop_map(|(from, to, flags)| Self::Rename(from, to, flags)),
            (name(), name()).prop_map(|(from, to)| Self::Link(from, to)),
            name().prop_map(Self::Symlink),
            (name(), 0o400..0o7777u32).prop_map(|(name, mode)| Self::Mode(name, mode)),
            (name(), 0..9u32).prop_map(|(name, owner)| Self::Owner(name, owner)),
            name().prop_map(Self::Attribute),
        ]
    }

    fn on(&self, root: &Path) -> Result<()> {
        let done = match self {
            Self::Write(name, length) => fs::write(root.join(name), vec![b'w'; *length]),
            Self::Truncate(name) => {
                fs::File::options().append(true).open(root.join(name)).and_then(|file| file.set_len(3))
            }
            Self::MakeDir(name) => fs::create_dir(root.join(name)),
            Self::Remove(name) => fs::remove_file(root.join(name)).or_else(|_| fs::remove_dir(root.join(name))),
            Self::RemoveAll(name) => fs::remove_dir_all(root.join(name)),
            Self::Rename(from, to, flags) => {
                let flags = RenameFlags::from_bits_retain(*flags);
                return rustix::fs::renameat_with(CWD, root.join(from), CWD, root.join(to), flags);
            }
            Self::Link(from, to) => {
                return rustix::fs::linkat(CWD, root.join(from), CWD, root.join(to), AtFlags::empty());
            }
            Self::Symlink(name) => std::os::unix::fs::symlink("nowhere", root.join(name)),
            Self::Mode(name, mode) => fs::set_permissions(root.join(name), fs::Permissions::from_mode(*mode)),
            Self::Owner(name, owner) => std::os::unix::fs::lchown(root.join(name), Some(*owner), None),
            Self::Attribute(name) => {
                return rustix::fs::setxattr(root.join(name), "user.mark", b"1", XattrFlags::empty());
            }
        };
        done.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

/// Everything below a directory, by path.
fn tree(dir: &Path, below: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), below.join(entry.file_name()));
        let about = fs::symlink_metadata(&path).unwrap();
        let kind = entry.file_type().unwrap();
        let content = match () {
            () if kind.is_dir() => String::new(),
            () if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            () => fs::read_to_string(&path).unwrap(),
        };
        let names = if kind.is_symlink() { Vec::new() } else { attributes(&path) };
        let line = format!("{:o} {} {} {names:?} {content}", about.mode(), about.uid(), about.gid());
        found.insert(name.clone(), line);
        if kind.is_dir() {
            tree(&path, &name, found);
        }
    }
}

fn attributes(path: &Path) -> Vec<String> {
    let names = copy_up::attribute_names(path.to_str().unwrap()).unwrap();
    names.into_iter().map(|name| name.into_string().unwrap()).filter(|name| name.starts_with("user.")).collect()
}

/// Two layers and a place for changes, below `dir`.
fn layers(dir: &Path) -> (Vec<Mount>, Upper) {
    for made in ["low/dir/sub", "low/other", "high/dir", "upper", "work"] {
        fs::create_dir_all(dir.join(made)).unwrap();
    }
    for file in ["low/a", "low/dir/a", "low/dir/sub/a", "low/other/a", "high/dir/b"] {
        fs::write(dir.join(file), file).unwrap();
    }
    fs::hard_link(dir.join("low/other/a"), dir.join("low/other/twin")).unwrap();
    let gone = dir.join("high/dir/a");
    rustix::fs::mknodat(CWD, gone, rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty(), 0).unwrap();
    let lower = ["high", "low"].map(|name| Mount::Dir(dir.join(name))).to_vec();
    (lower, Upper { dir: dir.join("upper"), work: dir.join("work"), volatile: true })
}

fn mounted(how: How, dir: &Path, parts: &(Vec<Mount>, Upper)) -> io::Result<(OwnedFd, PathBuf)> {
    let root = Mount::Union { how, lower: parts.0.clone(), upper: Some(parts.1.clone()) };
    let plan = MountPlan { root, access: Access::ReadWrite };
    let mount = assemble(&plan, &LayerMounts::new(dir, dir))?;
    let path = PathBuf::from(union::by_descriptor(mount.as_fd()));
    Ok((mount, path))
}

fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    tree(root, Path::new(""), &mut found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_programs_do_overlayfs_shows_the_same(acts in prop::collection::vec(Act::any(), 1..40)) {
        if probe().is_err() {
            println!("skipped: FUSE");
            return Ok(());
        }
        let [ours, theirs] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (parts, oracle) = (layers(ours.path()), layers(theirs.path()));
        let Ok((_their_mount, their_root)) = mounted(How::Overlay, theirs.path(), &oracle) else {
            println!("skipped: overlayfs on the filesystem of temporary files");
            return Ok(());
        };
        let (mount, root) = mounted(How::Fuse, ours.path(), &parts).unwrap();
        for act in &acts {
            prop_assert_eq!(act.on(&root), act.on(&their_root), "{:?} of {:?}", act, acts);
        }
        let shown = seen(&root);
        prop_assert_eq!(&shown, &seen(&their_root), "after {:?}", acts);
        // What lies on the disk is what overlayfs would have written.
        drop(mount);
        let (_mount, root) = mounted(How::Overlay, ours.path(), &parts).unwrap();
        prop_assert_eq!(&shown, &seen(&root), "read by overlayfs after {:?}", acts);
    }
}
