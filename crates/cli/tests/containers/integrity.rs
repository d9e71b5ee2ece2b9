//! A read of what the disk has damaged is an error, and not other data, where the filesystem can tell.

use strata_testkit::image::{Compression, Image};
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

use super::needs;

/// What the image's file says, over and over, and nothing else on the disk.
const WORDS: &[u8] = b"a line that stands nowhere else on the disk\n";

/// Whether the kernel's ext4 has fs-verity.
fn verity() -> Result<(), String> {
    let has_it = std::path::Path::new("/sys/fs/ext4/features/verity").exists();
    has_it.then_some(()).ok_or_else(|| "an ext4 with fs-verity".to_owned())
}

#[test]
fn a_damaged_layer_is_an_error_to_whoever_reads_it() {
    need!(needs(), host::program("mkfs.ext4"), verity());
    let machine = Machine::isolated();
    machine.sh("truncate -s 256M disk && mkfs.ext4 -q -O verity disk && mkdir store && mount -o loop disk store").ok();
    let layer = Tar::new().file("file", 0o644, &WORDS.repeat(2000)).file("other", 0o644, b"whole\n").finish();
    let image = Image::busybox().layer(layer, Compression::Gzip).docker_archive("box:latest");
    machine.strata_with_input(["--storage-driver", "erofs", "load", "-q"], &image).ok();
    let info = machine.strata(["info"]).ok();
    assert!(info.contains("\n Integrity: fs-verity: reading what is damaged is an error\n"), "{info}");
    let run = |words: &[&str]| machine.strata([&["run", "--rm", "--network", "none", "box"], words].concat());
    assert_eq!(run(&["cat", "/file"]).ok().len(), WORDS.len() * 2000);
    // Nobody can write to it any more, root included.
    let written = machine
        .sh("for f in store/layers/erofs/*/tar store/layers/erofs/*/index.erofs; do echo x >>$f && echo $f; done");
    assert_eq!(written.out, "", "{written:?}");
    // The disk forgets a bit, and the caches what was read.
    let unmount =
        "for place in $(grep -o ' /run/strata[^ ]*' /proc/self/mounts); do umount -l $place; done; umount store";
    machine.sh(unmount).ok();
    let mut disk = std::fs::read(machine.dir().join("disk")).unwrap();
    // Somewhere inside the words, where they are repeated from one block to the next.
    let at = |block: usize| disk[block * 4096..][..2 * WORDS.len()].windows(WORDS.len()).position(|part| part == WORDS);
    let first = (0..disk.len() / 4096).find(|block| at(*block).is_some()).unwrap() + 4;
    let middle = first * 4096 + at(first).unwrap();
    disk[middle] = b'A';
    std::fs::write(machine.dir().join("disk"), disk).unwrap();
    machine.sh("mount -o loop disk store").ok();
    let read = run(&["cat", "/file"]);
    assert!(read.code != 0 && read.err.contains("Input/output error"), "{read:?}");
    assert!(!read.out.contains("A line"), "damaged data was read");
    // What is not damaged is there, and the damage has a name.
    assert_eq!(run(&["cat", "/other"]).ok(), "whole\n");
    let checked = machine.strata(["check"]);
    assert!(checked.code != 0 && checked.out.contains("input/output error; image"), "{checked:?}");
    machine.strata(["rmi", "-f", "box"]).ok();
    machine.strata_with_input(["load", "-q"], &image).ok();
    assert_eq!(run(&["cat", "/file"]).ok().len(), WORDS.len() * 2000);
    machine.strata(["check"]).ok();
}
