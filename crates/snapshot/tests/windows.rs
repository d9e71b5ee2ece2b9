//! Layers of Windows images lie beside those of every driver: given back byte for byte, never mounted, removed like others.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

#[path = "fixture/mod.rs"]
mod fixture;

use std::io::Read as _;

use fixture::with_each_driver;
use strata_snapshot::{DriverName, Error, Snapshots};
use strata_store::{Depth, Key, LayerFiles};
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};
use strata_types::{DiffId, Digest, Silent};

fn base() -> Vec<u8> {
    Tar::new()
        .pax(&[("MSWINDOWS.fileattr", b"16"), ("LIBARCHIVE.creationtime", b"1700000000.1234567")])
        .dir("Files")
        .file("Files/License.txt", 0o644, b"read me\r\n")
        .file("Files/License.txt:Zone.Identifier", 0o644, b"[ZoneTransfer]\r\n")
        .hardlink("Files/Copy.txt", "Files/License.txt")
        .pax(&[("MSWINDOWS.fileattr", b"1040"), ("MSWINDOWS.mountpoint", b"1")])
        .symlink("Files/Documents and Settings", r"\??\C:\Users")
        .dir("Hives")
        .file("Hives/Software_Base", 0o644, &[7; 3000])
        .finish()
}

/// With a link to a file of the layer below, which no directory on Linux could hold.
fn top() -> Vec<u8> {
    Tar::new()
        .dir("Files")
        .file("Files/.wh.Copy.txt", 0o644, b"")
        .hardlink("Files/Again.txt", "Files/License.txt")
        .finish()
}

fn import(snapshots: &Snapshots, tar: &[u8]) -> DiffId {
    let expected = DiffId::new(Digest::sha256(tar));
    let added = snapshots.import_windows_layer(Some(&expected), &mut &tar[..], &Silent).unwrap();
    assert_eq!((&added.diff_id, added.tar_bytes, added.was_there), (&expected, tar.len() as u64, false));
    expected
}

fn tar_of(snapshots: &Snapshots, chain: &[DiffId]) -> Vec<u8> {
    let mut tar = Vec::new();
    snapshots.open_layer_tar(chain).unwrap().read_to_end(&mut tar).unwrap();
    assert_eq!(snapshots.layer_tar_bytes(chain).unwrap(), Some(tar.len() as u64));
    tar
}

#[test]
fn layers_are_given_back_byte_for_byte_and_never_mounted() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let chain = [import(snapshots, &base()), import(snapshots, &top())];
        assert_eq!(tar_of(snapshots, &chain[..1]), base());
        assert_eq!(tar_of(snapshots, &chain), top());
        assert!(!snapshots.has_layer(&chain) && chain.iter().all(|layer| snapshots.has_windows_layer(layer)));
        assert!(matches!(snapshots.view(&chain), Err(Error::Windows)), "{}", snapshots.driver_name());
        let again = snapshots.import_windows_layer(None, &mut &base()[..], &Silent).unwrap();
        assert!(again.was_there);
    });
}

#[test]
fn they_are_checked_and_collected_like_others() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let layer = import(snapshots, &base());
        let key = Key::Layer(layer.clone());
        assert_eq!(snapshots.list().unwrap(), std::slice::from_ref(&key));
        assert_eq!(snapshots.needed(std::slice::from_ref(&layer)), std::slice::from_ref(&key));
        assert!(snapshots.usage_of(&key).unwrap().content_bytes >= base().len() as u64);
        for depth in [Depth::Structure, Depth::Bytes] {
            assert_eq!(snapshots.verify(&key, depth, &Silent).unwrap(), None);
        }
        let tar = snapshots.windows_dir(&layer).join("tar");
        let mut damaged = base();
        damaged[600] ^= 1;
        std::fs::write(&tar, &damaged).unwrap();
        assert_eq!(snapshots.verify(&key, Depth::Structure, &Silent).unwrap(), None);
        assert!(snapshots.verify(&key, Depth::Bytes, &Silent).unwrap().unwrap().contains("digest"));
        std::fs::write(&tar, &damaged[..1000]).unwrap();
        assert!(snapshots.verify(&key, Depth::Structure, &Silent).unwrap().unwrap().contains("as long as"));
        // The tar is whole, but not what is noted of it.
        std::fs::write(&tar, base()).unwrap();
        std::fs::write(tar.with_file_name("bytes"), "17").unwrap();
        for depth in [Depth::Structure, Depth::Bytes] {
            assert!(snapshots.verify(&key, depth, &Silent).unwrap().unwrap().contains("as long as"), "{depth:?}");
        }
        assert!(LayerFiles::remove(snapshots, &key).unwrap());
        assert!(!LayerFiles::remove(snapshots, &key).unwrap());
        assert_eq!(snapshots.list().unwrap(), []);
    });
}

#[test]
fn a_layer_of_both_worlds_is_there_twice_and_goes_at_once() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let tar = Tar::new().dir("Files").file("Files/a", 0o644, b"a").finish();
        let layer = import(snapshots, &tar);
        let chain = std::slice::from_ref(&layer);
        let linux = snapshots.import_layer(&[], Some(&layer), &mut &tar[..], &Silent).unwrap();
        assert!(!linux.was_there && snapshots.has_layer(chain));
        snapshots.view(chain).unwrap();
        // The Windows image has it upon what Linux has not.
        let of_windows = [import(snapshots, &base()), layer.clone()];
        assert_eq!(tar_of(snapshots, &of_windows), tar);
        assert!(matches!(snapshots.view(&of_windows), Err(Error::Windows)));
        for key in snapshots.list().unwrap() {
            LayerFiles::remove(snapshots, &key).unwrap();
        }
        assert!(!snapshots.has_layer(chain) && !snapshots.has_windows_layer(&layer));
    });
}

#[test]
fn what_windows_would_refuse_leaves_nothing() {
    need!(host::root(), host::filesystem("erofs"));
    with_each_driver(|snapshots| {
        let climbing = Tar::new().file(r"Files/..\..\evil", 0o644, b"").finish();
        let error = snapshots.import_windows_layer(None, &mut &climbing[..], &Silent).unwrap_err();
        assert!(matches!(error, Error::Layer(strata_layer::Error::Header { .. })), "{error:?}");
        let other = DiffId::new(Digest::sha256(b"other"));
        let error = snapshots.import_windows_layer(Some(&other), &mut &base()[..], &Silent).unwrap_err();
        assert!(matches!(error, Error::DiffId { .. }), "{error:?}");
        assert_eq!(snapshots.list().unwrap(), []);
    });
}

#[test]
fn it_is_no_stores_driver() {
    let dir = tempfile::tempdir().unwrap();
    let (root, run_dir) = (dir.path().join("store"), dir.path().join("run"));
    let opened = Snapshots::open(strata_snapshot::Options { root, run_dir, driver: Some(DriverName::WindowsFilter) });
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("it keeps the layers of Windows images, beside whatever driver the store has"), "{error}");
}
