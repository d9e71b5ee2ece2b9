//! What one store did, used by another that never did it.

use std::process::Command;

use strata_testkit::image::Image;
use strata_testkit::machine::{Ran, feed};
use strata_testkit::registry::Registry;
use strata_testkit::{Machine, host, need};

use super::cache::outcomes;
use super::{build, inspect, machine, need_all, sh, write};

/// Nobody who does it again comes to the same.
const FILE: &str = "FROM base AS made\nWORKDIR /\nCOPY in /in\nRUN head -c 16 /dev/urandom | md5sum > /made\n\
                    FROM base\nCOPY --from=made /made /made\nENV E=1\nRUN date +%s.%N > /when; cat /proc/uptime >> /when\n";

/// A store beside the machine's, which has the base image and nothing else.
fn other(machine: &Machine, root: &str) {
    let archive = Image::busybox().docker_archive("base:latest");
    feed(strata(machine, root, &["load"]), &archive).ok();
}

fn strata(machine: &Machine, root: &str, words: &[&str]) -> Command {
    let mut command = machine.command(host::strata());
    command.args(["--root", root]).args(words);
    command
}

fn build_in(machine: &Machine, root: &str, file: &str, options: &[&str]) -> Ran {
    let mut command = strata(machine, root, &["build", "--network", "none", "-f", "-"]);
    command.args(options).arg("ctx");
    feed(command, file.as_bytes())
}

/// How many steps were done, and how many were found.
fn done_and_found(err: &str) -> (usize, usize) {
    let steps: Vec<(String, bool)> = outcomes(err).into_iter().filter(|(name, _)| !name.starts_with("FROM")).collect();
    (steps.iter().filter(|(_, cached)| !cached).count(), steps.iter().filter(|(_, cached)| *cached).count())
}

fn id_in(machine: &Machine, root: &str, image: &str) -> String {
    let ran: Ran =
        strata(machine, root, &["inspect", "--type", "image", "-f", "{{.Id}}", image]).output().unwrap().into();
    ran.ok().trim_end().to_owned()
}

#[test]
fn a_directory_carries_a_cache_to_another_store() {
    need_all!();
    let machine = machine(&[("in", "1")]);
    other(&machine, "other");
    let to = ["-t", "app", "--cache-to", "type=local,dest=cache,mode=max"];
    let first = build(&machine, FILE, &to);
    assert_eq!(first.code, 0, "{}", first.err);
    let id = inspect(&machine, "app", "{{.Id}}");
    let from = ["-t", "app", "--cache-from", "type=local,src=cache"];
    let second = build_in(&machine, "other", FILE, &from);
    assert_eq!(second.code, 0, "{}", second.err);
    assert_eq!(done_and_found(&second.err), (0, 5), "{}", second.err);
    assert_eq!(id_in(&machine, "other", "app"), id, "the same image, its times, too");
    let checked: Ran = strata(&machine, "other", &["check"]).output().unwrap().into();
    assert!(checked.ok().starts_with("no problems"));

    // What was found is remembered: the directory is not needed again.
    let third = build_in(&machine, "other", FILE, &["-t", "again"]);
    assert_eq!(done_and_found(&third.err), (0, 5), "{}", third.err);
    // A build that finds all writes all, too, and the blobs stay as they are.
    let before = machine.sh("cd cache/blobs/sha256 && ls -i | sort").ok();
    build(&machine, FILE, &to).ok();
    assert_eq!(
        machine.sh("cd cache/blobs/sha256 && ls -i | sort | wc -l").ok().trim(),
        before.lines().count().to_string()
    );
    // Something that is read has changed: what depends on it is done, and only that.
    write(&machine, "in", "2");
    let fourth = build_in(&machine, "other", FILE, &from);
    assert_eq!(done_and_found(&fourth.err), (4, 1), "{}", fourth.err);
    // --no-cache means this one, too.
    let fifth = build_in(&machine, "other", FILE, &[&from[..], &["--no-cache"]].concat());
    assert_eq!(done_and_found(&fifth.err), (5, 0), "{}", fifth.err);
}

#[test]
fn a_cache_of_the_image_alone_has_no_other_steps() {
    need_all!();
    let machine = machine(&[("in", "1")]);
    for root in ["min", "max"] {
        other(&machine, root);
    }
    build(
        &machine,
        FILE,
        &["-t", "app", "--cache-to", "type=local,dest=cache", "--cache-to", "type=local,dest=cache,mode=max,tag=all"],
    )
    .ok();
    let min = build_in(&machine, "min", FILE, &["--cache-from", "type=local,src=cache"]);
    assert_eq!(done_and_found(&min.err), (4, 1), "the stage came to something else: {}", min.err);
    let max = build_in(&machine, "max", FILE, &["--cache-from", "type=local,src=cache,tag=all"]);
    assert_eq!(done_and_found(&max.err), (0, 5), "{}", max.err);
}

#[test]
fn a_registry_carries_caches_and_images_that_have_their_own() {
    need_all!();
    need!(host::program("docker-registry"), host::program("skopeo"));
    let machine = machine(&[("in", "1")]);
    let registry = Registry::start_in(&machine);
    let (cache, app) = (format!("{}/team/cache:main", registry.host()), format!("{}/team/app:1", registry.host()));
    for root in ["two", "three"] {
        other(&machine, root);
    }
    let to = format!("type=registry,ref={cache},mode=max");
    let pushed = build(&machine, FILE, &["-t", &app, "--push", "--cache-to", &to, "--cache-to", "type=inline"]);
    assert_eq!(pushed.code, 0, "{}", pushed.err);
    assert!(pushed.err.contains("exporting cache to registry"), "{}", pushed.err);
    let id = inspect(&machine, &app, "{{.Id}}");

    let from = format!("type=registry,ref={cache}");
    let two = build_in(&machine, "two", FILE, &["-t", "app", "--cache-from", &from]);
    assert_eq!(done_and_found(&two.err), (0, 5), "{}", two.err);
    // It has the same layers; only the first has its cache within.
    let layers = |root: &str, name: &str| -> String {
        let words = ["inspect", "--type", "image", "-f", "{{json .RootFS.Layers}} {{.Created}}", name];
        Ran::from(strata(&machine, root, &words).output().unwrap()).ok()
    };
    assert_eq!(layers("two", "app"), inspect(&machine, &app, "{{json .RootFS.Layers}} {{.Created}}") + "\n");
    // The image alone: the stage that is not in it is done anew, and comes to something else.
    let single = "FROM base\nCOPY in /in\nRUN head -c 16 /dev/urandom | md5sum > /made\nWORKDIR /new/dir\n";
    build(&machine, single, &["-t", &app, "--push", "--cache-to", "type=inline"]).ok();
    let three = build_in(&machine, "three", single, &["-t", "app", "--cache-from", &app, "--cache-to", "type=inline"]);
    assert_eq!(done_and_found(&three.err), (0, 3), "{}", three.err);
    assert_eq!(id_in(&machine, "three", "app"), inspect(&machine, &app, "{{.Id}}"));
    assert_ne!(id_in(&machine, "three", "app"), id);

    // Others read the manifests, and run what was pushed.
    let mut raw = machine.command("skopeo");
    raw.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{cache}")]);
    let raw = Ran::from(raw.output().unwrap()).ok();
    assert!(raw.contains("application/vnd.buildkit.cacheconfig.v0"), "{raw}");
    let copied = machine
        .command("skopeo")
        .args(["--insecure-policy", "copy", "-q", "--src-tls-verify=false"])
        .args([&format!("docker://{app}"), "oci:layout:app"])
        .output()
        .unwrap();
    assert_eq!(Ran::from(copied).ok(), "");
    machine.strata(["rmi", "-f", &app]).ok();
    machine.strata(["pull", "-q", &app]).ok();
    assert_eq!(sh(&machine, &app, "cat /in; ls -d /new/dir"), "1/new/dir\n");
}

#[test]
fn a_cache_that_is_not_there_or_damaged_does_not_stop_a_build() {
    need_all!();
    let machine = machine(&[("in", "1")]);
    for root in ["two", "three"] {
        other(&machine, root);
    }
    let none = build(&machine, FILE, &["--cache-from", "type=local,src=none", "--cache-from", "127.0.0.1:1/x"]);
    assert_eq!(none.code, 0, "{}", none.err);
    assert!(none.err.contains("there is no cache yet") && none.err.contains("connection refused"), "{}", none.err);
    build(&machine, FILE, &["--cache-to", "type=local,dest=cache,mode=max"]).ok();
    machine.sh("cd cache/blobs/sha256 && for f in *; do head -c 2 $f | grep -q '^{\"' || head -c 30 /dev/urandom > $f; done").ok();
    let damaged = build_in(&machine, "two", FILE, &["-t", "app", "--cache-from", "type=local,src=cache"]);
    assert_eq!(damaged.code, 0, "{}", damaged.err);
    assert!(damaged.err.contains("cache not used: "), "{}", damaged.err);
    let checked: Ran = strata(&machine, "two", &["check"]).output().unwrap().into();
    assert!(checked.ok().starts_with("no problems"));
    machine.sh("echo nonsense > cache/index.json").ok();
    let nonsense = build_in(&machine, "three", FILE, &["--cache-from", "type=local,src=cache"]);
    assert!(nonsense.code == 0 && nonsense.err.contains("has no usable manifest"), "{}", nonsense.err);

    let unwritable = build(&machine, FILE, &["--cache-to", "type=registry,ref=127.0.0.1:1/x"]);
    assert!(unwritable.fails(1).contains("connection refused"));
    let ignored = build(&machine, FILE, &["--cache-to", "type=registry,ref=127.0.0.1:1/x,ignore-error=true"]);
    assert!(ignored.code == 0 && ignored.err.contains("ignored: "), "{}", ignored.err);
    for (option, word, says) in [
        ("--cache-to", "type=gha", "unknown cache type \"gha\"\nhint: caches in a provider's service"),
        ("--cache-from", "type=local", "src is required"),
        ("--cache-to", "type=local,dest=x,mode=some", "invalid mode some\nhint: min or max"),
    ] {
        let err = build(&machine, FILE, &[option, word]).fails(1);
        assert!(err.contains(says), "{word}: {err}");
    }
}
