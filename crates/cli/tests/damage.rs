//! What `check` says of each kind of damage, and what `check --repair` does about it.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use strata_testkit::image::{Compression, Image};
use strata_testkit::machine::Ran;
use strata_testkit::registry::Registry;
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

/// Shell variables that name the parts of the image: its config, its manifest, the directory of the layer that has content.
const PARTS: &str = "config=$(grep -l rootfs store/blobs/sha256/*); manifest=$(grep -l schemaVersion store/blobs/sha256/*); \
                     layer=$(dirname $(ls -S store/layers/erofs/*/tar | head -n 1)); flip() { printf '\\377' | \
                     dd of=$1 bs=1 seek=$2 conv=notrunc 2>/dev/null; };";

/// A machine with an image that came from a registry, whose layer has a file of noise.
fn machine(registry: &Registry) -> (Machine, String) {
    let noise: Vec<u8> =
        (0..200_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8 & 0x7f).collect();
    let layer = Tar::new().file("noise", 0o644, &noise).finish();
    registry.push(&Image::busybox().layer(layer, Compression::Gzip), "image");
    let (machine, name) = (Machine::start(), format!("{}/image:latest", registry.host()));
    machine.strata(["--storage-driver", "erofs", "pull", "-q", &name]).ok();
    (machine, name)
}

/// A registry to mend from, and layers that are mounted as they lie.
fn needs() -> Result<(), String> {
    host::root()
        .and_then(|()| host::program("docker-registry"))
        .and_then(|()| host::program("skopeo"))
        .and_then(|()| host::program("busybox"))
        .and_then(|()| host::filesystem("erofs"))
}

#[test]
fn each_damage_is_named_and_mended_from_where_the_image_came() {
    need!(needs());
    let registry = Registry::start();
    let (machine, name) = machine(&registry);
    // What is done, what is said of it, and whether that is seen without reading every byte.
    let cases = [
        ("flip $layer/tar 100000", "is damaged: the layer's content has the digest ", false),
        ("flip $layer/tar 3", "is damaged: the layer's content has the digest ", false),
        ("truncate -s 100000 $layer/tar", "is damaged: ", true),
        ("rm $layer/tar", "is damaged: cannot ", true),
        ("flip $layer/index.erofs 1030", "is damaged: its index does not describe its tar", false),
        ("truncate -s 0 $layer/index.erofs", "is damaged: ", true),
        ("rm $layer/index.erofs", "is damaged: cannot open ", true),
        ("rm -r $layer", " is missing", true),
        ("rm -r store/layers", " is missing", true),
        ("flip $config 20", " is damaged", false),
        ("flip $manifest 20", " is damaged", false),
        ("rm $config $manifest", " is missing", true),
        // Nothing has to be in them, and some copies have no empty directories.
        ("rm -r store/leases store/ingest", "", true),
    ];
    for (damage, said, is_structure) in cases {
        let damaged = machine.sh(&format!("{PARTS} {damage}"));
        assert_eq!(damaged.code, 0, "{damage}: {damaged:?}");
        machine.strata(["info"]).ok();
        let check = |words: &[&str]| -> Ran { machine.strata([&["check"], words].concat()) };
        for (words, finds) in [(&["--fast"][..], is_structure), (&[], true)] {
            let checked = check(words);
            if finds && !said.is_empty() {
                assert_eq!(checked.code, 1, "{damage}: {checked:?}");
                assert!(checked.out.contains(said) && checked.out.contains("; image "), "{damage}: {checked:?}");
                assert!(checked.err.starts_with("hint: `strata check --repair` "), "{damage}: {checked:?}");
            } else {
                assert!(checked.ok().starts_with("no problems in 1 image, 2 layers, 2 blobs"), "{damage}");
            }
        }
        let repaired = check(&["--repair"]).ok();
        if !said.is_empty() {
            let fetched = format!("fetched what was missing of {name}\n");
            assert!(repaired.starts_with("repaired: ") && repaired.ends_with(&fetched), "{damage}: {repaired}");
        }
        assert!(check(&[]).ok().starts_with("no problems"), "{damage}");
        let run = ["run", "--rm", "--network", "none", &name, "sh", "-c", "wc -c < /noise"];
        assert_eq!(machine.strata(run).ok(), "200000\n", "{damage}");
    }
}

/// Nothing is said to be repaired that could not be.
#[test]
fn what_came_from_nowhere_is_not_said_to_be_repaired() {
    need!(host::root(), host::program("busybox"));
    let machine = Machine::start();
    let load = || machine.strata_with_input(["load", "-q"], &Image::busybox().docker_archive("box:latest")).ok();
    load();
    machine.sh("rm -r store/layers/*/*").ok();
    let repaired = machine.strata(["check", "--repair"]);
    assert_eq!(repaired.code, 1);
    assert!(repaired.out.starts_with("layer sha256:") && repaired.out.contains(" is missing; image "), "{repaired:?}");
    let why = "strata: cannot fetch box:latest again: it came from no registry: load, import or build it again\n";
    assert_eq!(repaired.err, why);
    load();
    assert!(machine.strata(["check"]).ok().starts_with("no problems in 1 image, 1 layer, "));
}

/// What was built on an image that came from a registry is whole again with it.
#[test]
fn what_others_bring_is_not_missed_any_more() {
    need!(needs());
    let registry = Registry::start();
    let (machine, name) = machine(&registry);
    machine.strata(["run", "--name", "box", "--network", "none", &name, "touch", "/mine"]).ok();
    machine.strata(["commit", "box", "made"]).ok();
    machine.strata(["rm", "box"]).ok();
    machine.sh(&format!("{PARTS} flip $layer/tar 100000")).ok();
    let repaired = machine.strata(["check", "--repair"]);
    assert_eq!((repaired.code, &*repaired.err), (0, ""), "{repaired:?}");
    assert!(repaired.out.contains(&format!("fetched what was missing of {name}\n")), "{repaired:?}");
    assert!(repaired.out.contains("fetched what was missing of made:latest\n"), "{repaired:?}");
    assert!(machine.strata(["check"]).ok().starts_with("no problems in 2 images"));
    let run = ["run", "--rm", "--network", "none", "made", "sh", "-c", "wc -c < /noise; ls /mine"];
    assert_eq!(machine.strata(run).ok(), "200000\n/mine\n");
    // Once it is known that something is missing, whoever brings it.
    let layer = Tar::new().file("one", 0o644, b"one").finish();
    machine.strata_with_input(["import", "-", "first"], &layer).ok();
    std::fs::write(machine.dir().join("layer.tar"), &layer).unwrap();
    machine.sh("rm -r store/layers/erofs/$(sha256sum <layer.tar | cut -d ' ' -f 1)").ok();
    machine.strata(["check", "--repair"]).fails(1);
    machine.strata(["import", "layer.tar", "second"]).ok();
    machine.strata(["check"]).fails(1);
    let repaired = machine.strata(["check", "--repair"]).ok();
    assert!(repaired.starts_with("repaired: damaged content was removed; image "), "{repaired}");
    assert!(machine.strata(["check"]).ok().starts_with("no problems in 4 images"));
}

/// Without records nothing is taken for rubbish, and it is said what can be done.
#[test]
fn a_store_whose_database_is_lost_is_left_alone() {
    need!(host::root(), host::program("busybox"));
    let machine = Machine::start();
    machine.strata_with_input(["load", "-q"], &Image::busybox().docker_archive("one:latest")).ok();
    machine.strata(["run", "--name", "box", "--network", "none", "one", "sh", "-c", "echo mine > /mine"]).ok();
    machine.sh("mkdir kept && cp -a store/strata.db* kept").ok();
    let cases = [
        ("rm store/strata.db*", "the database of the store at "),
        ("rm store/strata.db*; echo no database > store/strata.db", "cannot open the store's database: "),
        ("truncate -s 5000 store/strata.db; rm store/strata.db-*", "cannot open the store's database: "),
    ];
    for (damage, said) in cases {
        machine.sh(damage).ok();
        for words in [&["ps", "-a"][..], &["check", "--repair"], &["images"], &["system", "prune", "-af"]] {
            let refused = machine.strata(words).fails(1);
            assert!(refused.starts_with(&format!("strata: {said}")), "{refused}");
            assert!(refused.contains("\nhint: put a copy of `strata.db` back, or "), "{refused}");
        }
        machine.sh("rm store/strata.db*; cp -a kept/* store").ok();
        assert_eq!(machine.strata(["cp", "box:/mine", "-"]).code, 0, "{damage}");
        assert!(machine.strata(["check"]).ok().starts_with("no problems"), "{damage}");
    }
    // What is not a layer is nobody's to remove, whatever its name.
    let name = "0".repeat(64);
    machine.sh(&format!("ln -s /etc/passwd store/layers/$(cat store/driver)/{name}")).ok();
    machine.strata(["system", "prune", "-f"]).ok();
    assert!(machine.strata(["check", "--repair"]).ok().starts_with("no problems"));
    machine.sh("echo nonsense > store/driver").ok();
    let refused = machine.strata(["run", "one"]).fails(125);
    assert!(refused.contains("/store/driver: unknown storage driver `nonsense`: there are erofs, "), "{refused}");
}

/// Another driver would find none of the layers, and begin a second store in the first one's directory.
#[test]
fn a_store_that_does_not_say_whose_it_is_any_more_is_asked() {
    need!(host::root(), host::program("busybox"));
    let machine = Machine::start();
    let archive = Image::busybox().docker_archive("box:latest");
    machine.strata_with_input(["--storage-driver", "vfs", "load", "-q"], &archive).ok();
    machine.sh("mv store/driver kept").ok();
    let run = ["run", "--rm", "--network", "none", "box", "echo", "there"];
    let lost = "the store has layers of `vfs`, but no longer the file `driver` that says which storage driver it has\n\
                hint: `strata check --repair` writes it again\n";
    assert_eq!(machine.strata(run).fails(125), format!("strata: {lost}"));
    assert_eq!(machine.strata(["info"]).fails(1), format!("strata: {lost}"));
    let other = machine.strata(["--storage-driver", "overlay", "info"]).fails(1);
    assert_eq!(other, format!("strata: {lost}"));
    for words in [&["check"][..], &["check", "--fast"]] {
        let checked = machine.strata(words);
        assert_eq!((checked.code, &*checked.out), (1, "the file `driver` is missing; there are layers of `vfs`\n"));
        assert!(checked.err.starts_with("hint: `strata check --repair` "), "{checked:?}");
    }
    assert!(!machine.root().join("driver").exists());
    let repaired = machine.strata(["check", "--repair"]).ok();
    assert_eq!(repaired, "repaired: the file `driver` is missing; there are layers of `vfs`\n");
    assert_eq!(machine.sh("cmp store/driver kept && rm store/driver").ok(), "");
    // Whoever names it says it.
    machine.strata(["--storage-driver", "vfs", "info"]).ok();
    assert_eq!(machine.strata(run).ok(), "there\n");
    // As after a move that was killed: a person has to say which it is.
    machine.sh("rm store/driver && mkdir -p store/layers/overlay/$(ls store/layers/vfs)").ok();
    let refused = machine.strata(run).fails(125);
    assert!(refused.contains("has layers of `overlay` and `vfs`, but"), "{refused}");
    let hint = "hint: `strata --storage-driver DRIVER info` says which it is, and writes it again\n";
    assert!(refused.ends_with(hint), "{refused}");
    let checked = machine.strata(["check", "--repair"]);
    assert_eq!((checked.code, &*checked.err), (1, hint), "{checked:?}");
    machine.strata(["--storage-driver", "vfs", "info"]).ok();
    assert_eq!(machine.strata(run).ok(), "there\n");
    // A store without layers has nothing to lose.
    machine.strata(["rmi", "box"]).ok();
    machine.sh("rm -r store/driver store/layers/overlay").ok();
    machine.strata(["info"]).ok();
    assert!(machine.root().join("driver").exists());
}
