//! Images without content, layers that are small files, and children of this test program.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use strata_store::records::{ContainerRecord, ImageRecord, InUse, LayerRecord, NewImage, Removal, Removed, TagRecord};
use strata_store::{BoxError, Depth, Key, LayerFiles, Store};
use strata_types::{ContainerId, DiffId, Digest, ImageId, Watch};

/// Tells a child what to do where.
const CHILD: &str = "STRATA_STORE_TEST_CHILD";

pub(crate) fn now() -> Timestamp {
    "2026-11-21T06:00:00Z".parse().unwrap()
}

pub(crate) fn diff_id(name: &str) -> DiffId {
    DiffId::new(Digest::sha256(name.as_bytes()))
}

pub(crate) fn container(name: &str, image: &ImageRecord) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::from_random(strata_sys::random::bytes()),
        name: name.to_owned(),
        image: image.id.clone(),
        image_name: "debian".to_owned(),
        layers: image.layers.clone(),
        driver: "fake".to_owned(),
        created: now(),
        spec: "{}".to_owned(),
    }
}

/// An image whose config says only its name.
pub(crate) fn image(name: &str, layers: &[&str]) -> NewImage {
    let layers: Vec<_> = layers.iter().map(|layer| diff_id(layer)).collect();
    let id = ImageId::new(Digest::sha256(config(name).as_bytes()));
    let record = |diff_id: &DiffId| LayerRecord { diff_id: diff_id.clone(), size_bytes: 1, added: now() };
    NewImage {
        said: None,
        tags: vec![TagRecord {
            name: format!("localhost/{name}:latest").parse().unwrap(),
            image: id.clone(),
            manifest: None,
            index: None,
            updated: now(),
        }],
        layers: layers.iter().map(record).collect(),
        forms: Vec::new(),
        image: ImageRecord {
            id,
            manifest: None,
            media_type: String::new(),
            index: None,
            size_bytes: layers.len() as u64,
            layers,
            parent: None,
            added: now(),
            created: None,
            last_used: None,
            damaged: false,
        },
    }
}

pub(crate) fn config(name: &str) -> String {
    format!("the config of {name}")
}

/// Brings an image in, as a pull does: lease, blobs, layers, records.
pub(crate) fn bring(store: &Store, name: &str, layers: &[&str]) -> strata_store::Result<ImageRecord> {
    let new = image(name, layers);
    let lease = store.lease()?;
    lease.protect_layers(&new.image.layers)?;
    lease.protect(&[Key::Blob(new.image.id.digest().clone())])?;
    store.blobs().put(config(name).as_bytes())?;
    for layer in layers {
        Layers::of(store).add(layer);
    }
    store.images().add(&new)?;
    lease.release()?;
    Ok(new.image)
}

/// Removes an image with all its names.
pub(crate) fn remove(store: &Store, id: &ImageId, in_use: InUse) -> strata_store::Result<Removed> {
    let tags = store.tags().of(id)?.into_iter().map(|tag| tag.name).collect();
    store.images().remove(&Removal { tags, images: vec![id.clone()], in_use })
}

/// Layers that are files with their own name inside.
pub(crate) struct Layers(PathBuf);

impl Layers {
    pub(crate) fn of(store: &Store) -> Self {
        Self(store.root().join("layers/fake"))
    }

    pub(crate) fn add(&self, layer: &str) {
        std::fs::create_dir_all(&self.0).unwrap();
        std::fs::write(self.path(&diff_id(layer)), layer).unwrap();
    }

    pub(crate) fn path(&self, diff_id: &DiffId) -> PathBuf {
        self.0.join(diff_id.hex())
    }
}

impl LayerFiles for Layers {
    fn list(&self) -> Result<Vec<Key>, BoxError> {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return Ok(Vec::new()) };
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        Ok(entries.map(|entry| Key::Layer(format!("sha256:{}", name(entry)).parse().unwrap())).collect())
    }

    fn needed(&self, layers: &[DiffId]) -> Vec<Key> {
        layers.iter().cloned().map(Key::Layer).collect()
    }

    fn remove(&self, key: &Key) -> Result<bool, BoxError> {
        let Key::Layer(diff_id) = key else { return Ok(false) };
        Ok(strata_sys::durable::remove(&self.path(diff_id))?)
    }

    fn verify(&self, key: &Key, _depth: Depth, _watch: &dyn Watch) -> Result<Option<String>, BoxError> {
        let Key::Layer(expected) = key else { return Ok(None) };
        let found = Digest::sha256(&std::fs::read(self.path(expected))?);
        Ok((found != *expected.digest()).then(|| format!("the digest is {found}")))
    }
}

/// Fails unless the store is whole and these are its images, whole too.
pub(crate) fn assert_whole(root: &Path, images: &[&ImageRecord]) {
    let store = Store::open(root).unwrap();
    assert_eq!(store.check(&Layers::of(&store), Depth::Bytes, &strata_types::Silent).unwrap(), []);
    for image in images {
        let here = store.images().get(&image.id).unwrap().expect("a committed image was lost");
        assert!(!here.damaged);
        store.blobs().read_small(image.id.digest(), 1 << 20).unwrap();
        for layer in &image.layers {
            assert!(Layers::of(&store).path(layer).exists(), "a layer of a committed image was lost");
        }
    }
}

/// The root this process was started for, if it is a child that runs `task`.
pub(crate) fn child_root(task: &str) -> Option<PathBuf> {
    let value = std::env::var(CHILD).ok()?;
    value.strip_prefix(task)?.strip_prefix(' ').map(PathBuf::from)
}

/// Starts this test program again, running the one test `task` of this module path on `root`.
pub(crate) fn start(task: &str, root: &Path, failpoint: Option<&str>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([task, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, format!("{task} {}", root.display())).stdin(Stdio::piped()).stdout(Stdio::null());
    if let Some(name) = failpoint {
        command.env(strata_sys::failpoint::VARIABLE, name);
    }
    command.spawn().unwrap()
}

/// Waits for a child; whether it was killed by its failpoint. Fails if it failed in another way.
pub(crate) fn was_killed(mut child: Child) -> bool {
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "a child failed: {status}");
    !status.success()
}
