//! The disk is full in the middle of a pull: a clear sentence, nothing left behind, and nothing harmed.

use std::process::Command;

use strata_testkit::image::{Compression, Image};
use strata_testkit::mock_registry::MockRegistry;
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

use crate::{noise, small};

/// The image that does not fit, and the room there is.
const LAYER_BYTES: usize = 6_000_000;
const DISK_MIB: u64 = 40;
const ROOM_MIB: u64 = 8;

fn check(driver: &str, mount: &str) {
    let registry = MockRegistry::start();
    registry.put_image("base", "1", &small("a"));
    let layer = |name: &str| Tar::new().file(name, 0o644, &noise(LAYER_BYTES)).finish();
    let big = Image::new().layer(layer("one"), Compression::Plain).layer(layer("two"), Compression::Gzip);
    registry.put_image("big", "1", &big);
    let (base, big) = (format!("{}/base:1", registry.host()), format!("{}/big:1", registry.host()));
    let machine = Machine::start();
    machine.sh(mount).ok();
    let strata = |args: &[&str]| {
        let mut command: Command = machine.command(host::strata());
        command.args(["--root", "small/store", "--storage-driver", driver]).args(args);
        strata_testkit::machine::Ran::from(command.output().unwrap())
    };
    strata(&["pull", "-q", &base]).ok();
    let free = || machine.sh("stat -f -c '%a %S' small").ok();
    let bytes = |free: &str| free.split_whitespace().map(|word| word.parse::<u64>().unwrap()).product::<u64>();
    let filler = bytes(&free()).saturating_sub(ROOM_MIB << 20);
    machine.sh(&format!("head -c {filler} /dev/zero > small/filler")).ok();
    let before = bytes(&free());

    let plan = strata(&["pull", "--plan", &big]);
    assert!(plan.code == 1 && plan.out.contains("Fits:  no"), "{plan:?}");
    let error = strata(&["pull", "-q", &big]).fails(1);
    assert!(error.contains("no space left on device"), "{driver}: {error}");
    assert!(error.lines().count() <= 2, "{driver}: {error}");
    assert_eq!(strata(&["images", "--format", "{{.Repository}}"]).ok(), format!("{}/base\n", registry.host()));
    strata(&["check"]).ok();
    let after = bytes(&free());
    assert!(after + (1 << 20) > before, "{driver}: {} bytes were not given back", before.saturating_sub(after));

    machine.sh("rm small/filler").ok();
    strata(&["pull", "-q", &big]).ok();
    strata(&["save", "-o", "/dev/null", &base, &big]).ok();
    strata(&["check"]).ok();
}

#[test]
fn a_plan_counts_what_a_killed_pull_left() {
    need!(host::root());
    let registry = MockRegistry::start();
    let layer = Tar::new().file("one", 0o644, &noise(LAYER_BYTES)).finish();
    registry.put_image("big", "1", &Image::new().layer(layer, Compression::Plain));
    let big = format!("{}/big:1", registry.host());
    let machine = Machine::start();
    let plan = || machine.strata(["pull", "--plan", &big]).ok();
    assert!(plan().contains("Would be fetched (6.002MB)\nFetch: 6.002MB in 1 layers\n"), "{}", plan());
    let mut killed = machine.strata_command(["pull", "-q", &big]);
    killed.env("STRATA_FAILPOINT", "store.ingest.written:2");
    assert!(!killed.output().unwrap().status.success());
    let after = plan();
    let left = after.split("Would be fetched (").nth(1).and_then(|rest| rest.split(" of 6.002MB)").next()).unwrap();
    assert!(left.ends_with("MB") && left < "6.002MB", "{after}");
    assert!(after.contains(&format!("Fetch: {left} in 1 layers\n")), "{after}");
    machine.strata(["pull", "-q", &big]).ok();
    assert!(plan().contains("Already exists (6.002MB)\nFetch: 0B in 0 layers\n"), "{}", plan());
}

#[test]
fn a_small_disk_fills_up() {
    need!(host::root());
    for driver in ["overlay", "vfs"] {
        check(driver, &format!("mkdir small && mount -t tmpfs -o size={DISK_MIB}m tmpfs small"));
    }
}

#[test]
fn a_small_ext4_fills_up_below_erofs() {
    need!(host::root(), host::filesystem("erofs"), host::filesystem("ext4"), host::program("mkfs.ext4"));
    need!(loop_device());
    let make =
        format!("truncate -s {DISK_MIB}M disk && mkfs.ext4 -q -m 0 disk && mkdir small && mount -o loop disk small");
    check("erofs", &make);
}

/// Whether there are loop devices.
fn loop_device() -> Result<(), String> {
    if std::path::Path::new("/dev/loop-control").exists() { Ok(()) } else { Err("loop devices".to_owned()) }
}
