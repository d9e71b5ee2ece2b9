//! Damage is found, told with the images it hurts, and what is damaged is fetched again: that and nothing else.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use strata_engine::image::PullWish;
use strata_engine::system::{Depth, Fetched};
use strata_testkit::mock_registry::{Act, MockRegistry};
use strata_testkit::{host, need};
use strata_types::{Digest, Silent};

use crate::support::{Fixture, reference, serve, two_layers};

/// An engine that has pulled an image of two layers, their digests in the registry, and the files of the lower one.
struct Pulled {
    fixture: Fixture,
    registry: MockRegistry,
    layers: Vec<Digest>,
    lower: PathBuf,
    name: String,
}

fn pulled() -> Pulled {
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let (_, layers) = serve(&registry, &two_layers(), "a");
    let name = reference(&registry, "a");
    let image = fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap().remove(0).image;
    let lower = fixture.engine.image(&image.to_string()).unwrap().layers.remove(0);
    let lower = fixture.dir.path().join("root/layers/erofs").join(lower.digest().hex());
    Pulled { fixture, registry, layers, lower, name: name.familiar() }
}

impl Pulled {
    /// What a check finds: which images each finding hurts.
    fn found(&self, depth: Depth) -> Vec<Vec<String>> {
        let checked = self.fixture.engine.check_to(depth, false, &Silent).unwrap();
        checked.findings.into_iter().map(|finding| finding.images).collect()
    }

    /// Repairs, and says what was fetched and how often each layer was asked for.
    fn repaired(&self) -> (Vec<Fetched>, Vec<usize>) {
        let checked = self.fixture.engine.check(true, &Silent).unwrap();
        assert!(checked.findings.iter().all(|finding| finding.is_mended), "{checked:?}");
        let count = |layer: &Digest| self.registry.count("GET", &format!("/blobs/{layer}"));
        (checked.fetched, self.layers.iter().map(count).collect())
    }

    fn spoil(&self, path: &str, offset: u64) {
        let file = std::fs::OpenOptions::new().write(true).open(self.lower.join(path)).unwrap();
        file.write_all_at(b"?", offset).unwrap();
    }
}

#[test]
fn only_the_damaged_layer_is_fetched_again() {
    need!(host::root(), host::filesystem("erofs"));
    let pulled = pulled();
    assert_eq!((pulled.found(Depth::Bytes).len(), pulled.found(Depth::Structure).len()), (0, 0));
    // In the content of a file.
    pulled.spoil("tar", 50_000);
    assert_eq!(pulled.found(Depth::Structure), Vec::<Vec<String>>::new(), "only a reading of every byte shows that");
    assert_eq!(pulled.found(Depth::Bytes), [[pulled.name.clone()]]);
    let fetched = Fetched { name: pulled.name.clone(), failure: None };
    assert_eq!(pulled.repaired(), (vec![fetched], vec![2, 1]));
    assert_eq!(pulled.found(Depth::Bytes).len(), 0);
    assert!(!pulled.fixture.engine.image(&pulled.name).unwrap().damaged);
    assert_eq!(pulled.fixture.engine.inspect_image(&pulled.name).unwrap().repo_digests.len(), 1);
}

#[test]
fn what_a_glance_sees() {
    need!(host::root(), host::filesystem("erofs"));
    let pulled = pulled();
    pulled.spoil("index.erofs", 1024);
    assert_eq!(pulled.found(Depth::Structure), [[pulled.name.clone()]]);
    pulled.repaired();
    let tar = std::fs::OpenOptions::new().write(true).open(pulled.lower.join("tar")).unwrap();
    tar.set_len(60_000).unwrap();
    assert_eq!(pulled.found(Depth::Structure), [[pulled.name.clone()]]);
    pulled.repaired();
    std::fs::remove_dir_all(&pulled.lower).unwrap();
    assert_eq!(pulled.found(Depth::Structure), [[pulled.name.clone()]]);
    assert_eq!(pulled.repaired().1, [4, 1]);
    assert_eq!(pulled.found(Depth::Bytes).len(), 0);
}

#[test]
fn what_cannot_be_fetched_is_told_and_can_be_tried_again() {
    need!(host::root(), host::filesystem("erofs"));
    let pulled = pulled();
    pulled.spoil("tar", 50_000);
    pulled.registry.rule("GET", "/manifests/", 1, Act::Answer(404, Vec::new(), String::new()));
    let failure = pulled.repaired().0.remove(0).failure.unwrap();
    assert!(failure.contains("not found") || failure.contains("manifest unknown"), "{failure}");
    assert!(pulled.fixture.engine.image(&pulled.name).unwrap().damaged);
    let checked = pulled.fixture.engine.check(true, &Silent).unwrap();
    assert_eq!(checked.fetched, [Fetched { name: pulled.name.clone(), failure: None }]);
    assert_eq!(pulled.found(Depth::Bytes).len(), 0);
}
