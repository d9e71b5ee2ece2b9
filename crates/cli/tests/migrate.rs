//! A store moves from one storage driver to another: all images stay what they are, and killed anywhere it goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

use strata_sys::failpoint;
use strata_testkit::image::{Compression, Image};
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

/// A machine whose store has two images that share a layer, one of them with a whiteout and a hard link.
fn machine(driver: &str) -> Machine {
    let machine = Machine::start();
    fill(&machine, driver);
    machine
}

fn fill(machine: &Machine, driver: &str) {
    let upper =
        Tar::new().file("data", 0o640, &[7; 200_000]).hardlink("twin", "data").file("etc/.wh.group", 0o644, b"");
    let other = Image::busybox().layer(upper.finish(), Compression::Plain);
    for archive in [Image::busybox().docker_archive("base"), other.docker_archive("other")] {
        machine.strata_with_input(["--storage-driver", driver, "load", "-q"], &archive).ok();
    }
}

/// What the images are: what programs see in them, and the layers that others would get.
fn seen(machine: &Machine) -> String {
    let script = "cat /data | md5sum; stat -c '%h %a' /data /twin; ls /etc/group 2>&1; ls /bin | md5sum";
    let shown = machine.strata(["run", "--rm", "--network", "none", "other", "sh", "-c", script]).ok();
    machine.strata(["save", "-o", "saved.tar", "base", "other"]).ok();
    shown + &machine.sh("tar -tf saved.tar | sort").ok()
}

fn drivers_with_layers(machine: &Machine) -> String {
    machine.sh("cd store/layers; ls -d btrfs* erofs* overlay* vfs* 2>/dev/null | grep -v lock").out.replace('\n', " ")
}

#[test]
fn a_store_moves_there_and_back() {
    need!(host::root(), host::program("busybox"), host::filesystem("erofs"));
    let machine = machine("erofs");
    let before = seen(&machine);
    for (from, to, layers) in [("erofs", "overlay", 2), ("overlay", "vfs", 2), ("vfs", "erofs", 2)] {
        let moved = machine.strata(["system", "migrate", to]).ok();
        assert_eq!(moved, format!("moved {layers} layers from {from} to {to}\n"));
        assert_eq!(machine.strata(["info", "--format", "{{.Driver}}"]).ok(), format!("{to}\n"));
        assert_eq!(drivers_with_layers(&machine), format!("{to} "));
        assert_eq!(seen(&machine), before, "{to}");
        assert!(machine.strata(["check"]).ok().starts_with("no problems"), "{to}");
    }
    assert_eq!(machine.strata(["system", "migrate", "erofs"]).ok(), "the store is with erofs\n");
}

#[test]
fn a_store_moves_to_subvolumes_and_back() {
    need!(host::root(), host::program("busybox"), host::program("mkfs.btrfs"));
    let machine = Machine::start();
    if machine.sh("truncate -s 1G disk && mkfs.btrfs -q disk && mkdir store && mount -o loop disk store").code != 0 {
        return host::skipped(module_path!(), "the filesystem `btrfs` on a loop device");
    }
    fill(&machine, "vfs");
    let before = seen(&machine);
    for driver in ["btrfs", "overlay", "btrfs", "vfs"] {
        machine.strata(["system", "migrate", driver]).ok();
        assert_eq!((seen(&machine), drivers_with_layers(&machine)), (before.clone(), format!("{driver} ")));
        assert!(machine.strata(["check"]).ok().starts_with("no problems"), "{driver}");
    }
    assert_eq!(machine.sh("btrfs subvolume list store").ok(), "", "subvolumes stay behind");
}

#[test]
fn what_cannot_be_moved_is_refused_in_words() {
    need!(host::root(), host::program("busybox"), host::filesystem("erofs"));
    let machine = machine("erofs");
    let known = "erofs, overlay, btrfs, zfs, fuse, vfs, aufs, devicemapper, windowsfilter";
    for words in [&["system", "migrate", "zip"][..], &["--storage-driver", "zip", "--root", "other", "info"]] {
        assert_eq!(
            machine.strata(words).fails(1),
            format!("strata: unknown storage driver `zip`: there are {known}\n")
        );
    }
    assert_eq!(
        machine.strata(["--storage-driver", "vfs", "info"]).fails(1),
        "strata: this store uses the storage driver `erofs`, not `vfs`: `strata system migrate vfs` moves it\n"
    );
    for name in ["web", "db"] {
        machine.strata(["run", "-d", "--network", "none", "--name", name, "base", "sleep", "1000"]).ok();
    }
    machine.strata(["pause", "db"]).ok();
    let refused = machine.strata(["system", "migrate", "overlay"]).fails(1);
    let names = refused.strip_prefix("strata: containers run that have to be stopped first: ").unwrap();
    let mut names: Vec<&str> = names.trim_end().split(", ").collect();
    names.sort_unstable();
    assert_eq!(names, ["db", "web"]);
    // Why it cannot be is said before what would have to be done first.
    let refused = machine.strata(["system", "migrate", "windowsfilter"]).fails(1);
    assert!(refused.contains("the storage driver `windowsfilter` is not available: "), "{refused}");
    machine.strata(["rm", "-f", "web", "db"]).ok();
    machine.strata(["system", "migrate", "overlay"]).ok();
}

/// A machine with a container that has changed all kinds of things, and has a snapshot from before the last of them.
fn with_container(driver: &str) -> Machine {
    let machine = machine(driver);
    let first = "echo new > /etc/new; chown 5:6 /etc/new; chmod 4711 /etc/new; ln /etc/new /twin-of-new; rm /bin/vi; \
                 rm -r /home; mkdir /home; echo in > /home/in; ln -s /nowhere /link; mkfifo /pipe; chmod 700 /root; \
                 dd if=/dev/urandom of=/large bs=1k count=300 2>/dev/null";
    let second = "rm /data; mkdir /data; echo late > /data/late";
    let script = format!("if [ -e /link ] || [ -L /link ]; then {second}; else {first}; fi");
    machine.strata(["run", "--network", "none", "--name", "box", "other", "sh", "-c", &script]).ok();
    machine.strata(["snapshot", "box", "before"]).ok();
    machine.strata(["start", "-a", "box"]).ok();
    machine
}

/// What is in it, with owners, modes, times and content.
fn contents(machine: &Machine) -> String {
    machine.strata(["export", "-o", "box.tar", "box"]).ok();
    let listed = machine.sh("tar --full-time --numeric-owner -tvf box.tar | sort -k6").ok();
    listed + &machine.sh("tar -xOf box.tar | md5sum").ok()
}

#[test]
fn containers_that_do_not_run_move_along() {
    need!(host::root(), host::program("busybox"), host::filesystem("erofs"));
    let machine = with_container("erofs");
    let before = contents(&machine);
    assert!(before.contains("home/in") && before.contains("data/late") && !before.contains("bin/vi\n"), "{before}");
    let changes = machine.strata(["diff", "box"]).ok();
    let drivers = machine.strata(["info"]).ok();
    let works = |driver: &&str| drivers.contains(&format!(" {driver}: works here"));
    for to in ["overlay", "vfs", "fuse", "erofs", "fuse", "vfs", "overlay"].into_iter().filter(works) {
        machine.strata(["system", "migrate", to]).ok();
        assert_eq!(contents(&machine), before, "{to}");
        assert_eq!(machine.strata(["diff", "box"]).ok(), changes, "{to}");
        let shown = machine.strata(["inspect", "-f", "{{.Driver}} {{.GraphDriver.Name}}", "box"]).ok();
        assert_eq!(shown, format!("{to} {to}\n"));
        let expected = if to == "vfs" { "fs" } else { "upper\nwork" };
        let parts = machine.sh("cd store/containers/*/ && ls -d fs upper work 2>/dev/null").out;
        assert_eq!(parts.trim(), expected, "{to}");
        assert!(machine.strata(["check"]).ok().starts_with("no problems"), "{to}");
    }
    // Its snapshot is still there.
    machine.strata(["rollback", "box", "before"]).ok();
    let back = contents(&machine);
    assert!(back.contains("home/in") && !back.contains("data/late"), "{back}");
    machine.strata(["rm", "-f", "box"]).ok();
}

#[test]
fn a_move_with_containers_that_is_killed_anywhere_goes_on() {
    need!(host::root(), host::program("busybox"), host::filesystem("erofs"));
    let machine = with_container("overlay");
    let before = contents(&machine);
    let (mut from, mut to) = ("overlay", "vfs");
    for point in ["container", "copied", "recorded", "emptied", "removed"] {
        let mut command = machine.strata_command(["system", "migrate", to]);
        let killed = command.env(failpoint::VARIABLE, format!("snapshot.migrate.{point}")).output().unwrap();
        assert!(!killed.status.success(), "{point}");
        assert_eq!(contents(&machine), before, "killed at {point} from {from}");
        machine.strata(["system", "migrate", to]).ok();
        assert_eq!(contents(&machine), before, "after {point} to {to}");
        let expected = if to == "vfs" { "fs" } else { "upper\nwork" };
        let parts = machine.sh("cd store/containers/*/ && ls -d fs upper work 2>/dev/null").out;
        assert_eq!(parts.trim(), expected, "after {point} to {to}");
        assert!(machine.strata(["check"]).ok().starts_with("no problems"), "after {point}");
        std::mem::swap(&mut from, &mut to);
    }
}

#[test]
fn a_move_that_is_killed_anywhere_goes_on() {
    need!(host::root(), host::program("busybox"), host::filesystem("erofs"));
    for point in ["layer", "copied", "recorded", "removed"] {
        let machine = machine("erofs");
        let before = seen(&machine);
        let mut command = machine.strata_command(["system", "migrate", "overlay"]);
        let killed = command.env(failpoint::VARIABLE, format!("snapshot.migrate.{point}")).output().unwrap();
        assert!(!killed.status.success(), "{point}");
        assert_eq!(seen(&machine), before, "killed at {point}");
        machine.strata(["system", "migrate", "overlay"]).ok();
        assert_eq!((seen(&machine), drivers_with_layers(&machine)), (before, "overlay ".to_owned()), "after {point}");
        assert!(machine.strata(["check"]).ok().starts_with("no problems"), "after {point}");
    }
}
