//! What mends a damaged store, and how a layer of each driver is damaged.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::bench::Bench;
use super::{Operation, Scope, check, words};

#[test]
fn check_repair_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Damaged,
        prepare: damage,
        begin: |_| {},
        words: |_| words(&["check", "--repair"]),
        done: |bench| drop(bench.strata(&["save", "-o", "image.tar", &bench.name("image")]).ok()),
        again: &[0],
        failpoints_min: 8,
    });
}

/// One byte of a file of the other image is not what it was.
fn damage(bench: &Bench<'_>) {
    bench.obtain_image();
    match (bench.driver, bench.disk()) {
        ("erofs", Some(disk)) => spoil_sealed(bench, &disk),
        (driver, _) => drop(bench.machine.sh(&format!("{SPOIL}; {}", script(driver))).ok()),
    }
    let checked = bench.strata(&["check"]);
    assert!(checked.code == 1 && checked.out.contains(" is damaged: "), "{checked:?}");
}

/// Changes a byte of the file, and the first of what is at a place where a layer's tree is mounted.
const SPOIL: &str = "spoil() { printf x | dd of=$1 bs=1 seek=$2 conv=notrunc 2>/dev/null; }; \
                     spoil_tree() { [ ! -e $1/data/one ] || spoil $1/data/one 0; }; mkdir -p spoiled";

fn script(driver: &str) -> &'static str {
    match driver {
        "erofs" => "spoil $(grep -l data/one store/layers/erofs/*/tar) 1024",
        "btrfs" => {
            "for fs in store/layers/btrfs/*/fs; do \
             btrfs property set -f $fs ro false && spoil_tree $fs && btrfs property set $fs ro true || exit; done"
        }
        // Its device is started and mounted beside the store.
        "devicemapper" => {
            "numbers() { dmsetup info -c --noheadings -o major,minor --separator \"$1\" $2; }; \
             pool=$(cat store/devicemapper/name); for layer in store/layers/devicemapper/*/thin; do \
             read number sectors <$layer && \
             dmsetup create $pool-spoiled --table \"0 $sectors thin $(numbers : $pool) $number\" && \
             mknod device b $(numbers ' ' $pool-spoiled) && mount -t ext4 device spoiled && spoil_tree spoiled && \
             umount spoiled && rm device && dmsetup remove --retry $pool-spoiled || exit; done"
        }
        // The snapshot of which layers above are clones stays as it was.
        "zfs" => {
            "for layer in store/layers/zfs/*/zfs; do \
             mount -t zfs $(cat $layer) spoiled && spoil_tree spoiled && umount spoiled || exit; done"
        }
        _ => "for fs in store/layers/*/*/fs; do spoil_tree $fs || exit; done",
    }
}

/// Where a block of the disk has the beginning of the layer's tar, the disk forgets it: nobody can write to the file.
fn spoil_sealed(bench: &Bench<'_>, disk: &Path) {
    let unmount =
        "for place in $(grep -o ' /run/strata[^ ]*' /proc/self/mounts); do umount -l $place; done; umount store";
    bench.machine.sh(unmount).ok();
    let disk = File::options().read(true).write(true).open(disk).unwrap();
    let mut block = [0; 4096];
    let mut found = 0;
    for at in (0..disk.metadata().unwrap().len()).step_by(block.len()) {
        disk.read_exact_at(&mut block, at).unwrap();
        if block[512..].starts_with(b"data/one\0") && block[1024..].starts_with(b"one") {
            disk.write_all_at(b"x", at + 1024).unwrap();
            found += 1;
        }
    }
    assert!(found > 0, "the layer's tar is not on the disk");
    bench.machine.sh("mount -o loop disk store").ok();
}
