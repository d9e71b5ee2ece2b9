//! A disk that is really full: a clear error, no garbage, and everything works again when there is room.

use std::io::Write as _;
use std::path::Path;

use strata_store::{Begin, Error, Store};
use strata_testkit::{host, need, private};
use strata_types::{Digest, ErrorClass, Silent};

use crate::fixture::{assert_whole, bring};

/// Mounts a tmpfs of so many bytes in this thread's own mount namespace.
fn small_disk(dir: &Path, size_bytes: u64) {
    use rustix::mount::{MountFlags, mount};
    private::mounts();
    let options = std::ffi::CString::new(format!("size={size_bytes}")).unwrap();
    mount("tmpfs", dir, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
}

#[test]
fn a_blob_that_does_not_fit_is_said_to_and_leaves_nothing() {
    need!(host::root());
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().to_owned();
    // The namespace ends with the thread.
    std::thread::spawn(move || {
        small_disk(&inner, 4 << 20);
        let store = Store::open(&inner).unwrap();
        let image = bring(&store, "a", &["one"]).unwrap();
        let large = vec![7; 8 << 20];
        let Begin::Write(mut ingest) = store.blobs().begin(&Digest::sha256(&large), None, &Silent).unwrap() else {
            panic!("it cannot be here");
        };
        let error = ingest.write_all(&large).unwrap_err();
        assert_eq!(strata_sys::durable::class_of(&error), ErrorClass::Exhausted, "{error}");
        drop(ingest);
        assert_eq!(std::fs::read_dir(inner.join("ingest")).unwrap().count(), 0);
        assert_eq!(store.blobs().put(&large).unwrap_err().class(), ErrorClass::Exhausted);
        assert_whole(&inner, &[&image]);
        bring(&store, "b", &["two"]).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn records_that_do_not_fit_are_said_to_and_reading_goes_on() {
    need!(host::root());
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().to_owned();
    std::thread::spawn(move || {
        small_disk(&inner, 2 << 20);
        let store = Store::open(&inner).unwrap();
        let image = bring(&store, "a", &["one"]).unwrap();
        let ballast = inner.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        drop(file);
        let full = (0..500).find_map(|name| bring(&store, &format!("image-{name}"), &["one"]).err());
        let error = full.expect("500 images fit on a full disk");
        assert_eq!(error.class(), ErrorClass::Exhausted, "{error}");
        assert!(matches!(error, Error::File(_) | Error::Database { .. }));
        assert_eq!(store.images().get(&image.id).unwrap().as_ref(), Some(&image));
        std::fs::remove_file(&ballast).unwrap();
        let later = bring(&store, "later", &["one"]).unwrap();
        assert_whole(&inner, &[&image, &later]);
    })
    .join()
    .unwrap();
}
