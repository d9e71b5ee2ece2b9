//! The machines on which operations are killed, and the stores they begin with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Once;

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
    /// A pool of ZFS in a file, of which the kernel takes one copy at a time.
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

    /// How many copies of one store there may be. Cases wait for the disk more than they compute, and tests of other
    /// operations run beside them.
    pub(crate) fn copies_max(self) -> usize {
        if self.place == Place::Pool { 1 } else { 3 }
    }

    fn make(self, machine: &Machine) -> bool {
        let script = match self.place {
            Place::Dir | Place::Devices => return true,
            Place::Disk(kind) => {
                format!("truncate -s 1G disk && mkfs.{kind} -q disk && mkdir store && mount -o loop disk store")
            }
            Place::Pool => {
                let name = machine.dir().file_name().unwrap().to_str().unwrap();
                let options = "-o cachefile=none -O acltype=posix -O xattr=sa -m legacy";
                format!(
                    "echo {name} >pool-name && truncate -s 1G pool && zpool create {options} {name} $PWD/pool && \
                     mkdir store && mount -t zfs {name} store"
                )
            }
        };
        machine.sh(&script).code == 0
    }

    /// Makes the files whole that the store is in, which nobody has open.
    fn rest(self, machine: &Machine) {
        match self.place {
            Place::Dir => {}
            Place::Disk(_) => drop(machine.sh("sync -f store").ok()),
            Place::Devices => drop(machine.sh(STOP_DEVICES)),
            Place::Pool => drop(machine.sh("umount -R /run; umount store && zpool export $(cat pool-name)")),
        }
    }

    /// Mounts the copy of a store.
    fn wake(self, machine: &Machine) {
        match self.place {
            Place::Dir => {}
            Place::Disk(_) => drop(machine.sh("mkdir store && mount -o loop disk store").ok()),
            Place::Devices => {
                let name = format!("strata-{}", strata_sys::random::hex::<8>());
                std::fs::write(machine.root().join("devicemapper/name"), name).unwrap();
            }
            Place::Pool => {
                let import = "zpool import -o cachefile=none -N -d $PWD $(cat pool-name)";
                drop(machine.sh(&format!("{import} && mkdir store && mount -t zfs $(cat pool-name) store")).ok());
            }
        }
    }
}

/// Stops the pool of thin devices, which begins again when it is asked for.
const STOP_DEVICES: &str = "umount -R /run; dmsetup remove --retry $(cat store/devicemapper/name)";

/// A machine with one image that must stay unharmed.
pub(crate) struct Bench<'r> {
    pub(crate) machine: Machine,
    registry: Option<&'r Registry>,
    ground: Ground,
    pub(crate) driver: &'static str,
    /// What no other case of this operation has.
    pub(crate) number: String,
    /// Whether the store is copied from here on, and not used any more.
    rests: Once,
}

/// Where images lie that come from files. It is not copied.
const ARCHIVES: &str = "archives";

impl<'r> Bench<'r> {
    /// One with the image `base`; none if this machine has nothing for the ground to stand on.
    pub(crate) fn new(registry: Option<&'r Registry>, ground: Ground) -> Option<Self> {
        let Ground { driver, .. } = ground;
        let (machine, number) = (Machine::start(), String::from("0"));
        let bench = Self { machine, registry, ground, driver, number, rests: Once::new() };
        let is_made = ground.make(&bench.machine);
        if registry.is_none() {
            let dir = bench.machine.dir().join(ARCHIVES);
            std::fs::create_dir(&dir).unwrap();
            for (name, image) in images() {
                std::fs::write(dir.join(name), image.docker_archive(&format!("{name}:latest"))).unwrap();
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
            None => {
                let archive = format!("{ARCHIVES}/{image}");
                self.strata(&["--storage-driver", self.driver, "load", "-q", "-i", &archive])
            }
        }
    }

    /// Brings the other image here.
    pub(crate) fn obtain_image(&self) {
        self.obtain("image").ok();
    }

    /// Another machine with a copy of the store, which nobody has open.
    pub(crate) fn copy(&self, number: String) -> Bench<'r> {
        let copy = Bench { machine: Machine::start(), number, rests: Once::new(), ..*self };
        self.rests.call_once(|| self.ground.rest(&self.machine));
        let files = std::fs::read_dir(self.machine.dir()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|file| file.is_file()).collect();
        files.extend(matches!(self.ground.place, Place::Dir | Place::Devices).then(|| self.machine.root()));
        let mut cp = Command::new("cp");
        cp.arg("-a").args((self.ground.place != Place::Dir).then_some("--sparse=always")).args(files);
        assert!(cp.arg(copy.machine.dir()).status().unwrap().success());
        self.ground.wake(&copy.machine);
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
    fn inside(&self, dir: &str) -> PathBuf {
        self.machine.seen(&self.machine.root().join(dir))
    }

    /// The file with the filesystem that the store is on, if there is one.
    pub(crate) fn disk(&self) -> Option<PathBuf> {
        matches!(self.ground.place, Place::Disk(_)).then(|| self.machine.dir().join("disk"))
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
            Place::Devices => STOP_DEVICES,
            Place::Pool => "umount -R /run; umount store && zpool destroy -f $(cat pool-name)",
        };
        let _may_be_used_still = self.machine.sh(script);
    }
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
