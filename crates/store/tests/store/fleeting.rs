//! Containers that go with their program: recorded beside the database, and one with it for all who look.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use strata_store::records::{
    ContainerRecord, CreatedNetwork, Forgotten, ImageRecord, InUse, Inserted, NetworkRecord, Renamed,
};
use strata_store::{Durability, Scope, Store};
use strata_types::Silent;
use strata_types::reference::Reference;

use crate::fixture::{Layers, bring, child_root, container, diff_id, image, now, remove, start, was_killed};
use crate::killed::failpoints;

/// A store in which an image was used and looked for a moment ago, as when one container is run after another.
fn warm(root: &Path) -> (Store, ImageRecord) {
    let store = Store::open(root).unwrap();
    let brought = bring(&store, "a", &["one"]).unwrap();
    look(&store, &brought);
    (store, brought)
}

fn name() -> Reference {
    image("a", &[]).tags[0].name.clone()
}

/// Uses the image and looks for it.
fn look(store: &Store, image: &ImageRecord) {
    store.images().touch(&image.id, Timestamp::now()).unwrap();
    assert_eq!(store.tags().image(&name()).unwrap().unwrap().id, image.id);
}

fn insert(store: &Store, container: &ContainerRecord) -> Inserted {
    store.containers().insert(container, Durability::Ephemeral).unwrap()
}

/// Who is in the tables.
fn rows(root: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(root.join("strata.db")).unwrap();
    let mut query = connection.prepare("SELECT name FROM container ORDER BY name").unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn files(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Who is recorded beside the database.
fn beside(root: &Path) -> Vec<String> {
    files(&root.join("fleeting/names")).into_iter().collect()
}

fn known(root: &Path) -> bool {
    !files(&root.join("fleeting/known")).is_empty()
}

/// That all ways of looking find this container once.
fn assert_found(store: &Store, container: &ContainerRecord) {
    let (containers, digits) = (store.containers(), container.id.short());
    assert_eq!(containers.get(&container.id).unwrap().as_ref(), Some(container));
    assert_eq!(containers.by_name(&container.name).unwrap().as_ref(), Some(container));
    for what in [container.id.as_str(), &container.name, digits] {
        assert_eq!(containers.find(what).unwrap().as_ref(), Some(container), "{what}");
    }
    assert_eq!(containers.list().unwrap(), std::slice::from_ref(container));
    assert_eq!(containers.using(&container.image).unwrap(), std::slice::from_ref(&container.id));
}

#[test]
fn a_container_comes_and_goes_without_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (store, image) = warm(root);
    let (one, two) = (container("box", &image), container("box", &image));
    let elsewhere = root.join("elsewhere");
    std::os::unix::fs::symlink(one.id.as_str(), &elsewhere).unwrap();
    // Another process, which has seen nothing yet.
    let other = Store::open(root).unwrap();
    assert_eq!(other.tags().image(&name()).unwrap().unwrap().id, image.id);
    assert_eq!(insert(&other, &one), Inserted::Done);
    assert_eq!((rows(root), beside(root)), (Vec::new(), vec!["box".to_owned()]));
    assert_found(&store, &one);
    assert_found(&other, &one);
    for path in ["../../elsewhere", elsewhere.to_str().unwrap(), ".", "..", "", "../names/box"] {
        assert_eq!(store.containers().by_name(path).unwrap(), None, "{path}");
    }
    assert_eq!(other.containers().remove(&one.id, Durability::Ephemeral).unwrap(), Forgotten::Done);
    assert_eq!(other.containers().remove(&one.id, Durability::Ephemeral).unwrap(), Forgotten::NotThere);
    assert_eq!(files(&root.join("fleeting")), ["known", "lock", "names"].map(str::to_owned).into());
    assert_eq!((store.containers().list().unwrap(), beside(root)), (Vec::new(), Vec::new()));
    look(&store, &image);
    assert_eq!(insert(&store, &two), Inserted::Done);
    assert_found(&store, &two);
}

#[test]
fn those_beside_are_all_where_the_tables_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (store, image) = warm(root);
    let (one, two) = (container("one", &image), container("two", &image));
    let listed = |store: &Store| {
        let names = store.containers().list().unwrap().into_iter().map(|container| container.name);
        names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(listed(&store), Vec::<String>::new());
    assert_eq!((insert(&store, &one), insert(&store, &two)), (Inserted::Done, Inserted::Done));
    // Not even a database that cannot be read is asked.
    let other = Store::open(root).unwrap();
    let header = std::fs::read(root.join("strata.db")).unwrap();
    std::fs::write(root.join("strata.db"), "none").unwrap();
    assert_eq!(listed(&other), ["one", "two"]);
    std::fs::write(root.join("strata.db"), header).unwrap();
    let lasting = container("lasting", &image);
    store.containers().insert(&lasting, Durability::Durable).unwrap();
    look(&store, &image);
    assert_eq!(insert(&store, &container("three", &image)), Inserted::Done);
    assert_eq!(listed(&store), ["lasting", "one", "three", "two"]);
    assert_eq!(listed(&other), ["lasting", "one", "three", "two"]);
}

#[test]
fn whoever_writes_takes_it_in() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (store, image) = warm(root);
    let one = container("box", &image);
    assert_eq!(insert(&store, &one), Inserted::Done);
    assert_eq!((rows(root).len(), known(root)), (0, true));
    bring(&store, "b", &["two"]).unwrap();
    assert_eq!((rows(root), beside(root), known(root)), (vec!["box".to_owned()], Vec::new(), false));
    assert_eq!(files(&root.join("fleeting")), ["known", "lock", "names"].map(str::to_owned).into());
    assert_found(&store, &one);
    assert_eq!(store.containers().remove(&one.id, Durability::Ephemeral).unwrap(), Forgotten::Done);
    assert_eq!(store.containers().list().unwrap(), []);
}

#[test]
fn whoever_changes_it_finds_it_in_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let (store, image) = warm(dir.path());
    let one = container("box", &image);
    assert_eq!(insert(&store, &one), Inserted::Done);
    assert_eq!(store.containers().rename(&one.id, "crate").unwrap(), Renamed::Done("box".to_owned()));
    look(&store, &image);
    let two = container("box", &image);
    assert_eq!(insert(&store, &two), Inserted::Done);
    assert_eq!((rows(dir.path()), beside(dir.path())), (vec!["crate".to_owned()], vec!["box".to_owned()]));
    assert!(store.containers().update(&two.id, "{\"new\":1}", Durability::Ephemeral).unwrap());
    assert_eq!(store.containers().get(&two.id).unwrap().unwrap().spec, "{\"new\":1}");
}

#[test]
fn a_name_is_taken_wherever_it_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (store, image) = warm(dir.path());
    let lasting = container("lasting", &image);
    store.containers().insert(&lasting, Durability::Durable).unwrap();
    look(&store, &image);
    assert_eq!(insert(&store, &container("lasting", &image)), Inserted::NameTaken(lasting.id.clone()));
    look(&store, &image);
    let fleeting = container("fleeting", &image);
    assert_eq!(insert(&store, &fleeting), Inserted::Done);
    assert_eq!(beside(dir.path()), ["fleeting"]);
    let same = container("fleeting", &image);
    assert_eq!(insert(&store, &same), Inserted::NameTaken(fleeting.id.clone()));
    look(&store, &image);
    let again = store.containers().insert(&same, Durability::Durable).unwrap();
    assert_eq!(again, Inserted::NameTaken(fleeting.id));
}

#[test]
fn what_is_known_is_never_older_than_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let (store, image) = warm(dir.path());
    let other = Store::open(dir.path()).unwrap();
    assert!(matches!(remove(&store, &image.id, InUse::Keep).unwrap(), strata_store::records::Removed::Done(..)));
    // Who looked before that cannot record it either.
    assert_eq!(insert(&other, &container("box", &image)), Inserted::ImageGone);
    assert_eq!(other.tags().image(&name()).unwrap(), None);
}

#[test]
fn a_network_is_known_until_somebody_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, image) = warm(dir.path());
    let network = NetworkRecord {
        id: "6e".repeat(32),
        name: "net".to_owned(),
        driver: "bridge".to_owned(),
        options: [("mtu".to_owned(), "1400".to_owned())].into(),
        labels: std::collections::BTreeMap::new(),
        spec: "{}".to_owned(),
        created: now(),
    };
    assert_eq!(store.networks().create(&network).unwrap(), CreatedNetwork::New);
    look(&store, &image);
    for what in ["net", "6e6e", "net"] {
        assert_eq!(store.networks().find(what).unwrap().as_ref(), Some(&network), "{what}");
    }
    let another = Store::open(dir.path()).unwrap();
    assert_eq!(another.networks().find("net").unwrap().as_ref(), Some(&network));
    assert_eq!(insert(&another, &container("box", &image)), Inserted::Done);
    assert_eq!((rows(dir.path()), beside(dir.path())), (Vec::new(), vec!["box".to_owned()]));
    assert!(store.networks().remove(&network.id).unwrap());
    for what in ["net", "6e6e"] {
        assert_eq!(another.networks().find(what).unwrap(), None, "{what}");
    }
}

#[test]
fn an_image_that_was_not_used_lately_is_noted_in_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let store = Store::open(root).unwrap();
    let image = bring(&store, "a", &["one"]).unwrap();
    assert!(store.tags().image(&name()).unwrap().is_some());
    assert!(!known(root));
    let first = ContainerRecord { created: Timestamp::now(), ..container("first", &image) };
    assert_eq!(insert(&store, &first), Inserted::Done);
    assert_eq!(store.images().get(&image.id).unwrap().unwrap().last_used, Some(first.created));
    assert!(store.tags().image(&name()).unwrap().is_some());
    assert_eq!(insert(&store, &container("second", &image)), Inserted::Done);
    assert_eq!((rows(root), beside(root)), (vec!["first".to_owned()], vec!["second".to_owned()]));
    // What is known becomes old.
    let file = root.join("fleeting/known").join(image.id.digest().hex());
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::open(&file).unwrap().set_modified(hour_ago).unwrap();
    assert_eq!(insert(&store, &container("third", &image)), Inserted::Done);
    assert_eq!((rows(root).len(), known(root)), (3, false));
}

#[test]
fn its_layers_stay_when_its_image_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, image) = warm(dir.path());
    let one = container("box", &image);
    assert_eq!(insert(&store, &one), Inserted::Done);
    assert_eq!(
        remove(&store, &image.id, InUse::Keep).unwrap(),
        strata_store::records::Removed::Used(vec![one.id.clone()])
    );
    remove(&store, &image.id, InUse::Remove).unwrap();
    let layers = Layers::of(&store);
    store.gc(Scope::Removed, &layers, &Silent).unwrap();
    assert!(layers.path(&diff_id("one")).exists());
    assert_eq!(store.containers().remove(&one.id, Durability::Ephemeral).unwrap(), Forgotten::WithLayers);
    store.gc(Scope::Removed, &layers, &Silent).unwrap();
    assert!(!layers.path(&diff_id("one")).exists());
}

#[test]
fn what_the_dead_left_half_done_is_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (store, image) = warm(root);
    let fleeting = root.join("fleeting");
    let one = container("box", &image);
    assert_eq!(insert(&store, &one), Inserted::Done);
    let record = std::fs::read(fleeting.join(one.id.as_str())).unwrap();
    let restore = || {
        std::fs::write(fleeting.join(one.id.as_str()), &record).unwrap();
        drop(std::fs::remove_file(fleeting.join("names/box")));
        std::os::unix::fs::symlink(one.id.as_str(), fleeting.join("names/box")).unwrap();
    };

    // Died when the tables had it, and it was still here.
    store.images().touch(&image.id, Timestamp::now()).unwrap();
    restore();
    std::os::unix::fs::symlink(".", fleeting.join("taken")).unwrap();
    assert_found(&store, &one);
    assert_eq!(insert(&store, &container("other", &image)), Inserted::Done);
    assert_eq!((rows(root), beside(root)), (vec!["box".to_owned(), "other".to_owned()], Vec::new()));
    restore();
    std::os::unix::fs::symlink(".", fleeting.join("taken")).unwrap();
    assert_eq!(store.containers().remove(&one.id, Durability::Ephemeral).unwrap(), Forgotten::Done);
    assert_eq!(store.containers().get(&one.id).unwrap(), None);
    assert!(!fleeting.join("taken").is_symlink());

    // Died before it had a name, or when the name was gone already.
    restore();
    std::fs::remove_file(fleeting.join("names/box")).unwrap();
    assert_eq!(store.containers().get(&one.id).unwrap(), None);
    assert_eq!(store.containers().find("box").unwrap(), None);
    store.images().touch(&image.id, Timestamp::now()).unwrap();
    assert_eq!(files(&fleeting), ["known", "lock", "names"].map(str::to_owned).into());

    // A power failure kept the name and lost the record.
    restore();
    std::fs::write(fleeting.join(one.id.as_str()), "").unwrap();
    assert_eq!(store.containers().by_name("box").unwrap(), None);
    look(&store, &image);
    assert_eq!(beside(root), Vec::<String>::new());
    assert_eq!(insert(&store, &one), Inserted::Done);
    assert_eq!(beside(root), ["box"]);
}

#[test]
fn what_is_torn_or_of_another_database_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (store, image) = warm(root);
    let names = root.join("fleeting/known/names");
    let text = std::fs::read_to_string(&names).unwrap();
    for torn in ["", &text[..text.len() - 1], &text[..text.len() - 2], text.split_once('\n').unwrap().1] {
        look(&store, &image);
        std::fs::write(&names, torn).unwrap();
        assert_eq!(insert(&store, &container(&strata_sys::random::hex::<8>(), &image)), Inserted::Done);
        assert_eq!(beside(root), Vec::<String>::new(), "{torn:?}");
    }
    let count = rows(root).len();
    look(&store, &image);
    drop(store);
    // A copy is put back.
    std::fs::copy(root.join("strata.db"), root.join("copy")).unwrap();
    std::fs::rename(root.join("copy"), root.join("strata.db")).unwrap();
    let store = Store::open(root).unwrap();
    assert_eq!(insert(&store, &container("last", &image)), Inserted::Done);
    assert_eq!((rows(root).len(), beside(root).len()), (count + 1, 0));
}

const TASK: &str = "fleeting::who_is_killed_leaves_a_container_or_none";

/// One container comes, is taken in and goes; another comes and goes.
fn work(root: &Path) {
    let store = Store::open(root).unwrap();
    let image = image("a", &["one"]).image;
    look(&store, &image);
    let (one, two) = (container("one", &image), container("two", &image));
    assert_eq!(insert(&store, &one), Inserted::Done);
    look(&store, &image);
    assert_eq!(insert(&store, &two), Inserted::Done);
    assert_eq!(beside(root), ["two"]);
    for container in [two, one] {
        assert_eq!(store.containers().remove(&container.id, Durability::Ephemeral).unwrap(), Forgotten::Done);
    }
}

#[test]
fn who_is_killed_leaves_a_container_or_none() {
    if let Some(root) = child_root(TASK) {
        return work(&root);
    }
    let names: Vec<_> = failpoints().into_iter().filter(|name| name.starts_with("store.fleeting.")).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in names.iter().map(String::as_str).chain(["store.database.before-commit", "store.database.after-commit"])
    {
        for visit in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            let (store, _) = warm(root);
            let killed = was_killed(start(TASK, root, Some(&format!("{name}:{visit}"))));
            assert!(killed || visit > 1, "nobody visits {name}");
            let left = store.containers().list().unwrap();
            assert!(left.len() <= 2, "{name}: {left:?}");
            for container in left {
                assert_eq!(store.containers().find(container.id.as_str()).unwrap().unwrap(), container, "{name}");
                let forgotten = store.containers().remove(&container.id, Durability::Ephemeral).unwrap();
                assert_eq!(forgotten, Forgotten::Done, "{name}");
            }
            assert_eq!(store.containers().list().unwrap(), [], "{name}");
            work(root);
            assert_eq!((store.containers().list().unwrap(), beside(root)), (Vec::new(), Vec::new()), "{name}");
            assert_eq!(files(&root.join("fleeting")), ["known", "lock", "names"].map(str::to_owned).into(), "{name}");
            if !killed {
                break;
            }
        }
    }
}
