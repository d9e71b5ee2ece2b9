//! A layer's content that another layer has already is not stored twice; it stays when the other one goes, and the exact tar
//! of either can always be had.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod sealed;
mod store;

use std::io::Read as _;
use std::path::Path;

use strata_layer::lending::{Borrowed, Contents, Piece};
use strata_store::{Depth, Key, LayerFiles as _};
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};
use strata_types::{DiffId, Silent};

use store::{MIB, noise, tar, victim, with_store, with_store_on};

#[test]
fn the_same_content_is_stored_once_and_outlives_the_layer_it_came_with() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let [a, b] = [
            tar("a", &[(1, 4 * MIB + 17), (2, 3 * MIB), (3, 2 * MIB)]),
            // In other places, one of them twice, and something of its own.
            tar("b", &[(2, 3 * MIB), (9, MIB), (1, 4 * MIB + 17), (2, 3 * MIB), (9, MIB)]),
        ];
        let first = store.import(&a);
        assert_eq!(store.used_mib(), 9);
        let second = store.import(&b);
        assert_eq!(store.used_mib(), 10);
        store.assert_whole(&[(&first, &a), (&second, &b)]);
        let usage = |layer: &DiffId| store.snapshots.layer_usage(std::slice::from_ref(layer)).unwrap().disk_bytes;
        assert_eq!((usage(&first) / MIB as u64, usage(&second) / MIB as u64), (9, 1));
        for (number, seed, bytes) in [(0, 2, 3 * MIB), (1, 9, MIB), (2, 1, 4 * MIB + 17), (3, 2, 3 * MIB)] {
            assert!(store.seen(std::slice::from_ref(&second), number) == noise(seed, bytes), "{number}");
        }
        store.remove(&first);
        // What only the first one had is gone: 2 of 10 MiB.
        assert_eq!(store.used_mib(), 8);
        assert_eq!(usage(&second) / MIB as u64, 8);
        store.assert_whole(&[(&second, &b)]);
        assert!(store.seen(std::slice::from_ref(&second), 2) == noise(1, 4 * MIB + 17));
        // It comes back, and borrows nothing of what it lent.
        store.import(&a);
        store.assert_whole(&[(&first, &a), (&second, &b)]);
        store.remove(&second);
        assert_eq!(store.used_mib(), 9);
        store.assert_whole(&[(&first, &a)]);
        store.remove(&first);
        assert_eq!(store.used_mib(), 0);
    });
}

/// The way to give room to a disk that has none.
#[test]
fn a_layer_goes_from_a_full_disk() {
    need!(host::root(), host::filesystem("erofs"), host::program("mkfs.ext4"), host::program("du"));
    with_store_on("mkfs.ext4 -q -b 4096", 40, |store| {
        let [a, b] = [tar("a", &[(1, 4 * MIB), (2, 10 * MIB)]), tar("b", &[(1, 4 * MIB)])];
        let [first, second] = [&a, &b].map(|tar| store.import(tar));
        store.fill();
        store.remove(&first);
        store.assert_whole(&[(&second, &b)]);
        assert_eq!(store.count(), 1);
        store.make_room();
        assert_eq!(store.used_mib(), 4);
        store.fill();
        store.remove(&second);
        store.make_room();
        assert_eq!((store.count(), store.used_mib()), (0, 0));
    });
}

#[test]
fn whoever_sees_a_layer_when_it_goes_sees_all_of_it() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let [a, b] = [tar("a", &[(1, 2 * MIB), (2, 3 * MIB)]), tar("b", &[(1, 2 * MIB)])];
        let [first, second] = [store.import(&a), store.import(&b)];
        let root = store.snapshots.open_root(&store.snapshots.view(std::slice::from_ref(&first)).unwrap()).unwrap();
        store.remove(&first);
        let mut bytes = Vec::new();
        let file = root.open(Path::new("dir/1"), rustix::fs::OFlags::RDONLY).unwrap();
        std::fs::File::from(file).read_to_end(&mut bytes).unwrap();
        assert!(bytes == noise(2, 3 * MIB), "what nobody borrows is still there");
        drop(root);
        assert!(store.seen(std::slice::from_ref(&second), 0) == noise(1, 2 * MIB));
        store.remove(&second);
        assert_eq!(store.used_mib(), 0);
    });
}

#[test]
fn lenders_are_those_who_have_the_bytes_themselves() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let tars: Vec<Vec<u8>> =
            (0..5).map(|number| tar(&format!("{number}"), &[(1, 2 * MIB), (100 + number, MIB)])).collect();
        let layers: Vec<DiffId> = tars.iter().map(|tar| store.import(tar)).collect();
        assert_eq!(store.used_mib(), 2 + 5);
        // Whoever goes in whatever order: the rest stays whole, and nothing stays that nobody needs.
        for (gone, used) in [(0, 2 + 4), (3, 2 + 3), (1, 2 + 2), (4, 2 + 1)] {
            store.remove(&layers[gone]);
            assert_eq!(store.used_mib(), used);
            store.assert_whole(&[(&layers[2], &tars[2])]);
        }
        store.remove(&layers[2]);
        assert_eq!(store.used_mib(), 0);
    });
}

/// To the byte, also where the number of those who keep a part does not divide it.
#[test]
fn what_is_kept_of_a_layer_that_is_gone_adds_up() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let lender = tar("lender", &[(1, MIB + 4096), (2, 3 * MIB)]);
        let borrowers = ["a", "b", "c"].map(|name| tar(name, &[(1, MIB + 4096)]));
        let first = store.import(&lender);
        let layers = borrowers.each_ref().map(|tar| store.import(tar));
        store.remove(&first);
        for left in (1..=layers.len()).rev() {
            let usage =
                |layer: &DiffId| store.snapshots.layer_usage(std::slice::from_ref(layer)).unwrap().disk_bytes as usize;
            assert_eq!(layers[..left].iter().map(usage).sum::<usize>(), store.layers_bytes(), "{left} borrow");
            store.remove(&layers[left - 1]);
        }
    });
}

#[test]
fn small_layers_and_small_gains_stand_by_themselves() {
    need!(host::root(), host::filesystem("erofs"));
    with_store(|store| {
        let a = tar("a", &[(1, 60_000), (2, 5 * MIB)]);
        let b = tar("b", &[(1, 60_000), (3, 5 * MIB)]);
        let layers = [store.import(&a), store.import(&b)];
        for layer in &layers {
            let dir = store.root.join("layers/erofs").join(layer.digest().hex());
            assert!(!dir.join("lenders").exists() && !dir.join("borrowed").exists());
        }
        store.assert_whole(&[(&layers[0], &a), (&layers[1], &b)]);
    });
}

#[test]
fn what_is_twice_in_one_layer_is_stored_once() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let a = tar("a", &[(1, 2 * MIB), (1, 2 * MIB), (1, 2 * MIB)]);
        let layer = store.import(&a);
        assert_eq!(store.used_mib(), 2);
        store.assert_whole(&[(&layer, &a)]);
        assert!(store.seen(std::slice::from_ref(&layer), 2) == noise(1, 2 * MIB));
        store.remove(&layer);
        assert_eq!(store.used_mib(), 0);
    });
}

#[test]
fn a_run_of_layers_has_the_lenders_of_all() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let mut layers = vec![store.import(&tar("lowest", &[(1, 2 * MIB)]))];
        layers.extend(
            (0..40).map(|number| store.import(&tar(&format!("{number}"), &[(200 + number, 4096), (1, 2 * MIB)]))),
        );
        assert!(store.used_mib() <= 4, "{} MiB", store.used_mib());
        assert!(store.seen(&layers, 1) == noise(1, 2 * MIB));
        assert!(store.seen(&layers, 0) == noise(239, 4096));
        store.remove(&layers.remove(0));
        assert!(store.seen(&layers, 1) == noise(1, 2 * MIB));
    });
}

/// What file `number` of those is whose names are in `changed`, which have bytes that others have not.
fn squashed_content(number: usize, changed: &[usize]) -> Vec<u8> {
    let seed = if changed.contains(&number) { 10_000 + changed.iter().sum::<usize>() + number } else { number };
    match number % 100 {
        7 => noise(seed, 300_000 + number),
        8 => [&[0; 65_536][..], &noise(seed, 5120), &[0; 1_000_000 - 65_536 - 5120]].concat(),
        9 => squashed_content(number - 1, changed),
        _ => noise(seed, number * 41 % 7000),
    }
}

/// A layer as an export of a whole image: small files beside each other, now and then a large one, a hole or another name.
fn squashed(changed: &[usize]) -> Vec<u8> {
    let put = |tar: Tar, number: usize| {
        let (name, content) = (format!("dir/{number}"), squashed_content(number, changed));
        match number % 100 {
            8 => {
                // GNU sparse 1.0: the map is before the data.
                let records = [("major", "1"), ("minor", "0"), ("realsize", "1000000"), ("name", &*name)];
                let records = records.map(|(key, value)| (format!("GNU.sparse.{key}"), value));
                let records: Vec<(&str, &[u8])> =
                    records.iter().map(|(key, value)| (&**key, value.as_bytes())).collect();
                let map = format!("{:\0<512}", "1\n65536\n5120\n");
                let packed = [map.as_bytes(), &content[65_536..][..5120]].concat();
                tar.pax(&records).file(&format!("GNUSparseFile.0/{number}"), 0o644, &packed)
            }
            9 => tar.hardlink(&name, &format!("dir/{}", number - 1)),
            _ => tar.file(&name, 0o644, &content),
        }
    };
    (0..1200).fold(Tar::new(), put).finish()
}

/// Fifty images that differ in a few files, each a single layer.
#[test]
fn layers_that_differ_in_a_few_files_take_little_more_than_one() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let tars: Vec<Vec<u8>> = (0..6).map(|number| squashed(&[100 + number, 507, 950 + 3 * number])).collect();
        let first = store.import(&tars[0]);
        let alone = store.used_kib();
        let layers: Vec<DiffId> = [first].into_iter().chain(tars[1..].iter().map(|tar| store.import(tar))).collect();
        let each = (store.used_kib() - alone) / 5;
        // A changed file of 300 kB, two small ones with the runs that they are in, and the index.
        assert!(each < 300 + 3 * 64 + 200, "{each} of {alone} KiB");
        let pairs: Vec<(&DiffId, &[u8])> = layers.iter().zip(tars.iter().map(Vec::as_slice)).collect();
        store.assert_whole(&pairs);
        let shown = |layer: &DiffId, changed: &[usize]| {
            for (number, seen) in store.all_seen(std::slice::from_ref(layer), 0..1200).into_iter().enumerate() {
                assert!(seen == squashed_content(number, changed), "{number}");
            }
        };
        shown(&layers[3], &[103, 507, 959]);
        // The first goes, on which all others stand.
        store.remove(&layers[0]);
        store.assert_whole(&pairs[1..]);
        shown(&layers[3], &[103, 507, 959]);
        shown(&layers[5], &[105, 507, 965]);
        for layer in &layers[1..] {
            store.remove(layer);
        }
        assert_eq!(store.used_mib(), 0);
    });
}

/// A layer that is little else than its index keeps that compressed until somebody mounts it.
#[test]
fn an_index_is_compressed_until_it_is_mounted() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let tars: Vec<Vec<u8>> = (0..4).map(|number| squashed(&[200 + number])).collect();
        let layers: Vec<DiffId> = tars.iter().map(|tar| store.import(tar)).collect();
        let file =
            |layer: usize, name: &str| store.root.join("layers/erofs").join(layers[layer].digest().hex()).join(name);
        let forms = || (0..4).map(|layer| ["index.erofs", "index.zst"].map(|name| file(layer, name).exists()));
        let (unpacked, packed) = ([true, false], [false, true]);
        assert_eq!(forms().collect::<Vec<_>>(), [unpacked, packed, packed, packed]);
        let pairs: Vec<(&DiffId, &[u8])> = layers.iter().zip(tars.iter().map(Vec::as_slice)).collect();
        store.assert_whole(&pairs);
        assert_eq!(forms().collect::<Vec<_>>(), [unpacked, packed, packed, packed], "looking does not unpack");
        // Whoever mounts it unpacks it, several at once the same one.
        std::thread::scope(|scope| {
            let views: Vec<_> = (0..4).map(|_| scope.spawn(|| store.snapshots.view(&layers[1..2]).unwrap())).collect();
            views.into_iter().for_each(|view| drop(view.join().unwrap()));
        });
        let seen = store.all_seen(&layers[1..2], 0..1200);
        assert!(seen.into_iter().enumerate().all(|(number, seen)| seen == squashed_content(number, &[201])));
        assert_eq!(forms().collect::<Vec<_>>(), [unpacked, unpacked, packed, packed]);
        store.assert_whole(&pairs);
        // Interrupted before the compressed one went, which is of no use then.
        std::fs::copy(file(2, "index.zst"), file(1, "index.zst")).unwrap();
        store.assert_whole(&pairs);
        assert!(!file(1, "index.zst").exists());
        // Damage of it is told, and does not keep the layer from going.
        let mut bytes = std::fs::read(file(2, "index.zst")).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        std::fs::write(file(2, "index.zst"), bytes).unwrap();
        for depth in [Depth::Bytes, Depth::Structure] {
            let problem = store.snapshots.verify(&Key::Layer(layers[2].clone()), depth, &Silent).unwrap();
            assert!(problem.unwrap().contains("index"));
        }
        store.remove(&layers[2]);
        store.remove(&layers[0]);
        let seen = store.all_seen(&layers[3..], 0..1200);
        assert!(seen.into_iter().enumerate().all(|(number, seen)| seen == squashed_content(number, &[203])));
        store.remove(&layers[1]);
        store.remove(&layers[3]);
        assert_eq!(store.used_mib(), 0);
    });
}

/// Whoever unpacks an index is killed: the layer is whole, and the next one has it.
#[test]
fn who_unpacks_an_index_can_be_killed_anywhere() {
    need!(host::root(), host::filesystem("erofs"));
    if let Some((snapshots, layer)) = victim() {
        return drop(snapshots.view(&[layer]).unwrap());
    }
    with_store(move |store| {
        let mut tars = vec![squashed(&[1])];
        store.import(&tars[0]);
        for (number, failpoint) in ["snapshot.index.unpacked", "snapshot.index.linked"].into_iter().enumerate() {
            tars.push(squashed(&[300 + number]));
            let layer = store.import(&tars[number + 1]);
            store.killed_at(failpoint, "who_unpacks_an_index_can_be_killed_anywhere", &layer);
            store.assert_whole(&[(&layer, &tars[number + 1])]);
            let seen = store.all_seen(std::slice::from_ref(&layer), 0..1200);
            let expected = (0..1200).map(|file| squashed_content(file, &[300 + number]));
            assert!(seen.into_iter().eq(expected), "{failpoint}");
            let dir = store.root.join("layers/erofs").join(layer.digest().hex());
            assert!(dir.join("index.erofs").exists() && !dir.join("index.zst").exists(), "{failpoint}");
        }
        // What the dead left goes with the next import.
        store.import(&squashed(&[2]));
        assert_eq!(store.count(), 4);
    });
}

/// Whoever sees a layer whose index was compressed when its removal began sees all of it.
#[test]
fn a_layer_unpacked_and_seen_when_it_goes_stays_whole() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let [a, b] = [squashed(&[1]), squashed(&[2])];
        let layers = [store.import(&a), store.import(&b)];
        store.remove(&layers[0]);
        let root = store.snapshots.open_root(&store.snapshots.view(&layers[1..]).unwrap()).unwrap();
        let again = squashed(&[3]);
        let third = store.import(&again);
        store.remove(&layers[1]);
        for number in (0..1200).step_by(7) {
            let file = root.open(Path::new(&format!("dir/{number}")), rustix::fs::OFlags::RDONLY).unwrap();
            let mut bytes = Vec::new();
            std::fs::File::from(file).read_to_end(&mut bytes).unwrap();
            assert!(bytes == squashed_content(number, &[2]), "{number}");
        }
        store.assert_whole(&[(&third, &again)]);
    });
}

/// Layers come and go in any order; each is whole as long as it is there, and nothing stays when all are gone.
#[test]
fn whatever_comes_and_goes_the_rest_is_whole() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    const STEPS: usize = 60;
    with_store(|store| {
        let mut random = noise(4711, 100_000).into_iter().map(usize::from);
        let mut next = move |below: usize| (random.next().unwrap() << 8 | random.next().unwrap()) % below;
        let mut there: Vec<(DiffId, Vec<u8>)> = Vec::new();
        for step in 0..STEPS {
            if there.len() > 8 || !there.is_empty() && next(3) == 0 {
                let (gone, _) = there.swap_remove(next(there.len()));
                store.remove(&gone);
            } else {
                // Some hundred entries of the same thousand, and a few that nobody else has.
                let (from, step_by) = (next(600), 1 + next(2));
                let entries = (from..from + 300 * step_by).step_by(step_by);
                let tar = entries.fold(Tar::new(), |tar, number| {
                    let seed = if next(60) == 0 { 10_000 * step + number } else { number };
                    let bytes = if number % 31 == 5 { 40_000 + number } else { number * 41 % 5000 };
                    tar.file(&format!("dir/{number}"), 0o644, &noise(seed, bytes))
                });
                let tar = tar.finish();
                there.push((store.import(&tar), tar));
            }
            if let Some((layer, tar)) = there.get(next(9)) {
                assert!(store.tar_of(layer) == *tar, "step {step}");
            }
        }
        store.assert_whole(&there.iter().map(|(layer, tar)| (layer, tar.as_slice())).collect::<Vec<_>>());
        for (layer, _) in &there {
            store.remove(layer);
        }
        assert_eq!(store.used_mib(), 0);
    });
}

/// Layers of earlier versions list large files only, and borrow such only. They go on lending those, and all when they have been
/// checked.
#[test]
fn layers_of_an_earlier_version_lend_on() {
    need!(host::root(), host::filesystem("erofs"), host::program("du"));
    with_store(|store| {
        let [a, b, c] = [squashed(&[]), squashed(&[1]), squashed(&[2])];
        let first = store.import(&a);
        let contents = store.root.join("layers/erofs").join(first.digest().hex()).join("contents");
        let new = std::fs::read(&contents).unwrap();
        let large = |piece: &Piece| piece.bytes >= 300_000;
        let mut old = Vec::new();
        Contents::write(Contents::read(&new).filter(large), &mut old).unwrap();
        std::fs::write(&contents, &old).unwrap();
        let before = store.used_kib();
        let second = store.import(&b);
        let borrowed = store.root.join("layers/erofs").join(second.digest().hex()).join("borrowed");
        let list = std::fs::read(&borrowed).unwrap();
        let parts = Borrowed::read(&list[..]).unwrap();
        assert!(parts.loans().len() == 12 && parts.loans().iter().all(|loan| loan.bytes >= 300_000));
        std::fs::write(&borrowed, [b"strata borrowed1", &list[16..]].concat()).unwrap();
        assert!(store.used_kib() - before > 3000);
        store.assert_whole(&[(&first, &a), (&second, &b)]);
        assert!(std::fs::read(&contents).unwrap() == new, "it was checked");
        let before = store.used_kib();
        let third = store.import(&c);
        assert!(store.used_kib() - before < 400);
        store.assert_whole(&[(&first, &a), (&second, &b), (&third, &c)]);
    });
}

#[test]
fn damage_of_a_lender_is_told_of_all_that_it_hurts() {
    need!(host::root(), host::filesystem("erofs"));
    with_store(|store| {
        let [a, b] = [tar("a", &[(1, 2 * MIB)]), tar("b", &[(1, 2 * MIB), (2, MIB)])];
        let layers = [store.import(&a), store.import(&b)];
        let file = store.root.join("layers/erofs").join(layers[0].digest().hex()).join("tar");
        use std::os::unix::fs::FileExt as _;
        std::fs::OpenOptions::new().write(true).open(file).unwrap().write_all_at(b"!?", MIB as u64).unwrap();
        for layer in &layers {
            let problem = store.snapshots.verify(&Key::Layer(layer.clone()), Depth::Bytes, &Silent).unwrap();
            assert!(problem.unwrap().contains("digest"));
        }
        // Both are fetched anew, and the first one is right again.
        layers.iter().for_each(|layer| store.remove(layer));
        store.import(&b);
        store.import(&a);
        store.assert_whole(&[(&layers[0], &a), (&layers[1], &b)]);
    });
}
