//! Records: what was put in comes out, names are unique, prefixes find one or say that there are several.

use std::collections::BTreeSet;

use strata_store::records::{
    CreatedVolume, Forgotten, ImageRecord, InUse, Inserted, LayerForm, Predicate, PulledAttestation, Removal, Removed,
    Renamed, Said, TagRecord, VariantRecord, VolumeRecord,
};
use strata_store::{Durability, Error, Store};
use strata_types::document::Descriptor;
use strata_types::reference::Reference;
use strata_types::{ContainerId, Digest, ErrorClass, ImageId};

use crate::fixture::{bring, child_root, container, diff_id, image, now, remove, start, was_killed};

#[test]
fn an_image_comes_back_as_it_went_in_and_keeps_its_place_when_recorded_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut new = image("a", &["one", "two"]);
    new.image.manifest = Some(Digest::sha256(b"manifest"));
    new.image.index = Some(Digest::sha256(b"index"));
    new.image.media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
    new.image.created = Some("1969-07-20T20:17:40.000000001Z".parse().unwrap());
    store.images().add(&new).unwrap();
    assert_eq!(store.images().get(&new.image.id).unwrap().as_ref(), Some(&new.image));
    assert_eq!(store.tags().image(&new.tags[0].name).unwrap().as_ref(), Some(&new.image));
    assert_eq!(store.tags().of(&new.image.id).unwrap(), new.tags);
    assert_eq!(store.layers().get(&diff_id("two")).unwrap().as_ref(), Some(&new.layers[1]));
    let mut again = new.clone();
    (again.image.manifest, again.image.index, again.image.media_type) = (None, None, String::new());
    store.images().add(&again).unwrap();
    assert_eq!(store.images().list().unwrap(), [new.image]);
}

#[test]
fn an_image_recorded_again_with_its_names_changes_their_times_and_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    bring(&store, "b", &["base"]).unwrap();
    let mut again = image("a", &["base"]);
    store.images().add(&again).unwrap();
    for (name, moved) in [("localhost/a:latest", None), ("localhost/a:new", None), ("localhost/b:latest", Some("b"))] {
        again.tags[0].name = name.parse().unwrap();
        again.tags[0].updated += std::time::Duration::from_secs(1);
        let before = store.tags().get(&again.tags[0].name).unwrap().map(|tag| tag.image);
        assert_eq!(before.is_some_and(|id| id != again.image.id), moved.is_some());
        store.images().add(&again).unwrap();
        assert_eq!(store.tags().get(&again.tags[0].name).unwrap().as_ref(), Some(&again.tags[0]));
    }
    let predicates = vec![Predicate { kind: "kind".to_owned(), digest: Digest::sha256(b"predicate") }];
    let said = Said { predicates, ..Said::default() };
    let variant = VariantRecord { tag: again.tags[0].name.clone(), image: again.image.id.clone(), said };
    for variants in [vec![variant], Vec::new()] {
        store.images().add_all(std::slice::from_ref(&again), &variants).unwrap();
        assert_eq!(store.variants().of(&again.tags[0].name).unwrap(), variants);
    }
}

#[test]
fn what_is_said_of_an_image_without_a_name_stays_until_something_else_is_or_the_image_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut new = image("a", &["base"]);
    new.tags.clear();
    let entry = Descriptor::of("application/vnd.oci.image.manifest.v1+json", b"attestation");
    let pulled = PulledAttestation { entry, blobs: vec![Digest::sha256(b"statement")] };
    let said = Said { attestations: vec![pulled], ..Said::default() };
    for (now, expected) in
        [(Some(said.clone()), said.clone()), (None, said.clone()), (Some(Said::default()), Said::default())]
    {
        new.said = now;
        store.images().add(&new).unwrap();
        assert_eq!(store.images().said(&new.image.id).unwrap(), expected);
    }
    new.said = Some(said);
    store.images().add(&new).unwrap();
    remove(&store, &new.image.id, InUse::Keep).unwrap();
    assert_eq!(store.images().said(&new.image.id).unwrap(), Said::default());
}

#[test]
fn a_tag_moves_and_goes_and_leaves_its_image() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let [a, b] = ["a", "b"].map(|name| bring(&store, name, &["base"]).unwrap());
    let name: strata_types::reference::Reference = "localhost/a:latest".parse().unwrap();
    let tag = TagRecord { name: name.clone(), image: b.id.clone(), manifest: None, index: None, updated: now() };
    store.tags().set(std::slice::from_ref(&tag)).unwrap();
    assert_eq!(store.tags().image(&name).unwrap(), Some(b));
    assert_eq!(store.tags().of(&a.id).unwrap(), []);
    let removal = Removal { tags: vec![name.clone()], images: Vec::new(), in_use: InUse::Keep };
    assert_eq!(store.images().remove(&removal).unwrap(), Removed::Done(vec![tag], Vec::new()));
    assert_eq!(store.images().remove(&removal).unwrap(), Removed::Done(Vec::new(), Vec::new()));
    assert!(store.images().get(&a.id).unwrap().is_some());
}

#[test]
fn a_tag_of_an_image_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.tags().set(&image("a", &[]).tags).is_err());
}

#[test]
fn an_image_in_use_is_not_removed_unless_asked_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = bring(&store, "a", &["one"]).unwrap();
    let container = container("box", &image);
    assert_eq!(store.containers().insert(&container, Durability::Durable).unwrap(), Inserted::Done);
    let removed = remove(&store, &image.id, InUse::Keep).unwrap();
    assert_eq!(removed, Removed::Used(vec![container.id]));
    let removed = remove(&store, &image.id, InUse::Remove).unwrap();
    let Removed::Done(tags, images) = removed else { panic!("{removed:?}") };
    // A container is a use of its image, from when it was made.
    let used = ImageRecord { last_used: Some(container.created), ..image.clone() };
    assert_eq!((tags.len(), images), (1, vec![used]));
    assert_eq!(remove(&store, &image.id, InUse::Remove).unwrap(), Removed::Done(Vec::new(), Vec::new()));
    assert_eq!(store.tags().list().unwrap(), []);
}

#[test]
fn what_changed_meanwhile_keeps_everything_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut parent = image("parent", &["one"]);
    parent.tags.clear();
    store.images().add(&parent).unwrap();
    let mut child = image("child", &["one"]);
    child.image.parent = Some(parent.image.id.clone());
    store.images().add(&child).unwrap();
    let (tags, ids) = (vec![child.tags[0].name.clone()], [child.image.id.clone(), parent.image.id.clone()]);
    let changed = |removal: &Removal| {
        assert_eq!(store.images().remove(removal).unwrap(), Removed::Changed);
        assert_eq!((store.images().list().unwrap().len(), store.tags().list().unwrap().len()), (2, 1));
    };
    let removal = |tags: &[Reference], images: &[ImageId]| {
        let (tags, images) = (tags.to_vec(), images.to_vec());
        Removal { tags, images, in_use: InUse::Keep }
    };
    changed(&removal(&[], &ids));
    changed(&removal(&tags, &ids[1..]));
    let user = container("box", &parent.image);
    store.containers().insert(&user, Durability::Ephemeral).unwrap();
    changed(&removal(&tags, &ids));
    store.containers().remove(&user.id, Durability::Ephemeral).unwrap();
    let removed = store.images().remove(&removal(&tags, &ids)).unwrap();
    let Removed::Done(tags, mut images) = removed else { panic!("{removed:?}") };
    // When its last container went is when the image was used last: now.
    assert!(images[1].last_used.take() > Some(user.created));
    assert_eq!((tags, images), (child.tags, vec![child.image, parent.image]));
}

#[test]
fn container_names_are_unique_and_an_image_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let containers = store.containers();
    let image = bring(&store, "a", &["one"]).unwrap();
    let [first, second] = ["first", "second"].map(|name| container(name, &image));
    for each in [&first, &second] {
        assert_eq!(containers.insert(each, Durability::Ephemeral).unwrap(), Inserted::Done);
    }
    let taken = container("first", &image);
    let outcome = containers.insert(&taken, Durability::Ephemeral).unwrap();
    assert_eq!(outcome, Inserted::NameTaken(first.id.clone()));
    assert_eq!(containers.rename(&second.id, "first").unwrap(), Renamed::NameTaken(first.id.clone()));
    assert_eq!(containers.rename(&second.id, "third").unwrap(), Renamed::Done("second".to_owned()));
    assert_eq!(containers.rename(&taken.id, "fourth").unwrap(), Renamed::NotThere);
    assert!(containers.update(&first.id, "{\"a\":1}", Durability::Ephemeral).unwrap());
    assert_eq!(containers.by_name("first").unwrap().unwrap().spec, "{\"a\":1}");
    assert_eq!(containers.remove(&first.id, Durability::Ephemeral).unwrap(), Forgotten::Done);
    assert_eq!(containers.remove(&first.id, Durability::Ephemeral).unwrap(), Forgotten::NotThere);
    let stray = container("stray", &crate::fixture::image("gone", &[]).image);
    assert_eq!(containers.insert(&stray, Durability::Ephemeral).unwrap(), Inserted::ImageGone);
}

#[test]
fn prefixes_find_one_none_or_say_that_there_are_several() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = bring(&store, "a", &["one"]).unwrap();
    let ids = [[0xab; 32], [0xac; 32]].map(ContainerId::from_random);
    for (id, name) in ids.iter().zip(["x", "ac"]) {
        let mut container = container(name, &image);
        container.id = id.clone();
        store.containers().insert(&container, Durability::Ephemeral).unwrap();
    }
    let found = |what: &str| store.containers().find(what).map(|found| found.map(|container| container.id));
    assert_eq!(found("ab").unwrap().as_ref(), Some(&ids[0]));
    assert_eq!(found("ac").unwrap().as_ref(), Some(&ids[1]), "a name goes before a prefix");
    assert_eq!(found(ids[1].as_str()).unwrap().as_ref(), Some(&ids[1]));
    for nobody in ["", "b", "AB", "ab%", "ab' OR 1", "../ab"] {
        assert_eq!(found(nobody).unwrap(), None, "{nobody}");
    }
    let error = found("a").unwrap_err();
    assert_eq!(error.class(), ErrorClass::InvalidInput);
    assert_eq!(error.to_string(), "the prefix `a` is that of several containers");
    let by_prefix = store.images().find(image.id.short()).unwrap().map(|found| found.id);
    assert_eq!(by_prefix.as_ref(), Some(&image.id));
    assert_eq!(store.images().find("zz").unwrap(), None);
}

#[test]
fn compressed_forms_of_a_layer_gather_their_sources() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    bring(&store, "a", &["one"]).unwrap();
    let form = |source: &str| LayerForm {
        diff_id: diff_id("one"),
        digest: Digest::sha256(b"compressed"),
        size_bytes: 7,
        media_type: "gzip".to_owned(),
        sources: BTreeSet::from([source.to_owned()]),
    };
    store.layers().add_form(&form("docker.io/library/a")).unwrap();
    store.layers().add_form(&form("localhost:5000/b")).unwrap();
    let known = store.layers().form(&Digest::sha256(b"compressed")).unwrap().unwrap();
    assert_eq!(known.sources.len(), 2);
    assert_eq!(store.layers().forms(&diff_id("one")).unwrap(), [known]);
}

#[test]
fn a_volume_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let volume = VolumeRecord {
        name: "data".to_owned(),
        driver: "local".to_owned(),
        options: [].into(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        anonymous: false,
        created: now(),
    };
    assert_eq!(store.volumes().create(&volume).unwrap(), CreatedVolume::New);
    assert_eq!(store.volumes().create(&volume).unwrap(), CreatedVolume::Existed(volume.clone()));
    assert_eq!(store.volumes().list().unwrap(), [volume]);
    assert!(store.volumes().remove("data").unwrap());
    assert!(!store.volumes().remove("data").unwrap());
}

#[test]
fn the_intents_of_the_dead_are_adopted_those_of_the_living_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (living, dying) = (store.lease().unwrap(), store.lease().unwrap());
    store.intents().begin(&living, "remove", "x", "{}", now()).unwrap();
    let left = store.intents().begin(&dying, "remove", "y", "{}", now()).unwrap();
    dying.release().unwrap();
    let heir = store.lease().unwrap();
    let adopted = store.intents().adopt(&heir).unwrap();
    assert_eq!(adopted.iter().map(|intent| intent.key.as_str()).collect::<Vec<_>>(), ["y"]);
    store.intents().finish(left).unwrap();
    assert_eq!(store.intents().adopt(&heir).unwrap(), []);
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let database = rusqlite::Connection::open(dir.path().join("strata.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Unsupported);
}

#[test]
fn only_its_owner_reads_the_records() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    bring(&store, "a", &["one"]).unwrap();
    for name in ["strata.db", "strata.db-wal", "strata.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_file_that_is_no_database_is_said_to_be_damaged() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("strata.db"), "x".repeat(5000)).unwrap();
    assert_eq!(Store::open(dir.path()).unwrap_err().class(), ErrorClass::Corrupt);
}

#[test]
fn a_lost_database_is_not_replaced_by_one_to_which_all_files_are_rubbish() {
    let dir = tempfile::tempdir().unwrap();
    bring(&Store::open(dir.path()).unwrap(), "a", &["one"]).unwrap();
    for how in ["removed", "emptied"] {
        for name in ["strata.db", "strata.db-wal", "strata.db-shm"] {
            let path = dir.path().join(name);
            if how == "removed" || name != "strata.db" {
                let _may_be_gone = std::fs::remove_file(path);
            } else {
                std::fs::write(path, "").unwrap();
            }
        }
        let refused = Store::open(dir.path()).unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Corrupt, "{how}");
        assert!(refused.to_string().contains("is lost: there are files, but no records"), "{refused}");
    }
    std::fs::remove_dir_all(dir.path().join("blobs/sha256")).unwrap();
    std::fs::create_dir(dir.path().join("blobs/sha256")).unwrap();
    assert!(Store::open(dir.path()).unwrap().images().list().unwrap().is_empty());
}

#[test]
fn processes_write_at_once_and_nothing_is_lost() {
    const TASK: &str = "recording::processes_write_at_once_and_nothing_is_lost";
    const EACH: usize = 25;
    if let Some(root) = child_root(TASK) {
        let store = Store::open(&root).unwrap();
        let image = image("a", &["one"]).image;
        for _ in 0..EACH {
            let container = container(&strata_sys::random::hex::<8>(), &image);
            let durability = Durability::Ephemeral;
            assert_eq!(store.containers().insert(&container, durability).unwrap(), Inserted::Done);
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new");
    std::fs::create_dir(&root).unwrap();
    bring(&Store::open(&root).unwrap(), "a", &["one"]).unwrap();
    let children: Vec<_> = (0..4).map(|_| start(TASK, &root, None)).collect();
    for child in children {
        assert!(!was_killed(child));
    }
    assert_eq!(Store::open(&root).unwrap().containers().list().unwrap().len(), 4 * EACH);
}

#[test]
fn many_open_a_new_store_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let root = dir.path().join(format!("store-{round}"));
        std::thread::scope(|scope| {
            for name in 0..8 {
                let root = &root;
                scope.spawn(move || bring(&Store::open(root).unwrap(), &format!("image-{name}"), &["base"]).unwrap());
            }
        });
        assert_eq!(Store::open(&root).unwrap().images().list().unwrap().len(), 8);
    }
}
