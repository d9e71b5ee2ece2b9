//! Every driver shows the same trees, the same changes and the same tars.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod btrfs;
mod fixture;
mod model;
mod quota;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use fixture::{open, with_each_driver};
use model::{Model, Node, Step};
use proptest::prelude::*;
use strata_snapshot::{Change, ChangeKind, DriverName, Error, Model as SnapshotModel, Prepare, Snapshots};
use strata_store::{Depth, LayerFiles};
use strata_sys::root_dir::RootDir;
use strata_testkit::tar::{Header, Tar};
use strata_testkit::{host, need};
use strata_types::mount::Access;
use strata_types::{ContainerId, DiffId, Digest, Silent};

const KEPT: Prepare = Prepare { volatile: false, size_bytes: None };

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

        let added = snapshots.commit(&id(1), None, &Silent).unwrap();
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
        assert_eq!(std::fs::read_dir(layers_dir(snapshots)).unwrap().count(), 0);
        let missing = diff_id(b"missing");
        assert!(matches!(snapshots.view(&[missing]), Err(Error::LayerMissing(_))));
    });
}

#[test]
fn marks_of_what_is_gone_are_never_reached() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let tar = Tar::new().dir("etc/").file("etc/.wh.shadow", 0o644, b"").file(".wh.usr", 0o644, b"").finish();
        let chain = [import(snapshots, &[], &tar)];
        let root = snapshots.open_root(&snapshots.view(&chain).unwrap()).unwrap();
        for path in ["etc/shadow", "etc/.wh.shadow", "usr", ".wh.usr"] {
            assert!(root.lstat(Path::new(path)).unwrap().is_none(), "{path} with {}", snapshots.driver_name());
        }
        assert!(root.lstat(Path::new("etc")).unwrap().is_some());
        assert_eq!(tar_of(snapshots, &chain), tar);
    });
}

/// Overlayfs itself does not look for that mark on a root.
#[test]
fn a_layer_may_hide_all_that_is_below_its_root() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let hiding = Tar::new().file(".wh..wh..opq", 0o644, b"").dir("etc/").file("etc/own", 0o644, b"own").finish();
        let above = Tar::new().file("above", 0o644, b"above").finish();
        let mut chain = Vec::new();
        for tar in [base(), second(), hiding, above] {
            let layer = import(snapshots, &chain, &tar);
            chain.push(layer);
        }
        assert_eq!(
            view(snapshots, &chain).keys().collect::<Vec<_>>(),
            ["above", "etc", "etc/own"],
            "{}",
            snapshots.driver_name()
        );
        snapshots.prepare(&id(1), &chain, KEPT).unwrap();
        {
            let root = snapshots.open_root(&snapshots.plan(&id(1), Access::ReadWrite).unwrap()).unwrap();
            root.create_file(Path::new("etc/motd"), 0o644).unwrap();
        }
        let changes = snapshots.changes(&id(1)).unwrap();
        let changes: Vec<String> = changes.iter().map(|change| format!("{:?} {}", change.kind, change.path)).collect();
        assert_eq!(changes, ["Changed /etc", "Added /etc/motd"], "{}", snapshots.driver_name());
    });
}

#[test]
fn a_view_cannot_be_written_and_nothing_can_be_made_of_no_layers() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        for chain in [vec![], vec![import(snapshots, &[], &base())]] {
            let root = snapshots.open_root(&snapshots.view(&chain).unwrap()).unwrap();
            let error = root.create_file(Path::new("new"), 0o600).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{}", snapshots.driver_name());
        }
        snapshots.prepare(&id(1), &[], KEPT).unwrap();
        let root = snapshots.open_root(&snapshots.plan(&id(1), Access::ReadWrite).unwrap()).unwrap();
        root.create_file(Path::new("new"), 0o600).unwrap();
        drop(root);
        let added = snapshots.commit(&id(1), None, &Silent).unwrap();
        assert_eq!(view(snapshots, &[added.diff_id]).keys().collect::<Vec<_>>(), ["new"]);
    });
}

#[test]
fn large_layers_come_back_byte_for_byte() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let content: Vec<u8> = (0..9_000_001u64).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        let tar = Tar::new().file("large", 0o644, &content).finish();
        let chain = [import(snapshots, &[], &tar)];
        assert!(tar_of(snapshots, &chain) == tar, "the tar is another with {}", snapshots.driver_name());
        let root = snapshots.open_root(&snapshots.view(&chain).unwrap()).unwrap();
        let mut seen = Vec::new();
        root.open_file(Path::new("large")).unwrap().read_to_end(&mut seen).unwrap();
        assert!(seen == content, "the file is another with {}", snapshots.driver_name());
    });
}

#[test]
fn a_layer_may_be_in_an_image_twice() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let mut chain = Vec::new();
        for tar in [base(), second(), base(), Tar::new().finish(), Tar::new().finish()] {
            let layer = import(snapshots, &chain, &tar);
            chain.push(layer);
        }
        let seen = view(snapshots, &chain);
        for path in ["etc/shadow", "usr/share/new", "usr/share/big"] {
            assert!(seen.contains_key(path), "{path} with {}", snapshots.driver_name());
        }
        assert!(!view(snapshots, &chain[..2]).contains_key("etc/shadow"));
        assert_eq!(tar_of(snapshots, &chain[..3]), base());
    });
}

#[test]
fn a_volatile_container_can_be_mounted_again() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let chain = [import(snapshots, &[], &base())];
        snapshots.prepare(&id(1), &chain, Prepare { volatile: true, size_bytes: None }).unwrap();
        for name in ["first", "second"] {
            let root = snapshots.open_root(&snapshots.plan(&id(1), Access::ReadWrite).unwrap()).unwrap();
            root.create_file(Path::new(name), 0o600).unwrap();
        }
        let root = snapshots.open_root(&snapshots.plan(&id(1), Access::ReadOnly).unwrap()).unwrap();
        assert!(tree(&root).contains_key("first") && tree(&root).contains_key("second"));
    });
}

#[test]
fn a_layer_imported_by_several_at_once_is_there_once() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let base = base();
        let added: Vec<bool> = std::thread::scope(|scope| {
            let import = || snapshots.import_layer(&[], None, &mut &base[..], &Silent).unwrap().was_there;
            let importers: Vec<_> = (0..4).map(|_| scope.spawn(import)).collect();
            importers.into_iter().map(|importer| importer.join().unwrap()).collect()
        });
        assert_eq!(added.iter().filter(|was_there| !**was_there).count(), 1);
        assert_eq!(snapshots.list().unwrap().len(), 1);
        assert_eq!(std::fs::read_dir(layers_dir(snapshots)).unwrap().count(), 1);
        assert_eq!(tar_of(snapshots, &[diff_id(&base)]), base);
    });
}

#[test]
fn a_removed_layer_comes_back_and_stays_with_those_who_see_it() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let chain = [import(snapshots, &[], &base())];
        let seen = snapshots.open_root(&snapshots.view(&chain).unwrap()).unwrap();
        let key = snapshots.list().unwrap().remove(0);
        assert_eq!(snapshots.verify(&key, Depth::Bytes, &Silent).unwrap(), None);
        assert!(LayerFiles::remove(snapshots, &key).unwrap());
        assert!(!LayerFiles::remove(snapshots, &key).unwrap());
        assert!(!snapshots.has_layer(&chain));
        if snapshots.driver_name() == DriverName::Erofs {
            assert_eq!(tree(&seen).len(), view_of_fresh_import(snapshots).len());
        }
        drop(seen);
        import(snapshots, &[], &base());
        assert!(view(snapshots, &chain).contains_key("etc/motd"));
    });
}

fn view_of_fresh_import(snapshots: &Snapshots) -> BTreeMap<String, String> {
    let layer = import(snapshots, &[], &base());
    view(snapshots, &[layer])
}

#[test]
fn damage_of_either_file_is_told() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        import(snapshots, &[], &base());
        let key = snapshots.list().unwrap().remove(0);
        for entry in std::fs::read_dir(layers_dir(snapshots).join(key.to_string().rsplit(':').next().unwrap())).unwrap()
        {
            let path = entry.unwrap().path();
            // What is only a cache is made anew, or done without.
            if !path.is_file() || path.ends_with("contents") {
                continue;
            }
            let whole = std::fs::read(&path).unwrap();
            let mut damaged = whole.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0x55;
            std::fs::write(&path, damaged).unwrap();
            assert!(snapshots.verify(&key, Depth::Bytes, &Silent).unwrap().is_some(), "{}", path.display());
            std::fs::write(&path, whole).unwrap();
            assert_eq!(snapshots.verify(&key, Depth::Bytes, &Silent).unwrap(), None);
        }
        assert_eq!(snapshots.verify(&key, Depth::Structure, &Silent).unwrap(), None);
        let layer = layers_dir(snapshots).join(key.to_string().rsplit(':').next().unwrap());
        let part = match snapshots.driver_name() {
            DriverName::Erofs => "tar",
            // Its files are not to be reached from here.
            DriverName::DeviceMapper | DriverName::Zfs => return,
            _ => "fs/etc/motd",
        };
        if snapshots.driver_name() == DriverName::Btrfs {
            let subvolume = std::fs::File::open(layer.join("fs")).unwrap();
            strata_sys::btrfs::set_read_only(subvolume.as_fd(), false).unwrap();
        }
        std::fs::remove_file(layer.join(part)).unwrap();
        assert!(snapshots.verify(&key, Depth::Structure, &Silent).unwrap().is_some());
    });
}

#[test]
fn what_a_dead_maker_left_goes_with_the_next_import() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let left = layers_dir(snapshots).join(".new-0123");
        std::fs::create_dir_all(left.join("fs/etc")).unwrap();
        import(snapshots, &[], &base());
        assert!(!left.exists());
        assert_eq!(snapshots.list().unwrap().len(), 1);
    });
}

fn layers_dir(snapshots: &Snapshots) -> PathBuf {
    snapshots.root().join("layers").join(snapshots.driver_name().as_str())
}

#[test]
fn many_layers_become_one_tree() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let mut chain = Vec::new();
        let depth = if snapshots.model() == SnapshotModel::Tree { 20 } else { 130 };
        for number in 0..depth {
            let tar = Tar::new().file(&format!("file{number}"), 0o644, format!("{number}").as_bytes()).finish();
            let layer = import(snapshots, &chain, &tar);
            chain.push(layer);
        }
        assert_eq!(view(snapshots, &chain).len(), depth);
    });
}

#[test]
fn a_size_is_a_limit_or_refused_in_words() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let chain = [import(snapshots, &[], &base())];
        let limited = |bytes: u64| Prepare { volatile: false, size_bytes: Some(bytes) };
        let made = snapshots.prepare(&id(1), &chain, limited(8 << 20));
        match snapshots.driver_name() {
            DriverName::Btrfs | DriverName::Zfs => made.unwrap(),
            DriverName::DeviceMapper => return a_size_is_that_of_the_device(snapshots, &chain),
            // Where the filesystem has projects, `quota` looks whether they hold.
            driver => {
                let refused = made.map_or_else(|error| error.to_string(), |()| String::new());
                let expected = format!("the storage driver `{driver}` cannot limit what a container holds: ");
                assert!(refused.is_empty() || refused.starts_with(&expected), "{refused}");
                assert_eq!(refused.is_empty(), snapshots.no_limit().unwrap().is_none());
                return;
            }
        }
        snapshots.prepare(&id(2), &chain, KEPT).unwrap();
        for (container, fits) in [(id(1), false), (id(2), true)] {
            let root = snapshots.open_root(&snapshots.plan(&container, Access::ReadWrite).unwrap()).unwrap();
            let mut file = root.create_file(Path::new("large"), 0o600).unwrap();
            let content: Vec<u8> = (0..16u64 << 20).map(|at| (at.wrapping_mul(at) >> 9) as u8).collect();
            let written = file.write_all(&content).and_then(|()| file.sync_all());
            let refused = written.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::QuotaExceeded);
            assert_eq!((written.is_ok(), refused), (fits, !fits), "{written:?}");
        }
    });
}

/// A container's device may be larger than its image's, and not smaller.
fn a_size_is_that_of_the_device(snapshots: &Snapshots, chain: &[DiffId]) {
    const GB: u64 = 1 << 30;
    let refused = snapshots.prepare(&id(1), chain, Prepare { volatile: false, size_bytes: Some(8 << 20) }).unwrap_err();
    assert!(matches!(&refused, Error::LimitTooSmall { bytes, .. } if *bytes == 8 << 20), "{refused:?}");
    snapshots.prepare(&id(1), chain, Prepare { volatile: false, size_bytes: Some(14 * GB) }).unwrap();
    snapshots.prepare(&id(2), chain, KEPT).unwrap();
    // A filesystem keeps some of its room for itself.
    for (container, at_least, at_most) in [(id(1), 13 * GB, 14 * GB), (id(2), 9 * GB, 10 * GB)] {
        let root = snapshots.open_root(&snapshots.plan(&container, Access::ReadWrite).unwrap()).unwrap();
        let about = rustix::fs::fstatvfs(root.as_fd()).unwrap();
        let bytes = about.f_blocks * about.f_frsize;
        assert!((at_least..at_most).contains(&bytes), "{bytes}");
        assert!(tree(&root).contains_key("etc/motd"));
        root.create_file(Path::new("new"), 0o600).unwrap();
    }
    // Its changes are a layer like all others, and what stands on that has the image's size.
    let added = snapshots.commit(&id(1), None, &Silent).unwrap();
    let grown = [chain, &[added.diff_id]].concat();
    snapshots.prepare(&id(3), &grown, Prepare { volatile: false, size_bytes: Some(10 * GB) }).unwrap();
    assert!(view(snapshots, &grown).contains_key("new"));
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

/// How many histories are tried: an emulated machine has less time.
fn histories() -> u32 {
    if std::env::var_os("STRATA_TEST_DRIVER").is_some() { 4 } else { 12 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), failure_persistence: None, ..ProptestConfig::default() })]

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
        let added = snapshots.commit(&container, None, &Silent).unwrap();
        chain.push(added.diff_id.clone());
        let seen = snapshots.open_root(&snapshots.view(&chain).unwrap()).unwrap();
        assert_eq!(model::read(&seen), model, "{} after the commit of {steps:?}", snapshots.driver_name());
        assert_eq!(diff_id(&tar_of(snapshots, &chain)), added.diff_id);
    }
}
