//! All tags of a repository, and several pulls at once.

use strata_testkit::image::{Compression, Image};
use strata_testkit::machine::Ran;
use strata_testkit::mock_registry::MockRegistry;
use strata_testkit::registry::Registry;
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};
use strata_types::Digest;

use crate::{load, noise, small};

#[test]
fn all_tags_are_pushed_and_pulled() {
    need!(host::root(), host::program("docker-registry"), host::program("busybox"));
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    let repository = format!("{}/team/app", registry.host());
    for tag in ["1", "2", "latest"] {
        load(&machine, &small(tag), &format!("{repository}:{tag}"));
    }
    load(&machine, &small("x"), &format!("{repository}-other:1"));
    let listed = || machine.strata(["images", "--format", "{{.Tag}} {{.ID}}", &repository]).ok();
    let before = listed();
    assert_eq!(before.lines().count(), 3, "{before}");
    let error = machine.strata(["push", "-a", &format!("{repository}:1")]).fails(1);
    assert!(error.contains("tag can't be used with --all-tags/-a"), "{error}");
    let out = machine.strata(["push", "-a", &repository]).ok();
    for tag in ["1", "2", "latest"] {
        assert!(out.lines().any(|line| line.starts_with(&format!("{tag}: digest: sha256:"))), "{out}");
    }
    for tag in ["1", "2", "latest"] {
        machine.strata(["rmi", &format!("{repository}:{tag}")]).ok();
    }
    assert_eq!(listed(), "");
    let error = machine.strata(["pull", "-a", &format!("{repository}:1")]).fails(1);
    assert!(error.contains("tag can't be used with --all-tags/-a"), "{error}");
    let out = machine.strata(["pull", "-a", &repository]).ok();
    assert!(out.ends_with(&format!("Status: Downloaded newer image for {repository}\n{repository}\n")), "{out}");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&listed()), sorted(&before));
    // As with Docker, nothing is said of the layers of an image that is here.
    let again = machine.strata(["pull", &format!("{repository}:1")]).ok();
    let again: Vec<&str> = again.lines().filter(|line| !line.starts_with("Digest: ")).collect();
    let (status, name) = (format!("Status: Image is up to date for {repository}:1"), format!("{repository}:1"));
    assert_eq!(again, ["1: Pulling from team/app", &status, &name]);
    let error = machine.strata(["pull", "-a", &format!("{repository}-nothing")]).fails(1);
    assert!(error.contains("not found") || error.contains("does not exist"), "{error}");
    let error = machine.strata(["push", "-a", "127.0.0.1:1/nothing"]).fails(1);
    assert!(error.contains("An image does not exist locally with the tag: 127.0.0.1:1/nothing"), "{error}");
}

#[test]
fn of_several_pulls_at_once_one_fetches_and_all_get_the_image() {
    need!(host::root());
    let machine = Machine::start();
    let registry = MockRegistry::start();
    let layers: Vec<Vec<u8>> = (0..3)
        .map(|number| Tar::new().file(&format!("file-{number}"), 0o644, &noise(3_000_000 + number)).finish())
        .collect();
    let digests: Vec<Digest> = layers.iter().map(|tar| Digest::sha256(tar)).collect();
    let image = layers.into_iter().fold(Image::new(), |image, tar| image.layer(tar, Compression::Plain));
    registry.put_image("app", "1", &image);
    registry.put_image("twin", "2", &image);
    let names = [format!("{}/app:1", registry.host()), format!("{}/twin:2", registry.host())];
    let pulls: Vec<Ran> = std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4)
            .map(|number| {
                let (machine, name) = (&machine, &names[number % 2]);
                scope.spawn(move || machine.strata(["pull", "-q", name]))
            })
            .collect();
        pulls.into_iter().map(|pull| pull.join().unwrap()).collect()
    });
    for pull in pulls {
        pull.ok();
    }
    for digest in digests {
        assert_eq!(registry.count("GET", &format!("/blobs/{digest}")), 1, "fetched more than once");
    }
    machine.strata(["check"]).ok();
    assert_eq!(machine.strata(["images", "-q", "--no-trunc"]).ok().lines().count(), 2);
}
