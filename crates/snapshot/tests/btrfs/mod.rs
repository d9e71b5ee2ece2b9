//! The driver `btrfs`, with btrfs-progs as the oracle.

use std::path::Path;
use std::process::Command;

use strata_snapshot::{DriverName, Prepare};
use strata_store::LayerFiles;
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};
use strata_types::mount::Access;
use strata_types::{ContainerId, Silent};

use crate::fixture::with_driver;

const KEPT: Prepare = Prepare { volatile: false, size_bytes: None };

/// What the program `btrfs` says.
fn btrfs(words: &[&str], path: &Path) -> String {
    let output = Command::new("btrfs").args(words).arg(path).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn free_bytes(path: &Path) -> u64 {
    btrfs(&["filesystem", "sync"], path);
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bfree * stat.f_frsize
}

#[test]
fn layers_and_containers_are_subvolumes_that_share_their_data() {
    need!(host::root(), host::program("btrfs"));
    with_driver(DriverName::Btrfs, |snapshots| {
        let root = snapshots.root();
        let content: Vec<u8> = (0..20_000_000u64).map(|at| (at.wrapping_mul(at) >> 9) as u8).collect();
        let tar = Tar::new().dir("etc/").file("etc/large", 0o644, &content).finish();
        let mut chain = vec![snapshots.import_layer(&[], None, &mut &tar[..], &Silent).unwrap().diff_id];
        let before = free_bytes(root);
        for number in 0..10 {
            let tar = Tar::new().file(&format!("f{number}"), 0o644, b"small").finish();
            chain.push(snapshots.import_layer(&chain, None, &mut &tar[..], &Silent).unwrap().diff_id);
        }
        let ids = [1, 2, 3].map(|byte| ContainerId::from_random([byte; 32]));
        for id in &ids {
            snapshots.prepare(id, &chain, KEPT).unwrap();
        }
        let used = before - free_bytes(root);
        assert!(used < 5_000_000, "14 trees of 20 MB took {used} bytes more than one");
        let listed = btrfs(&["subvolume", "list"], root);
        assert_eq!(listed.lines().count(), 14, "{listed}");
        for line in listed.lines() {
            let path = root.parent().unwrap().join(line.rsplit(' ').next().unwrap());
            let expected = if path.starts_with(root.join("containers")) { "ro=false\n" } else { "ro=true\n" };
            assert_eq!(
                btrfs(&["property", "get", "-ts"], &path).lines().next().unwrap(),
                expected.trim_end(),
                "{line}"
            );
        }
        for id in &ids {
            snapshots.remove(id).unwrap();
        }
        for key in snapshots.list().unwrap() {
            assert!(LayerFiles::remove(snapshots, &key).unwrap());
        }
        assert_eq!(btrfs(&["subvolume", "list"], root), "");
    });
}

#[test]
fn what_a_container_made_inside_its_subvolume_goes_with_it() {
    need!(host::root(), host::program("btrfs"));
    with_driver(DriverName::Btrfs, |snapshots| {
        let tar = Tar::new().dir("etc/").finish();
        let chain = [snapshots.import_layer(&[], None, &mut &tar[..], &Silent).unwrap().diff_id];
        let id = ContainerId::from_random([7; 32]);
        snapshots.prepare(&id, &chain, KEPT).unwrap();
        let tree = snapshots.container_dir(&id).join("fs");
        btrfs(&["subvolume", "create"], &tree.join("inner"));
        std::fs::write(tree.join("inner/file"), b"x").unwrap();
        btrfs(&["subvolume", "snapshot", "-r", tree.join("inner").to_str().unwrap()], &tree.join("etc/sealed"));
        let seen = snapshots.open_root(&snapshots.plan(&id, Access::ReadOnly).unwrap()).unwrap();
        assert!(seen.lstat(Path::new("etc/sealed/file")).unwrap().is_some());
        drop(seen);
        snapshots.remove(&id).unwrap();
        assert_eq!(btrfs(&["subvolume", "list"], snapshots.root()).lines().count(), 1);
        assert!(!tree.exists());
    });
}
