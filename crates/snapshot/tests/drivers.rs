//! Every driver shows the same trees, the same changes and the same tars.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod model;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use model::{Model, Node, Step};
use proptest::prelude::*;
use strata_snapshot::{Change, ChangeKind, DriverName, Error, Options, Prepare, Snapshots};
use strata_sys::root_dir::RootDir;
use strata_testkit::tar::{Header, Tar};
use strata_testkit::{host, need, private};
use strata_types::mount::Access;
use strata_types::{ContainerId, DiffId, Digest, Silent};

const KEPT: Prepare = Prepare { volatile: false };

/// Runs a check for each driver in a namespace and a store of its own.
fn with_each_driver(check: impl Fn(&Snapshots) + Send + Sync + Clone + 'static) {
    for driver in DriverName::ALL {
        let check = check.clone();
        let checked = std::thread::spawn(move || {
            private::mounts();
            let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            match place(driver, disk.path()) {
                Some(root) => check(&open(&root, Some(driver)).unwrap()),
                None => host::skipped(module_path!(), &format!("a filesystem for the driver {driver}")),
            }
        });
        checked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

/// Where the driver can keep a store: EROFS images are not mounted from a tmpfs, and overlayfs cannot stand on the overlayfs
/// that some build machines have as their root.
fn place(driver: DriverName, disk: &Path) -> Option<PathBuf> {
    let places = [disk.join("store"), PathBuf::from("/run/store")];
    places.into_iter().find(|root| open(root, Some(driver)).is_ok())
}

fn open(root: &Path, driver: Option<DriverName>) -> Result<Snapshots, Error> {
    Snapshots::open(Options { root: root.to_owned(), run_dir: "/run/strata".into(), driver })
}

fn diff_id(tar: &[u8]) -> DiffId {
    DiffId::new(Digest::sha256(tar))
}

fn import(snapshots: &Snapshots, parents: &[DiffId], tar: &[u8]) -> DiffId {
    let expected = diff_id(tar);
    let added = snapshots.import_layer(parents, Some(&expected), &mut &tar[..], &Silent).unwrap();
    assert_eq!(added.diff_id, expected);
    expected
}

fn tar_of(snapshots: &Snapshots, chain: &[DiffId]) -> Vec<u8> {
    let mut tar = Vec::new();
    snapshots.open_layer_tar(chain).unwrap().read_to_end(&mut tar).unwrap();
    tar
}

fn id(byte: u8) -> ContainerId {
    ContainerId::from_random([byte; 32])
}

fn base() -> Vec<u8> {
    Tar::new()
        .dir("etc/")
        .file("etc/motd", 0o644, b"welcome\n")
        .file("etc/shadow", 0o600, b"secret\n")
        .dir("usr/")
        .dir("usr/share/")
        .file("usr/share/big", 0o755, &vec![b'x'; 70_000])
        .hardlink("usr/share/twin", "usr/share/big")
        .symlink("usr/link", "share/big")
        .dir("tmp/")
        .finish()
}

fn second() -> Vec<u8> {
    Tar::new()
        .file("etc/.wh.shadow", 0o644, b"")
        .dir("tmp/")
        .file("tmp/.wh..wh..opq", 0o644, b"")
        .file("usr/share/new", 0o640, b"new\n")
        .entry(&Header { device: (1, 3), ..Header::new(b'3', "null") }, b"")
        .finish()
}

/// Everything below a root, by path: what it is and what is in it.
fn tree(root: &RootDir) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(root, Path::new(""), &mut found);
    found
}

fn collect(root: &RootDir, dir: &Path, found: &mut BTreeMap<String, String>) {
    for (name, _) in root.list(dir).unwrap() {
        let path = dir.join(name);
        let stat = root.lstat(&path).unwrap().unwrap();
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        let content = match kind {
            rustix::fs::FileType::RegularFile => {
                let mut bytes = Vec::new();
                root.open_file(&path).unwrap().read_to_end(&mut bytes).unwrap();
                Digest::sha256(&bytes).short().to_owned()
            }
            rustix::fs::FileType::Symlink => root.read_link(&path).unwrap().display().to_string(),
            _ => String::new(),
        };
        let links = if kind == rustix::fs::FileType::Directory { 0 } else { stat.st_nlink };
        let line = format!("{kind:?} {:o} {}:{} {links} {content}", stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        found.insert(path.display().to_string(), line);
        if kind == rustix::fs::FileType::Directory {
            collect(root, &path, found);
        }
    }
}

fn view(snapshots: &Snapshots, layers: &[DiffId]) -> BTreeMap<String, String> {
    tree(&snapshots.open_root(&snapshots.view(layers).unwrap()).unwrap())
}

#[test]
fn layers_are_seen_as_one_tree_and_given_back_byte_for_byte() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let (base, second) = (base(), second());
        let first = import(snapshots, &[], &base);
        let chain = [first.clone(), import(snapshots, std::slice::from_ref(&first), &second)];
        let seen = view(snapshots, &chain);
        let names: Vec<&str> = seen.keys().map(String::as_str).collect();
        let expected = [
            "etc",
            "etc/motd",
            "null",
            "tmp",
            "usr",
            "usr/link",
            "usr/share",
            "usr/share/big",
            "usr/share/new",
            "usr/share/twin",
        ];
        assert_eq!(names, expected, "{}", snapshots.driver_name());
        assert!(seen["usr/share/twin"].starts_with("RegularFile 755 0:0 2"), "{}", seen["usr/share/twin"]);
        assert!(view(snapshots, &chain[..1]).contains_key("etc/shadow"));
        assert_eq!(tar_of(snapshots, &chain), second);
        assert_eq!(tar_of(snapshots, &chain[..1]), base);
    });
}

#[test]
fn a_container_changes_its_own_layer_only() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let chain = [import(snapshots, &[], &base())];
        snapshots.prepare(&id(1), &chain, KEPT).unwrap();
        snapshots.prepare(&id(2), &chain, KEPT).unwrap();
        {
            let root = snapshots.open_root(&snapshots.plan(&id(1), Access::ReadWrite).unwrap()).unwrap();
            root.create_file(Path::new("etc/motd"), 0o644).unwrap();
            root.create_file(Path::new("added"), 0o600).unwrap();
            assert!(root.remove(Path::new("etc/shadow")).unwrap());
        }
        let change = |kind, path: &str| Change { path: strata_layer::LayerPath::parse(path.as_bytes()).unwrap(), kind };
        let expected = [
            change(ChangeKind::Added, "added"),
            change(ChangeKind::Changed, "etc"),
            change(ChangeKind::Changed, "etc/motd"),
            change(ChangeKind::Deleted, "etc/shadow"),
        ];
        assert_eq!(snapshots.changes(&id(1)).unwrap(), expected, "{}", snapshots.driver_name());
        assert_eq!(snapshots.changes(&id(2)).unwrap(), []);
        assert!(view(snapshots, &chain).contains_key("etc/shadow"));

        let added = snapshots.commit(&id(1), &Silent).unwrap();
        let grown = [chain[0].clone(), added.diff_id.clone()];
        let container = snapshots.open_root(&snapshots.plan(&id(1), Access::ReadOnly).unwrap()).unwrap();
        assert_eq!(view(snapshots, &grown), tree(&container));
        assert_eq!(diff_id(&tar_of(snapshots, &grown)), added.diff_id);
        drop(container);
        snapshots.remove(&id(1)).unwrap();
        snapshots.remove(&id(1)).unwrap();
        assert!(matches!(snapshots.plan(&id(1), Access::ReadOnly), Err(Error::ContainerMissing(_))));
    });
}

#[test]
fn a_wrong_digest_or_a_broken_tar_leaves_nothing_behind() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let (base, other) = (base(), diff_id(b"something else"));
        let wrong = snapshots.import_layer(&[], Some(&other), &mut &base[..], &Silent);
        assert!(matches!(wrong, Err(Error::DiffId { .. })), "{wrong:?}");
        let cut = snapshots.import_layer(&[], None, &mut &base[..1028], &Silent);
        assert!(matches!(cut, Err(Error::Layer(_))), "{cut:?}");
        assert!(!snapshots.has_layer(&[other]));
        let left = snapshots.root().join("layers").join(snapshots.driver_name().as_str());
        assert_eq!(std::fs::read_dir(left).unwrap().count(), 0);
        let missing = diff_id(b"missing");
        assert!(matches!(snapshots.view(&[missing]), Err(Error::LayerMissing(_))));
    });
}

#[test]
fn many_layers_become_one_tree() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let mut chain = Vec::new();
        let depth = if snapshots.driver_name() == DriverName::Vfs { 20 } else { 130 };
        for number in 0..depth {
            let tar = Tar::new().file(&format!("file{number}"), 0o644, format!("{number}").as_bytes()).finish();
            let layer = import(snapshots, &chain, &tar);
            chain.push(layer);
        }
        assert_eq!(view(snapshots, &chain).len(), depth);
    });
}

#[test]
fn a_store_keeps_its_driver() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let used = snapshots.driver_name();
        let asked = DriverName::ALL.into_iter().find(|name| *name != used);
        assert!(matches!(open(snapshots.root(), asked), Err(Error::OtherDriver { .. })));
        assert_eq!(open(snapshots.root(), None).unwrap().driver_name(), used);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence of acts in a chain of containers, each committed on the one before, shows what the model in memory shows.
    #[test]
    fn any_history_shows_the_same_tree_as_the_model(history in prop::collection::vec(prop::collection::vec(Step::any(), 1..12), 1..4)) {
        if host::root().is_err() || host::filesystem("erofs").is_err() {
            host::skipped(module_path!(), "root and EROFS");
            return Ok(());
        }
        with_each_driver(move |snapshots| replay(snapshots, &history));
    }
}

fn replay(snapshots: &Snapshots, history: &[Vec<Step>]) {
    let mut chain =
        vec![import(snapshots, &[], &Tar::new().dir("d0/").file("d0/f0", 0o644, b"base").dir("d1/").finish())];
    let mut model = Model::default();
    model.put("d0", Node::Dir);
    model.put("d0/f0", Node::File(b"base".to_vec()));
    model.put("d1", Node::Dir);
    for (number, steps) in history.iter().enumerate() {
        let container = id(number as u8);
        snapshots.prepare(&container, &chain, KEPT).unwrap();
        {
            let root = snapshots.open_root(&snapshots.plan(&container, Access::ReadWrite).unwrap()).unwrap();
            for step in steps {
                let (really, in_model) = (step.really(&root), step.in_model(&mut model));
                assert_eq!(really, in_model, "{step:?} with {}", snapshots.driver_name());
            }
            assert_eq!(model::read(&root), model, "{} after {steps:?}", snapshots.driver_name());
        }
        let added = snapshots.commit(&container, &Silent).unwrap();
        chain.push(added.diff_id.clone());
        let seen = snapshots.open_root(&snapshots.view(&chain).unwrap()).unwrap();
        assert_eq!(model::read(&seen), model, "{} after the commit of {steps:?}", snapshots.driver_name());
        assert_eq!(diff_id(&tar_of(snapshots, &chain)), added.diff_id);
    }
}
