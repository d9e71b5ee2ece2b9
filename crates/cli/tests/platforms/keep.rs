//! Images for several platforms, pulled, saved and loaded as a whole or in part.

use strata_testkit::machine::Ran;
use strata_testkit::registry::Registry;
use strata_testkit::{Machine, host, need};
use strata_types::Digest;

const BOTH: &str = "linux/amd64,linux/arm64";

/// Builds an image of one file for both platforms.
fn build(machine: &Machine, options: &[&str]) {
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    let file = "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /\nLABEL for=$TARGETARCH\n";
    std::fs::write(machine.dir().join("ctx/Dockerfile"), file).unwrap();
    let words = ["build", "-q", "--platform", BOTH];
    machine.strata(words.iter().chain(options).chain(&["ctx"])).ok();
}

/// For what processors a name has images here.
fn processors(machine: &Machine, name: &str) -> Vec<&'static str> {
    let has = |processor: &&str| {
        let platform = format!("linux/{processor}");
        let words = ["image", "inspect", "--platform", &platform, "-f", "{{index .Config.Labels \"for\"}}", name];
        machine.strata(words).out.trim() == *processor
    };
    ["amd64", "arm64"].into_iter().filter(has).collect()
}

#[test]
fn all_platforms_are_pulled_and_pushed_as_they_were() {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"));
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    let name = |tag: &str| format!("{}/app:{tag}", registry.host());
    let digest = |tag: &str| {
        let raw = machine.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{}", name(tag))).ok();
        Digest::sha256(raw.as_bytes()).to_string()
    };
    build(&machine, &["-t", &name("1"), "--push", "--annotation", "index,manifest:k=v"]);
    let remove = |tags: &[&str]| {
        let names: Vec<String> = tags.iter().map(|tag| name(tag)).collect();
        machine.strata(["rmi", "-f"].into_iter().chain(names.iter().map(String::as_str))).ok();
    };
    remove(&["1"]);
    // One, as ever; then all of them, which then go on as they came.
    machine.strata(["pull", "-q", &name("1")]).ok();
    assert_eq!(processors(&machine, &name("1")), ["amd64"]);
    for (tag, platforms) in [("2", BOTH), ("3", "all")] {
        let pulled = machine.strata(["pull", "--platform", platforms, &name("1")]).ok();
        assert!(pulled.contains(&format!("Digest: {}\n", digest("1"))), "{pulled}");
        assert_eq!(processors(&machine, &name("1")), ["amd64", "arm64"]);
        machine.strata(["tag", &name("1"), &name(tag)]).ok();
        machine.strata(["push", "-q", &name(tag)]).ok();
        assert_eq!(digest(tag), digest("1"));
        remove(&["1", tag]);
    }
    machine.strata(["check"]).ok();
    assert_eq!(machine.strata(["images", "-qa"]).ok(), "");
    let error = machine.strata(["pull", "--platform", "linux/amd64,linux/s390x", &name("1")]).fails(1);
    assert!(error.contains("linux/s390x"), "{error}");
    machine.strata(["pull", "--plan", "--platform", BOTH, &name("1")]).fails(1);
    // A name that is pulled for one platform again stands for that alone.
    machine.strata(["pull", "-q", "--platform", "all", &name("1")]).ok();
    machine.strata(["pull", "-q", "--platform", "linux/arm64", &name("1")]).ok();
    assert_eq!(processors(&machine, &name("1")), ["arm64"]);
}

#[test]
fn what_is_loaded_is_saved_again_to_the_byte() {
    need!(host::root(), host::program("skopeo"));
    let machine = Machine::isolated();
    let said = ["--annotation", "manifest,manifest-descriptor,index,index-descriptor:k=v", "--provenance=true"];
    build(&machine, &[&["-t", "app:1", "-t", "other:1"], &said[..]].concat());
    machine.strata(["save", "-o", "first.tar", "app:1", "other:1"]).ok();
    machine.strata(["rmi", "app:1", "other:1"]).ok();
    let loaded = machine.strata(["load", "-i", "first.tar"]).ok();
    assert_eq!(loaded, "Loaded image: app:1\nLoaded image: other:1\n");
    assert_eq!(processors(&machine, "app:1"), ["amd64", "arm64"]);
    machine.strata(["save", "-o", "second.tar", "app:1", "other:1"]).ok();
    machine.sh("cmp first.tar second.tar").ok();
    machine.strata(["save", "-o", "one.tar", "app:1"]).ok();
    machine.strata(["check"]).ok();
    // In part: saved, and loaded.
    machine.strata(["save", "-o", "arm.tar", "--platform", "linux/arm64", "app:1"]).ok();
    let error = machine.strata(["save", "-o", "x.tar", "--platform", "linux/s390x", "app:1"]).fails(1);
    assert!(error.contains("wanted linux/s390x, actual: linux/amd64, linux/arm64"), "{error}");
    machine.strata(["rmi", "app:1", "other:1"]).ok();
    machine.strata(["load", "-q", "-i", "arm.tar"]).ok();
    assert_eq!(processors(&machine, "app:1"), ["arm64"]);
    machine.strata(["load", "-q", "-i", "first.tar", "--platform", "linux/amd64"]).ok();
    assert_eq!(processors(&machine, "app:1"), ["amd64"]);
    let refuses = |archive: &str| -> Ran { machine.strata(["load", "-i", archive, "--platform", "linux/s390x"]) };
    for archive in ["first.tar", "arm.tar"] {
        let error = refuses(archive).fails(1);
        assert!(error.contains("it holds no image for linux/s390x"), "{archive}: {error}");
    }
    // A tree shows what names stand for.
    machine.strata(["load", "-q", "-i", "first.tar"]).ok();
    machine.strata(["create", "--network", "none", "--platform", "linux/arm64", "app:1", "/x"]).ok();
    let tree = machine.strata(["images", "--tree"]).ok();
    let cells: Vec<Vec<&str>> = tree.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["IMAGE", "ID", "DISK", "USAGE", "CONTENT", "SIZE", "EXTRA"]);
    assert_eq!((cells[1][0], cells[2][0], cells[2].last()), ("app:1", "other:1", Some(&"U")), "{tree}");
    assert_eq!((&cells[3][..2], cells[3].last()), (&["├─", "linux/amd64"][..], Some(&"0B")), "{tree}");
    assert_eq!((&cells[4][..2], cells[4].last()), (&["└─", "linux/arm64"][..], Some(&"U")), "{tree}");
    assert!(machine.strata(["images", "--tree", "-q"]).fails(1).contains("--quiet is not yet supported with --tree"));
    // Archives of others with an index are taken as a whole, too.
    machine.sh("skopeo --insecure-policy copy -q --all oci-archive:one.tar oci-archive:theirs.tar:theirs:1").ok();
    machine.strata(["load", "-q", "-i", "theirs.tar"]).ok();
    assert_eq!(processors(&machine, "theirs:1"), ["amd64", "arm64"]);
}
