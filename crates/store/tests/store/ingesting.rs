//! Blobs on their way in: resumed, shared, verified, limited.

use std::io::{Read as _, Write as _};
use std::sync::mpsc;

use strata_store::{Begin, Error, Ingest, Store};
use strata_types::{Digest, ErrorClass, Silent, Watch};

use crate::fixture::{child_root, start, was_killed};

const CONTENT: &[u8] = b"what is in the blob";

fn begin<'a>(store: &'a Store, size_bytes: Option<u64>) -> Ingest<'a> {
    match store.blobs().begin(&Digest::sha256(CONTENT), size_bytes, &Silent).unwrap() {
        Begin::Write(ingest) => ingest,
        Begin::Present => panic!("the blob is here already"),
    }
}

fn ingests(store: &Store) -> usize {
    std::fs::read_dir(store.root().join("ingest")).unwrap().count()
}

#[test]
fn a_blob_is_visible_only_after_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digest = Digest::sha256(CONTENT);
    let mut ingest = begin(&store, Some(CONTENT.len() as u64));
    ingest.write_all(CONTENT).unwrap();
    assert!(!store.blobs().has(&digest).unwrap());
    assert_eq!(store.blobs().read_small(&digest, 100).unwrap_err().class(), ErrorClass::NotFound);
    ingest.commit().unwrap();
    assert_eq!(store.blobs().read_small(&digest, 100).unwrap(), CONTENT);
    assert_eq!(store.blobs().list().unwrap(), std::slice::from_ref(&digest));
    assert_eq!(ingests(&store), 0);
    assert!(matches!(store.blobs().begin(&digest, None, &Silent).unwrap(), Begin::Present));
    assert!(store.blobs().remove(&digest).unwrap());
    assert!(!store.blobs().remove(&digest).unwrap());
}

#[test]
fn what_came_before_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut first = begin(&store, Some(CONTENT.len() as u64));
    first.write_all(&CONTENT[..7]).unwrap();
    assert_eq!(first.verify().unwrap_err().class(), ErrorClass::Corrupt);
    drop(first);
    let mut second = begin(&store, Some(CONTENT.len() as u64));
    assert_eq!(second.offset(), 7);
    let mut here = Vec::new();
    second.reader().unwrap().read_to_end(&mut here).unwrap();
    assert_eq!(here, &CONTENT[..7]);
    second.write_all(&CONTENT[7..]).unwrap();
    second.commit().unwrap();
    assert_eq!(store.blobs().put(CONTENT).unwrap(), Digest::sha256(CONTENT));
}

#[test]
fn a_killed_process_leaves_what_the_next_goes_on_with() {
    const TASK: &str = "ingesting::a_killed_process_leaves_what_the_next_goes_on_with";
    if let Some(root) = child_root(TASK) {
        let store = Store::open(&root).unwrap();
        let mut ingest = begin(&store, Some(CONTENT.len() as u64));
        for byte in CONTENT.chunks(4) {
            ingest.write_all(byte).unwrap();
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(was_killed(start(TASK, dir.path(), Some("store.ingest.written:3"))));
    let mut ingest = begin(&store, Some(CONTENT.len() as u64));
    assert_eq!(ingest.offset(), 12);
    ingest.write_all(&CONTENT[12..]).unwrap();
    ingest.commit().unwrap();
    assert_eq!(store.blobs().read_small(&Digest::sha256(CONTENT), 100).unwrap(), CONTENT);
}

#[test]
fn a_wrong_digest_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut ingest = begin(&store, None);
    ingest.write_all(b"something else").unwrap();
    let error = ingest.commit().unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Corrupt);
    assert_eq!(ingests(&store), 0);
    assert_eq!(store.blobs().list().unwrap(), []);
}

#[test]
fn more_than_announced_is_refused_less_can_be_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut ingest = begin(&store, Some(3));
    let error = ingest.write_all(CONTENT).unwrap_err();
    assert!(error.to_string().starts_with("wrong size of sha256:"), "{error}");
    ingest.write_all(&CONTENT[..2]).unwrap();
    assert!(matches!(ingest.commit().unwrap_err(), Error::WrongSize { .. }));
    assert_eq!(begin(&store, Some(3)).offset(), 2);
    let mut longer_than_announced = begin(&store, None);
    longer_than_announced.write_all(CONTENT).unwrap();
    drop(longer_than_announced);
    assert_eq!(begin(&store, Some(3)).offset(), 0);
}

#[test]
fn a_source_that_cannot_resume_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut ingest = begin(&store, None);
    ingest.write_all(b"rubbish").unwrap();
    ingest.restart().unwrap();
    assert_eq!(ingest.offset(), 0);
    ingest.write_all(CONTENT).unwrap();
    ingest.commit().unwrap();
    assert!(store.blobs().has(&Digest::sha256(CONTENT)).unwrap());
}

/// Tells when it is asked, and asks to stop after some questions.
struct Asked(mpsc::Sender<()>, std::sync::atomic::AtomicUsize);

impl Watch for Asked {
    fn phase(&self, _item: &Digest, _phase: &str) {}
    fn progress(&self, _item: &Digest, _done_bytes: u64, _total_bytes: u64) {}
    fn say(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.0.send(()).unwrap();
        self.1.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 1
    }
}

#[test]
fn a_second_one_waits_and_then_finds_the_blob() {
    let dir = tempfile::tempdir().unwrap();
    let [store, other] = [0, 1].map(|_| Store::open(dir.path()).unwrap());
    let mut ingest = begin(&store, None);
    let (asked, waits) = mpsc::channel();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            let watch = Asked(asked, usize::MAX.into());
            matches!(other.blobs().begin(&Digest::sha256(CONTENT), None, &watch).unwrap(), Begin::Present)
        });
        waits.recv().unwrap();
        ingest.write_all(CONTENT).unwrap();
        ingest.commit().unwrap();
        assert!(waiter.join().unwrap());
    });
    assert_eq!(ingests(&store), 0);
}

#[test]
fn waiting_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let [store, other] = [0, 1].map(|_| Store::open(dir.path()).unwrap());
    let _ingest = begin(&store, None);
    let (asked, _waits) = mpsc::channel();
    let outcome = other.blobs().begin(&Digest::sha256(CONTENT), None, &Asked(asked, 2.into()));
    assert!(matches!(outcome, Err(Error::Cancelled)));
}

#[test]
fn a_damaged_or_large_blob_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digest = store.blobs().put(CONTENT).unwrap();
    let error = store.blobs().read_small(&digest, 5).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Exhausted);
    let path = dir.path().join("blobs/sha256").join(digest.hex());
    std::fs::write(path, b"what is on the blob").unwrap();
    assert!(matches!(store.blobs().read_small(&digest, 100).unwrap_err(), Error::BlobDamaged { .. }));
    assert_eq!(store.blobs().read_small(&digest, 100).unwrap_err().class(), ErrorClass::Corrupt);
}

#[test]
fn names_that_are_no_digests_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let blobs = dir.path().join("blobs/sha256");
    std::fs::write(blobs.join(".x.tmp"), b"").unwrap();
    std::fs::create_dir(blobs.join("..sub")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", blobs.join("passwd")).unwrap();
    assert_eq!(store.blobs().list().unwrap(), []);
}
