//! The disk fails at the nth operation, or the power does: nothing committed is lost, nothing partial is visible.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_store::records::{ImageRecord, InUse, Removed};
use strata_store::{Options, Scope, Store};
use strata_testkit::disk::{Fault, SimulatedDisk};
use strata_types::Silent;

use crate::fixture::{Layers, assert_whole, bring, image, remove};

/// A pull, a removal of what was there, a collection and another pull of the same.
fn work(store: &Store, committed: &mut Vec<ImageRecord>) -> strata_store::Result<()> {
    committed.push(bring(store, "new", &["base", "new"])?);
    let old = image("old", &[]).image.id;
    if let Removed::Done(..) = remove(store, &old, InUse::Keep)? {
        committed.retain(|image| image.id != old);
    }
    store.gc(Scope::Removed, &Layers::of(store), &Silent)?;
    committed.push(bring(store, "newest", &["base", "newest"])?);
    Ok(())
}

fn dirs(root: &Path) -> Vec<PathBuf> {
    ["blobs/sha256", "ingest"].map(|dir| root.join(dir)).to_vec()
}

/// Lets the work meet a fault; returns how many operations there were.
fn check(fault: Fault) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let base = bring(&store, "base", &["base"]).unwrap();
    let old = bring(&store, "old", &["base", "old"]).unwrap();
    drop(store);
    let mut committed = vec![base, old];
    let disk = SimulatedDisk::new(&dirs(dir.path()), fault);
    let store = Store::open_with(dir.path(), Options { disk: Arc::new(disk.clone()) }).unwrap();
    let outcome = work(&store, &mut committed);
    drop(store);
    match fault {
        Fault::None => outcome.unwrap(),
        Fault::Die(_) => disk.lose_power(),
        Fault::Fail(..) => {}
    }
    // A removal is committed by its record: what the error interrupted may be either.
    committed.retain(|image| Store::open(dir.path()).unwrap().images().get(&image.id).unwrap().is_some());
    assert!(committed.iter().any(|image| image.layers.len() == 1), "{fault:?}");
    assert_whole(dir.path(), &committed.iter().collect::<Vec<_>>());
    let store = Store::open(dir.path()).unwrap();
    work(&store, &mut committed).unwrap_or_else(|error| panic!("after {fault:?}: {error}"));
    store.gc(Scope::All { ingests_older_than: std::time::Duration::ZERO }, &Layers::of(&store), &Silent).unwrap();
    assert_whole(dir.path(), &committed.iter().collect::<Vec<_>>());
    assert_eq!(store.blobs().list().unwrap().len(), 3, "{fault:?}");
    assert_eq!(std::fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0, "{fault:?}");
    disk.operations()
}

#[test]
fn every_operation_may_fail_once() {
    let operations = check(Fault::None);
    assert!(operations > 10, "{operations}");
    for at in 1..=operations {
        check(Fault::Fail(at, ErrorKind::Other));
        check(Fault::Fail(at, ErrorKind::StorageFull));
    }
}

#[test]
fn the_power_may_fail_at_every_operation() {
    let operations = check(Fault::None);
    for at in 1..=operations + 1 {
        check(Fault::Die(at));
    }
}

#[test]
fn a_full_disk_leaves_no_part_of_a_blob() {
    for at in 1..=4 {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let disk = SimulatedDisk::new(&[], Fault::Fail(at, ErrorKind::StorageFull));
        let store = Store::open_with(dir.path(), Options { disk: Arc::new(disk) }).unwrap();
        let error = store.blobs().put(b"does not fit").unwrap_err();
        assert_eq!(error.class(), strata_types::ErrorClass::Exhausted, "{error}");
        assert_eq!(std::fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0, "operation {at}");
    }
}
