//! Where the filesystem can, snapshots and commits share the blocks of large files with the container: XFS on a loop device.
#![allow(clippy::unwrap_used, reason = "tests")]

use strata_testkit::image::Image;
use strata_testkit::{Machine, host, need};

/// What a container writes, and what sharing may cost beside it: metadata, and what the filesystem sets aside for files that
/// may grow.
const FILE_MIB: u64 = 64;
const SLACK_MIB: u64 = 8;

/// MiB in use on the store's filesystem.
fn used(machine: &Machine) -> u64 {
    let script = "sync -f store && df --output=used --block-size=1M store | tail -n 1";
    machine.sh(script).ok().trim().parse().unwrap()
}

fn check(driver: &str) {
    need!(host::root(), host::program("busybox"), host::program("mkfs.xfs"), host::filesystem("xfs"));
    let machine = Machine::start();
    machine
        .sh("truncate -s 640M disk && mkfs.xfs -q -m reflink=1 disk && mkdir store && mount -o loop disk store")
        .ok();
    let archive = Image::busybox().docker_archive("base:latest");
    machine.strata_with_input(["--storage-driver", driver, "load"], &archive).ok();
    // Sizes that are no multiples of a block, and a small file between them.
    let script = "cd /root; if ! test -e done; then head -c 40000001 /dev/urandom >a; echo small >b; \
                  head -c 27108863 /dev/urandom >c; sync; touch done; fi; exec sleep 1000";
    machine.strata(["run", "-d", "--name", "web", "--network", "none", "base", "sh", "-c", script]).ok();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while machine.strata(["exec", "web", "test", "-e", "/root/done"]).code != 0 {
        assert!(std::time::Instant::now() < deadline, "the files were never written");
    }
    let before = used(&machine);
    let costs = |what: &str, limit_mib: u64| {
        let cost = used(&machine).saturating_sub(before);
        assert!(cost <= limit_mib, "{driver}: {what} of {FILE_MIB} MiB took {cost} MiB");
    };
    machine.strata(["snapshot", "web", "now"]).ok();
    costs("the snapshot", SLACK_MIB);
    machine.strata(["commit", "web", "made:1"]).ok();
    costs("the snapshot and a commit", SLACK_MIB + SLACK_MIB / 2);
    machine.strata(["fork", "web:now", "fork"]).ok();
    costs("the snapshot, a commit and a fork", 2 * SLACK_MIB);
    // And all of them have the very bytes.
    let sums = ["sh", "-c", "cd /root; sha256sum a b c"];
    let expected = machine.strata(["exec", "web"].iter().chain(&sums)).ok();
    assert_eq!(expected.lines().count(), 3);
    assert_eq!(machine.strata(["exec", "fork"].iter().chain(&sums)).ok(), expected);
    let made = ["run", "--rm", "--network", "none", "made:1"];
    assert_eq!(machine.strata(made.iter().chain(&sums)).ok(), expected);
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
    // The layer is a tar like any other, for other programs, too.
    machine.strata(["save", "-o", "made.tar", "made:1"]).ok();
    let script = "mkdir -p out layers && tar -xf made.tar -C out && for blob in out/blobs/sha256/*; do \
                  tar -xf $blob -C layers --exclude='dev/*' 2>/dev/null; done; cd layers/root && sha256sum a b c";
    assert_eq!(machine.sh(script).ok(), expected);
}

#[test]
fn erofs_shares_blocks() {
    check("erofs");
}

#[test]
fn overlay_shares_blocks() {
    check("overlay");
}

#[test]
fn fuse_shares_blocks() {
    if !std::path::Path::new("/dev/fuse").exists() {
        return host::skipped(module_path!(), "the device /dev/fuse");
    }
    check("fuse");
}

#[test]
fn vfs_shares_blocks() {
    check("vfs");
}
