//! Garbage: goes when nobody needs it, stays as long as somebody does.

use std::time::Duration;

use strata_store::records::InUse;
use strata_store::{Begin, Collected, Durability, Key, Scope, Store};
use strata_types::{Digest, Silent};

use crate::fixture::{Layers, assert_whole, bring, child_root, container, diff_id, remove, start, was_killed};

const ALL: Scope = Scope::All { ingests_older_than: Duration::MAX };

fn gc(store: &Store, scope: Scope) -> Collected {
    store.gc(scope, &Layers::of(store), &Silent).unwrap()
}

#[test]
fn what_a_removed_image_alone_needed_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let kept = bring(&store, "kept", &["base", "kept"]).unwrap();
    let gone = bring(&store, "gone", &["base", "gone"]).unwrap();
    remove(&store, &gone.id, InUse::Keep).unwrap();
    let collected = gc(&store, Scope::Removed);
    for key in [Key::Blob(gone.id.digest().clone()), Key::Layer(diff_id("gone"))] {
        assert!(collected.removed.contains(&key), "{key} stayed");
    }
    assert!(!collected.removed.contains(&Key::Layer(diff_id("base"))));
    assert_eq!(store.layers().list().unwrap().len(), 2);
    assert_eq!(gc(&store, Scope::Removed), Collected::default());
    assert_whole(dir.path(), &[&kept]);
}

#[test]
fn the_layers_of_a_container_outlive_its_image() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = bring(&store, "a", &["one"]).unwrap();
    let container = container("box", &image);
    store.containers().insert(&container, Durability::Durable).unwrap();
    remove(&store, &image.id, InUse::Remove).unwrap();
    gc(&store, Scope::Removed);
    gc(&store, ALL);
    let path = Layers::of(&store).path(&diff_id("one"));
    assert!(path.exists());
    store.containers().remove(&container.id, Durability::Durable).unwrap();
    gc(&store, Scope::Removed);
    assert!(!path.exists());
}

#[test]
fn what_no_record_names_is_found_and_what_a_lease_protects_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (stray, leased) = (store.blobs().put(b"stray").unwrap(), store.blobs().put(b"leased").unwrap());
    Layers::of(&store).add("stray");
    let lease = store.lease().unwrap();
    lease.protect(&[Key::Blob(leased.clone())]).unwrap();
    let collected = gc(&store, ALL);
    assert_eq!(collected.removed, [Key::Blob(stray), Key::Layer(diff_id("stray"))]);
    assert_eq!(collected.freed_bytes, 5);
    lease.release().unwrap();
    assert_eq!(gc(&store, ALL).removed, [Key::Blob(leased)]);
}

#[test]
fn a_lease_on_layers_protects_each_of_them_in_any_driver() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = bring(&store, "a", &["one", "two"]).unwrap();
    let lease = store.lease().unwrap();
    lease.protect_layers(&image.layers).unwrap();
    remove(&store, &image.id, InUse::Keep).unwrap();
    let blob = Key::Blob(image.id.digest().clone());
    assert_eq!(gc(&store, Scope::Removed).removed, [blob]);
    assert_eq!(gc(&store, ALL).removed, []);
    lease.release().unwrap();
    let collected = gc(&store, ALL);
    assert!(collected.removed.contains(&Key::Layer(diff_id("one"))), "{collected:?}");
    assert!(collected.removed.contains(&Key::Layer(diff_id("two"))), "{collected:?}");
}

#[test]
fn the_lease_of_a_killed_process_protects_nothing() {
    const TASK: &str = "collecting::the_lease_of_a_killed_process_protects_nothing";
    if let Some(root) = child_root(TASK) {
        let store = Store::open(&root).unwrap();
        let digest = store.blobs().put(b"left").unwrap();
        let lease = store.lease().unwrap();
        lease.protect(&[Key::Blob(digest)]).unwrap();
        store.blobs().put(b"never").unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(was_killed(start(TASK, dir.path(), Some("store.blob.before-rename:2"))));
    let collected = gc(&store, Scope::All { ingests_older_than: Duration::ZERO });
    assert_eq!(collected.removed, [Key::Blob(Digest::sha256(b"left"))]);
    assert_eq!(collected.ingests, 1);
    assert_eq!(std::fs::read_dir(dir.path().join("leases")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0);
}

#[test]
fn a_collector_that_was_killed_is_finished_or_overruled_by_the_next() {
    const TASK: &str = "collecting::a_collector_that_was_killed_is_finished_or_overruled_by_the_next";
    if let Some(root) = child_root(TASK) {
        gc(&Store::open(&root).unwrap(), Scope::Removed);
        return;
    }
    for failpoint in ["store.gc.after-doom", "store.gc.after-delete", "store.gc.after-delete:2"] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let image = bring(&store, "a", &["one", "two"]).unwrap();
        remove(&store, &image.id, InUse::Keep).unwrap();
        assert!(was_killed(start(TASK, dir.path(), Some(failpoint))));
        let again = bring(&store, "a", &["one", "two"]).unwrap();
        gc(&store, Scope::Removed);
        assert_whole(dir.path(), &[&again]);
        remove(&store, &image.id, InUse::Keep).unwrap();
        assert!(was_killed(start(TASK, dir.path(), Some(failpoint))));
        gc(&store, Scope::Removed);
        assert!(!Layers::of(&store).path(&diff_id("two")).exists());
        assert_eq!(store.blobs().list().unwrap(), []);
    }
}

#[test]
fn whoever_wants_what_is_just_being_removed_waits_until_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let [store, other] = [0, 1].map(|_| Store::open(dir.path()).unwrap());
    let image = bring(&store, "a", &["one"]).unwrap();
    remove(&store, &image.id, InUse::Keep).unwrap();
    let layers = Layers::of(&store);
    let path = layers.path(&diff_id("one"));
    std::thread::scope(|scope| {
        let slow = Slow { layers: &layers, then: std::sync::Mutex::new(None), other: &other };
        store.gc(Scope::Removed, &slow, &Silent).unwrap();
        // The lease was asked for while the collector was at it, and got after it was done.
        let protected = slow.then.into_inner().unwrap().expect("the layer was not removed");
        scope.spawn(move || assert!(!protected.join().unwrap()));
    });
    assert!(!path.exists());
}

/// Layers that, when one is removed, start somebody who wants it.
struct Slow<'a> {
    layers: &'a Layers,
    then: std::sync::Mutex<Option<std::thread::JoinHandle<bool>>>,
    other: &'a Store,
}

impl strata_store::LayerFiles for Slow<'_> {
    fn list(&self) -> Result<Vec<Key>, strata_store::BoxError> {
        self.layers.list()
    }

    fn needed(&self, layers: &[strata_types::DiffId]) -> Vec<Key> {
        self.layers.needed(layers)
    }

    fn remove(&self, key: &Key) -> Result<bool, strata_store::BoxError> {
        if let Key::Layer(diff_id) = key {
            // Recording it is refused meanwhile.
            let image = crate::fixture::image("a", &["one"]);
            let error = self.other.images().add(&image).unwrap_err();
            assert_eq!(error.class(), strata_types::ErrorClass::Conflict);
            let (root, path, layer) = (self.other.root().to_owned(), self.layers.path(diff_id), diff_id.clone());
            *self.then.lock().unwrap() = Some(std::thread::spawn(move || {
                let store = Store::open(&root).unwrap();
                store.lease().unwrap().protect_layers(&[layer]).unwrap();
                path.exists()
            }));
        }
        self.layers.remove(key)
    }

    fn verify(
        &self,
        key: &Key,
        depth: strata_store::Depth,
        watch: &dyn strata_types::Watch,
    ) -> Result<Option<String>, strata_store::BoxError> {
        self.layers.verify(key, depth, watch)
    }
}

#[test]
fn an_ingest_that_somebody_writes_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let begun = store.blobs().begin(&Digest::sha256(b"x"), None, &Silent).unwrap();
    assert!(matches!(begun, Begin::Write(_)));
    let scope = Scope::All { ingests_older_than: Duration::ZERO };
    assert_eq!(gc(&store, scope).ingests, 0);
    drop(begun);
    assert_eq!(gc(&store, scope).ingests, 1);
}
