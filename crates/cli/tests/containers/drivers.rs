//! The program on the storage drivers that not every filesystem has.

use strata_testkit::image::Image;
use strata_testkit::machine::Ran;
use strata_testkit::{Machine, host, need};

use super::needs;

/// A machine whose store lies on a new filesystem, made by that program and mounted with those options, if the host can.
fn store_on(mkfs: &str, options: &str) -> Result<Machine, Ran> {
    let machine = Machine::isolated();
    let made = format!("truncate -s 1G disk && {mkfs} -q disk && mkdir store && mount -o loop,{options} disk store");
    match machine.sh(&made) {
        Ran { code: 0, .. } => Ok(machine),
        ran => Err(ran),
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
    // XFS says of a project that is full what it says of a disk that is full.
    let said = ["Disk quota exceeded", "No space left on device"].iter().any(|said| full.err.contains(said));
    assert!(full.err.contains("8+0 records out") && said, "{}", full.err);
}

#[test]
fn a_store_of_subvolumes() {
    need!(needs(), host::program("mkfs.btrfs"));
    let machine = match store_on("mkfs.btrfs", "rw") {
        Ok(machine) => machine,
        Err(ran) => return host::skipped(module_path!(), &format!("btrfs on a loop device: {}", ran.err.trim())),
    };
    let script = |words: &[&str], script: &str| machine.strata([words, &["sh", "-c", script]].concat());
    whole_way(&machine, "btrfs");
    // A container that may hold 32 MB does, and no more.
    a_small_one_holds_no_more(&machine);
    assert_eq!(machine.strata(["inspect", "-f", "{{.HostConfig.StorageOpt}}", "small"]).ok(), "map[size:32m]\n");
    machine.strata(["rm", "small"]).ok();
    if machine.strata(["--root", "other", "info"]).ok().contains("\n Container Size: cannot be limited: ") {
        let refused = machine.strata(["--root", "other", "run", "--storage-opt", "size=1g", "made", "true"]).fails(125);
        assert!(refused.contains("the storage driver `vfs` cannot limit what a container holds: "), "{refused}");
        assert_eq!(machine.strata(["--root", "other", "ps", "-aq"]).ok(), "");
    }
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
fn a_container_that_is_a_directory_has_a_quota() {
    need!(needs(), host::program("mkfs.xfs"), host::program("mkfs.ext4"), host::program("xfs_quota"));
    let stores =
        [("mkfs.xfs", "pquota", "erofs"), ("mkfs.ext4 -O project,quota -E quotatype=prjquota", "prjquota", "fuse")];
    for (mkfs, options, driver) in stores {
        match store_on(mkfs, options) {
            Ok(machine) => a_quota_on(&machine, driver),
            Err(_) => host::skipped(module_path!(), "a filesystem with project quotas"),
        }
    }
}

fn a_quota_on(machine: &Machine, driver: &str) {
    let limited = ["--network", "none", "--storage-opt", "size=32m"];
    let run = |words: &[&str]| machine.strata([&["run"], &limited[..], words].concat());
    let limits = || {
        let report = "xfs_quota -f -x -c 'report -p -n -N' store | awk '$4 > 0 { print $4 }'";
        machine.sh(report).ok().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    // In kilobytes, as the container sees its own filesystem.
    let size = |of: &str| machine.strata(["exec", of, "sh", "-c", "df -kP / | tail -n 1 | awk '{ print $2 }'"]).ok();
    std::fs::write(machine.dir().join("box.tar"), Image::busybox().docker_archive("made")).unwrap();
    machine.strata(["--storage-driver", driver, "load", "-qi", "box.tar"]).ok();
    assert!(machine.strata(["info"]).ok().contains("\n Container Size: can be limited\n"));
    a_small_one_holds_no_more(machine);
    assert_eq!(machine.strata(["inspect", "-f", "{{.HostConfig.StorageOpt}}", "small"]).ok(), "map[size:32m]\n");
    assert_eq!(limits(), ["32768"]);
    machine.strata(["rm", "small"]).ok();
    assert_eq!(limits(), [""; 0]);
    // Roots of their own do not leave it.
    let escape = "dd if=/dev/zero of=/f bs=1M count=64 conv=fsync";
    assert_eq!(run(&["--rm", "--userns", "auto", "made", "sh", "-c", escape]).code, 1);
    run(&["-d", "--name", "web", "made", "sleep", "1000"]).ok();
    assert_eq!(size("web"), "32768\n");
    machine.strata(["exec", "web", "sh", "-c", "echo kept > /kept; mv /kept /etc/kept; mv /etc/passwd /moved"]).ok();
    machine.strata(["snapshot", "web", "before"]).ok();
    machine.strata(["fork", "web:before", "twin"]).ok();
    machine.strata(["rollback", "web", "before"]).ok();
    for container in ["web", "twin"] {
        assert_eq!(machine.strata(["exec", container, "cat", "/etc/kept"]).ok(), "kept\n");
        assert_eq!(size(container), "32768\n", "{container}");
        let full = machine.strata(["exec", container, "sh", "-c", escape]);
        assert_eq!(full.code, 1, "{full:?}");
    }
    assert_eq!(limits(), ["32768"; 2]);
    machine.strata(["rm", "-f", "twin"]).ok();
    machine.strata(["exec", "web", "rm", "/f"]).ok();
    for to in ["overlay", "vfs", driver] {
        machine.strata(["stop", "-t", "0", "web"]).ok();
        machine.strata(["system", "migrate", to]).ok();
        machine.strata(["start", "web"]).ok();
        assert_eq!(size("web"), "32768\n", "{to}");
        assert_eq!(machine.strata(["exec", "web", "cat", "/etc/kept"]).ok(), "kept\n");
        assert_eq!(limits(), ["32768"], "{to}");
    }
    machine.strata(["rm", "-f", "web"]).ok();
    machine.strata(["check"]).ok();
    assert_eq!(limits(), [""; 0]);
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
    // A container's filesystem may be larger than the image's.
    let refused = machine.strata(["run", "--storage-opt", "size=1g", "made", "true"]).fails(125);
    assert!(refused.contains("cannot be limited to 1073741824 bytes"), "{refused}");
    let large = ["run", "--rm", "--network", "none", "--storage-opt", "size=20g", "made"];
    let seen = machine.strata([&large[..], &["sh", "-c", "df -kP / | tail -n 1"]].concat());
    let kilobytes: u64 = seen.ok().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((19 << 20..20 << 20).contains(&kilobytes), "{kilobytes}");
    // It is found again after the machine has lost all its devices, as in a reboot.
    machine.sh(&format!("dmsetup remove --retry {pool}")).ok();
    assert_eq!(machine.strata(["run", "--rm", "--network", "none", "made", "cat", "/etc/new"]).ok(), "new\n");
    // Whoever is killed between starting a device and mounting it leaves it started.
    machine.strata(["create", "--name", "cut", "--network", "none", "made"]).ok();
    for failpoint in ["sys.thin.started", "sys.thin.reserved"] {
        let mut command = machine.strata_command(["commit", "cut", "more"]);
        let killed: Ran = command.env(strata_sys::failpoint::VARIABLE, failpoint).output().unwrap().into();
        assert_eq!(killed.code, 128 + 9, "{failpoint}: {killed:?}");
    }
    machine.strata(["rm", "cut"]).ok();
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
