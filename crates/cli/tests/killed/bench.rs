//! The machines on which operations are killed, and the stores they begin with.

use std::collections::BTreeMap;
use std::process::Command;

use strata_sys::failpoint;
use strata_testkit::image::{Compression, Image};
use strata_testkit::machine::Ran;
use strata_testkit::registry::Registry;
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host};

use super::{Operation, Scope};

/// A driver, and what its store stands on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground {
    pub(crate) driver: &'static str,
    place: Place,
}

/// What a store stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The directory of the machine.
    Dir,
    /// A filesystem in a file.
    Disk(&'static str),
    /// The same directory, with a pool of thin devices, which has a name of its own.
    Devices,
    /// A pool of ZFS in a file, of which the kernel does not take a second that is its copy.
    Pool,
}

impl Ground {
    pub(crate) const FIRST: Self = Self { driver: "erofs", place: Place::Dir };

    /// Those of this machine, or the one that this guest is for.
    pub(crate) fn all() -> Vec<Self> {
        match std::env::var("STRATA_TEST_DRIVER").as_deref() {
            Ok("devicemapper") => vec![Self { driver: "devicemapper", place: Place::Devices }],
            // Whose files are sealed, as the machine's kernel may not be able to.
            Ok("erofs") => vec![Self { driver: "erofs", place: Place::Disk("ext4 -O verity") }],
            Ok("zfs") => vec![Self { driver: "zfs", place: Place::Pool }],
            _ => {
                let here = |driver| Self { driver, place: Place::Dir };
                let btrfs = Self { driver: "btrfs", place: Place::Disk("btrfs") };
                vec![Self::FIRST, here("overlay"), here("vfs"), here("fuse"), btrfs]
            }
        }
    }

    /// Whether this is an emulated guest, in which each command takes seconds.
    pub(crate) fn is_guest() -> bool {
        std::env::var_os("STRATA_TEST_DRIVER").is_some()
    }

    /// Whether an operation is killed at this failpoint here. What is the same with all drivers need not be tried in the guest.
    pub(crate) fn meets(self, scope: Scope, failpoint: &str) -> bool {
        let is_drivers = failpoint.starts_with("snapshot.") || failpoint.starts_with("sys.");
        let is_records = scope == Scope::Steps && failpoint.starts_with("store.");
        is_drivers || !Self::is_guest() && (!is_records || self.driver == Self::FIRST.driver)
    }

    /// Whether each case begins with a copy of one store. Otherwise each makes its own.
    pub(crate) fn is_copied(self) -> bool {
        self.place != Place::Pool
    }

    fn make(self, machine: &Machine) -> bool {
        let script = match self.place {
            Place::Dir | Place::Devices => return true,
            Place::Disk(kind) => {
                format!("truncate -s 1G disk && mkfs.{kind} -q disk && mkdir store && mount -o loop disk store")
            }
            Place::Pool => format!(
                "truncate -s 1G pool && zpool create -o cachefile=none -O acltype=posix -O xattr=sa -m $PWD/store {} $PWD/pool",
                pool(machine)
            ),
        };
        machine.sh(&script).code == 0
    }
}

/// Stops the pool of thin devices, which begins again when it is asked for.
const STOP_DEVICES: &str = "umount -R /run; dmsetup remove --retry $(cat store/devicemapper/name)";

fn pool(machine: &Machine) -> &str {
    machine.dir().file_name().unwrap().to_str().unwrap()
}

/// A machine with one image that must stay unharmed.
pub(crate) struct Bench<'r> {
    pub(crate) machine: Machine,
    registry: Option<&'r Registry>,
    ground: Ground,
    pub(crate) driver: &'static str,
    /// What no other case of this operation has.
    pub(crate) number: String,
}

impl<'r> Bench<'r> {
    /// One with the image `base`; none if this machine has nothing for the ground to stand on.
    pub(crate) fn new(registry: Option<&'r Registry>, ground: Ground) -> Option<Self> {
        let Ground { driver, .. } = ground;
        let bench = Self { machine: Machine::start(), registry, ground, driver, number: String::from("0") };
        let is_made = ground.make(&bench.machine);
        if registry.is_none() {
            for (name, image) in images() {
                let archive = image.docker_archive(&format!("{name}:latest"));
                std::fs::write(bench.machine.dir().join(format!("{name}.tar")), archive).unwrap();
            }
        }
        let got = if is_made { Some(bench.obtain("base")) } else { None };
        match got {
            Some(got) if !got.err.contains("is not available") => drop(got.ok()),
            _ => {
                host::skipped(module_path!(), &format!("a filesystem for the driver {driver}"));
                return None;
            }
        }
        Some(bench)
    }

    /// Brings an image here: from the registry, or else from a file.
    fn obtain(&self, image: &str) -> Ran {
        match self.registry {
            Some(_) => self.strata(&["--storage-driver", self.driver, "pull", "-q", &self.name(image)]),
            None => self.strata(&["--storage-driver", self.driver, "load", "-q", "-i", &format!("{image}.tar")]),
        }
    }

    /// Brings the other image here.
    pub(crate) fn obtain_image(&self) {
        self.obtain("image").ok();
    }

    /// Another machine with a copy of the store, which nobody has open.
    pub(crate) fn copy(&self, number: String) -> Bench<'r> {
        let copy = Bench { machine: Machine::start(), number, ..*self };
        match self.ground.place {
            Place::Disk(_) | Place::Pool => drop(self.machine.sh("sync -f store").ok()),
            Place::Dir => cp(&["-a"], &self.machine.root(), &copy.machine.root()),
            Place::Devices => {
                self.machine.sh(STOP_DEVICES);
                cp(&["-a", "--sparse=always"], &self.machine.root(), &copy.machine.root());
                let name = format!("strata-{}", strata_sys::random::hex::<8>());
                std::fs::write(copy.machine.root().join("devicemapper/name"), name).unwrap();
            }
        }
        for file in std::fs::read_dir(self.machine.dir()).unwrap().map(|entry| entry.unwrap().path()) {
            if file.is_file() {
                cp(&["--sparse=always"], &file, &copy.machine.dir().join(file.file_name().unwrap()));
            }
        }
        if matches!(self.ground.place, Place::Disk(_)) {
            copy.machine.sh("mkdir store && mount -o loop disk store").ok();
        }
        copy
    }

    pub(crate) fn name(&self, image: &str) -> String {
        match self.registry {
            Some(registry) => format!("{}/{image}:latest", registry.host()),
            None => format!("{image}:latest"),
        }
    }

    pub(crate) fn strata(&self, words: &[&str]) -> Ran {
        self.machine.strata(words)
    }

    /// How many things are in a directory of the store.
    pub(crate) fn count(&self, dir: &str) -> usize {
        std::fs::read_dir(self.inside(dir)).map_or(0, Iterator::count)
    }

    /// Where the store's directory is for this process, which does not see what is mounted in the machine.
    fn inside(&self, dir: &str) -> std::path::PathBuf {
        self.machine.seen(&self.machine.root().join(dir))
    }

    /// Runs the operation with a variable of the failpoints set.
    pub(crate) fn run(&self, operation: &Operation, variable: &str, value: &str) -> Ran {
        let mut command = self.machine.strata_command((operation.words)(self));
        command.env(variable, value).output().unwrap().into()
    }

    /// The failpoints that the operation meets, and how often.
    pub(crate) fn trace(&self, operation: &Operation) -> BTreeMap<String, usize> {
        let file = self.machine.dir().join("trace");
        self.run(operation, failpoint::TRACE_VARIABLE, file.to_str().unwrap()).ok();
        let mut visits = BTreeMap::new();
        for line in std::fs::read_to_string(file).unwrap().lines() {
            *visits.entry(line.to_owned()).or_default() += 1;
        }
        visits
    }

    /// The base image is there, and everything is whole: checking reads and verifies all of it.
    pub(crate) fn assert_whole(&self, when: &str) {
        let listed = self.strata(&["images", "-q", &self.name("base")]);
        assert_eq!((listed.code, listed.out.lines().count()), (0, 1), "the base image is lost {when}: {listed:?}");
        let checked = self.strata(&["check"]);
        assert_eq!(checked.code, 0, "{when}: {checked:?}");
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        // What is not the machine's own would outlive it.
        let script = match self.ground.place {
            Place::Dir | Place::Disk(_) => return,
            Place::Devices => STOP_DEVICES.to_owned(),
            Place::Pool => format!("umount -R /run; cd /; zpool destroy -f {}", pool(&self.machine)),
        };
        let _may_be_used_still = self.machine.sh(&script);
    }
}

fn cp(options: &[&str], from: &std::path::Path, to: &std::path::Path) {
    assert!(Command::new("cp").args(options).args([from, to]).status().unwrap().success());
}

/// The image that has to stay, one on top of it, and one for Windows.
pub(crate) fn images() -> [(&'static str, Image); 3] {
    let base = Image::busybox();
    let layer = |name: &str| Tar::new().dir("data/").file(&format!("data/{name}"), 0o644, name.as_bytes()).finish();
    // One layer has what the base has, too, so that it borrows that.
    let busybox = std::fs::read(host::find_program("busybox").unwrap()).unwrap();
    let copy = Tar::new().dir("data/").file("data/copy", 0o755, &busybox).finish();
    let image = base.clone().layer(layer("one"), Compression::Gzip).layer(layer("two"), Compression::Zstd);
    let mut windows = Image::new();
    windows.config["os"] = "windows".into();
    for name in ["Files/one.txt", "Files/two.txt"] {
        windows = windows.layer(Tar::new().dir("Files").file(name, 0o644, name.as_bytes()).finish(), Compression::Gzip);
    }
    [("base", base), ("image", image.layer(copy, Compression::Gzip)), ("windows", windows)]
}
