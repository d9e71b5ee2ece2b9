//! A store of tars and indexes, and what is put there.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use strata_snapshot::{DriverName, Options, Snapshots};
use strata_store::{Depth, Key, LayerFiles};
use strata_testkit::tar::Tar;
use strata_testkit::{host, private};
use strata_types::{DiffId, Digest, Silent};

pub(crate) const MIB: usize = 1 << 20;

/// Bytes that are in no other content.
pub(crate) fn noise(seed: usize, count: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A layer of files with these contents, `(seed, bytes)`, and one small file that makes it another than the others.
pub(crate) fn tar(name: &str, contents: &[(usize, usize)]) -> Vec<u8> {
    let named = Tar::new().file("name", 0o644, name.as_bytes());
    let put = |tar: Tar, (number, (seed, bytes)): (usize, &(usize, usize))| {
        tar.file(&format!("dir/{number}"), 0o644, &noise(*seed, *bytes))
    };
    contents.iter().enumerate().fold(named, put).finish()
}

pub(crate) struct Store {
    _dir: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) snapshots: Snapshots,
}

fn open(root: &Path) -> strata_snapshot::Result<Snapshots> {
    Snapshots::open(Options { root: root.into(), run_dir: "/run/strata".into(), driver: Some(DriverName::Erofs) })
}

/// Runs a check in a mount namespace of its own, with a store of tars and indexes.
pub(crate) fn with_store(check: impl FnOnce(Store) + Send + 'static) {
    with_store_in(|_| {}, check);
}

/// The same with a store on a filesystem of that size, which `mkfs` makes in a file.
pub(crate) fn with_store_on(mkfs: &'static str, mib: usize, check: impl FnOnce(Store) + Send + 'static) {
    let make = move |root: &Path| {
        let disk = root.with_file_name("disk");
        let script = "truncate -s $3M $1 && $4 $1 && mkdir $2 && mount -o loop $1 $2";
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh"]).args([&disk, root]).args([&mib.to_string(), mkfs]);
        assert!(command.status().unwrap().success());
    };
    with_store_in(make, check);
}

fn with_store_in(make: impl FnOnce(&Path) + Send + 'static, check: impl FnOnce(Store) + Send + 'static) {
    let checked = std::thread::spawn(|| {
        private::mounts();
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = dir.path().join("store");
        make(&root);
        match open(&root) {
            Ok(snapshots) => check(Store { _dir: dir, root, snapshots }),
            Err(_) => host::skipped(module_path!(), "a filesystem for the driver erofs"),
        }
    });
    checked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

const ROOT: &str = "STRATA_TEST_ROOT";
const LAYER: &str = "STRATA_TEST_LAYER";

/// The store and the layer of whoever is to be [killed](Store::killed_at), if this process is the one.
pub(crate) fn victim() -> Option<(Snapshots, DiffId)> {
    let (root, layer) = (std::env::var(ROOT).ok()?, std::env::var(LAYER).ok()?);
    Some((open(Path::new(&root)).unwrap(), DiffId::new(layer.parse().unwrap())))
}

impl Store {
    pub(crate) fn import(&self, tar: &[u8]) -> DiffId {
        let expected = DiffId::new(Digest::sha256(tar));
        self.snapshots.import_layer(&[], Some(&expected), &mut &*tar, &Silent).unwrap();
        expected
    }

    pub(crate) fn tar_of(&self, layer: &DiffId) -> Vec<u8> {
        let mut tar = Vec::new();
        self.snapshots.open_layer_tar(std::slice::from_ref(layer)).unwrap().read_to_end(&mut tar).unwrap();
        tar
    }

    /// What `dir/NUMBER` of the uppermost layer that has it is, as the kernel shows it.
    pub(crate) fn seen(&self, layers: &[DiffId], number: usize) -> Vec<u8> {
        self.all_seen(layers, [number]).remove(0)
    }

    /// The same for several.
    pub(crate) fn all_seen(&self, layers: &[DiffId], numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
        let root = self.snapshots.open_root(&self.snapshots.view(layers).unwrap()).unwrap();
        let read = |number| {
            let file = root.open(Path::new(&format!("dir/{number}")), rustix::fs::OFlags::RDONLY).unwrap();
            let mut bytes = Vec::new();
            std::fs::File::from(file).read_to_end(&mut bytes).unwrap();
            bytes
        };
        numbers.into_iter().map(read).collect()
    }

    pub(crate) fn remove(&self, layer: &DiffId) {
        assert!(LayerFiles::remove(&self.snapshots, &Key::Layer(layer.clone())).unwrap());
    }

    /// Begins the test `name` once more, as a [`victim`], and has it killed at a failpoint.
    pub(crate) fn killed_at(&self, failpoint: &str, name: &str, layer: &DiffId) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([name, "--exact"]).env(ROOT, &self.root).env(LAYER, layer.digest().to_string());
        let killed = command.env(strata_sys::failpoint::VARIABLE, failpoint).output().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{failpoint}: {killed:?}");
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut filler = std::fs::File::create(self.root.join("filler")).unwrap();
        let full = std::iter::repeat_with(|| std::io::Write::write_all(&mut filler, &[7; 4096])).find_map(Result::err);
        assert_eq!(full.unwrap().kind(), std::io::ErrorKind::StorageFull);
    }

    /// Gives it back.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.root.join("filler")).unwrap();
    }

    /// How many layers there are, unfinished ones included.
    pub(crate) fn count(&self) -> usize {
        std::fs::read_dir(self.root.join("layers/erofs")).unwrap().count()
    }

    /// MiB of the disk that all layers take.
    pub(crate) fn used_mib(&self) -> usize {
        (self.used_kib() + 512) / 1024
    }

    /// KiB of the disk that all layers take, as du counts them.
    pub(crate) fn used_kib(&self) -> usize {
        rustix::fs::sync();
        let du = Command::new("du").args(["-sk"]).arg(&self.root).output().unwrap();
        String::from_utf8(du.stdout).unwrap().split('\t').next().unwrap().parse().unwrap()
    }

    /// Bytes of the disk that the layers' directories take, as du counts them.
    pub(crate) fn layers_bytes(&self) -> usize {
        rustix::fs::sync();
        let script = "du -cB1 \"$1\"/* | tail -n 1 | cut -f 1";
        let du = Command::new("sh").args(["-c", script, "sh"]).arg(self.root.join("layers/erofs")).output().unwrap();
        String::from_utf8(du.stdout).unwrap().trim().parse().unwrap()
    }

    pub(crate) fn assert_whole(&self, layers: &[(&DiffId, &[u8])]) {
        for (layer, tar) in layers {
            assert!(self.tar_of(layer) == *tar, "another tar");
            assert_eq!(self.snapshots.verify(&Key::Layer((*layer).clone()), Depth::Bytes, &Silent).unwrap(), None);
            assert_eq!(self.snapshots.verify(&Key::Layer((*layer).clone()), Depth::Structure, &Silent).unwrap(), None);
        }
    }
}
