//! Containers that are directories, limited by project quotas, with xfs_quota as the oracle.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::thread::CapabilitySet;
use strata_snapshot::{DriverName, Error, Prepare, Snapshots};
use strata_sys::root_dir::RootDir;
use strata_testkit::{host, need};
use strata_types::mount::Access;
use strata_types::{ContainerId, Silent};

use crate::fixture::{filesystem, open};
use crate::{KEPT, base, id, import, view};

const LIMITED: Prepare = Prepare { volatile: false, size_bytes: Some(LIMIT_BYTES) };
const LIMIT_BYTES: u64 = 4 << 20;
/// What is nearly as much: filesystems need some for themselves.
const NEARLY: std::ops::RangeInclusive<u64> = 3 << 20..=LIMIT_BYTES;

/// The drivers whose containers are directories.
const DRIVERS: [DriverName; 4] = [DriverName::Erofs, DriverName::Overlay, DriverName::Fuse, DriverName::Vfs];

/// Kinds of filesystems that have such quotas: how they are made and mounted with them.
const WITH: [(&str, &[&str], &str); 2] = [("xfs", &[], "loop,pquota"), ("ext4", EXT4, "loop,prjquota")];
const EXT4: &[&str] = &["-O", "project,quota", "-E", "quotatype=prjquota"];

/// Runs a check in a namespace of its own, in a store on such a filesystem; for each driver.
fn with_quotas(check: impl Fn(&Snapshots) + Send + Clone + 'static) {
    for driver in DRIVERS {
        for (kind, made, mounted) in WITH {
            let check = check.clone();
            on(kind, made, mounted, move |dir| match open(&dir.join("store"), Some(driver)) {
                Ok(snapshots) => check(&snapshots),
                Err(error) => panic!("{driver} on {kind}: {error:?}"),
            });
        }
    }
}

/// Runs a check in a namespace of its own that has such a filesystem.
fn on(
    kind: &'static str,
    made: &'static [&'static str],
    mounted: &'static str,
    check: impl FnOnce(&Path) + Send + 'static,
) {
    let checked = std::thread::spawn(move || {
        strata_testkit::private::mounts();
        let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        match filesystem(kind, made, mounted, disk.path()) {
            Some(dir) => check(&dir),
            None => host::skipped(module_path!(), "a filesystem with project quotas"),
        }
    });
    checked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn mounted(snapshots: &Snapshots, id: &ContainerId) -> RootDir {
    snapshots.open_root(&snapshots.plan(id, Access::ReadWrite).unwrap()).unwrap()
}

/// A path below a root, for who wants more of it than [`RootDir`] gives.
fn within(root: &RootDir, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{path}", root.as_fd().as_raw_fd()))
}

/// Writes 8 MB to a new file, as a container would that has Docker's capabilities, and says how much fitted.
fn fill(root: &RootDir, name: &str) -> u64 {
    let path = within(root, name);
    let unprivileged = || {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::SYS_RESOURCE);
        rustix::thread::set_capabilities(None, sets).unwrap();
        let written = std::fs::File::create(&path).and_then(|mut file| {
            (0..128).try_for_each(|_| file.write_all(&[b'x'; 64 << 10])).and_then(|()| file.sync_all())
        });
        if let Err(error) = written {
            assert!(matches!(error.kind(), ErrorKind::QuotaExceeded | ErrorKind::StorageFull), "{error:?}");
        }
        // The file itself may have been too much.
        std::fs::metadata(&path).map_or(0, |metadata| metadata.len())
    };
    std::thread::scope(|scope| scope.spawn(unprivileged).join().unwrap())
}

/// Waits until what was removed below a root is free: XFS gives it back a little later, in the background.
fn given_back(root: &RootDir) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while free_bytes(root) < *NEARLY.start() {
        assert!(Instant::now() < deadline, "{} bytes are free", free_bytes(root));
        std::thread::yield_now();
    }
}

fn free_bytes(root: &RootDir) -> u64 {
    let about = rustix::fs::fstatvfs(root.as_fd()).unwrap();
    about.f_bfree * about.f_frsize
}

/// How large the filesystem seems to who asks about its root, as `df` does.
fn seeming_bytes(root: &RootDir) -> u64 {
    let about = rustix::fs::fstatvfs(root.as_fd()).unwrap();
    about.f_blocks * about.f_frsize
}

/// The limits in units of 1024 bytes by project, as another program sees them.
fn limits(store: &Path) -> BTreeMap<String, u64> {
    let mut command = Command::new("xfs_quota");
    let report = command.args(["-f", "-x", "-c", "report -p -n -N"]).arg(store.parent().unwrap()).output().unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let report = String::from_utf8(report.stdout).unwrap();
    let parsed = report.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some((words.first()?.strip_prefix('#')?.to_owned(), words.get(3)?.parse().ok()?))
    });
    parsed.filter(|(_, limit)| *limit > 0).collect()
}

fn names(dir: &Path) -> Vec<OsString> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter(|name| name != "lock").collect()
}

#[test]
fn a_directory_holds_what_its_project_may() {
    need!(host::root(), host::program("xfs_quota"));
    with_quotas(|snapshots| {
        assert_eq!(snapshots.no_limit().unwrap(), None);
        let chain = [import(snapshots, &[], &base())];
        snapshots.prepare(&id(1), &chain, LIMITED).unwrap();
        snapshots.prepare(&id(2), &chain, LIMITED).unwrap();
        snapshots.prepare(&id(3), &chain, KEPT).unwrap();
        let driver = snapshots.driver_name();
        let limit = LIMIT_BYTES / 1024;
        assert_eq!(limits(snapshots.root()).values().collect::<Vec<_>>(), [&limit; 2], "{driver}");
        {
            let [one, two, three] = [1, 2, 3].map(|byte| mounted(snapshots, &id(byte)));
            let sizes = [&one, &two, &three].map(|root| seeming_bytes(root) == LIMIT_BYTES);
            assert_eq!(sizes, [true, true, false], "{driver}");
            let fitted = fill(&one, "large");
            assert!(NEARLY.contains(&fitted), "{fitted} bytes with {driver}");
            // What is full is full of what it has; others have their own.
            assert!(fill(&one, "more") < 1 << 20, "{driver}");
            std::fs::remove_file(within(&one, "large")).unwrap();
            given_back(&one);
            assert!(NEARLY.contains(&fill(&one, "again")) && NEARLY.contains(&fill(&two, "large")), "{driver}");
            assert_eq!(fill(&three, "large"), 8 << 20, "{driver}");
        }
        // What becomes of it is not counted by the container's project.
        let added = snapshots.commit(&id(1), None, &Silent).unwrap();
        let grown = [chain[0].clone(), added.diff_id];
        assert!(view(snapshots, &grown).contains_key("again"));
        for container in [1, 2, 1] {
            snapshots.remove(&id(container)).unwrap();
        }
        assert_eq!(limits(snapshots.root()), BTreeMap::new(), "{driver}");
        assert_eq!(names(&snapshots.root().join("projects")), Vec::<OsString>::new());
    });
}

/// Everything that is made in a project is moved and linked in it only: what the union makes aside must belong to it.
#[test]
fn in_a_project_everything_is_renamed_as_without() {
    need!(host::root(), host::program("xfs_quota"));
    with_quotas(|snapshots| {
        let chain = [import(snapshots, &[], &base())];
        for (container, options) in [(1, LIMITED), (2, KEPT)] {
            snapshots.prepare(&id(container), &chain, options).unwrap();
            let root = mounted(snapshots, &id(container));
            let at = |path: &str| within(&root, path);
            // Of the image: copied up, hidden, replaced, linked.
            std::fs::write(at("etc/motd"), "mine").unwrap();
            std::fs::rename(at("etc/motd"), at("tmp/moved")).unwrap();
            std::fs::remove_file(at("etc/shadow")).unwrap();
            std::fs::rename(at("usr/share/big"), at("etc/shadow")).unwrap();
            std::fs::hard_link(at("etc/shadow"), at("linked")).unwrap();
            std::fs::rename(at("usr/link"), at("etc/link")).unwrap();
            std::fs::remove_dir_all(at("usr")).unwrap();
            std::fs::create_dir(at("usr")).unwrap();
            // New ones, of each kind.
            std::fs::create_dir(at("dir")).unwrap();
            std::fs::rename(at("dir"), at("usr/dir")).unwrap();
            UnixListener::bind(at("socket")).unwrap();
            std::fs::rename(at("socket"), at("usr/dir/socket")).unwrap();
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(root.as_fd(), "pipe", rustix::fs::FileType::Fifo, mode, 0).unwrap();
            std::fs::rename(at("pipe"), at("usr/dir/pipe")).unwrap();
            std::os::unix::fs::symlink("target", at("symlink")).unwrap();
            std::fs::rename(at("symlink"), at("usr/dir/symlink")).unwrap();
            assert!(std::fs::metadata(at("usr/dir/socket")).unwrap().file_type().is_socket());
        }
        let [limited, kept] = [1, 2].map(|container| snapshots.changes(&id(container)).unwrap());
        assert_eq!(limited, kept, "{}", snapshots.driver_name());
    });
}

#[test]
fn a_limit_stays_when_a_container_is_put_back_and_its_own_goes() {
    need!(host::root(), host::program("xfs_quota"));
    with_quotas(|snapshots| {
        let chain = [import(snapshots, &[], &base())];
        let limit = LIMIT_BYTES / 1024;
        snapshots.prepare(&id(1), &chain, LIMITED).unwrap();
        fill(&mounted(snapshots, &id(1)), "large");
        let before = limits(snapshots.root());
        snapshots.reset(&id(1), &chain, LIMITED).unwrap();
        let after = limits(snapshots.root());
        assert_eq!((before.len(), after.values().collect::<Vec<_>>()), (1, vec![&limit]));
        assert!(after.keys().all(|project| !before.contains_key(project)), "{before:?} {after:?}");
        assert_eq!(names(&snapshots.root().join("projects")).len(), 1);
        assert!(NEARLY.contains(&fill(&mounted(snapshots, &id(1)), "large")));
        // Somebody who died left a container without a record, and a project without a container.
        snapshots.prepare(&id(2), &chain, LIMITED).unwrap();
        std::fs::remove_dir_all(snapshots.container_dir(&id(2))).unwrap();
        assert_eq!(limits(snapshots.root()).len(), 2);
        snapshots.remove(&id(2)).unwrap();
        assert_eq!(limits(snapshots.root()), after);
        // To no limit and back.
        for (options, count) in [(KEPT, 0), (LIMITED, 1)] {
            snapshots.reset(&id(1), &chain, options).unwrap();
            assert_eq!(limits(snapshots.root()).len(), count);
        }
    });
}

#[test]
fn an_image_that_is_counted_has_to_fit() {
    need!(host::root(), host::program("xfs_quota"));
    for (kind, made, mounted) in WITH {
        on(kind, made, mounted, |dir| {
            let snapshots = open(&dir.join("store"), Some(DriverName::Vfs)).unwrap();
            let chain = [import(&snapshots, &[], &base())];
            let small = Prepare { volatile: false, size_bytes: Some(64 << 10) };
            let refused = snapshots.prepare(&id(1), &chain, small).unwrap_err();
            assert!(matches!(refused, Error::LimitTooSmall { .. }), "{refused:?}");
            snapshots.remove(&id(1)).unwrap();
            assert_eq!(limits(snapshots.root()), BTreeMap::new());
        });
    }
}

#[test]
fn a_filesystem_without_such_quotas_is_told_by_what_it_lacks() {
    need!(host::root(), host::program("mkfs.xfs"), host::program("mkfs.ext4"));
    let needs = "cannot limit what a container holds: ";
    let cases: [(_, _, _, &[&str]); 3] = [
        ("xfs", &[] as &[&str], "loop", &["this kernel keeps no quotas on XFS", "XFS needs the mount option `pquota`"]),
        ("ext4", &[], "loop", &["ext4 needs `tune2fs -O project -Q prjquota DEVICE`"]),
        ("ext4", EXT4, "loop", &["ext4 needs the mount option `prjquota`"]),
    ];
    for (kind, made, mounted, expected) in cases {
        on(kind, made, mounted, move |dir| {
            for driver in DRIVERS {
                let store = dir.join(driver.as_str());
                let Ok(snapshots) = open(&store, Some(driver)) else { continue };
                let chain = [import(&snapshots, &[], &base())];
                let refused = snapshots.prepare(&id(1), &chain, LIMITED).unwrap_err().to_string();
                let said = expected.iter().any(|words| refused.contains(&format!("{needs}{words}")));
                assert!(said, "{refused}");
                assert!(!store.join("projects").exists());
            }
        });
    }
}
