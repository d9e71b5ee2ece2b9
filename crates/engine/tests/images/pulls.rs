use strata_engine::image::{PruneWish, PullWish};
use strata_testkit::image::{Compression, Image};
use strata_testkit::mock_registry::{Act, MockRegistry};
use strata_testkit::tar::{Header, Tar};
use strata_testkit::{host, need};
use strata_types::{Digest, ErrorClass, Platform, Silent};

use crate::support::{Fixture, open, reference, sentence, serve, two_layers};

/// Pulls what a rule spoils; nothing of it may stay.
fn check_spoiled(spoil: impl Fn(&MockRegistry, &Digest), class: ErrorClass, expected: &str) {
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let (_, layers) = serve(&registry, &two_layers(), "a");
    spoil(&registry, &layers[0]);
    let error = fixture.engine.pull(&reference(&registry, "a"), &PullWish::default(), &Silent).unwrap_err();
    let text = sentence(&error).replace(&registry.host(), "HOST");
    assert!(text.contains(expected), "{text}");
    assert_eq!(error.class(), class, "{text}");
    assert_eq!(fixture.engine.images(&Default::default()).unwrap(), []);
    fixture.engine.tidy(&Silent).unwrap();
    assert_eq!(fixture.content(), Vec::<String>::new());
}

#[test]
fn a_pull_has_the_id_and_the_digest_of_the_registry() {
    need!(host::root());
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let image = two_layers();
    let (digest, _) = serve(&registry, &image, "a/b");
    let name = reference(&registry, "a/b");
    let pulled = fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    assert_eq!(pulled[0].digest, digest);
    assert!(pulled[0].is_newer);
    assert_eq!(pulled[0].image.digest(), &Digest::sha256(&image.config_bytes()));
    let inspected = fixture.engine.inspect_image(&name.familiar()).unwrap();
    assert_eq!(inspected.repo_digests, [format!("{}/a/b@{digest}", registry.host())]);
    assert_eq!(inspected.config["X-Ours"], "kept");
    assert_eq!(inspected.size, 5 + 100_000 + 1);
    let again = fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    assert!(!again[0].is_newer);
    assert_eq!(fixture.engine.check(false, &Silent).unwrap().findings, []);
}

#[test]
fn a_push_elsewhere_keeps_the_manifest_byte_for_byte() {
    need!(host::root());
    let fixture = Fixture::new();
    let (from, to) = (MockRegistry::start(), MockRegistry::start());
    let (digest, _) = serve(&from, &two_layers(), "a");
    let name = reference(&from, "a");
    fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    let target = reference(&to, "b");
    fixture.engine.tag(&name.familiar(), &target).unwrap();
    let pushed = fixture.engine.push(&target, false, &Silent).unwrap();
    assert_eq!(pushed[0].digest, digest);
    assert_eq!(to.manifest("b", "latest"), from.manifest("a", "latest"));
}

#[test]
fn without_its_source_an_image_is_compressed_anew() {
    need!(host::root());
    let fixture = Fixture::new();
    let (from, to) = (MockRegistry::start(), MockRegistry::start());
    let image = two_layers();
    serve(&from, &image, "a");
    let name = reference(&from, "a");
    fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    from.rule("HEAD", "/blobs/", usize::MAX, Act::Answer(404, Vec::new(), String::new()));
    let target = reference(&to, "b");
    fixture.engine.tag(&name.familiar(), &target).unwrap();
    fixture.engine.push(&target, false, &Silent).unwrap();
    let other = Fixture::new();
    let pulled = other.engine.pull(&target, &PullWish::default(), &Silent).unwrap();
    assert_eq!(pulled[0].image.digest(), &Digest::sha256(&image.config_bytes()));
}

#[test]
fn a_layer_with_another_digest_leaves_nothing() {
    need!(host::root());
    let spoil = |registry: &MockRegistry, layer: &Digest| {
        let mut bytes = registry.blob("a", layer).unwrap();
        // The time in the gzip header: the content is the same, the digest is not.
        bytes[4] ^= 1;
        registry.rule("GET", &layer.to_string(), usize::MAX, Act::Replace(bytes));
    };
    check_spoiled(spoil, ErrorClass::Corrupt, "wrong digest: expected sha256:");
}

#[test]
fn a_layer_that_is_too_short_leaves_nothing() {
    need!(host::root());
    let spoil = |registry: &MockRegistry, layer: &Digest| {
        registry.rule("GET", &layer.to_string(), usize::MAX, Act::Truncate(20));
    };
    check_spoiled(spoil, ErrorClass::Corrupt, "sent 20 bytes for sha256:");
}

#[test]
fn a_hostile_tar_is_refused_in_words() {
    need!(host::root());
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let tar = Tar::new().entry(&Header::new(b'0', "../../escape"), b"x").finish();
    serve(&registry, &Image::new().layer(tar, Compression::Gzip), "a");
    let error = fixture.engine.pull(&reference(&registry, "a"), &PullWish::default(), &Silent).unwrap_err();
    let text = sentence(&error);
    assert!(text.contains("../../escape") && text.contains("leaves the layer's root"), "{text}");
    assert_eq!(fixture.content(), Vec::<String>::new());
}

#[test]
fn a_config_that_names_other_layers_is_refused() {
    need!(host::root());
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let mut image = two_layers();
    image.config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
    serve(&registry, &image, "a");
    let error = fixture.engine.pull(&reference(&registry, "a"), &PullWish::default(), &Silent).unwrap_err();
    assert!(error.to_string().ends_with("is inconsistent: its config names 1 layers, its manifest 2"), "{error}");
}

#[test]
fn what_is_here_is_not_fetched_again() {
    need!(host::root());
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let image = two_layers();
    let (_, layers) = serve(&registry, &image, "a");
    let upper = Tar::new().file("new", 0o644, b"new").finish();
    serve(&registry, &image.layer(upper, Compression::Plain), "b");
    fixture.engine.pull(&reference(&registry, "a"), &PullWish::default(), &Silent).unwrap();
    let plan = fixture.engine.plan_pull(&reference(&registry, "b"), &PullWish::default()).unwrap();
    assert_eq!(plan.fetch_bytes, plan.layers[2].size_bytes);
    assert!(plan.fits());
    fixture.engine.pull(&reference(&registry, "b"), &PullWish::default(), &Silent).unwrap();
    for layer in layers {
        assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 1);
    }
}

#[test]
fn two_pulls_at_once_fetch_each_layer_once() {
    need!(host::root());
    // More than once: whoever is second comes to the end of the first one's download at another moment each time.
    for _ in 0..8 {
        let fixture = Fixture::new();
        let registry = MockRegistry::start();
        let (_, layers) = serve(&registry, &two_layers(), "a");
        let other = open(fixture.dir.path());
        let name = reference(&registry, "a");
        std::thread::scope(|scope| {
            let pulls = [&fixture.engine, &other].map(|engine| {
                let name = &name;
                scope.spawn(move || engine.pull(name, &PullWish::default(), &Silent).map(drop))
            });
            pulls.into_iter().for_each(|pull| pull.join().unwrap().unwrap());
        });
        for layer in layers {
            assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 1);
        }
        assert_eq!(fixture.engine.check(false, &Silent).unwrap().findings, []);
    }
}

#[test]
fn what_a_tag_left_behind_is_dangling_and_pruned() {
    need!(host::root());
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let name = reference(&registry, "a");
    serve(&registry, &two_layers(), "a");
    let old = fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    serve(&registry, &two_layers().with("User", "u".into()), "a");
    let new = fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    assert_ne!(old[0].image, new[0].image);
    let pruned = fixture.engine.prune_images(&PruneWish::default(), &Silent).unwrap();
    assert_eq!(pruned.removals.len(), 2, "{pruned:?}");
    let left: Vec<_> = fixture.engine.images(&Default::default()).unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(left, [new[0].image.clone()]);
    assert_eq!(fixture.engine.check(false, &Silent).unwrap().findings, []);
}

#[test]
fn an_image_for_another_platform_is_refused_before_its_layers_are_fetched() {
    need!(host::root());
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let (_, layers) = serve(&registry, &two_layers(), "a");
    let wish = PullWish { platform: Some(Platform::new("linux", "arm64", "")), ..PullWish::default() };
    let error = fixture.engine.pull(&reference(&registry, "a"), &wish, &Silent).unwrap_err();
    let expected = "was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64";
    assert!(error.to_string().ends_with(expected), "{error}");
    assert_eq!(registry.count("GET", &layers[0].to_string()), 0);
}
