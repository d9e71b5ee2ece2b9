//! An engine on a root directory of its own, and images for it.

use strata_engine::{Engine, Settings};
use strata_testkit::image::{Compression, Image};
use strata_testkit::mock_registry::MockRegistry;
use strata_testkit::tar::Tar;
use strata_types::Digest;
use strata_types::reference::Reference;

/// An engine and the directory it lives in.
pub(crate) struct Fixture {
    pub(crate) engine: Engine,
    pub(crate) dir: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        strata_testkit::private::mounts();
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        Self { engine, dir }
    }

    /// Names of all files under the root directory that hold content.
    pub(crate) fn content(&self) -> Vec<String> {
        let mut names = Vec::new();
        for place in ["blobs/sha256", "ingest", "layers/erofs", "layers/overlay", "layers/vfs"] {
            let Ok(entries) = std::fs::read_dir(self.dir.path().join("root").join(place)) else { continue };
            names.extend(entries.map(|entry| format!("{place}/{}", entry.unwrap().file_name().display())));
        }
        names.sort();
        names
    }
}

pub(crate) fn open(dir: &std::path::Path) -> Engine {
    let settings = Settings {
        root: dir.join("root"),
        run_dir: dir.join("run"),
        driver: None,
        docker_config: Some(dir.join("config.json")),
        auth_files: Vec::new(),
        registries_conf: Some(dir.join("registries.conf")),
        proxies: strata_engine::Proxies::default(),
    };
    Engine::open(settings).unwrap()
}

/// Two layers, the upper one of which removes a file.
pub(crate) fn two_layers() -> Image {
    let lower = Tar::new().dir("etc/").file("etc/a", 0o644, b"lower").file("etc/b", 0o600, &[7; 100_000]).finish();
    let upper = Tar::new().dir("etc/").file("etc/.wh.a", 0o644, b"").symlink("etc/c", "b").finish();
    Image::new().layer(lower, Compression::Gzip).layer(upper, Compression::Zstd).with("X-Ours", "kept".into())
}

/// Puts an image into a registry; gives the manifest's digest and the layers' compressed digests.
pub(crate) fn serve(registry: &MockRegistry, image: &Image, repository: &str) -> (Digest, Vec<Digest>) {
    let blobs = std::cell::RefCell::new(Vec::new());
    let manifest = image.manifest(&|bytes| {
        let digest = registry.put_blob(repository, bytes);
        blobs.borrow_mut().push(digest.clone());
        digest
    });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let digest = registry.put_manifest(repository, "latest", media_type, &manifest);
    let config = Digest::sha256(&image.config_bytes());
    let layers = blobs.into_inner().into_iter().filter(|blob| *blob != config).collect();
    (digest, layers)
}

pub(crate) fn reference(registry: &MockRegistry, repository: &str) -> Reference {
    format!("{}/{repository}:latest", registry.host()).parse().unwrap()
}

/// An error and all its causes.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
