//! Space is managed: what takes how much adds up, and a budget removes what was used longest ago and nothing that is needed.
#![allow(clippy::unwrap_used, reason = "tests")]

use strata_testkit::image::{Compression, Image};
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

const MIB: usize = 1 << 20;

/// An image with a layer that all have, and one of its own of that many MiB.
fn image(name: &str, mib: usize) -> Vec<u8> {
    // In no other image, or it would be stored once.
    let mut state = name.bytes().fold(1_u64, |state, byte| state * 257 + u64::from(byte));
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let own: Vec<u8> = (0..mib * MIB).map(|_| next()).collect();
    let own = Tar::new().file(name, 0o644, name.as_bytes()).file("own", 0o644, &own).finish();
    Image::busybox().layer(own, Compression::Plain).docker_archive(&format!("{name}:latest"))
}

fn machine(images: &[(&str, usize)]) -> Machine {
    let machine = Machine::start();
    for (name, mib) in images {
        machine.strata_with_input(["load", "-q"], &image(name, *mib)).ok();
    }
    machine
}

fn names(machine: &Machine) -> Vec<String> {
    let mut names: Vec<String> =
        machine.strata(["images", "--format", "{{.Repository}}"]).ok().lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn details(machine: &Machine) -> serde_json::Value {
    serde_json::from_str(&machine.strata(["system", "df", "-v", "--format", "json"]).ok()).unwrap()
}

/// What du counts below the directory of the layers, in bytes.
fn counted_by_du(machine: &Machine) -> u64 {
    let dir = "store/layers/$(cat store/driver)";
    let du = format!("du -sB1 {dir} | cut -f 1; stat -c %b {dir}");
    let counted = machine.sh(&du).ok();
    let counted: Vec<u64> = counted.lines().map(|line| line.parse().unwrap()).collect();
    counted[0] - counted[1] * 512
}

#[test]
fn what_images_share_and_what_is_their_own_adds_up() {
    need!(host::root(), host::program("busybox"));
    let machine = machine(&[("a", 3), ("bb", 2)]);
    machine.strata_with_input(["load", "-q"], &Image::busybox().docker_archive("base:latest")).ok();
    let used = details(&machine);
    let (images, layers) = (used["Images"].as_array().unwrap(), used["Layers"].as_array().unwrap());
    let sum =
        |rows: &[serde_json::Value], field: &str| rows.iter().map(|row| row[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((images.len(), layers.len()), (3, 3));
    assert_eq!(sum(images, "UniqueBytes"), sum(layers, "UniqueBytes"));
    assert_eq!(sum(layers, "UniqueBytes") + sum(layers, "SharedBytes"), used["LayersBytes"].as_u64().unwrap());
    assert_eq!(sum(images, "SharedBytes"), 3 * sum(layers, "SharedBytes"), "all three have the shared layer");
    assert_eq!(sum(images, "UniqueBytes"), (5 * MIB + 3) as u64);
    assert_eq!(sum(layers, "DiskBytes"), counted_by_du(&machine));
    let shown = machine.strata(["system", "df", "-v"]).ok();
    assert!(shown.contains("Layers space usage:\n\nLAYER          IMAGES    SIZE"), "{shown}");
}

/// With every driver that keeps files on the store's own filesystem.
#[test]
fn what_layers_take_is_what_du_counts() {
    need!(host::root(), host::program("busybox"), host::program("du"));
    for driver in ["erofs", "overlay", "vfs", "fuse"] {
        let machine = Machine::start();
        for (name, mib) in [("a", 1), ("bb", 2)] {
            machine.strata_with_input(["--storage-driver", driver, "load", "-q"], &image(name, mib)).ok();
        }
        machine
            .strata(["run", "--name", "box", "--network", "none", "a", "sh", "-c", "echo >/etc/new; ln /own /etc"])
            .ok();
        machine.strata(["commit", "box", "made"]).ok();
        let used = details(&machine);
        let layers = used["Layers"].as_array().unwrap();
        assert_eq!(layers.len(), 4, "{driver}");
        let sum: u64 = layers.iter().map(|layer| layer["DiskBytes"].as_u64().unwrap()).sum();
        assert_eq!(sum, counted_by_du(&machine), "{driver}");
    }
}

/// What a layer borrows is counted where it lies, and with those who have it when its own layer is gone.
#[test]
fn what_is_borrowed_is_counted_once_whoever_goes() {
    need!(host::root(), host::program("busybox"), host::filesystem("erofs"));
    let machine = Machine::start();
    let noise = |seed: usize| -> Vec<u8> {
        let lines = (0..MIB / 16).map(|line| format!("{:15}\n", line.wrapping_mul(2_654_435_761) ^ (seed << 40)));
        lines.flat_map(String::into_bytes).collect()
    };
    // Pairs of them have something in common.
    for (name, seeds) in [("first", [1, 2]), ("second", [2, 3]), ("third", [3, 1])] {
        let tar = Tar::new().file("name", 0o644, name.as_bytes());
        let tar = seeds.into_iter().fold(tar, |tar, seed| tar.file(&seed.to_string(), 0o644, &noise(seed)));
        let image = Image::busybox().layer(tar.finish(), Compression::Plain).docker_archive(name);
        machine.strata_with_input(["load", "-q"], &image).ok();
    }
    let adds_up = |mib: usize| {
        let used = details(&machine);
        let sum: u64 =
            used["Layers"].as_array().unwrap().iter().map(|layer| layer["DiskBytes"].as_u64().unwrap()).sum();
        let disk = counted_by_du(&machine);
        assert_eq!(sum, disk);
        assert_eq!(disk as usize / MIB, mib);
    };
    // Beside them there is busybox, which all have.
    let base = details(&machine)["Layers"].as_array().unwrap().len();
    assert_eq!(base, 4);
    adds_up(5);
    machine.strata(["rmi", "first"]).ok();
    adds_up(5);
    machine.strata(["run", "--name", "box", "--network", "none", "third", "sh", "-c", "cat /3 > /copy"]).ok();
    machine.strata(["commit", "box", "fourth"]).ok();
    machine.strata(["rm", "box"]).ok();
    adds_up(5);
    machine.strata(["rmi", "second"]).ok();
    adds_up(4);
    machine.strata(["rmi", "third", "fourth"]).ok();
    adds_up(0);
}

#[test]
fn what_was_used_longest_ago_goes_first_and_nothing_that_is_needed() {
    need!(host::root(), host::program("busybox"));
    let machine = machine(&[("oldest", 4), ("kept", 4), ("used", 4), ("again", 4), ("newest", 4)]);
    machine.strata(["create", "--name", "user", "used"]).ok();
    assert_eq!(machine.strata(["image", "keep", "kept"]).ok(), "kept:latest\n");
    assert_eq!(machine.strata(["image", "keep"]).ok(), "kept:latest\n");
    machine.strata(["run", "--rm", "--network", "none", "again", "true"]).ok();
    assert!(machine.strata(["system", "gc"]).fails(1).starts_with("strata: say how much to keep"));
    let before = details(&machine)["LayersBytes"].as_u64().unwrap();
    let out = machine.strata(["system", "gc", "--keep", &(before - MIB as u64).to_string()]).ok();
    assert!(out.starts_with("Deleted Images:\nuntagged: oldest:latest\ndeleted: sha256:"), "{out}");
    assert!(out.contains("Total reclaimed space: 4."), "{out}");
    assert_eq!(names(&machine), ["again", "kept", "newest", "used"]);
    // The one that was loaded later was used less recently than the one that ran.
    let out = machine.strata(["system", "gc", "--keep", &(before - 5 * MIB as u64).to_string()]).ok();
    assert!(out.contains("untagged: newest:latest"), "{out}");
    let ran = machine.strata(["system", "gc", "--keep", "0"]);
    assert!(ran.err.contains("is in use or kept"), "{ran:?}");
    ran.ok();
    assert_eq!(names(&machine), ["kept", "used"]);
    assert_eq!(machine.strata(["image", "keep", "--undo", "kept"]).ok(), "kept\n");
    assert_eq!(machine.strata(["image", "keep", "--undo", "used"]).fails(1), "strata: image used is not kept\n");
    machine.strata(["system", "gc", "--keep", "0"]).ok();
    machine.strata(["rm", "user"]).ok();
    machine.strata(["system", "gc", "--keep=0"]).ok();
    assert_eq!(names(&machine), [""; 0]);
    assert_eq!(std::fs::read_dir(machine.root().join("layers/erofs")).unwrap().count(), 0);
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
}

#[test]
fn a_budget_is_applied_after_every_load_and_spares_what_came() {
    need!(host::root(), host::program("busybox"));
    let machine = machine(&[("first", 4)]);
    assert_eq!(machine.strata(["system", "budget"]).ok(), "none\n");
    machine.strata(["system", "budget", "1m"]).ok();
    assert_eq!(machine.strata(["system", "budget"]).ok(), "1MiB\n");
    assert!(machine.strata(["system", "budget", "lots"]).fails(1).contains("invalid size: 'lots'"));
    machine.strata_with_input(["load", "-q"], &image("second", 4)).ok();
    assert_eq!(names(&machine), ["second"]);
    machine.strata(["system", "budget", "none"]).ok();
    machine.strata_with_input(["load", "-q"], &image("third", 4)).ok();
    assert_eq!(names(&machine), ["second", "third"]);
}
