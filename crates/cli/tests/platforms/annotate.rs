//! `build --annotation`: what manifests, indexes and their descriptors say.

use serde_json::{Value, json};
use strata_testkit::machine::Ran;
use strata_testkit::peers::Podman;
use strata_testkit::registry::Registry;
use strata_testkit::{Machine, host, need};
use strata_types::Digest;

const BOTH: &str = "linux/amd64,linux/arm64";

/// Builds a file of nothing but one file.
fn build(machine: &Machine, options: &[&str]) -> Ran {
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    std::fs::write(machine.dir().join("ctx/Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
    machine.strata(["build", "-q"].iter().chain(options).chain(&["ctx"]))
}

/// What a registry serves, and its digest.
fn raw(machine: &Machine, name: &str) -> (Value, String) {
    let text = machine.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{name}")).ok();
    (serde_json::from_str(&text).unwrap(), Digest::sha256(text.as_bytes()).to_string())
}

#[test]
fn indexes_manifests_and_descriptors_say_what_they_are_told_to() {
    need!(host::root(), host::program("tar"));
    let machine = Machine::isolated();
    let options = ["--platform", BOTH, "-t", "app:1"];
    let said = [
        "--annotation",
        "index,manifest,manifest-descriptor:all=1",
        "--annotation",
        "index-descriptor:archive=2",
        "--annotation",
        "manifest[linux/arm64]:all=arm",
        "-o",
        "type=oci,dest=app.tar,annotation.from.output=3",
    ];
    build(&machine, &[&options[..], &said].concat()).ok();
    machine.sh("mkdir archive && tar -C archive -xf app.tar").ok();
    let read = |path: &str| -> Value {
        serde_json::from_slice(&std::fs::read(machine.dir().join("archive").join(path)).unwrap()).unwrap()
    };
    let blob = |entry: &Value| read(&format!("blobs/{}", entry["digest"].as_str().unwrap().replace(':', "/")));
    let top = &read("index.json")["manifests"][0];
    assert_eq!(top["annotations"]["archive"], "2");
    let index = blob(top);
    assert_eq!(index["annotations"], json!({"all": "1"}));
    for (place, all) in [(0, "1"), (1, "arm")] {
        let entry = &index["manifests"][place];
        assert_eq!(entry["annotations"], json!({"all": "1"}));
        assert_eq!(blob(entry)["annotations"], json!({"all": all, "from.output": "3"}));
    }
    // What is in the archive is what is said, and no more.
    let count = machine.sh("grep -l '\"layers\":' archive/blobs/sha256/* | wc -l").ok();
    assert_eq!(count, "2\n");
}

#[test]
fn annotations_go_with_the_name_to_registries_and_back() {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"), Podman::available());
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    let name = |tag: &str| format!("{}/app:{tag}", registry.host());
    let (plain, one, two, both) = (name("plain"), name("one"), name("two"), name("both"));
    build(&machine, &["-t", &plain, "--annotation", ""]).ok();
    build(&machine, &["-t", &one, "--annotation", "org.opencontainers.image.title=Shop, small", "--push"]).ok();
    let (manifest, digest) = raw(&machine, &one);
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["annotations"], json!({"org.opencontainers.image.title": "Shop, small"}));
    // It is said under that name and those made of it; the same image has another that says nothing.
    machine.strata(["tag", &one, &two]).ok();
    machine.strata(["rmi", &one]).ok();
    machine.strata(["push", "-q", &two]).ok();
    assert_eq!(raw(&machine, &two).1, digest);
    machine.strata(["push", "-q", &plain]).ok();
    assert_eq!(raw(&machine, &plain).0["annotations"], Value::Null);
    // Others read it, and what was pulled is pushed as it was.
    let podman = Podman::new(&machine);
    podman.run(["pull", "-q", "--tls-verify=false", &two]).ok();
    let theirs = podman.run(["image", "inspect", "--format", "{{json .Annotations}}", &two]).ok();
    assert_eq!(serde_json::from_str::<Value>(&theirs).unwrap(), manifest["annotations"]);
    machine.strata(["rmi", "-f", &two, &plain]).ok();
    machine.strata(["pull", "-q", &two]).ok();
    machine.strata(["tag", &two, &name("three")]).ok();
    machine.strata(["push", "-q", &name("three")]).ok();
    assert_eq!(raw(&machine, &name("three")).1, digest);
    // An index, by hand and by the builder.
    machine.strata(["manifest", "create", "--insecure", &name("list"), &two]).ok();
    machine.strata(["manifest", "push", "--insecure", &name("list")]).ok();
    assert_eq!(raw(&machine, &name("list")).0["manifests"][0]["digest"], digest);
    build(&machine, &["--platform", BOTH, "-t", &both, "--annotation", "index:k=v", "--push"]).ok();
    assert_eq!(raw(&machine, &both).0["annotations"], json!({"k": "v"}));
    machine.strata(["check"]).ok();
}

#[test]
fn an_image_without_a_name_keeps_what_is_said_of_it_for_the_name_it_gets() {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"), host::program("tar"));
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    let name = |tag: &str| format!("{}/app:{tag}", registry.host());
    let said = ["--annotation", "k=v", "--provenance=true"];
    let id = build(&machine, &said).ok().trim().to_owned();
    let shown = machine.strata(["image", "inspect", "-f", "{{json .Annotations}} {{len .Attestations}}", &id]).ok();
    assert_eq!(shown, "{\"k\":\"v\"} 1\n");
    machine.strata(["tag", &id, &name("1")]).ok();
    machine.strata(["push", "-q", &name("1")]).ok();
    let (index, _) = raw(&machine, &name("1"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "{index}");
    let repository = name("1").replace("app:1", "app");
    let manifest = format!("{repository}@{}", index["manifests"][0]["digest"].as_str().unwrap());
    assert_eq!(raw(&machine, &manifest).0["annotations"], json!({"k": "v"}));
    // What is not said the next time is not said any more, and goes with the image.
    assert_eq!(build(&machine, &["--annotation", "k=new"]).ok().trim(), id);
    machine.strata(["tag", &id, "app:2"]).ok();
    assert_eq!(machine.strata(["image", "inspect", "-f", "{{json .Annotations}}", "app:2"]).ok(), "{\"k\":\"new\"}\n");
    let id = build(&machine, &said).ok().trim().to_owned();
    machine.strata(["builder", "prune", "-f"]).ok();
    machine.strata(["check"]).ok();
    machine.strata(["rmi", "-f", &id]).ok();
    machine.strata(["system", "prune", "-af"]).ok();
    assert_eq!(machine.sh("ls store/blobs/sha256").ok(), "");
    // An archive has no need of a name, not even one of several platforms.
    let archive = |options: &[&str]| {
        build(&machine, &[&said[..], &["-o", "type=oci,dest=x.tar"], options].concat()).ok();
        machine.sh("rm -rf x && mkdir x && tar -C x -xf x.tar").ok();
        let read = |path: &str| -> Value {
            serde_json::from_slice(&std::fs::read(machine.dir().join("x").join(path)).unwrap()).unwrap()
        };
        let blob = |entry: &Value| read(&format!("blobs/{}", entry["digest"].as_str().unwrap().replace(':', "/")));
        let top = read("index.json")["manifests"].clone();
        assert_eq!((top.as_array().unwrap().len(), &top[0]["annotations"]), (1, &Value::Null), "{top}");
        let index = blob(&top[0]);
        assert_eq!(blob(&index["manifests"][0])["annotations"], json!({"k": "v"}));
        index["manifests"].as_array().unwrap().len()
    };
    assert_eq!(archive(&[]), 2);
    assert_eq!(archive(&["--platform", BOTH]), 4);
    machine.strata(["check"]).ok();
}

#[test]
fn annotations_without_a_place_are_refused() {
    need!(host::root());
    let machine = Machine::isolated();
    for (options, says) in [
        (&["--annotation", "index:a=b"][..], "index annotations not supported for single platform export\n"),
        (
            &["--annotation", "manifest[linux/s390x]:a=b"],
            "invalid annotation: no platform linux/s390x found in source\n",
        ),
        (&["--annotation", "colour:a=b"], "unknown annotation type \"colour\"\nhint: manifest, "),
        (&["--annotation", "a"], "invalid annotation \"a\", expected key=value\n"),
    ] {
        let error = build(&machine, options).fails(1);
        assert!(error.contains(says), "{options:?}: {error}");
    }
    // Files have no manifest.
    build(&machine, &["--annotation", "index:a=b", "-o", "out"]).ok();
    // What is attested of an image makes an index of one.
    build(&machine, &["--annotation", "index:a=b", "--provenance=true", "-t", "app:1"]).ok();
}
