//! `manifest`: what `docker manifest` does, said by it to the same registry.

use strata_testkit::machine::Ran;
use strata_testkit::registry::Registry;
use strata_testkit::{Machine, host, need};

use crate::small;

/// A registry that has images for two processors, in Docker's form and in OCI's.
fn registry(machine: &Machine) -> Registry {
    let registry = Registry::start_in(machine);
    for (tag, processor, docker) in
        [("amd64", "amd64", false), ("arm64", "arm64", false), ("s390x", "s390x", true), ("odd", "amd64", true)]
    {
        let mut image = small(tag);
        image.config["architecture"] = processor.into();
        if processor == "arm64" {
            image.config["variant"] = "v8".into();
        }
        registry.push_in(machine, &image, &format!("app:{tag}"));
        if docker {
            let name = format!("docker://{}/app:{tag}", registry.host());
            let tls = "--src-tls-verify=false --dest-tls-verify=false";
            machine.sh(&format!("skopeo --insecure-policy copy -q {tls} --format v2s2 {name} {name}")).ok();
        }
    }
    registry
}

/// Says the same to docker and to strata, each with lists of its own; all they print and how they end is the same.
fn both(machine: &Machine, words: &[&str]) -> Ran {
    let mut docker = machine.command("docker");
    docker.env("DOCKER_CONFIG", machine.dir().join("docker")).arg("manifest").args(words);
    // Docker asks for it where we trust the machine itself.
    if matches!(words[0], "create" | "inspect" | "push") {
        docker.arg("--insecure");
    }
    let theirs = Ran::from(docker.output().unwrap());
    let ours = machine.strata(["manifest"].iter().chain(words));
    assert_eq!((&ours.out, ours.code), (&theirs.out, theirs.code), "{words:?}: {} {}", ours.err, theirs.err);
    assert_eq!(ours.err.replace("strata: ", ""), theirs.err, "{words:?}");
    ours
}

#[test]
fn lists_are_made_changed_shown_and_pushed_as_docker_does() {
    need!(host::root(), host::program("docker-registry"), host::program("docker"), host::program("skopeo"));
    let machine = Machine::isolated();
    let registry = registry(&machine);
    let name = |rest: &str| format!("{}/{rest}", registry.host());
    let (list, amd64, arm64, s390x) = (name("app:all"), name("app:amd64"), name("app:arm64"), name("app:s390x"));
    both(&machine, &["create", &list, &amd64, &arm64]).ok();
    both(&machine, &["create", &list, &s390x]).fails(1);
    both(&machine, &["create", "-a", &list, &s390x]).ok();
    both(&machine, &["create", &name("app:no"), &name("app:nothing")]).fails(1);
    both(&machine, &["create", "A B", "x"]).fails(1);
    both(&machine, &["create", "x", "A B"]).fails(1);
    both(&machine, &["annotate", &list, &arm64, "--variant", "v9", "--os-features", "a,b", "--os-version", "1"]).ok();
    both(&machine, &["annotate", &list, &arm64, "--os-features", "b"]).ok();
    both(&machine, &["annotate", &list, &arm64, "--arch", "foo"]).fails(1);
    both(&machine, &["annotate", &list, &name("app:odd"), "--arch", "arm"]).fails(1);
    both(&machine, &["inspect", &list]).ok();
    both(&machine, &["inspect", "-v", &list]).ok();
    both(&machine, &["inspect", &list, &arm64]).ok();
    both(&machine, &["inspect", "-v", &list, &s390x]).ok();
    both(&machine, &["push", &name("app:nolist")]).fails(1);
    // The same bytes: the digest is the same.
    both(&machine, &["push", "--purge", &list]).ok();
    both(&machine, &["rm", &list, "x:y"]).fails(1);
    for what in [&list, &amd64, &s390x] {
        both(&machine, &["inspect", what]).ok();
        both(&machine, &["inspect", "-v", what]).ok();
    }
    both(&machine, &["inspect", &name("app:nothing")]).fails(1);
    both(&machine, &["create", &name("other:1"), &list]).fails(1);
}

#[test]
fn a_list_brings_images_of_other_repositories_and_others_read_it() {
    need!(host::root(), host::program("docker-registry"), host::program("docker"), host::program("skopeo"));
    let machine = Machine::isolated();
    let registry = registry(&machine);
    let name = |rest: &str| format!("{}/{rest}", registry.host());
    let other = name("other/copy:1");
    both(&machine, &["create", &other, &name("app:s390x"), &name("app:amd64")]).ok();
    both(&machine, &["push", &other]).ok();
    for (processor, file) in [("amd64", "amd64"), ("s390x", "s390x")] {
        let ran = machine.sh(&format!(
            "skopeo inspect --tls-verify=false --override-arch {processor} --config docker://{other} | grep -o 's390x\\|amd64'",
        ));
        assert!(ran.ok().contains(file));
    }
    // What one of the two began the other goes on with: the lists are kept in one place.
    let docker = |words: &[&str]| {
        let mut docker = machine.command("docker");
        Ran::from(docker.arg("manifest").args(words).output().unwrap())
    };
    docker(&["create", "--insecure", &name("app:mixed"), &name("app:amd64")]).ok();
    machine.strata(["manifest", "create", "--amend", &name("app:mixed"), &name("app:arm64")]).ok();
    let digest = machine.strata(["manifest", "push", &name("app:mixed")]).ok();
    assert_eq!(docker(&["push", "--insecure", &name("app:mixed")]).ok(), digest);
    machine.strata(["pull", "--platform", "linux/arm64", &name("app:mixed")]).ok();
    let arch = machine.strata(["image", "inspect", "--format", "{{.Architecture}}", &name("app:mixed")]).ok();
    assert_eq!(arch, "arm64\n");
    machine.strata(["manifest", "rm", &name("app:mixed")]).ok();
    docker(&["push", "--insecure", &name("app:mixed")]).fails(1);
}

#[test]
fn what_is_only_here_is_to_be_pushed_first() {
    need!(host::root(), host::program("docker-registry"), host::program("busybox"));
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    let name = format!("{}/app:1", registry.host());
    crate::load(&machine, &small("x"), &name);
    let error = machine.strata(["manifest", "create", "localhost/list:1", &name]).fails(1);
    assert!(error.contains(&format!("no such manifest: {name}\n")), "{error}");
    assert!(error.contains(&format!("hint: it is here only; a list names what a registry has: `strata push {name}`")));
    machine.strata(["push", "-q", &name]).ok();
    machine.strata(["manifest", "create", "localhost/list:1", &name]).ok();
    let error = machine.strata(["manifest", "push", "localhost/list:1"]).fails(1);
    assert!(error.contains("cannot use source images from a different registry than the target image"), "{error}");
}
