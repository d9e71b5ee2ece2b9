//! Honest tars to begin with, written by GNU tar in its formats, and one of ours.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat};
use strata_testkit::tar::Tar;

use crate::mutate;

/// All of them. `scratch` is an empty directory.
pub(crate) fn all(scratch: &Path) -> Vec<Vec<u8>> {
    make_tree(&scratch.join("odd"));
    let formats = [
        &["--format=posix", "--sparse", "--xattrs", "--xattrs-include=*"][..],
        &["--format=gnu", "--sparse"],
        &["--format=ustar"],
        &["--format=posix", "--sparse-version=0.1", "--sparse"],
        &["--format=v7"],
    ];
    let mut tars: Vec<Vec<u8>> = formats.iter().map(|options| packed(scratch, options)).collect();
    // Beside what a layer has, what it says about those below.
    let marks = Tar::new()
        .dir("odd/")
        .file("odd/plain", 0o644, b"second")
        .file("odd/.wh.twin", 0o644, b"")
        .dir("odd/dir/")
        .file("odd/dir/.wh..wh..opq", 0o644, b"")
        .file("odd/.wh.pipe", 0o644, b"")
        .file("odd/pipe/now-a-dir", 0o644, b"x")
        .symlink("odd/link", "dir")
        .file("odd/link/by-link", 0o600, b"y")
        .hardlink("odd/second", "odd/plain");
    tars.push(marks.finish());
    tars
}

fn packed(scratch: &Path, options: &[&str]) -> Vec<u8> {
    let mut tar = Command::new("tar");
    // The same bytes each time: no time of today, and no process number in a name.
    tar.args(["--create", "--sort=name", "--numeric-owner", "--ignore-failed-read", "--mtime=@1000000000.5"]);
    if options[0] == "--format=posix" {
        tar.arg("--pax-option=delete=atime,delete=ctime");
    }
    tar.args(options).arg("odd");
    let output = tar.current_dir(scratch).output().unwrap();
    assert!(output.stdout.len() > 4096, "{}", String::from_utf8_lossy(&output.stderr));
    let mut tar = output.stdout;
    for block in tar.chunks_exact_mut(512).filter(|block| block.starts_with(b"odd/GNUSparseFile.")) {
        block[..100].fill(0);
        block[..26].copy_from_slice(b"odd/GNUSparseFile.0/sparse");
        mutate::sign(block);
    }
    tar
}

fn make_tree(odd: &Path) {
    std::fs::create_dir_all(odd.join("dir/sub")).unwrap();
    let long = "n".repeat(200);
    for (name, length) in [("plain", 5), ("empty", 0), ("block", 512), ("more", 1500), ("dir/sub/deep", 1), (&long, 3)]
    {
        std::fs::write(odd.join(name), vec![b'x'; length]).unwrap();
    }
    std::fs::hard_link(odd.join("plain"), odd.join("twin")).unwrap();
    std::os::unix::fs::symlink("dir/sub", odd.join("link")).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), odd.join("far")).unwrap();
    let sparse = File::create(odd.join("sparse")).unwrap();
    sparse.set_len(300_001).unwrap();
    for at in [40_960, 90_112, 163_840, 204_800, 253_952, 299_000] {
        sparse.write_all_at(&[9; 700], at).unwrap();
    }
    for (name, kind, device) in [
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("disk", FileType::BlockDevice, makedev(8, 1)),
        ("pipe", FileType::Fifo, 0),
    ] {
        mknodat(CWD, odd.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    }
    for (name, key, value) in
        [("plain", "user.one", &b"1"[..]), ("dir", "user.two", &[b'2'; 300]), ("block", "trusted.x", b"")]
    {
        rustix::fs::setxattr(odd.join(name), key, value, XattrFlags::empty()).unwrap();
    }
}
