//! The union as programs see it: mounted where only the test reaches it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FallocateFlags, RenameFlags, SeekFrom, XattrFlags};

use super::*;

/// Directories of a union: two lower ones, and what is written.
struct Place {
    _dir: tempfile::TempDir,
    lower: [PathBuf; 2],
    upper: Upper,
}

impl Place {
    /// `above` hides and shows some of `below`.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [above, below, upper, work] = ["above", "below", "upper", "work"].map(|name| dir.path().join(name));
        for made in ["above/merged", "above/opaque", "below/merged", "below/opaque", "below/dir/sub", "upper", "work"] {
            fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        for (path, content) in [
            ("below/merged/low", "low"),
            ("below/merged/both", "below"),
            ("below/merged/gone", "gone"),
            ("below/opaque/hidden", "hidden"),
            ("below/dir/file", "content"),
            ("below/dir/sub/deep", "deep"),
            ("above/merged/both", "above"),
            ("above/merged/high", "high"),
            ("above/opaque/seen", "seen"),
        ] {
            fs::write(dir.path().join(path), content).unwrap();
        }
        let gone = above.join("merged/gone");
        rustix::fs::mknodat(CWD, gone, rustix::fs::FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        rustix::fs::setxattr(above.join("opaque"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        Self { _dir: dir, lower: [above, below], upper: Upper { dir: upper, work, volatile: false } }
    }

    fn mount(&self) -> Mounted {
        self.mount_as(Access::ReadWrite)
    }

    fn mount_as(&self, access: Access) -> Mounted {
        let upper = Some(&self.upper).filter(|_| access == Access::ReadWrite);
        let parts = Parts { lower: &self.lower, upper, access, marks_of_users: false };
        let (mount, server) = start(parts).unwrap();
        Mounted { root: PathBuf::from(union::by_descriptor(mount.as_fd())), server, _mount: mount }
    }

    fn upper(&self, path: &str) -> PathBuf {
        self.upper.dir.join(path)
    }

    fn is_whiteout(&self, path: &str) -> bool {
        fs::symlink_metadata(self.upper(path))
            .is_ok_and(|there| there.mode() & libc::S_IFMT == libc::S_IFCHR && there.rdev() == 0)
    }
}

struct Mounted {
    root: PathBuf,
    server: Pid,
    _mount: OwnedFd,
}

impl Mounted {
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(path)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn rename(&self, from: &str, to: &str, flags: RenameFlags) -> rustix::io::Result<()> {
        rustix::fs::renameat_with(CWD, self.at(from), CWD, self.at(to), flags)
    }
}

/// Says so where this machine cannot do it.
macro_rules! need_fuse {
    () => {
        if let Err(missing) = probe() {
            println!("skipped: {missing}");
            return;
        }
    };
}

fn mode_of(bits: u32) -> fs::Permissions {
    fs::Permissions::from_mode(bits)
}

fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

#[test]
fn layers_are_seen_as_one_and_marks_hide() {
    need_fuse!();
    let place = Place::new();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let seen = place.mount_as(access);
        assert_eq!(seen.list(""), ["dir", "merged", "opaque"]);
        assert_eq!(seen.list("merged"), ["both", "high", "low"]);
        assert_eq!(seen.list("opaque"), ["seen"]);
        assert_eq!((seen.read("merged/both"), seen.read("dir/sub/deep")), ("above".to_owned(), "deep".to_owned()));
        for hidden in ["merged/gone", "opaque/hidden", "dir/nothing", "dir/file/below"] {
            assert!(fs::symlink_metadata(seen.at(hidden)).is_err(), "{hidden}");
        }
        let names = attribute_names_of(&seen.at("opaque"));
        assert_eq!(names, Vec::<String>::new());
    }
    let seen = place.mount_as(Access::ReadOnly);
    let refused = fs::write(seen.at("new"), "").unwrap_err();
    assert_eq!(errno(&refused), Some(Errno::ROFS));
    assert_eq!(fs::read_dir(&place.upper.dir).unwrap().count(), 0);
}

fn attribute_names_of(path: &Path) -> Vec<String> {
    let names = copy_up::attribute_names(path.to_str().unwrap()).unwrap();
    names.into_iter().map(|name| name.into_string().unwrap()).filter(|name| !name.starts_with("security.")).collect()
}

#[test]
fn what_is_written_is_copied_with_all_it_has() {
    need_fuse!();
    let place = Place::new();
    let below = place.lower[1].join("dir/file");
    fs::set_permissions(&below, mode_of(0o640)).unwrap();
    std::os::unix::fs::chown(&below, Some(7), Some(8)).unwrap();
    rustix::fs::setxattr(&below, "user.kept", b"value", XattrFlags::empty()).unwrap();
    File::options().write(true).open(&below).unwrap().write_at(b"end", 1 << 20).unwrap();
    let before = fs::metadata(place.lower[1].join("dir")).unwrap();
    let seen = place.mount();
    let shown = fs::metadata(seen.at("dir/file")).unwrap();
    fs::set_permissions(seen.at("dir/file"), mode_of(0o600)).unwrap();
    let copied = fs::metadata(place.upper("dir/file")).unwrap();
    assert_eq!((copied.mode() & 0o7777, copied.uid(), copied.gid()), (0o600, 7, 8));
    assert_eq!((copied.mtime(), copied.mtime_nsec(), copied.len()), (shown.mtime(), shown.mtime_nsec(), (1 << 20) + 3));
    assert!(copied.blocks() <= 32, "{} blocks", copied.blocks());
    assert_eq!(attribute_names_of(&place.upper("dir/file")), ["user.kept"]);
    let dir = fs::metadata(place.upper("dir")).unwrap();
    assert_eq!((dir.mtime(), dir.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
    assert_eq!(fs::metadata(seen.at("dir/file")).unwrap().ino(), shown.ino());
    assert_eq!(fs::metadata(below).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn who_reads_a_layers_file_is_not_disturbed_by_who_writes_it() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    let path = seen.at("dir/file");
    let mut reader = File::open(&path).unwrap();
    let inode = reader.metadata().unwrap().ino();
    fs::write(&path, "changed").unwrap();
    let mut appender = File::options().append(true).open(&path).unwrap();
    appender.write_all(b" twice").unwrap();
    assert_eq!(seen.read("dir/file"), "changed twice");
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert_eq!(fs::read_to_string(place.upper("dir/file")).unwrap(), "changed twice");
    let mut old = String::new();
    reader.read_to_string(&mut old).unwrap();
    // The kernel may have handed it the layer's file, or not.
    assert!(["content", "changed twice"].contains(&old.as_str()), "{old}");
    drop((reader, appender));
    File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
    assert_eq!(seen.read("dir/file"), "cha");
}

#[test]
fn files_that_the_kernel_took_are_read_without_the_server() {
    need_fuse!();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let version: Vec<u32> = release.split(['.', '-']).map_while(|part| part.parse().ok()).take(2).collect();
    if version < vec![6, 9] {
        println!("skipped: FUSE_PASSTHROUGH");
        return;
    }
    let place = Place::new();
    let seen = place.mount();
    let (lower, mut own) = (File::open(seen.at("dir/file")).unwrap(), File::create_new(seen.at("own")).unwrap());
    own.write_all(b"first ").unwrap();
    let mut content = [0; 7];
    rustix::process::kill_process(seen.server, rustix::process::Signal::STOP).unwrap();
    let (tell, hear) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        lower.read_exact_at(&mut content, 0).unwrap();
        tell.send(content).unwrap();
    });
    let heard = hear.recv_timeout(std::time::Duration::from_secs(20));
    rustix::process::kill_process(seen.server, rustix::process::Signal::CONT).unwrap();
    reader.join().unwrap();
    assert_eq!(heard.as_ref().map(<[u8; 7]>::as_slice), Ok(&b"content"[..]));
    own.write_all(b"second").unwrap();
    assert_eq!(fs::read_to_string(place.upper("own")).unwrap(), "first second");
}

#[test]
fn names_go_and_come_again() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    fs::remove_file(seen.at("dir/file")).unwrap();
    assert!(place.is_whiteout("dir/file"));
    fs::write(seen.at("dir/file"), "again").unwrap();
    assert_eq!(
        (seen.read("dir/file"), seen.list("dir")),
        ("again".to_owned(), vec!["file".to_owned(), "sub".to_owned()])
    );
    fs::remove_file(seen.at("dir/file")).unwrap();
    assert!(place.is_whiteout("dir/file"));
    assert_eq!(errno(&fs::remove_dir(seen.at("dir")).unwrap_err()), Some(Errno::NOTEMPTY));
    fs::remove_dir_all(seen.at("dir")).unwrap();
    assert!(place.is_whiteout("dir"));
    fs::create_dir(seen.at("dir")).unwrap();
    assert_eq!(seen.list("dir"), Vec::<String>::new());
    std::os::unix::fs::symlink("target", seen.at("dir/file")).unwrap();
    assert_eq!(fs::read_link(seen.at("dir/file")).unwrap(), Path::new("target"));
    fs::write(seen.at("merged/gone"), "back").unwrap();
    assert_eq!(seen.read("merged/gone"), "back");
    fs::remove_file(seen.at("merged/gone")).unwrap();
    // A mark of the layer above hides it anyway.
    assert!(!place.upper("merged/gone").exists());
    // The next server sees the same.
    drop(seen);
    let seen = place.mount();
    assert_eq!(seen.list("dir"), ["file"]);
    assert_eq!(seen.list("merged"), ["both", "high", "low"]);
}

#[test]
fn renaming_leaves_marks_and_takes_what_is_its_own() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    let plain = RenameFlags::empty();
    seen.rename("dir/file", "dir/other", plain).unwrap();
    assert!(place.is_whiteout("dir/file"));
    assert_eq!(seen.read("dir/other"), "content");
    assert_eq!(seen.rename("dir/other", "merged/low", RenameFlags::NOREPLACE), Err(Errno::EXIST));
    seen.rename("dir/other", "merged/low", plain).unwrap();
    assert_eq!((seen.read("merged/low"), seen.list("dir")), ("content".to_owned(), vec!["sub".to_owned()]));
    seen.rename("merged/low", "merged/both", RenameFlags::EXCHANGE).unwrap();
    assert_eq!((seen.read("merged/low"), seen.read("merged/both")), ("above".to_owned(), "content".to_owned()));
    assert_eq!(seen.rename("dir", "elsewhere", plain), Err(Errno::XDEV));
    assert_eq!(seen.rename("merged/low", "merged/high", RenameFlags::WHITEOUT), Err(Errno::INVAL));
    // A directory of its own goes anywhere, also where a layer's was.
    fs::create_dir(seen.at("own")).unwrap();
    fs::write(seen.at("own/inside"), "inside").unwrap();
    assert_eq!(seen.rename("own", "opaque", plain), Err(Errno::NOTEMPTY));
    fs::remove_file(seen.at("opaque/seen")).unwrap();
    seen.rename("own", "opaque", plain).unwrap();
    assert_eq!((seen.list("opaque"), seen.read("opaque/inside")), (vec!["inside".to_owned()], "inside".to_owned()));
    fs::remove_dir_all(seen.at("dir")).unwrap();
    seen.rename("opaque", "dir", plain).unwrap();
    assert_eq!(seen.list(""), ["dir", "merged"]);
    assert!(place.is_whiteout("opaque"));
    fs::create_dir(seen.at("opaque")).unwrap();
    seen.rename("dir", "opaque", RenameFlags::EXCHANGE).unwrap();
    assert_eq!((seen.list("dir"), seen.list("opaque")), (vec![], vec!["inside".to_owned()]));
    drop(seen);
    let seen = place.mount();
    assert_eq!(
        (seen.list("dir"), seen.list("opaque"), seen.list("")),
        (vec![], vec!["inside".into()], vec!["dir".into(), "merged".into(), "opaque".into()])
    );
}

#[test]
fn names_of_one_file_are_one_file() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    fs::hard_link(seen.at("dir/file"), seen.at("twin")).unwrap();
    fs::hard_link(seen.at("twin"), seen.at("merged/gone")).unwrap();
    fs::write(seen.at("merged/gone"), "all three").unwrap();
    for path in ["dir/file", "twin", "merged/gone"] {
        assert_eq!(seen.read(path), "all three", "{path}");
        let metadata = fs::metadata(seen.at(path)).unwrap();
        assert_eq!((metadata.nlink(), metadata.ino()), (3, fs::metadata(seen.at("twin")).unwrap().ino()), "{path}");
    }
    // Renaming one name of a file to another of it does nothing.
    fs::rename(seen.at("twin"), seen.at("dir/file")).unwrap();
    assert_eq!(fs::metadata(seen.at("twin")).unwrap().nlink(), 3);
    fs::remove_file(seen.at("dir/file")).unwrap();
    assert_eq!((seen.read("twin"), fs::metadata(seen.at("twin")).unwrap().nlink()), ("all three".to_owned(), 2));
    assert_eq!(fs::read_to_string(place.lower[1].join("dir/file")).unwrap(), "content");
}

#[test]
fn what_is_open_stays_when_its_name_goes() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    for path in ["dir/file", "own"] {
        if path == "own" {
            fs::write(seen.at(path), "content").unwrap();
        }
        let mut lower = File::open(seen.at(path)).unwrap();
        fs::remove_file(seen.at(path)).unwrap();
        let mut content = String::new();
        lower.read_to_string(&mut content).unwrap();
        assert_eq!((content.as_str(), lower.metadata().unwrap().len()), ("content", 7), "{path}");
        lower.set_permissions(mode_of(0o604)).unwrap();
        assert_eq!(lower.metadata().unwrap().mode() & 0o777, 0o604, "{path}");
    }
    let dir = File::open(seen.at("dir/sub")).unwrap();
    fs::remove_dir_all(seen.at("dir/sub")).unwrap();
    let listed = copy_up::list(dir.as_fd()).unwrap();
    assert!(listed.is_empty() && dir.metadata().unwrap().is_dir(), "{listed:?}");
    assert_eq!(fs::read_dir(&place.upper.work).unwrap().count(), 0);
}

#[test]
fn a_file_without_a_name_gets_one() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    let flags = libc::O_TMPFILE;
    let mut file =
        OpenOptions::new().write(true).read(true).mode(0o640).custom_flags(flags).open(seen.at("dir")).unwrap();
    file.write_all(b"nameless").unwrap();
    let inode = file.metadata().unwrap().ino();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    let path = union::by_descriptor(file.as_fd());
    rustix::fs::linkat(CWD, &path, CWD, seen.at("merged/named"), AtFlags::SYMLINK_FOLLOW).unwrap();
    assert_eq!(seen.read("merged/named"), "nameless");
    let named = fs::metadata(seen.at("merged/named")).unwrap();
    assert_eq!((named.ino(), named.nlink(), named.mode() & 0o7777), (inode, 1, 0o640));
    file.write_all(b" no more").unwrap();
    assert_eq!(seen.read("merged/named"), "nameless no more");
}

#[test]
fn holes_maps_and_copies_are_those_of_the_filesystem_below() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    let file = File::options().read(true).write(true).create(true).truncate(false).open(seen.at("merged/low")).unwrap();
    file.write_all_at(&[b'x'; 64 << 10], 0).unwrap();
    rustix::fs::fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 16 << 10, 16 << 10).unwrap();
    assert_eq!(rustix::fs::seek(&file, SeekFrom::Hole(0)), Ok(16 << 10));
    assert_eq!(rustix::fs::seek(&file, SeekFrom::Data(16 << 10)), Ok(32 << 10));
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 128 << 10).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 128 << 10);
    let length = 128 << 10;
    let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
    // SAFETY: the map is used while it is there, and nobody else has it.
    unsafe {
        let shared = rustix::mm::MapFlags::SHARED;
        let map = rustix::mm::mmap(std::ptr::null_mut(), length, protection, shared, &file, 0).unwrap();
        let bytes = std::slice::from_raw_parts_mut(map.cast::<u8>(), length);
        assert_eq!((bytes[0], bytes[20 << 10]), (b'x', 0));
        bytes[100] = b'm';
        rustix::mm::msync(map, length, rustix::mm::MsyncFlags::SYNC).unwrap();
        rustix::mm::munmap(map, length).unwrap();
    }
    let mut below = vec![0; 101];
    File::open(place.upper("merged/low")).unwrap().read_exact_at(&mut below, 0).unwrap();
    assert_eq!((below[99], below[100]), (b'x', b'm'));
    let mut to = File::create_new(seen.at("copy")).unwrap();
    let mut from = file.try_clone().unwrap();
    from.rewind().unwrap();
    assert_eq!(io::copy(&mut from, &mut to).unwrap(), length as u64);
    assert!(fs::read(seen.at("copy")).unwrap() == fs::read(place.upper("merged/low")).unwrap());
    file.sync_all().unwrap();
}

#[test]
fn owners_groups_masks_and_lists_are_as_elsewhere() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    std::os::unix::fs::chown(seen.at("dir"), Some(5), Some(6)).unwrap();
    fs::set_permissions(seen.at("dir"), mode_of(0o2777)).unwrap();
    fs::create_dir(seen.at("dir/inherits")).unwrap();
    fs::write(seen.at("dir/inside"), "").unwrap();
    let mode =
        |path: &str| fs::symlink_metadata(seen.at(path)).map(|at| (at.mode() & 0o7777, at.uid(), at.gid())).unwrap();
    assert_eq!((mode("dir/inherits"), mode("dir/inside").2), ((0o2755, 0, 6), 6));
    fs::set_permissions(seen.at("dir/inside"), mode_of(0o4711)).unwrap();
    assert_eq!(mode("dir/inside").0, 0o4711);
    std::os::unix::fs::chown(seen.at("dir/inside"), Some(9), None).unwrap();
    assert_eq!(mode("dir/inside"), (0o711, 9, 6));
    // user::rwx group::rwx other::--- as the default list, version 2.
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, bits) in [(0x01u16, 7u16), (0x04, 7), (0x20, 0)] {
        list.extend([tag.to_le_bytes(), bits.to_le_bytes()].concat());
        list.extend(u32::MAX.to_le_bytes());
    }
    rustix::fs::setxattr(seen.at("merged"), "system.posix_acl_default", &list, XattrFlags::empty()).unwrap();
    for path in ["merged/new", "merged/low"] {
        // In place of what was there, too.
        fs::remove_file(seen.at(path)).unwrap_or_default();
        OpenOptions::new().write(true).create_new(true).mode(0o666).open(seen.at(path)).unwrap();
        assert_eq!(mode(path).0, 0o660, "{path}");
    }
    assert_eq!(attribute_names_of(&place.upper.work), Vec::<String>::new());
    let own = seen.at("merged/new");
    rustix::fs::setxattr(&own, "user.mine", b"1", XattrFlags::empty()).unwrap();
    assert_eq!(attribute_names_of(&own), ["user.mine"]);
    for mark in ["trusted.overlay.opaque", "user.overlay.whiteout"] {
        assert_eq!(rustix::fs::setxattr(&own, mark, b"y", XattrFlags::empty()), Err(Errno::OPNOTSUPP));
    }
    let device = rustix::fs::mknodat(CWD, seen.at("mark"), rustix::fs::FileType::CharacterDevice, Mode::empty(), 0);
    assert_eq!(device, Err(Errno::PERM));
}

#[test]
fn paths_may_be_longer_than_a_path() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    let mut here = File::open(seen.at("dir")).unwrap();
    let name = "n".repeat(200);
    for _ in 0..30 {
        rustix::fs::mkdirat(&here, &name, Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, &name, OFlags::RDONLY, Mode::empty()).unwrap().into();
    }
    rustix::fs::mkdirat(&here, "last", Mode::RWXU).unwrap();
    assert_eq!(copy_up::list(here.as_fd()).unwrap().len(), 1);
}

#[test]
fn more_layers_than_overlayfs_takes_are_one_tree() {
    need_fuse!();
    let dir = tempfile::tempdir().unwrap();
    let layer = |number: u32| {
        let layer = dir.path().join(number.to_string());
        fs::create_dir_all(layer.join("dir")).unwrap();
        fs::write(layer.join(format!("dir/{number}")), number.to_string()).unwrap();
        fs::write(layer.join("top"), number.to_string()).unwrap();
        layer
    };
    let lower: Vec<PathBuf> = (0..600).map(layer).collect();
    let parts = Parts { lower: &lower, upper: None, access: Access::ReadOnly, marks_of_users: false };
    let mount = super::mount(parts).unwrap();
    let root = PathBuf::from(union::by_descriptor(mount.as_fd()));
    assert_eq!(fs::read_dir(root.join("dir")).unwrap().count(), 600);
    assert_eq!(fs::read_to_string(root.join("dir/599")).unwrap(), "599");
    assert_eq!(fs::read_to_string(root.join("top")).unwrap(), "0");
}

#[test]
fn the_server_ends_with_the_mount_and_its_death_is_told() {
    need_fuse!();
    let place = Place::new();
    let seen = place.mount();
    let server = seen.server;
    let file = File::open(seen.at("dir/file")).unwrap();
    drop(seen);
    assert_eq!(rustix::process::test_kill_process(server), Ok(()));
    drop(file);
    // Another test may have reaped it.
    rustix::process::waitpid(Some(server), WaitOptions::empty()).unwrap_or_default();

    let seen = place.mount();
    let server = seen.server;
    rustix::process::kill_process(server, rustix::process::Signal::TERM).unwrap();
    assert_eq!(seen.read("dir/file"), "content");
    rustix::process::kill_process(server, rustix::process::Signal::KILL).unwrap();
    rustix::process::waitpid(Some(server), WaitOptions::empty()).unwrap_or_default();
    let error = fs::read_dir(seen.at("merged")).unwrap_err();
    assert_eq!(errno(&error), Some(Errno::NOTCONN));
}
