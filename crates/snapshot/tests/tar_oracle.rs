//! GNU tar as the oracle: what a driver mounts is what `tar x` puts into a directory, in every attribute.
//!
//! The layers are files of the Debian packages this machine has, and a folder of oddities. `STRATA_CORPUS=DIR` adds the
//! images of an OCI layout there, such as `skopeo copy docker://… oci:DIR:name` makes.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod fixture;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixture::with_each_driver;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat};
use strata_snapshot::{DriverName, Snapshots};
use strata_testkit::{host, need};
use strata_types::{DiffId, Digest, Silent};

/// Packages that every Debian has: hard links, setuid programs, symbolic links, programs and texts.
const PACKAGES: &[&str] = &["base-files", "bash", "login", "passwd", "perl-base"];

/// Runs a program and wants it to succeed.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn gnu_tar() -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--xattrs", "--xattrs-include=*"]);
    tar
}

/// Everything that a filesystem can hold and that a package rarely has.
fn make_oddities(dir: &Path) {
    let odd = dir.join("odd");
    std::fs::create_dir_all(odd.join("dir/sub")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(odd.join(name), bytes).unwrap();
    let long = "n".repeat(255);
    for name in ["plain", "setuid", "dir/kept-not", "dir/sub/deep", "ünïcödé", "new\nline", " space ", &long, "gone"]
    {
        write(name, name.as_bytes());
    }
    write("empty", b"");
    std::fs::hard_link(odd.join("plain"), odd.join("dir/twin")).unwrap();
    std::os::unix::fs::symlink("nowhere/at all", odd.join("dangling")).unwrap();
    std::os::unix::fs::symlink("x".repeat(4000), odd.join("far")).unwrap();
    let sparse = File::create(odd.join("sparse")).unwrap();
    sparse.set_len(5_000_001).unwrap();
    sparse.write_all_at(&[7; 5000], 1_000_000).unwrap();
    sparse.write_all_at(b"x", 4_999_999).unwrap();
    for (name, kind, device) in [
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("far-device", FileType::BlockDevice, makedev(300, 70_000)),
        ("pipe", FileType::Fifo, 0),
    ] {
        mknodat(CWD, odd.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    }
    for (name, key, value) in [
        ("plain", "user.one", &b"1"[..]),
        ("dir", "user.of-a-dir", b"two"),
        ("setuid", "security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("empty", "trusted.big", &[b'v'; 1000]),
    ] {
        rustix::fs::setxattr(odd.join(name), key, value, XattrFlags::empty()).unwrap();
    }
    let script = "chmod 4711 setuid; chmod 1777 dir; chown 1234:70000 empty; chown -h 5:6 dangling; chmod 0 gone; \
                  touch -d '1969-07-20 20:17:40.123456789 UTC' plain; touch -d '2038-01-20 UTC' empty; \
                  touch -h -d '2001-02-03 04:05:06.000000001 UTC' dangling; touch -d '2010-01-01 00:00:00.5 UTC' dir";
    // A capability is lost when the mode or owner changes: it is set again.
    run(Command::new("sh").args(["-ec", script]).current_dir(&odd));
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    rustix::fs::setxattr(odd.join("setuid"), "security.capability", capability, XattrFlags::empty()).unwrap();
}

/// The files of the packages and the oddities, as GNU tar packs them.
fn first_layer(scratch: &Path) -> PathBuf {
    make_oddities(scratch);
    let listed = Command::new("dpkg").arg("-L").args(PACKAGES).stderr(Stdio::null()).output().unwrap().stdout;
    let names: BTreeSet<&str> = std::str::from_utf8(&listed).unwrap().lines().collect();
    // What dpkg calls `/bin/x` may be below a symbolic link: such names are passed over.
    let is_here = |name: &&&str| {
        name.starts_with("/usr/")
            && Path::new(name)
                .parent()
                .unwrap()
                .canonicalize()
                .is_ok_and(|dir| name.starts_with(&*dir.to_string_lossy()))
    };
    let names: Vec<&str> = names
        .iter()
        .filter(is_here)
        .map(|name| &name[1..])
        .filter(|name| Path::new("/").join(name).symlink_metadata().is_ok())
        .collect();
    assert!(names.len() > 200, "{} files", names.len());
    let list = scratch.join("list");
    std::fs::write(&list, names.join("\n")).unwrap();
    let layer = scratch.join("first.tar");
    let create = ["--create", "--format=posix", "--sparse", "--no-recursion", "--directory=/"];
    run(gnu_tar().args(create).arg("--file").arg(&layer).arg("--files-from").arg(&list));
    run(gnu_tar()
        .args(["--append", "--format=posix", "--sparse", "odd"])
        .arg("--file")
        .arg(&layer)
        .current_dir(scratch));
    layer
}

/// What an image built on it may change.
fn second_layer(scratch: &Path) -> PathBuf {
    let tree = scratch.join("second");
    std::fs::create_dir_all(tree.join("odd/dir")).unwrap();
    std::fs::create_dir_all(tree.join("new/a/b")).unwrap();
    for name in ["odd/.wh.gone", "odd/.wh.sparse", "odd/dir/.wh..wh..opq", "odd/dir/after", "odd/pipe", "new/a/b/c"] {
        std::fs::write(tree.join(name), name).unwrap();
    }
    run(Command::new("touch")
        .args(["-d", "2020-02-02 02:02:02.2 UTC", "odd/dir/after", "odd/pipe"])
        .current_dir(&tree));
    let layer = scratch.join("second.tar");
    run(Command::new("tar").args(["--create", "--format=gnu", "odd", "new", "--file"]).arg(&layer).current_dir(&tree));
    layer
}

/// The layers of the images in the OCI layout that `STRATA_CORPUS` names, if any, as plain tars.
fn corpus(scratch: &Path) -> Vec<Vec<PathBuf>> {
    let Some(layout) = std::env::var_os("STRATA_CORPUS").map(PathBuf::from) else { return Vec::new() };
    let json = |path: &Path| serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap();
    let blob = |descriptor: &serde_json::Value| {
        layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
    };
    let index = json(&layout.join("index.json"));
    let images = index["manifests"].as_array().unwrap().iter();
    let layers = |manifest: &serde_json::Value| {
        let layers = json(&blob(manifest))["layers"].as_array().unwrap().clone();
        layers.iter().map(|layer| unzipped(&blob(layer), scratch)).collect()
    };
    images.map(layers).collect()
}

fn unzipped(blob: &Path, scratch: &Path) -> PathBuf {
    let tar = scratch.join(blob.file_name().unwrap());
    let status = Command::new("gzip").arg("-dcf").arg(blob).stdout(File::create(&tar).unwrap()).status().unwrap();
    assert!(status.success());
    tar
}

/// Names in a tar, without a slash at their end.
fn listed(layer: &Path) -> BTreeSet<PathBuf> {
    let mut list = Command::new("tar");
    list.args(["--list", "--quoting-style=literal", "--show-transformed-names", "--null", "--file"]).arg(layer);
    let out = list.output().unwrap().stdout;
    let names = out.split(|byte| *byte == b'\n').filter(|name| !name.is_empty());
    names.map(|name| PathBuf::from(OsString::from(std::ffi::OsStr::from_bytes(name))).components().collect()).collect()
}

/// What tar makes of a layer on top of what is in `dir`: first the whiteouts, by hand, then `tar x`.
fn extract(layer: &Path, dir: &Path) {
    for name in listed(layer) {
        let file = name.file_name().unwrap_or_default().as_bytes();
        let Some(gone) = file.strip_prefix(b".wh.") else { continue };
        let parent = dir.join(name.parent().unwrap());
        if gone == b".wh..opq" && parent.is_dir() {
            run(Command::new("find").arg(&parent).args(["-mindepth", "1", "-delete"]));
        } else {
            run(Command::new("rm").arg("-rf").arg(parent.join(std::ffi::OsStr::from_bytes(gone))));
        }
    }
    run(gnu_tar()
        .args([
            "--extract",
            "--delay-directory-restore",
            "--same-owner",
            "--preserve-permissions",
            "--exclude=.wh.*",
            "--file",
        ])
        .arg(layer)
        .arg("--directory")
        .arg(dir));
}

/// All that there is to know about one name.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    /// Bytes of a file, the device of a node.
    size: u64,
    device: u64,
    links: u64,
    mtime: Option<(i64, i64)>,
    xattrs: BTreeMap<String, Vec<u8>>,
    target: Option<PathBuf>,
    /// The first name of the same file.
    first: Option<PathBuf>,
}

/// Everything below `root`, by name. Time and extended attributes of a directory count if `is_exact` says so: tar leaves
/// those of a directory that was there before. So does the number of a file's names: overlayfs counts the hidden ones.
fn facts(root: &Path, is_exact: &dyn Fn(&Path) -> bool) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut names = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(root.join(&dir)).unwrap() {
            let name = dir.join(entry.unwrap().file_name());
            if root.join(&name).symlink_metadata().unwrap().is_dir() {
                open.push(name.clone());
            }
            names.push(name);
        }
    }
    names.sort();
    let mut inodes: HashMap<(u64, u64), PathBuf> = HashMap::new();
    for name in names {
        let path = root.join(&name);
        let metadata = path.symlink_metadata().unwrap();
        let is_dir = metadata.is_dir();
        let first =
            (!is_dir).then(|| inodes.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.clone()).clone());
        let facts = Facts {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            size: if metadata.is_file() { metadata.len() } else { 0 },
            device: metadata.rdev(),
            links: if is_dir || !is_exact(&name) { 0 } else { metadata.nlink() },
            mtime: (!is_dir || is_exact(&name)).then(|| (metadata.mtime(), metadata.mtime_nsec())),
            xattrs: if !is_dir || is_exact(&name) { xattrs(&path) } else { BTreeMap::new() },
            target: metadata.is_symlink().then(|| std::fs::read_link(&path).unwrap()),
            first,
        };
        found.insert(name, facts);
    }
    found
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        (String::from_utf8(name.to_vec()).unwrap(), value)
    };
    // Marks of overlayfs, and labels that the host gives, are no part of the tree.
    let is_own = |name: &str| name.starts_with("trusted.overlay.") || name == "security.selinux";
    names.map(value).filter(|(name, _)| !is_own(name)).collect()
}

fn same_bytes(one: &Path, other: &Path) -> bool {
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut left).unwrap();
        if other.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return false;
        }
        if count == 0 {
            return other.read(&mut right).unwrap() == 0;
        }
    }
}

/// Compares the tree that the driver shows with the one in `dir`.
fn compare(snapshots: &Snapshots, chain: &[DiffId], dir: &Path, is_exact: &dyn Fn(&Path) -> bool) {
    let root = snapshots.open_root(&snapshots.view(chain).unwrap()).unwrap();
    let mounted = root.open(Path::new("."), rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY).unwrap();
    let mounted = PathBuf::from(format!("/proc/self/fd/{}", mounted.as_raw_fd()));
    let (seen, expected) = (facts(&mounted, is_exact), facts(dir, is_exact));
    let driver = snapshots.driver_name();
    let only = |one: &BTreeMap<PathBuf, Facts>, other: &BTreeMap<PathBuf, Facts>| {
        one.keys().filter(|name| !other.contains_key(*name)).take(5).cloned().collect::<Vec<_>>()
    };
    assert_eq!((only(&seen, &expected), only(&expected, &seen)), (vec![], vec![]), "{driver}: names differ");
    for (name, expected) in &expected {
        assert_eq!(&seen[name], expected, "{driver}: {}", name.display());
        if expected.mode & 0o170_000 == 0o100_000 {
            assert!(same_bytes(&mounted.join(name), &dir.join(name)), "{driver}: {} differs", name.display());
        }
    }
}

/// Compares an image's layers, each for itself, and all of them together.
fn check(snapshots: &Snapshots, layers: &[PathBuf], scratch: &Path) {
    let whole = tempfile::tempdir_in(scratch).unwrap();
    let mut chain = Vec::new();
    for layer in layers {
        let import = |below: &[DiffId]| {
            let mut tar = File::open(layer).unwrap();
            let added = snapshots.import_layer(below, None, &mut tar, &Silent).unwrap();
            let bytes = std::fs::read(layer).unwrap();
            assert_eq!(added.diff_id, DiffId::new(Digest::sha256(&bytes)));
            let mut again = Vec::new();
            let chain = [below, std::slice::from_ref(&added.diff_id)].concat();
            snapshots.open_layer_tar(&chain).unwrap().read_to_end(&mut again).unwrap();
            assert!(again == bytes, "{}: another tar came back", snapshots.driver_name());
            added.diff_id
        };
        let names = listed(layer);
        // Marks of what is gone make no sense without what is below: overlayfs lists them then.
        if !names.iter().any(|name| name.file_name().is_some_and(|name| name.as_bytes().starts_with(b".wh."))) {
            let alone = tempfile::tempdir_in(scratch).unwrap();
            extract(layer, alone.path());
            compare(snapshots, &[import(&[])], alone.path(), &|name| names.contains(name));
        }
        chain.push(import(&chain));
        extract(layer, whole.path());
    }
    compare(snapshots, &chain, whole.path(), &|_| false);
}

#[test]
fn what_is_mounted_is_what_tar_extracts() {
    need!(host::root(), host::filesystem("erofs"), host::program("tar"), host::program("dpkg"));
    with_each_driver(|snapshots| {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut images = corpus(scratch.path());
        let first = first_layer(scratch.path());
        images.push(vec![first.clone(), second_layer(scratch.path())]);
        if snapshots.driver_name() == DriverName::Erofs {
            // The same with one more file: it borrows all but that.
            let more = scratch.path().join("more.tar");
            std::fs::copy(&first, &more).unwrap();
            std::fs::write(scratch.path().join("odd/one-more"), "more").unwrap();
            run(gnu_tar().args(["--append", "odd/one-more", "--file"]).arg(&more).current_dir(scratch.path()));
            images.push(vec![more]);
        }
        for layers in images {
            check(snapshots, &layers, scratch.path());
        }
    });
}

/// One of many layers, each of which changes a little of everything below.
fn small_layer(number: usize, scratch: &Path) -> PathBuf {
    let (tree, layer) = (scratch.join(format!("tree{number}")), scratch.join(format!("{number}.tar")));
    let write = |name: String, bytes: &[u8]| {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let (dir, other) = (number % 7, number * 5 % 11);
    write(format!("d{dir}/f{other}"), number.to_string().as_bytes());
    write(format!("d{dir}/s{other}/deep/f"), &[number as u8; 700]);
    std::fs::hard_link(tree.join(format!("d{dir}/f{other}")), tree.join(format!("twin{other}"))).unwrap();
    match number % 6 {
        // What is below here is gone, or becomes something else.
        0 => write(format!("d{}/.wh.f{}", (dir + 1) % 7, other), b""),
        1 => write(format!(".wh.d{}", (dir + 2) % 7), b""),
        2 => write(format!("d{dir}/s{other}/.wh..wh..opq"), b""),
        3 => {
            write(format!("d{dir}/.wh.k{other}"), b"");
            std::os::unix::fs::symlink(format!("f{number}"), tree.join(format!("d{dir}/k{other}"))).unwrap();
        }
        4 => {
            write(format!("d{dir}/.wh.k{other}"), b"");
            write(format!("d{dir}/k{other}/now/a dir"), b"k");
        }
        _ => {
            let sparse = File::create(tree.join(format!("hole{other}"))).unwrap();
            sparse.write_all_at(b"end", 100_000 + number as u64).unwrap();
        }
    }
    let names = std::fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap().file_name());
    let create = ["--create", "--format=posix", "--sparse", "--sort=name", "--mtime=@1000000000", "--file"];
    run(gnu_tar().args(create).arg(&layer).arg("--").args(names).current_dir(&tree));
    layer
}

/// Deep stacks are mounted from runs of layers laid out as one: 274 of them are one of 256, one of 16 and two as they are.
#[test]
fn deep_stacks_show_what_tar_extracts() {
    need!(host::root(), host::filesystem("erofs"), host::program("tar"));
    with_each_driver(|snapshots| {
        // The others have nothing that depends on the depth.
        if snapshots.driver_name() != DriverName::Erofs {
            return;
        }
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        make_oddities(scratch.path());
        let odd = scratch.path().join("odd.tar");
        let create = ["--create", "--format=posix", "--sparse", "odd", "--file"];
        run(gnu_tar().args(create).arg(&odd).current_dir(scratch.path()));
        let whole = tempfile::tempdir_in(scratch.path()).unwrap();
        let mut chain = Vec::new();
        for number in 0..274 {
            let layer = if number == 20 { odd.clone() } else { small_layer(number, scratch.path()) };
            let mut tar = File::open(&layer).unwrap();
            chain.push(snapshots.import_layer(&chain, None, &mut tar, &Silent).unwrap().diff_id);
            extract(&layer, whole.path());
            if [47, 273].contains(&number) {
                compare(snapshots, &chain, whole.path(), &|_| false);
            }
        }
    });
}
