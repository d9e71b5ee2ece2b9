//! Trees after hostile and after honest layers.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use strata_testkit::{host, need};

use super::*;
use crate::collect::{file, path, with_kind};
use crate::whiteout::Namespace;
use crate::{Device, Entry, Kind, LayerSink, Result};

const OVERLAY: Whiteouts = Whiteouts::Overlay(Namespace::Trusted);

/// Applies entries; the content of a file is its path.
fn apply(root: &Path, whiteouts: Whiteouts, items: &[Entry]) -> Result<()> {
    let options = Options { whiteouts, power: Power::here() };
    let mut applier = Applier::new(File::open(root).unwrap().into(), options)?;
    for entry in items {
        let content = entry.path.as_bytes();
        let mut entry = entry.clone();
        if entry.is_file() {
            entry.kind = Kind::File { size_bytes: content.len() as u64, sparse: None };
        }
        applier.entry(&entry, 0)?;
        if entry.is_file() {
            applier.data(0, content)?;
            applier.end()?;
        }
    }
    applier.finish()
}

/// A root inside a directory with something outside that root worth reaching.
fn prison() -> (tempfile::TempDir, std::path::PathBuf) {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = outside.path().join("root");
    std::fs::create_dir(&root).unwrap();
    (outside, root)
}

fn names(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    walk(File::open(root).unwrap().as_fd(), &mut |entry, _| {
        names.push(String::from_utf8(entry.path.as_bytes().to_vec()).unwrap());
        Ok(())
    })
    .unwrap();
    names
}

#[test]
fn links_do_not_lead_out_of_the_root() {
    need!(host::root());
    for target in ["/", "..", "../..", "/..", "../../../../../../../"] {
        let (outside, root) = prison();
        let link = with_kind("out", Kind::Symlink { target: target.into() });
        apply(&root, OVERLAY, &[link, file("out/secret", 0), file("out/new", 0)]).unwrap();
        assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
        assert!(!outside.path().join("new").exists());
        assert_eq!(names(&root), ["new", "out", "secret"], "{target}");
    }
}

#[test]
fn hard_links_do_not_reach_out_of_the_root() {
    need!(host::root());
    let (outside, root) = prison();
    symlink(outside.path(), root.join("out")).unwrap();
    let link = with_kind("stolen", Kind::Hardlink { target: path("out/secret") });
    let error = apply(&root, OVERLAY, &[link]).unwrap_err();
    assert_eq!(error.to_string(), "cannot apply `stolen`: the file it links to is not in the layer");
    // A link to a link is one more name of the link.
    symlink("/secret", root.join("link")).unwrap();
    let again = with_kind("again", Kind::Hardlink { target: path("link") });
    apply(&root, OVERLAY, &[again]).unwrap();
    assert!(root.join("again").is_symlink());
}

#[test]
fn a_link_in_the_place_of_a_file_is_replaced_and_not_followed() {
    need!(host::root());
    let (outside, root) = prison();
    let link = with_kind("file", Kind::Symlink { target: b"../secret".to_vec() });
    apply(&root, OVERLAY, &[link.clone(), file("file", 0)]).unwrap();
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read(root.join("file")).unwrap(), b"file");
    // The mode and time of a directory do not go through a link that took its place.
    let mode = std::fs::metadata(outside.path()).unwrap().mode();
    let dir = Entry { mode: 0, ..with_kind("dir", Kind::Dir) };
    let over = with_kind("dir", Kind::Symlink { target: b"..".to_vec() });
    apply(&root, OVERLAY, &[dir, over]).unwrap();
    assert_eq!(std::fs::metadata(outside.path()).unwrap().mode(), mode);
}

#[test]
fn devices_are_made_only_with_privilege() {
    need!(host::root());
    let (_outside, root) = prison();
    let null = with_kind("null", Kind::Char(Device { major: 1, minor: 3 }));
    let options = Options { whiteouts: OVERLAY, power: Power::Person };
    let mut applier = Applier::new(File::open(&root).unwrap().into(), options).unwrap();
    applier.entry(&null, 0).unwrap();
    applier.entry(&file("owned", 0), 0).unwrap();
    applier.end().unwrap();
    applier.finish().unwrap();
    assert_eq!(names(&root), ["owned"]);
    apply(&root, OVERLAY, &[null]).unwrap();
    assert_eq!(std::fs::metadata(root.join("null")).unwrap().rdev(), rustix::fs::makedev(1, 3));
}

#[test]
fn executed_whiteouts_remove_what_is_below_and_never_their_own_layer() {
    need!(host::root());
    let (_outside, root) = prison();
    let below =
        ["a", "dir/old", "dir/deep/old", "opaque/old", "opaque/deep/old", "kept"].map(|name| file(name, 0)).to_vec();
    apply(&root, Whiteouts::Execute, &below).unwrap();
    let layer = [
        file(".wh.a", 0),
        file("opaque/new", 0),
        file("opaque/.wh..wh..opq", 0),
        file("dir/new", 0),
        file(".wh.dir", 0),
        file(".wh.never-there", 0),
        file("b", 0),
        file(".wh.b", 0),
    ];
    apply(&root, Whiteouts::Execute, &layer).unwrap();
    assert_eq!(names(&root), ["b", "dir", "dir/new", "kept", "opaque", "opaque/new"]);
}

#[test]
fn what_is_executed_is_what_an_overlay_shows() {
    need!(host::root());
    strata_testkit::private::mounts();
    let work = tempfile::tempdir().unwrap();
    let dir = |name: &str| {
        let dir = work.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    };
    let below = ["a", "b/c", "b/d/e", "f/g", "h/i"].map(|name| file(name, 0)).to_vec();
    let layer = [
        file(".wh.a", 0),
        file("b/.wh.d", 0),
        with_kind("b/d", Kind::Dir),
        file("b/d/new", 0),
        file("f/.wh..wh..opq", 0),
        file("f/new", 0),
        file(".wh.h", 0),
    ];
    let (lower, upper, executed) = (dir("lower"), dir("upper"), dir("executed"));
    apply(&lower, OVERLAY, &below).unwrap();
    apply(&upper, OVERLAY, &layer).unwrap();
    apply(&executed, Whiteouts::Execute, &below).unwrap();
    apply(&executed, Whiteouts::Execute, &layer).unwrap();
    let options = format!("lowerdir={}:{}", upper.display(), lower.display());
    let attributes = rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mount = strata_sys::detached::filesystem("overlay", &[&options], attributes).unwrap();
    let mut shown = Vec::new();
    walk(mount.as_fd(), &mut |entry, _| {
        shown.push(String::from_utf8(entry.path.as_bytes().to_vec()).unwrap());
        Ok(())
    })
    .unwrap();
    assert_eq!(shown, names(&executed));
    assert_eq!(shown, ["b", "b/c", "b/d", "b/d/new", "f", "f/new"]);
}

#[test]
fn set_id_bits_survive_the_change_of_owner() {
    need!(host::root());
    let (_outside, root) = prison();
    let entry = Entry { mode: 0o6755, uid: 1, gid: 2, ..file("suid", 0) };
    apply(&root, OVERLAY, &[entry]).unwrap();
    let metadata = std::fs::metadata(root.join("suid")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o6755, 1, 2));
}

#[test]
fn sockets_are_passed_over_and_pipes_do_not_block() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let root = File::open(dir.path()).unwrap();
    let mode = rustix::fs::Mode::from(0o600);
    rustix::fs::mknodat(&root, "pipe", rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(names(dir.path()), ["pipe"]);
}

#[test]
fn one_entry_is_found_without_following_the_link_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("real")).unwrap();
    std::fs::write(dir.path().join("real/file"), "x").unwrap();
    symlink("/real", dir.path().join("alias")).unwrap();
    let root = File::open(dir.path()).unwrap();
    let find = |name: &str| entry_at(root.as_fd(), &path(name)).unwrap().map(|entry| entry.kind);
    assert_eq!(find("alias"), Some(Kind::Symlink { target: b"/real".to_vec() }));
    assert_eq!(find("alias/file"), Some(Kind::File { size_bytes: 1, sparse: None }));
    assert_eq!(find("real/file/none"), None);
    assert_eq!(find("none"), None);
    assert_eq!(find("./"), Some(Kind::Dir));
}
