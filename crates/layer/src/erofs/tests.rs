//! Images against the kernel, `fsck.erofs`, and the directory that the same tar makes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use strata_testkit::{host, need};
use strata_types::{Digest, Silent};

use super::*;
use crate::collect::{file, path, sparse_file, with_kind};
use crate::dir::{Applier, Options, Power, Whiteouts, walk};
use crate::tar::{Limits, Times, encode, end_of_archive, padding_bytes};
use crate::whiteout::Namespace;
use crate::{Device, Entry, Error, Kind, LayerSink, Result, Time, Xattr, unpack};

/// A tar of entries with content.
fn tar(items: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (entry, content) in items {
        encode(entry, Times::Nanoseconds, &mut tar);
        tar.extend_from_slice(content);
        tar.resize(tar.len() + padding_bytes(content.len() as u64), 0);
    }
    tar.extend_from_slice(end_of_archive());
    tar
}

fn index(tar: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Namespace::Trusted);
    let unpacked = unpack(&mut &tar[..], &mut builder, &Limits::GENEROUS, &Silent)?;
    let mut image = Vec::new();
    builder.finish(unpacked.tar_bytes)?.write_to(&mut image)?;
    Ok(image)
}

/// Both files of a layer.
struct Layer {
    dir: tempfile::TempDir,
}

impl Layer {
    fn new(tar: &[u8]) -> Self {
        let layer = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::write(layer.tar(), tar).unwrap();
        std::fs::write(layer.index(), index(tar).unwrap()).unwrap();
        layer
    }

    fn tar(&self) -> std::path::PathBuf {
        self.dir.path().join("tar")
    }

    fn index(&self) -> std::path::PathBuf {
        self.dir.path().join("index.erofs")
    }

    /// A mount that is in no tree.
    fn mount(&self) -> OwnedFd {
        let options = [format!("source={}", self.index().display()), format!("device={}", self.tar().display())];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let attributes = rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY;
        strata_sys::detached::filesystem("erofs", &options, attributes).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::open(File::open(self.index()).unwrap()).unwrap()
    }

    /// The directory that the same tar makes.
    fn applied(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        let options = Options { whiteouts: Whiteouts::Overlay(Namespace::Trusted), power: Power::Root };
        let mut applier = Applier::new(File::open(dir.path()).unwrap().into(), options).unwrap();
        unpack(&mut File::open(self.tar()).unwrap(), &mut applier, &Limits::GENEROUS, &Silent).unwrap();
        applier.finish().unwrap();
        dir
    }
}

/// A tree as a list: entries with the digest of their content.
fn listing(root: impl AsFd) -> Vec<(Entry, Option<Digest>)> {
    let mut lines = Vec::new();
    walk(root.as_fd(), &mut |entry, content| {
        let digest = content.map(|fd| {
            let mut bytes = Vec::new();
            File::from(fd.try_clone_to_owned().unwrap()).read_to_end(&mut bytes).unwrap();
            Digest::sha256(&bytes)
        });
        lines.push((entry.clone(), digest));
        Ok(())
    })
    .unwrap();
    lines
}

/// What the reader sees, as the same list.
fn read_listing(layer: &Layer) -> Vec<(Entry, Option<Digest>)> {
    let (reader, tar) = (layer.reader(), File::open(layer.tar()).unwrap());
    let mut lines = Vec::new();
    let mut seen = std::collections::HashMap::new();
    reader
        .walk(&mut |node| {
            let mut entry = node.entry.clone();
            let whiteout = entry.kind == Kind::Char(Device { major: 0, minor: 0 });
            if node.links > 1 && !entry.is_dir() && !whiteout {
                if let Some(target) = seen.get(&node.inode) {
                    entry.kind = Kind::Hardlink { target: crate::LayerPath::clone(target) };
                    entry.xattrs = Vec::new();
                }
                seen.entry(node.inode).or_insert_with(|| entry.path.clone());
            }
            let digest = entry.is_file().then(|| {
                let mut bytes = Vec::new();
                reader.content(node, vec![tar.as_fd()])?.read_to_end(&mut bytes).map_err(Error::io("read"))?;
                Ok::<_, Error>(Digest::sha256(&bytes))
            });
            if !entry.path.is_root() {
                assert_eq!(reader.lookup(&entry.path)?.as_ref(), Some(node));
                lines.push((entry, digest.transpose()?));
            }
            Ok(())
        })
        .unwrap();
    lines
}

/// The mounted image, the reader and the directory all show the same tree.
fn check(tar: &[u8]) {
    strata_testkit::private::mounts();
    let layer = Layer::new(tar);
    let applied = layer.applied();
    let expected = listing(File::open(applied.path()).unwrap());
    let mounted = listing(layer.mount());
    assert_same(&mounted, &expected, "mounted");
    assert_same(&read_listing(&layer), &expected, "read");
    fsck(&layer);
}

fn assert_same(actual: &[(Entry, Option<Digest>)], expected: &[(Entry, Option<Digest>)], how: &str) {
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!(actual, expected, "{how}");
    }
    assert_eq!(actual.len(), expected.len(), "{how}");
}

/// Checks the image with `fsck.erofs`, if there is one that knows blocks of 512 bytes.
fn fsck(layer: &Layer) {
    let Ok(program) = host::fsck_erofs() else {
        return host::skipped(module_path!(), "the program `fsck.erofs`, 1.7 or newer");
    };
    let mut command = Command::new(program);
    command.arg(format!("--device={}", layer.tar().display())).arg("--extract").arg(layer.index());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn time(seconds: i64, nanoseconds: u32) -> Time {
    Time { seconds, nanoseconds }
}

#[test]
fn everything_a_tar_can_hold_is_the_same_mounted() {
    need!(host::root(), host::filesystem("erofs"));
    let mut dir = with_kind("dir", Kind::Dir);
    (dir.mode, dir.mtime, dir.uid, dir.gid) = (0o2751, time(1, 5), 7, 70_000);
    let mut old = file("dir/old", 5);
    (old.mtime, old.mode) = (time(-1_000_000_000, 999_999_999), 0o4755);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut capable = file("dir/capable", 0);
    capable.xattrs = vec![Xattr { name: b"security.capability".to_vec(), value: capability.to_vec() }];
    let mut attributed = file("dir/attributed", 1);
    let xattr = |name: &str, length: usize| Xattr { name: name.into(), value: vec![b'v'; length] };
    attributed.xattrs = vec![xattr("trusted.b", 0), xattr("user.a", 1500), xattr("user.c", 3)];
    let mut link = with_kind("dir/link", Kind::Symlink { target: b"../target".to_vec() });
    link.xattrs = vec![xattr("trusted.l", 10)];
    let long_link = with_kind("dir/long", Kind::Symlink { target: vec![b't'; 1000] });
    let items: Vec<(Entry, &[u8])> = vec![
        (with_kind("./", Kind::Dir), b""),
        (dir, b""),
        (old, b"hello"),
        (capable, b""),
        (attributed, b"x"),
        (link, b""),
        (long_link, b""),
        (with_kind("dir/hard", Kind::Hardlink { target: path("dir/old") }), b""),
        (with_kind("hard", Kind::Hardlink { target: path("dir/link") }), b""),
        (with_kind("null", Kind::Char(Device { major: 1, minor: 3 })), b""),
        (with_kind("large", Kind::Block(Device { major: 300, minor: 70_000 })), b""),
        (with_kind("pipe", Kind::Fifo), b""),
        (file("big", 5000), &[9; 5000]),
        (file("implicit/parents/file", 3), b"abc"),
    ];
    check(&tar(&items));
}

#[test]
fn large_directories_and_long_names_are_the_same_mounted() {
    need!(host::root(), host::filesystem("erofs"));
    let mut items: Vec<(Entry, &[u8])> = Vec::new();
    for number in 0..3000 {
        items.push((file(&format!("many/{number}"), 4), b"data"));
    }
    for length in (1..=255).step_by(3) {
        items.push((file(&format!("long/{}", "n".repeat(length)), 1), b"x"));
    }
    for length in (400..=460).chain([511, 512, 513, 4000]) {
        let target = vec![b't'; length];
        items.push((with_kind(&format!("links/{length}"), Kind::Symlink { target }), b""));
    }
    items.push((file(&["deep"; 100].join("/"), 1), b"x"));
    check(&tar(&items));
}

#[test]
fn the_last_of_one_name_wins() {
    need!(host::root(), host::filesystem("erofs"));
    let items: Vec<(Entry, &[u8])> = vec![
        (file("a", 3), b"old"),
        (with_kind("link-to-a", Kind::Hardlink { target: path("a") }), b""),
        (file("a", 3), b"new"),
        (file("dir-over-file", 1), b"x"),
        (with_kind("dir-over-file", Kind::Dir), b""),
        (file("dir-over-file/inside", 1), b"y"),
        (file("file-over-dir/inside", 1), b"x"),
        (file("file-over-dir", 1), b"z"),
        (with_kind("again", Kind::Dir), b""),
        (file("again/kept", 1), b"k"),
        (Entry { mode: 0o700, ..with_kind("again", Kind::Dir) }, b""),
        (with_kind("real", Kind::Dir), b""),
        (with_kind("alias", Kind::Symlink { target: b"/real".to_vec() }), b""),
        (file("alias/through", 1), b"t"),
        (with_kind("up", Kind::Symlink { target: b"../../real".to_vec() }), b""),
        (file("up/too", 1), b"u"),
        (with_kind("self", Kind::Dir), b""),
        (with_kind("a", Kind::Hardlink { target: path("a") }), b""),
    ];
    check(&tar(&items));
}

#[test]
fn whiteouts_become_those_of_overlayfs() {
    need!(host::root(), host::filesystem("erofs"));
    let items: Vec<(Entry, &[u8])> = vec![
        (file("etc/.wh.gone", 0), b""),
        (with_kind("opaque", Kind::Dir), b""),
        (file("opaque/.wh..wh..opq", 0), b""),
        (file("opaque/kept", 1), b"k"),
        (file("before/.wh.file", 0), b""),
        (file("before/file", 1), b"f"),
        (file("after/file", 1), b"f"),
        (file("after/.wh.file", 0), b""),
        (file(".wh.dir-after", 0), b""),
        (with_kind("dir-after", Kind::Dir), b""),
        (file(".wh.implicit", 0), b""),
        (file("implicit/inside", 1), b"i"),
        (with_kind("dir-before", Kind::Dir), b""),
        (file(".wh.dir-before", 0), b""),
        (file(".wh..wh.plnk", 0), b""),
    ];
    check(&tar(&items));
    let layer = Layer::new(&tar(&items));
    let reader = layer.reader();
    let gone = reader.lookup(&path("etc/gone")).unwrap().unwrap();
    assert_eq!(gone.entry.kind, Kind::Char(Device { major: 0, minor: 0 }));
    for dir in ["opaque", "dir-after", "implicit", "dir-before"] {
        let node = reader.lookup(&path(dir)).unwrap().unwrap();
        assert_eq!(node.entry.xattr(b"trusted.overlay.opaque"), Some(&b"y"[..]), "{dir}");
    }
}

#[test]
fn attributes_of_overlayfs_never_come_from_an_image() {
    let mut evil = with_kind("dir", Kind::Dir);
    evil.xattrs = ["trusted.overlay.redirect", "user.overlay.metacopy", "user.kept"]
        .map(|name| Xattr { name: name.into(), value: b"x".to_vec() })
        .to_vec();
    let layer = Layer::new(&tar(&[(evil, b"")]));
    let node = layer.reader().lookup(&path("dir")).unwrap().unwrap();
    assert_eq!(node.entry.xattrs, [Xattr { name: b"user.kept".to_vec(), value: b"x".to_vec() }]);
}

#[test]
fn files_with_holes_are_the_same_mounted() {
    need!(host::root(), host::filesystem("erofs"));
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, size: u64, pieces: &[(u64, usize)]| {
        use std::os::unix::fs::FileExt;
        let file = File::create(dir.path().join(name)).unwrap();
        file.set_len(size).unwrap();
        for &(offset, length) in pieces {
            file.write_all_at(&vec![offset as u8 | 1; length], offset).unwrap();
        }
    };
    write("aligned", 1 << 20, &[(0, 4096), (65536, 8192)]);
    write("odd-end", 100_001, &[(4096, 4096), (98_304, 1697)]);
    write("all-hole", 123_456, &[]);
    write("far", 40 << 30, &[(0, 4096), (30 << 30, 4096)]);
    for format in ["--format=gnu", "--format=posix"] {
        let output = Command::new("tar")
            .current_dir(dir.path())
            .args(["-c", "--sparse", format, "--sort=name", "aligned", "odd-end", "all-hole"])
            .output()
            .unwrap();
        assert!(output.status.success());
        check(&output.stdout);
    }
    let output = Command::new("tar").current_dir(dir.path()).args(["-c", "--sparse", "far"]).output().unwrap();
    let layer = Layer::new(&output.stdout);
    strata_testkit::private::mounts();
    let mount = layer.mount();
    let far = rustix::fs::openat(&mount, "far", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let mut piece = [0; 8192];
    for (at, expected) in [(0u64, 1u8), (30 << 30, 1), (20 << 30, 0)] {
        assert_eq!(rustix::io::pread(&far, &mut piece, at).unwrap(), 8192);
        assert_eq!((piece[0], piece[4095], piece[4096]), (expected, expected, 0), "at {at}");
    }
    assert!(std::fs::metadata(layer.index()).unwrap().len() < 40 << 20);
}

#[test]
fn pieces_that_are_not_aligned_are_copied() {
    // No program writes such maps; one that did would mean this.
    let entry = sparse_file("odd", 5000, &[(10, 20), (1000, 600), (4990, 5)]);
    let mut builder = Builder::new(Namespace::Trusted);
    builder.entry(&entry, 512).unwrap();
    builder.data(10, &[1; 20]).unwrap();
    builder.data(1000, &[2; 300]).unwrap();
    builder.data(1300, &[3; 300]).unwrap();
    builder.data(4990, &[4; 5]).unwrap();
    builder.end().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("index");
    builder.finish(2048).unwrap().write_to(&mut File::create(&name).unwrap()).unwrap();
    let reader = Reader::open(File::open(&name).unwrap()).unwrap();
    let node = reader.lookup(&path("odd")).unwrap().unwrap();
    let mut content = Vec::new();
    reader.content(&node, vec![File::open("/dev/null").unwrap().as_fd()]).unwrap().read_to_end(&mut content).unwrap();
    let mut expected = vec![0; 5000];
    expected[10..30].fill(1);
    expected[1000..1300].fill(2);
    expected[1300..1600].fill(3);
    expected[4990..4995].fill(4);
    assert!(content == expected);
}

#[test]
fn layers_beyond_four_gigabytes_are_read_at_the_right_place() {
    need!(host::root(), host::filesystem("erofs"));
    strata_testkit::private::mounts();
    let at = (5u64 << 30) + 512;
    let dir = tempfile::tempdir().unwrap();
    let layer = Layer { dir };
    let mut tar = File::create(layer.tar()).unwrap();
    std::io::Seek::seek(&mut tar, std::io::SeekFrom::Start(at)).unwrap();
    tar.write_all(b"far away").unwrap();
    tar.set_len(at + 512).unwrap();
    let mut builder = Builder::new(Namespace::Trusted);
    builder.entry(&file("far", 8), at).unwrap();
    builder.end().unwrap();
    builder.finish(at + 8).unwrap().write_to(&mut File::create(layer.index()).unwrap()).unwrap();
    let lines = listing(layer.mount());
    assert_eq!(lines[0].1, Some(Digest::sha256(b"far away")));
}

#[test]
fn a_layer_of_nothing_is_an_empty_directory() {
    need!(host::root(), host::filesystem("erofs"));
    check(&tar(&[]));
    check(&[]);
}

#[test]
fn links_and_parents_that_cannot_be_are_refused() {
    let refused = |items: &[(Entry, &[u8])], expected: &str| {
        assert_eq!(index(&tar(items)).unwrap_err().to_string(), expected);
    };
    let link = |name: &str, target: &str| with_kind(name, Kind::Hardlink { target: path(target) });
    let missing = "cannot apply `b`: the file it links to is not in the layer";
    refused(&[(link("b", "a"), b"")], missing);
    refused(&[(file(".wh.a", 0), b""), (link("b", "a"), b"")], missing);
    refused(&[(with_kind("a", Kind::Dir), b""), (link("b", "a"), b"")], "cannot apply `b`: it links to a directory");
    refused(&[(file("a", 0), b""), (file("a/b", 0), b"")], "cannot apply `a/b`: its parent is not a directory");
    let looped = with_kind("a", Kind::Symlink { target: b"a".to_vec() });
    let expected = "cannot apply `a/b`: its parent leads through too many symbolic links";
    refused(&[(looped, b""), (file("a/b", 0), b"")], expected);
}

#[test]
fn the_same_tar_gives_the_same_index_for_ever() {
    let items: Vec<(Entry, &[u8])> = vec![
        (Entry { mode: 0o755, ..with_kind("usr", Kind::Dir) }, b""),
        (file("usr/file", 5), b"hello"),
        (with_kind("usr/link", Kind::Symlink { target: b"file".to_vec() }), b""),
        (file("usr/.wh.gone", 0), b""),
    ];
    let image = index(&tar(&items)).unwrap();
    insta::assert_snapshot!(Digest::sha256(&image), @"sha256:7921c00864bfed3eaf421ccb13672cba452f06c3b5a7d65462397064977f19ea");
}

#[test]
fn a_damaged_index_is_an_error() {
    let items: Vec<(Entry, &[u8])> = vec![
        (file("usr/file", 5), b"hello"),
        (with_kind("usr/link", Kind::Symlink { target: vec![b't'; 600] }), b""),
        (sparse_file("sparse", 5000, &[(0, 512)]), b""),
    ];
    let mut builder = Builder::new(Namespace::Trusted);
    for (entry, _) in &items {
        builder.entry(entry, 1024).unwrap();
    }
    let mut image = Vec::new();
    builder.finish(4096).unwrap().write_to(&mut image).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("index");
    for at in (1024..image.len()).step_by(7).filter(|at| image[*at] != 0 || at % 5 == 0) {
        for byte in [0, 0xff, image[at] ^ 0x10] {
            let mut damaged = image.clone();
            damaged[at] = byte;
            std::fs::write(&name, &damaged).unwrap();
            let Ok(reader) = Reader::open(File::open(&name).unwrap()) else { continue };
            let mut steps = 0;
            let _ = reader.walk(&mut |node| {
                steps += 1;
                if steps > 100 {
                    return Err(Error::Cancelled);
                }
                reader.pieces(node).map(|_| ())
            });
        }
    }
}

#[test]
fn a_real_system_is_the_same_mounted() {
    need!(host::root(), host::filesystem("erofs"));
    let tree = tempfile::tempdir().unwrap();
    let output = Command::new("tar").args(["-C", "/usr/share", "-c", "--format=posix", "doc", "zoneinfo"]).output();
    let tar = output.unwrap().stdout;
    if Path::new("/usr/share/doc").exists() && tar.len() > 10 << 10 {
        std::fs::write(tree.path().join("tar"), &tar).unwrap();
        check(&tar);
    }
}
