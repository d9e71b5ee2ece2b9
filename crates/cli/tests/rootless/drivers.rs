//! Stores of other drivers than the one a person gets by default.

use strata_testkit::image::{Compression, Image};
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};

use crate::{MANY, Person, needs};

/// Loads, runs, commits, saves, goes back and removes.
fn whole_way(me: &Person, driver: &str) {
    me.strata(&format!("--storage-driver {driver} load -qi ../box.tar")).ok();
    assert_eq!(me.strata("info -f {{.Driver}}").ok(), format!("{driver}\n"));
    let change = "echo new > /etc/new; chown 5:6 /etc/new; rm /etc/group; id -u";
    let ran = me.run(&["run", "--network", "none", "--name", "one", "box", "sh", "-c", change]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "0\n"), "{}", ran.err);
    assert_eq!(me.strata("diff one").ok(), "C /etc\nD /etc/group\nA /etc/new\n");
    me.strata("commit one made").ok();
    let look = "cat /etc/new; stat -c %u:%g /etc/new; ls /etc/group; touch /mine && stat -c %u /mine";
    let seen = me.run(&["run", "--rm", "--network", "none", "made", "sh", "-c", look]);
    assert_eq!((seen.code, seen.out.as_str()), (0, "new\n5:6\n0\n"), "{}", seen.err);
    // What is saved is what the driver of others saves.
    me.strata("save -o made.tar made").ok();
    me.strata("--root other --storage-driver overlay load -qi made.tar").ok();
    let id = "inspect -f {{.Id}}{{.RootFS.Layers}} made";
    assert_eq!(me.strata(id).ok(), me.strata(&format!("--root other {id}")).ok());
    // Forward and back.
    me.strata("run -d --network none --name web made sleep 1000").ok();
    me.strata("snapshot web before").ok();
    me.strata("exec web rm /etc/new").ok();
    me.strata("rollback web before").ok();
    assert_eq!(me.strata("exec web cat /etc/new").ok(), "new\n");
    me.strata("rm -f web one").ok();
    me.strata("check").ok();
}

/// What is said to who would limit a container.
const REFUSED: &str = "cannot limit what a container holds: quotas are for the machine's root to set";

/// Removes everything, and looks whether that is so.
fn leave(me: &Person, driver: &str) {
    assert_eq!(me.strata("ps -aq").ok(), "");
    me.strata("system prune -af").ok();
    let layers = me.root().join("layers").join(driver);
    assert_eq!(me.machine.sh(&format!("ls {}", layers.display())).ok(), "");
    me.strata("check").ok();
}

#[test]
fn a_person_has_a_store_of_copies() {
    need!(needs());
    let me = Person::prepared(MANY, "");
    whole_way(&me, "vfs");
    let refused = me.strata("run --rm --network none --storage-opt size=1g made true").fails(125);
    assert!(refused.contains(REFUSED), "{refused}");
    leave(&me, "vfs");
}

#[test]
fn a_person_has_a_store_that_a_process_shows() {
    need!(needs(), fuse());
    // A device that everybody may open, as most systems have it.
    let device =
        "mkdir nodes; mount -t tmpfs none nodes; mknod -m 666 nodes/fuse c 10 229; mount --bind nodes/fuse /dev/fuse;";
    let me = Person::prepared(MANY, device);
    whole_way(&me, "fuse");
    assert_eq!(me.machine.sh("grep -lx strata-union /proc/[0-9]*/comm").out, "");
    leave(&me, "fuse");
}

/// Whether this machine has the device.
fn fuse() -> Result<(), String> {
    if std::path::Path::new("/dev/fuse").exists() { Ok(()) } else { Err("the device /dev/fuse".to_owned()) }
}

#[test]
fn a_person_has_a_store_of_subvolumes() {
    need!(needs(), host::program("mkfs.btrfs"), host::program("btrfs"), host::filesystem("btrfs"));
    // Without the mount option that lets everybody remove subvolumes at once.
    let disk = "truncate -s 1G disk; mkfs.btrfs -q disk; mount -o loop disk home;";
    let me = Person::prepared(MANY, disk);
    whole_way(&me, "btrfs");
    let refused = me.strata("run --rm --network none --storage-opt size=1g made true").fails(125);
    assert!(refused.contains(REFUSED), "{refused}");
    let listed = me.machine.sh("btrfs subvolume list home").ok();
    assert_eq!(listed.lines().count(), 2, "two layers, and nothing of containers: {listed}");
    leave(&me, "btrfs");
    assert_eq!(me.machine.sh("btrfs subvolume list home").ok(), "");
}

#[test]
fn a_person_passes_windows_images_on() {
    need!(needs());
    let me = Person::prepared(MANY, "");
    let mut image = Image::new();
    image.config["os"] = "windows".into();
    let tar = Tar::new().dir("Files").hardlink("Files/a", "Files/of the layer below").finish();
    let image = image.layer(tar, Compression::Gzip);
    std::fs::write(me.machine.dir().join("win.tar"), image.docker_archive("win:1")).unwrap();
    me.machine.sh("chmod 644 win.tar").ok();
    me.strata("load -qi ../win.tar").ok();
    me.strata("save -o out.tar win:1").ok();
    me.strata("--root other load -qi out.tar").ok();
    let id = "inspect -f {{.Id}} win:1";
    assert_eq!(me.strata(id).ok(), me.strata(&format!("--root other {id}")).ok());
    assert!(me.strata("run win:1").fails(125).contains("cannot be used on this platform"));
}

/// What the kernel lets only the machine's root do.
#[test]
fn what_a_person_cannot_have_is_refused_in_words() {
    need!(needs());
    let me = Person::with(MANY);
    let reasons = [
        ("erofs", "EROFS images are for the machine's root to mount\n"),
        ("zfs", "the root directory is not on ZFS\n"),
        ("devicemapper", "no device mapper can be reached: "),
        ("aufs", "the kernel has no aufs: "),
        ("windowsfilter", "it keeps the layers of Windows images, beside whatever driver the store has\n"),
    ];
    for (driver, reason) in reasons {
        let refused = me.strata(&format!("--root {driver} --storage-driver {driver} info")).fails(1);
        let expected = format!("strata: the storage driver `{driver}` is not available: {reason}");
        assert!(refused.starts_with(&expected), "{refused}");
    }
}
