//! The tar of a layer that goes cannot be changed where it is sealed: what others need of it is copied, or it stays.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use strata_store::{Key, LayerFiles};
use strata_sys::verity;
use strata_testkit::{host, need};
use strata_types::DiffId;

use crate::store::{MIB, Store, noise, tar, victim, with_store, with_store_on};

/// Whether files can be sealed where the tests' stores are.
fn verity() -> Result<(), String> {
    let works = verity::works_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap_or(false);
    works.then_some(()).ok_or_else(|| "an ext4 with fs-verity".to_owned())
}

impl Store {
    /// The tars that a layer borrows of, if it does.
    fn lenders(&self, layer: &DiffId) -> Vec<PathBuf> {
        let dir = self.root.join("layers/erofs").join(layer.digest().hex()).join("lenders");
        let paths = |entries: std::fs::ReadDir| entries.map(|entry| entry.unwrap().path()).collect();
        std::fs::read_dir(dir).map(paths).unwrap_or_default()
    }

    /// What these layers take on the disk is all that is taken, and these are sealed.
    fn assert_adds_up(&self, layers: &[&DiffId], mib: usize) {
        let usage = |layer: &&DiffId| self.snapshots.layer_usage(std::slice::from_ref(*layer)).unwrap().disk_bytes;
        let sum_kib = layers.iter().map(usage).sum::<u64>() / 1024;
        // Beside what layers have there are directories, and trees of digests, eight kilobytes a megabyte.
        let used = self.used_kib() as u64;
        assert!((sum_kib..sum_kib + 64).contains(&used), "{used} KiB are used, {sum_kib} accounted for");
        assert!((mib * 1024..mib * 1024 + 400).contains(&(used as usize)), "{used} KiB, and not {mib} MiB");
        for tar in layers.iter().flat_map(|layer| self.lenders(layer)) {
            assert!(verity::is_sealed(File::open(tar).unwrap()).unwrap());
        }
    }
}

#[test]
fn what_others_need_of_a_layer_that_goes_is_copied() {
    need!(host::root(), host::filesystem("erofs"), verity());
    with_store(|store| {
        let [a, b, c] = [&[(1, 2 * MIB), (2, 6 * MIB)][..], &[(3, MIB), (1, 2 * MIB)], &[(1, 2 * MIB)]];
        let [a, b, c] = [tar("a", a), tar("b", b), tar("c", c)];
        let [first, second, third] = [&a, &b, &c].map(|tar| store.import(tar));
        let root = store.snapshots.open_root(&store.snapshots.view(std::slice::from_ref(&first)).unwrap()).unwrap();
        store.remove(&first);
        store.assert_adds_up(&[&second, &third], 3);
        store.assert_whole(&[(&second, &b), (&third, &c)]);
        assert!(store.seen(std::slice::from_ref(&second), 1) == noise(1, 2 * MIB));
        // Whoever saw the layer when it went still does.
        let mut bytes = Vec::new();
        let file = root.open(Path::new("dir/1"), rustix::fs::OFlags::RDONLY).unwrap();
        File::from(file).read_to_end(&mut bytes).unwrap();
        assert!(bytes == noise(2, 6 * MIB));
        store.remove(&second);
        store.assert_adds_up(&[&third], 2);
        store.assert_whole(&[(&third, &c)]);
        store.remove(&third);
        assert_eq!(store.used_mib(), 0);
    });
}

/// No removal writes more than it gives back.
#[test]
fn a_layer_of_which_others_need_most_stays_whole_until_they_need_less() {
    need!(host::root(), host::filesystem("erofs"), verity());
    with_store(|store| {
        let a = tar("a", &[(1, 5 * MIB), (2, 2 * MIB), (3, MIB)]);
        let [b, c] = [tar("b", &[(1, 5 * MIB), (2, 2 * MIB)]), tar("c", &[(2, 2 * MIB)])];
        let [first, second, third] = [&a, &b, &c].map(|tar| store.import(tar));
        let tars = store.lenders(&second);
        let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&tars[0]).unwrap());
        let before = inode();
        store.remove(&first);
        assert_eq!(inode(), before, "nothing was copied");
        store.assert_adds_up(&[&second, &third], 8);
        store.assert_whole(&[(&second, &b), (&third, &c)]);
        // It comes back, goes, and changes nothing for those who are there.
        store.import(&a);
        store.remove(&first);
        store.assert_adds_up(&[&second, &third], 8);
        store.remove(&second);
        store.assert_adds_up(&[&third], 2);
        store.assert_whole(&[(&third, &c)]);
        assert!(store.seen(std::slice::from_ref(&third), 0) == noise(2, 2 * MIB));
        store.remove(&third);
        assert_eq!(store.used_mib(), 0);
    });
}

/// Whoever removes a layer is killed: those who borrow of it are whole, and in the end nothing stays.
#[test]
fn a_removal_can_be_killed_anywhere() {
    need!(host::root(), host::filesystem("erofs"), verity());
    if let Some((snapshots, layer)) = victim() {
        assert!(LayerFiles::remove(&snapshots, &Key::Layer(layer)).unwrap());
        return;
    }
    with_store(|store| {
        let a = tar("a", &[(1, MIB), (2, 3 * MIB)]);
        let [b, c] = [tar("b", &[(1, MIB)]), tar("c", &[(1, MIB), (4, 1000)])];
        let failpoints = [
            ("snapshot.remove-layer", 4),
            ("snapshot.reclaim.copied", 4),
            ("snapshot.reclaim.replaced:1", 5),
            ("snapshot.reclaim.replaced:2", 1),
            ("snapshot.reclaim", 1),
        ];
        for (failpoint, mib) in failpoints {
            let [first, second, third] = [&a, &b, &c].map(|tar| store.import(tar));
            store.killed_at(failpoint, "sealed::a_removal_can_be_killed_anywhere", &first);
            let _may_be_gone = LayerFiles::remove(&store.snapshots, &Key::Layer(first.clone())).unwrap();
            store.assert_whole(&[(&second, &b), (&third, &c)]);
            assert!(store.seen(std::slice::from_ref(&third), 0) == noise(1, MIB), "{failpoint}");
            // What the dead left goes with the next import, and what they did not give back with the next removal.
            let other = store.import(&tar("other", &[(9, 100)]));
            assert_eq!((store.count(), store.used_mib()), (3, mib), "{failpoint}");
            store.remove(&second);
            store.assert_adds_up(&[&third], 1);
            store.assert_whole(&[(&third, &c)]);
            store.remove(&third);
            store.remove(&other);
            assert_eq!((store.count(), store.used_mib()), (0, 0), "{failpoint}");
        }
    });
}

/// Who removes a layer from a full disk hears of no trouble; what could not be copied for want of room is given back when somebody
/// collects what nobody needs.
#[test]
fn a_removal_on_a_full_disk_gives_back_what_it_can() {
    need!(host::root(), host::filesystem("erofs"), verity(), host::program("mkfs.ext4"));
    with_store_on("mkfs.ext4 -q -O verity -b 4096", 40, |store| {
        let a = tar("a", &[(1, 4 * MIB), (2, 10 * MIB)]);
        let [b, c] = [tar("b", &[(1, 4 * MIB)]), tar("c", &[(3, MIB)])];
        let [first, second, third] = [&a, &b, &c].map(|tar| store.import(tar));
        let tars = store.lenders(&second);
        let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&tars[0]).unwrap());
        let before = inode();
        store.fill();
        store.remove(&first);
        assert_eq!(inode(), before, "nothing could be copied");
        store.assert_whole(&[(&second, &b), (&third, &c)]);
        assert!(store.seen(std::slice::from_ref(&second), 0) == noise(1, 4 * MIB));
        assert_eq!(store.count(), 2, "no half of a copy stays");
        store.make_room();
        // Whoever collects what nobody needs looks at all layers first.
        assert_eq!(store.snapshots.list().unwrap().len(), 2);
        assert_ne!(inode(), before, "now there is room");
        store.assert_adds_up(&[&second, &third], 5);
        store.assert_whole(&[(&second, &b), (&third, &c)]);
        store.remove(&third);
        store.remove(&second);
        assert_eq!(store.used_mib(), 0);
    });
}
