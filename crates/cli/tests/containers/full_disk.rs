//! Containers that fill the disk: how they end is known, to those who wait and to those who ask later.

use strata_testkit::image::Image;
use strata_testkit::{Machine, host, need};

use super::needs;

/// A machine whose store is on a small ext4, and holds the image `box`.
fn machine(driver: &str) -> Machine {
    let machine = Machine::isolated();
    machine
        .sh("truncate -s 40M disk && mkfs.ext4 -q -m 0 -b 4096 disk && mkdir store && mount -o loop disk store")
        .ok();
    std::fs::write(machine.dir().join("box.tar"), Image::busybox().docker_archive("box:latest")).unwrap();
    machine.strata(["--storage-driver", driver, "load", "-qi", "box.tar"]).ok();
    machine
}

/// Leaves no room, not even for a directory.
const FILL: &str = "dd if=/dev/zero of=/full bs=64k 2>/dev/null; dd if=/dev/zero of=/rest bs=1k 2>/dev/null";

#[test]
fn how_a_container_ended_that_filled_the_disk_is_known() {
    need!(needs(), host::program("mkfs.ext4"));
    for driver in ["erofs", "overlay", "vfs"] {
        let machine = machine(driver);
        let script = format!("{FILL}; echo said; exit 3");
        let ran = machine.strata(["run", "--name", "full", "--network", "none", "box", "sh", "-c", &script]);
        assert_eq!((ran.code, &*ran.out, &*ran.err), (3, "said\n", ""), "{driver}");
        assert_eq!(machine.sh("mkdir store/more").code, 1, "the disk is not full");
        let state = ["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}", "full"];
        assert_eq!(machine.strata(state).ok(), "exited 3 \n", "{driver}");
        assert_eq!(machine.strata(["wait", "full"]).ok(), "3\n", "{driver}");
        // It goes, and with it what it wrote.
        machine.strata(["rm", "full"]).ok();
        assert!(machine.strata(["check"]).ok().starts_with("no problems"), "{driver}");
        // Nobody is there when it ends.
        let script = format!("{FILL}; exit 4");
        machine.strata(["run", "-d", "--name", "alone", "--network", "none", "box", "sh", "-c", &script]).ok();
        assert_eq!(machine.strata(["wait", "alone"]).ok(), "4\n", "{driver}");
        machine.strata(["rm", "alone"]).ok();
    }
}

#[test]
fn a_step_that_fills_the_disk_fails_like_any_other() {
    need!(needs(), host::program("mkfs.ext4"));
    let machine = machine("erofs");
    std::fs::create_dir(machine.dir().join("context")).unwrap();
    let dockerfile = format!("FROM box\nRUN {FILL}; exit 7\n");
    std::fs::write(machine.dir().join("context/Dockerfile"), dockerfile).unwrap();
    let failed = machine.strata(["build", "--network", "none", "--progress=plain", "context"]).fails(1);
    assert!(failed.ends_with("did not complete successfully: exit code: 7\n"), "{failed}");
    assert_eq!(machine.sh("ls store/containers").ok(), "");
    machine.sh("mkdir store/more").ok();
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
}

/// Half of a copy would take the room that is missing.
#[test]
fn a_rollback_that_has_no_room_leaves_everything_as_it_was() {
    need!(needs(), host::program("mkfs.ext4"));
    let machine = machine("vfs");
    machine.strata(["run", "--name", "one", "--network", "none", "box", "sh", "-c", "echo one >/one"]).ok();
    machine.strata(["snapshot", "one", "first"]).ok();
    machine.strata(["start", "-a", "one"]).ok();
    let before = machine.sh("du -sk store/containers | cut -f 1").ok();
    // A layer's copy has to be made for it, and there is room for half of one.
    machine.sh("fallocate -l $(($(df -k store | tail -n 1 | awk '{ print $4 }') - 1000))k store/filler").ok();
    let refused = machine.strata(["rollback", "one", "first"]).fails(1);
    assert!(refused.contains("no space left on device"), "{refused}");
    assert_eq!(machine.sh("du -sk store/containers | cut -f 1").ok(), before);
    machine.sh("rm store/filler").ok();
    assert_eq!(machine.strata(["start", "-a", "one"]).code, 0);
    machine.strata(["rollback", "one", "first"]).ok();
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
}

/// Whoever moves a store and has no room for it gives up, and has what they had.
#[test]
fn a_move_that_has_no_room_is_given_up() {
    need!(needs(), host::program("mkfs.ext4"));
    let machine = machine("erofs");
    for (name, kilobytes) in [("first", 5000), ("second", 9000)] {
        let archive = Image::of_files(name, &[(name, kilobytes)]).docker_archive(name);
        machine.strata_with_input(["load", "-q"], &archive).ok();
    }
    machine.sh("fallocate -l $(($(df -k store | tail -n 1 | awk '{ print $4 }') - 9000))k store/filler").ok();
    let refused = machine.strata(["system", "migrate", "vfs"]).fails(1);
    assert!(refused.contains("no space left on device"), "{refused}");
    assert!(refused.contains("\nhint: `strata system migrate` to the driver that the store has gives up"), "{refused}");
    assert_eq!(machine.strata(["system", "migrate", "erofs"]).ok(), "the store is with erofs\n");
    assert_eq!(machine.sh("ls store/layers | grep vfs").out, "");
    assert!(machine.strata(["check"]).ok().starts_with("no problems in 3 images"));
    machine.sh("rm store/filler").ok();
    assert_eq!(machine.strata(["system", "migrate", "vfs"]).ok(), "moved 3 layers from erofs to vfs\n");
}

/// The way to give room to a disk that has none, whatever the filesystem does to write: with blocks smaller than pages, and with
/// every write in another place.
#[test]
fn what_gives_room_works_where_there_is_none() {
    need!(needs(), host::program("mkfs.ext4"), host::program("mkfs.btrfs"));
    for (mkfs, mib) in [("mkfs.ext4 -m 0 -b 1024", 40), ("mkfs.ext4 -m 0 -b 4096", 40), ("mkfs.btrfs", 200)] {
        let machine = Machine::isolated();
        let made = machine
            .sh(&format!("truncate -s {mib}M disk && {mkfs} -q disk && mkdir store && mount -o loop disk store"));
        if made.code != 0 {
            return host::skipped(module_path!(), "a filesystem for the driver btrfs");
        }
        for (name, kilobytes) in [("first", 2000), ("second", 3000)] {
            let archive = Image::of_files(name, &[(name, kilobytes)]).docker_archive(name);
            machine.strata_with_input(["--storage-driver", "overlay", "load", "-q"], &archive).ok();
        }
        machine.strata(["create", "--name", "box", "first", "true"]).ok();
        let fill =
            "for size in 64k 1k; do dd if=/dev/zero of=store/full-$size bs=$size 2>/dev/null; sync; done; df -k store";
        let ok = |words: &[&str]| {
            let filled = machine.sh(fill).out;
            let ran = machine.strata(words);
            assert_eq!(ran.code, 0, "{mkfs}: {words:?}: {ran:?}\n{filled}");
            ran.out
        };
        assert_eq!(ok(&["images", "-q"]).lines().count(), 2);
        assert_eq!(ok(&["ps", "-aq"]).lines().count(), 1);
        assert!(ok(&["system", "df"]).contains("Images          2         1"));
        ok(&["rm", "box"]);
        ok(&["rmi", "first"]);
        ok(&["system", "prune", "-af"]);
        assert_eq!(ok(&["images", "-q"]), "");
        machine.sh("rm -r store/full-*").ok();
        assert!(machine.strata(["check"]).ok().starts_with("no problems in 0 images"), "{mkfs}");
    }
}

/// Where there is hardly any room, those who use the records do so one after another, and nobody waits for who only has them open.
#[test]
fn many_at_once_have_their_turns_where_there_is_hardly_any_room() {
    need!(needs(), host::program("mkfs.ext4"));
    let machine = machine("overlay");
    machine.strata(["run", "-d", "--name", "one", "--network", "none", "box", "sleep", "1000"]).ok();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let machine = &machine;
            scope.spawn(move || {
                for turn in 0..5 {
                    machine.strata(["tag", "box", &format!("box:{number}-{turn}")]).ok();
                    assert_eq!(machine.strata(["ps", "-q", "--filter", "name=one"]).ok().lines().count(), 1);
                    machine.strata(["run", "--rm", "--network", "none", "box", "true"]).ok();
                }
            });
        }
    });
    assert_eq!(machine.strata(["images", "-q", "box"]).ok().lines().count(), 31);
    machine.strata(["rm", "-f", "one"]).ok();
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
}
