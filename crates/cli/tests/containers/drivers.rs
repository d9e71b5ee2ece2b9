//! The program on the storage drivers that not every filesystem has.

use strata_testkit::image::Image;
use strata_testkit::machine::Ran;
use strata_testkit::{Machine, host, need};

use super::needs;

/// A machine whose store lies on a new filesystem of that kind, if the host can mount one.
fn store_on(kind: &str) -> Result<Machine, String> {
    let machine = Machine::isolated();
    let made = format!("truncate -s 1G disk && mkfs.{kind} -q disk && mkdir store && mount -o loop disk store");
    match machine.sh(&made) {
        Ran { code: 0, .. } => Ok(machine),
        ran => Err(format!("the filesystem `{kind}` on a loop device: {}", ran.err.trim())),
    }
}

#[test]
fn info_says_which_drivers_work_here_and_why_others_do_not() {
    need!(needs());
    let machine = Machine::isolated();
    machine.sh("mkdir -p store && mount -t tmpfs none store").ok();
    let said = machine.strata(["info"]).ok();
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with(" Free Space")).skip(1).collect();
    assert!(lines[0].starts_with(" erofs: the kernel mounts no EROFS image from a file"), "{said}");
    assert!(lines.contains(&" btrfs: the root directory is not on btrfs"), "{said}");
    assert!(lines.contains(&" vfs: works here"), "{said}");
    let refused = machine.strata(["--root", "store/other", "--storage-driver", "btrfs", "info"]).fails(1);
    assert!(
        refused.contains("the storage driver `btrfs` is not available: the root directory is not on btrfs"),
        "{refused}"
    );
}

/// Loads, runs, commits, saves, goes back and removes; `machine` has a directory `store` where the driver works.
fn whole_way(machine: &Machine, driver: &str) {
    let script = |words: &[&str], script: &str| machine.strata([words, &["sh", "-c", script]].concat());
    std::fs::write(machine.dir().join("box.tar"), Image::busybox().docker_archive("box:latest")).unwrap();
    machine.strata(["--storage-driver", driver, "load", "-qi", "box.tar"]).ok();
    let info = machine.strata(["info"]).ok();
    assert!(info.contains(&format!("Storage Driver: {driver}\n")), "{info}");
    assert!(info.contains(&format!("\n {driver}: works here\n")), "{info}");
    script(&["run", "--network", "none", "--name", "one", "box"], "echo new > /etc/new; rm /etc/group").ok();
    assert_eq!(machine.strata(["diff", "one"]).ok(), "C /etc\nD /etc/group\nA /etc/new\n");
    machine.strata(["commit", "one", "made"]).ok();
    let seen = script(&["run", "--rm", "--network", "none", "--userns", "auto", "made"], "cat /etc/new; ls /etc/group");
    assert_eq!((seen.code, seen.out.as_str()), (1, "new\n"), "{}", seen.err);
    // What is saved is what the other drivers save.
    machine.strata(["save", "-o", "made.tar", "made"]).ok();
    machine.strata(["--root", "other", "--storage-driver", "vfs", "load", "-qi", "made.tar"]).ok();
    let id = |root: &str| machine.strata(["--root", root, "inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", "made"]).ok();
    assert_eq!(id("store"), id("other"));
    // Forward and back.
    machine.strata(["run", "-d", "--network", "none", "--name", "web", "made", "sleep", "1000"]).ok();
    machine.strata(["snapshot", "web", "before"]).ok();
    machine.strata(["exec", "web", "rm", "/etc/new"]).ok();
    assert_eq!(machine.strata(["diff", "web"]).ok(), "C /etc\nD /etc/new\n");
    machine.strata(["rollback", "web", "before"]).ok();
    assert_eq!(machine.strata(["exec", "web", "cat", "/etc/new"]).ok(), "new\n");
    machine.strata(["rm", "-f", "web", "one"]).ok();
    machine.strata(["check"]).ok();
}

/// The container `small`, which may hold 32 MB, holds 8 and not 64.
fn a_small_one_holds_no_more(machine: &Machine) {
    let limited = ["run", "--name", "small", "--network", "none", "--storage-opt", "size=32m", "made"];
    let fill =
        "dd if=/dev/urandom of=/f bs=1M count=8 conv=fsync && dd if=/dev/urandom of=/g bs=1M count=64 conv=fsync";
    let full = machine.strata([&limited[..], &["sh", "-c", fill]].concat());
    assert_eq!(full.code, 1, "{full:?}");
    assert!(full.err.contains("8+0 records out") && full.err.contains("Disk quota exceeded"), "{}", full.err);
}

#[test]
fn a_store_of_subvolumes() {
    need!(needs(), host::program("mkfs.btrfs"));
    let machine = match store_on("btrfs") {
        Ok(machine) => machine,
        Err(missing) => return host::skipped(module_path!(), &missing),
    };
    let script = |words: &[&str], script: &str| machine.strata([words, &["sh", "-c", script]].concat());
    whole_way(&machine, "btrfs");
    // A container that may hold 32 MB does, and no more.
    a_small_one_holds_no_more(&machine);
    assert_eq!(machine.strata(["inspect", "-f", "{{.HostConfig.StorageOpt}}", "small"]).ok(), "map[size:32m]\n");
    machine.strata(["rm", "small"]).ok();
    let refused = machine.strata(["--root", "other", "run", "--storage-opt", "size=1g", "made", "true"]).fails(125);
    assert!(refused.contains("the storage driver `vfs` cannot limit what a container holds"), "{refused}");
    assert_eq!(machine.strata(["--root", "other", "ps", "-aq"]).ok(), "");
    machine.strata(["check"]).ok();
    // Copies and subvolumes have one name: containers go from one to the other by way of a third.
    script(&["run", "--name", "stays", "--network", "none", "made"], "echo kept > /kept; ls /etc/new > /dev/null").ok();
    let refused = machine.strata(["system", "migrate", "vfs"]).fails(1);
    assert!(refused.contains("move the store to `overlay` first"), "{refused}");
    for to in ["overlay", "btrfs"] {
        machine.strata(["system", "migrate", to]).ok();
        assert_eq!(machine.strata(["diff", "stays"]).ok(), "A /kept\n", "{to}");
    }
    machine.strata(["system", "prune", "-af"]).ok();
    assert_eq!(machine.sh("ls store/layers/btrfs").ok(), "");
    assert_eq!(machine.sh("btrfs subvolume list store").ok(), "");
    machine.strata(["check"]).ok();
}

#[test]
fn a_store_of_datasets() {
    need!(needs(), device("/dev/zfs"), host::program("zpool"));
    let machine = Machine::isolated();
    let pool = machine.dir().file_name().unwrap().to_str().unwrap().to_owned();
    let options = "-o cachefile=none -O compression=off -O sync=disabled -O acltype=posix -O xattr=sa -m $PWD/store";
    machine.sh(&format!("truncate -s 1G file && zpool create {options} {pool} $PWD/file")).ok();
    whole_way(&machine, "zfs");
    // What a container may write; its image is not counted.
    a_small_one_holds_no_more(&machine);
    machine.strata(["rm", "small"]).ok();
    machine.strata(["check"]).ok();
    machine.strata(["system", "prune", "-af"]).ok();
    assert_eq!(machine.sh("ls store/layers/zfs store/zfs/sets").ok(), "store/layers/zfs:\n\nstore/zfs/sets:\n");
    // The pool's own, and the one that all were below.
    assert_eq!(
        machine.sh(&format!("zfs list -H -o name -r {pool} | wc -l; zfs list -H -t snapshot -r {pool}")).ok(),
        "2\n"
    );
    machine.sh(&format!("cd / && zpool destroy {pool}")).ok();
}

#[test]
fn a_store_that_a_process_shows() {
    need!(needs(), device("/dev/fuse"));
    let machine = Machine::isolated();
    let script = |words: &[&str], script: &str| machine.strata([words, &["sh", "-c", script]].concat());
    whole_way(&machine, "fuse");
    let servers = || machine.sh("grep -lx strata-union /proc/[0-9]*/comm").out.lines().count();
    assert_eq!(servers(), 0, "{}", machine.sh("ps -ef").out);
    // A file of a layer that runs, is read, and is written at once; an owner's bits go when somebody else writes.
    let busy = "cp /bin/busybox /own && chmod 4755 /own && exec 3< /etc/passwd && echo more >> /etc/passwd && wc -l <&3 \
                && tail -n 1 /etc/passwd && stat -c %a /own && ln /etc/passwd /etc/twin && stat -c %h /etc/passwd \
                && mv -n /etc/twin /etc/hostname; mkfifo /pipe && (echo through > /pipe & cat /pipe)";
    let said = script(&["run", "--name", "busy", "--network", "none", "made"], busy).ok();
    assert!(said.ends_with("more\n4755\n2\nthrough\n"), "{said}");
    // The server outlives the command, hears no signal that is meant for it, and ends with the container.
    machine.strata(["run", "-d", "--network", "none", "--name", "web", "made", "sleep", "1000"]).ok();
    assert_eq!(servers(), 1);
    let ended = "for comm in $(grep -lx strata-union /proc/[0-9]*/comm); do kill -TERM $(basename ${comm%/comm}); done";
    machine.sh(ended).ok();
    assert_eq!(machine.strata(["exec", "web", "cat", "/etc/new"]).ok(), "new\n");
    machine.strata(["restart", "-t", "0", "web"]).ok();
    assert_eq!(servers(), 1);
    let refused = machine.strata(["run", "--storage-opt", "size=1g", "made", "true"]).fails(125);
    assert!(refused.contains("the storage driver `fuse` cannot limit what a container holds"), "{refused}");
    // Killed, it says what it is: whoever comes anew finds everything.
    machine.sh(&ended.replace("-TERM", "-KILL")).ok();
    let lost = machine.strata(["exec", "web", "cat", "/etc/new"]);
    assert!(lost.code != 0 && lost.err.contains("not connected"), "{lost:?}");
    machine.strata(["restart", "-t", "0", "web"]).ok();
    assert_eq!(machine.strata(["exec", "web", "cat", "/etc/new"]).ok(), "new\n");
    machine.strata(["rm", "-f", "web", "busy"]).ok();
    assert_eq!(servers(), 0, "{}", machine.sh("ps -ef").out);
    machine.strata(["check"]).ok();
}

#[test]
fn a_store_of_thin_devices() {
    need!(needs(), host::program("mkfs.ext4"), host::program("dmsetup"), device("/dev/mapper/control"));
    let machine = Machine::isolated();
    // On block devices; the suite of all drivers has pools in files.
    let devices = "mkdir -p store/devicemapper; truncate -s 2G data; truncate -s 64M metadata; \
                   for name in data metadata; do ln -s $(losetup -f --show $name) store/devicemapper/$name || exit; done";
    machine.sh(devices).ok();
    whole_way(&machine, "devicemapper");
    let pool = std::fs::read_to_string(machine.root().join("devicemapper/name")).unwrap();
    let used = || machine.sh("ls store/devicemapper/thin").ok();
    let refused = machine.strata(["run", "--storage-opt", "size=1g", "made", "true"]).fails(125);
    assert!(refused.contains("the storage driver `devicemapper` cannot limit what a container holds"), "{refused}");
    // It is found again after the machine has lost all its devices, as in a reboot.
    machine.sh(&format!("dmsetup remove --retry {pool}")).ok();
    assert_eq!(machine.strata(["run", "--rm", "--network", "none", "made", "cat", "/etc/new"]).ok(), "new\n");
    machine.strata(["system", "prune", "-af"]).ok();
    // The empty filesystem is all that is left.
    assert_eq!(used().lines().count(), 1, "{}", used());
    assert_eq!(machine.sh("dmsetup ls --target thin | grep -c strata").out, "0\n");
    machine.strata(["check"]).ok();
    let gone = format!(
        "dmsetup remove --retry {pool} && for name in data metadata; do losetup -d $(readlink store/devicemapper/$name) || exit; done"
    );
    machine.sh(&gone).ok();
}

/// Whether this machine has that device.
fn device(path: &str) -> Result<(), String> {
    if std::path::Path::new(path).exists() { Ok(()) } else { Err(format!("the device {path}")) }
}
