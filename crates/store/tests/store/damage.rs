//! Damage: found, named with whom it hurts, taken away, and healed by the next pull.

use std::path::Path;

use strata_store::{Durability, Problem, Store};
use strata_types::Silent;

use crate::fixture::{Layers, assert_whole, bring, container, diff_id};

fn check(store: &Store) -> Vec<Problem> {
    store.check(&Layers::of(store), strata_store::Depth::Bytes, &Silent).unwrap()
}

fn blob(root: &Path, digest: &strata_types::Digest) -> std::path::PathBuf {
    root.join("blobs/sha256").join(digest.hex())
}

#[test]
fn a_whole_store_has_no_problems_and_garbage_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = bring(&store, "a", &["one"]).unwrap();
    store.blobs().put(b"nobody needs it").unwrap();
    Layers::of(&store).add("nobody");
    assert_whole(dir.path(), &[&image]);
}

#[test]
fn damaged_content_is_named_removed_and_pulled_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let [first, second] = ["first", "second"].map(|name| bring(&store, name, &["base", name]).unwrap());
    let unharmed = bring(&store, "unharmed", &["other"]).unwrap();
    std::fs::write(blob(dir.path(), first.id.digest()), b"rubbish").unwrap();
    std::fs::write(Layers::of(&store).path(&diff_id("base")), b"rubbish").unwrap();
    let problems = check(&store);
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{texts:?}");
    assert_eq!(texts[0], format!("blob {} is damaged; image {} needs it", first.id, first.id.short()));
    assert_eq!(problems[1].images().len(), 2, "{texts:?}");
    let repaired = store.repair(problems.clone(), &Layers::of(&store), &Silent).unwrap();
    assert_eq!((repaired.mended, repaired.left), (problems, vec![]));
    assert!(!Layers::of(&store).path(&diff_id("base")).exists());
    let [Problem::ImageIncomplete { images }] = &check(&store)[..] else { panic!("{:?}", check(&store)) };
    assert_eq!(images.len(), 2);
    bring(&store, "first", &["base", "first"]).unwrap();
    bring(&store, "second", &["base", "second"]).unwrap();
    assert_whole(dir.path(), &[&first, &second, &unharmed]);
}

/// Another image brings what one lacks: that one is whole, too, and that is found out.
#[test]
fn who_lacks_nothing_any_more_is_healed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let [first, second] = ["first", "second"].map(|name| bring(&store, name, &["base", name]).unwrap());
    for layer in ["base", "second"] {
        std::fs::write(Layers::of(&store).path(&diff_id(layer)), b"rubbish").unwrap();
    }
    let layers = Layers::of(&store);
    store.repair(check(&store), &layers, &Silent).unwrap();
    let damaged = || [&first, &second].map(|image| store.images().get(&image.id).unwrap().unwrap().damaged);
    assert_eq!(damaged(), [true, true]);
    bring(&store, "third", &["base"]).unwrap();
    store.heal(&layers).unwrap();
    assert_eq!(damaged(), [false, true], "one layer of the second is still not there");
    layers.add("second");
    store.heal(&layers).unwrap();
    assert_eq!(damaged(), [false, false]);
    assert_whole(dir.path(), &[&first, &second]);
}

#[test]
fn missing_content_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = bring(&store, "a", &["one"]).unwrap();
    std::fs::remove_file(blob(dir.path(), image.id.digest())).unwrap();
    std::fs::remove_file(Layers::of(&store).path(&diff_id("one"))).unwrap();
    let problems = check(&store);
    assert!(matches!(problems[..], [Problem::BlobMissing { .. }, Problem::LayerMissing { .. }]), "{problems:?}");
    store.repair(problems, &Layers::of(&store), &Silent).unwrap();
    assert!(store.images().get(&image.id).unwrap().unwrap().damaged);
}

#[test]
fn containers_that_are_half_made_or_half_removed_are_cleared_but_not_under_somebodys_hands() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = bring(&store, "a", &["one"]).unwrap();
    let [busy, left, lost] = ["busy", "left", "lost"].map(|name| container(name, &image));
    for unrecorded in [&busy, &left] {
        std::fs::create_dir_all(dir.path().join("containers").join(unrecorded.id.as_str()).join("upper")).unwrap();
    }
    store.containers().insert(&lost, Durability::Durable).unwrap();
    let lock = store.lock_container(&busy.id).unwrap();
    assert!(store.try_lock_container(&busy.id).unwrap().is_none());
    let problems = check(&store);
    let expected = [
        Problem::ContainerUnrecorded { name: left.id.to_string() },
        Problem::ContainerWithoutFiles { id: lost.id.clone() },
    ];
    assert_eq!(problems, expected);
    store.repair(problems, &Layers::of(&store), &Silent).unwrap();
    assert_eq!(check(&store), []);
    assert!(dir.path().join("containers").join(busy.id.as_str()).exists());
    drop(lock);
}

#[test]
fn a_damaged_database_is_said_to_be_and_nothing_is_removed() {
    use std::os::unix::fs::FileExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for name in 0..40 {
        bring(&store, &format!("image-{name}"), &["one"]).unwrap();
    }
    drop(store);
    let path = dir.path().join("strata.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let pages = file.metadata().unwrap().len() / 2048;
    for page in 8..pages {
        file.write_all_at(&[0xff; 512], page * 2048 + 700).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    let problems = check(&store);
    assert!(matches!(problems.first(), Some(Problem::Database { .. })), "{problems:?}");
    Layers::of(&store).add("kept");
    let repaired = store.repair(problems, &Layers::of(&store), &Silent).unwrap();
    assert!(repaired.mended.is_empty() && repaired.collected.removed.is_empty());
}
