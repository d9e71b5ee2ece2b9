//! Filesystems on thin devices: a pool of blocks, and devices that share theirs until one of them is written
//! (Documentation/admin-guide/device-mapper/thin-provisioning.rst).
//!
//! ```text
//! DIR/name            of the pool, without which there is none
//! DIR/data  metadata  where its blocks are: sparse files behind loop devices, or links to block devices
//! DIR/thin/<number>   a device, with its length in sectors; another name of it is with whom the device belongs to
//! DIR/empty           such a name for an empty filesystem, of which all others are copies
//! DIR/lock            flock'd while devices are made, mounted or removed
//! ```
//!
//! A device whose other name is gone belongs to nobody. So who removes the directory of a layer or container has removed its
//! device, too, and [`Pool::tidy`] gives the blocks back.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use strata_types::plain;

use crate::dm::Control;
use crate::durable::{self, Durability};
use crate::lock::{Lock, Mode as LockMode};
use crate::{detached, failpoint, loop_device};

/// How large a sparse pool is; and every filesystem in it, like Docker's.
const POOL_BYTES: u64 = 100 << 30;
const METADATA_BYTES: u64 = 2 << 30;
const FILESYSTEM_BYTES: u64 = 10 << 30;
/// The size of the blocks that devices share.
const BLOCK_SECTORS: u64 = 128;
const SECTOR_BYTES: u64 = 512;
/// The size of the blocks that `mkfs.ext4` makes filesystems of in devices of that size.
const BLOCK_BYTES: u64 = 4096;
/// Numbers of thin devices have 24 bits.
const NUMBER_MAX: u32 = (1 << 24) - 1;
/// How often a device may go away between two calls, or be found while somebody is just unmounting it.
const TRIES_MAX: u32 = 200;
/// The filesystem in every device.
const KIND: &str = "ext4";
/// The name of a device's node.
const DEVICE: &str = "device";

/// The pool of one store.
#[derive(Clone, Debug)]
pub struct Pool {
    dir: PathBuf,
}

/// One of its devices.
struct Device {
    number: u32,
    sectors: u64,
}

impl Pool {
    /// Names the pool whose files are in `dir`. Nothing is made yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// What this machine lacks for it, in words.
    pub fn probe() -> Result<(), String> {
        let control = Control::open().map_err(|error| format!("no device mapper can be reached: {}", plain(&error)))?;
        if !control.has("thin-pool") {
            return Err("the kernel's device mapper has no target `thin-pool`".to_owned());
        }
        let made = Command::new(format!("mkfs.{KIND}")).arg("-V").stderr(Stdio::null()).status();
        made.map(drop).map_err(|error| format!("no program `mkfs.{KIND}`: {}", plain(&error)))
    }

    /// Makes a filesystem, a copy of that whose name is `below` or an empty one, with the name `at`.
    pub fn make(&self, below: Option<&Path>, at: &Path) -> io::Result<()> {
        self.copy(below, at, None)
    }

    /// The same, but with room for so many bytes, which are not [fewer](Self::bytes) than the one below has.
    pub fn make_larger(&self, below: Option<&Path>, at: &Path, bytes: u64) -> io::Result<()> {
        self.copy(below, at, Some(bytes / BLOCK_BYTES * (BLOCK_BYTES / SECTOR_BYTES)))?;
        grow(&self.mount_with(at, &["rw"])?, bytes / BLOCK_BYTES)
    }

    /// How much room a filesystem has, or an empty one.
    pub fn bytes(&self, below: Option<&Path>) -> io::Result<u64> {
        below.map_or(Ok(FILESYSTEM_BYTES), |below| Ok(read(below)?.sectors * SECTOR_BYTES))
    }

    fn copy(&self, below: Option<&Path>, at: &Path, sectors: Option<u64>) -> io::Result<()> {
        let _lock = self.lock()?;
        let control = Control::open()?;
        let pool = self.activate(&control)?;
        let empty = self.dir.join("empty");
        if below.is_none() && !empty.exists() {
            self.make_empty(&control, &pool, &empty)?;
        }
        let origin = read(below.unwrap_or(&empty))?;
        let number = self.reserve(sectors.unwrap_or(origin.sectors), at)?;
        failpoint!("sys.thin.reserved");
        control.message(&pool, &format!("create_snap {number} {}", origin.number))?;
        failpoint!("sys.thin.made");
        Ok(())
    }

    /// Mounts the filesystem whose name is `at` as a detached mount. The device is there as long as it is mounted.
    pub fn mount(&self, at: &Path, writable: bool) -> io::Result<OwnedFd> {
        // The tables of inodes are zeros already, and need not be written in every copy.
        self.mount_with(at, &[if writable { "rw" } else { "ro" }, "noinit_itable"])
    }

    fn mount_with(&self, at: &Path, options: &[&str]) -> io::Result<OwnedFd> {
        let _lock = self.lock()?;
        let control = Control::open()?;
        let pool = self.activate(&control)?;
        let device = read(at)?;
        let name = device_name(&pool, device.number);
        let mut tries = TRIES_MAX;
        loop {
            let node = start(&control, &pool, &device)?;
            failpoint!("sys.thin.started");
            let mounted = mount(&node, options);
            drop(node);
            control.remove(&name)?;
            tries -= 1;
            match mounted {
                // Its last user just went, and it with them.
                Err(Errno::NXIO | Errno::NODEV | Errno::NOENT | Errno::BUSY) if tries > 0 => {
                    crate::clock::pause(Duration::from_millis(5));
                }
                mounted => return Ok(mounted?),
            }
        }
    }

    /// Gives back the blocks of devices that belong to nobody any more.
    pub fn tidy(&self) -> io::Result<()> {
        let thin = self.dir.join("thin");
        let _lock = self.lock()?;
        let mut names = None;
        for entry in std::fs::read_dir(&thin)? {
            let entry = entry?;
            if entry.metadata()?.nlink() > 1 {
                continue;
            }
            if names.is_none() {
                let control = Control::open()?;
                let pool = self.activate(&control)?;
                names = Some((control, pool));
            }
            let Some((control, pool)) = &names else { continue };
            let number = entry.file_name().to_string_lossy().into_owned();
            let delete = || control.message(pool, &format!("delete {number}"));
            let deleted = match delete() {
                // Whoever started it may have been killed before saying that it may go.
                Err(Errno::BUSY) => control.remove(&device_name(pool, &number)).map(|()| delete())?,
                deleted => deleted,
            };
            failpoint!("sys.thin.deleted");
            match deleted {
                // Never made, or gone already.
                Ok(()) | Err(Errno::NODATA) => drop(durable::remove(&entry.path()).map_err(|error| error.source)?),
                // Somebody still sees it.
                Err(Errno::BUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<Lock> {
        durable::create_dirs(&self.dir.join("thin"), 0o700).map_err(|error| error.source)?;
        Lock::wait(&self.dir.join("lock"), LockMode::Exclusive)
    }

    /// Starts the pool unless it is, and gives its name.
    fn activate(&self, control: &Control) -> io::Result<String> {
        let path = self.dir.join("name");
        let name = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = format!("strata-{}", crate::random::hex::<8>());
                durable::write_file(&path, name.as_bytes(), 0o600, Durability::Durable)
                    .map_err(|error| error.source)?;
                name
            }
            read => read?,
        };
        if control.device(&name)?.is_some() {
            return Ok(name);
        }
        let metadata = Backing::open(&self.dir.join("metadata"), METADATA_BYTES)?;
        let data = Backing::open(&self.dir.join("data"), POOL_BYTES)?;
        let table = format!("{} {} {BLOCK_SECTORS} 0 1 skip_block_zeroing", metadata.numbers(), data.numbers());
        control.create(&name, data.sectors, "thin-pool", &table)?;
        Ok(name)
    }

    /// Gives a device a number that none has, and its names. Whoever dies here leaves a file that [`Self::tidy`] removes.
    fn reserve(&self, sectors: u64, at: &Path) -> io::Result<u32> {
        loop {
            let number = u32::from_ne_bytes(crate::random::bytes()) & NUMBER_MAX;
            let path = self.dir.join("thin").join(number.to_string());
            if path.exists() {
                continue;
            }
            let text = format!("{number} {sectors}\n");
            durable::write_file(&path, text.as_bytes(), 0o600, Durability::Durable).map_err(|error| error.source)?;
            std::fs::hard_link(&path, at)?;
            return Ok(number);
        }
    }

    fn make_empty(&self, control: &Control, pool: &str, at: &Path) -> io::Result<()> {
        let new = self.dir.join("empty.new");
        durable::remove(&new).map_err(|error| error.source)?;
        let number = self.reserve(FILESYSTEM_BYTES / SECTOR_BYTES, &new)?;
        control.message(pool, &format!("create_thin {number}"))?;
        let device = read(&new)?;
        let made = start(control, pool, &device).and_then(|node| {
            make_filesystem(node.path())?;
            let root = mount(&node, &["rw", "noinit_itable"])?;
            rustix::fs::unlinkat(&root, "lost+found", rustix::fs::AtFlags::REMOVEDIR)?;
            let root = rustix::fs::openat(&root, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            Ok(rustix::fs::syncfs(&root)?)
        });
        control.remove(&device_name(pool, number))?;
        made?;
        durable::rename(&new, at).map_err(|error| error.source)
    }
}

/// Makes a device of the machine of it, unless it is one. The caller says that it may go again.
fn start(control: &Control, pool: &str, device: &Device) -> io::Result<Node> {
    let name = device_name(pool, device.number);
    let pool = control.device(pool)?.ok_or(io::ErrorKind::NotFound)?;
    let table = format!("{}:{} {}", rustix::fs::major(pool), rustix::fs::minor(pool), device.number);
    for _ in 0..TRIES_MAX {
        let started = match control.create(&name, device.sectors, "thin", &table) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => control.device(&name)?,
            created => Some(created?),
        };
        // One that was there may be going, and then its number is the next one's, which may be another store's.
        if let Some(number) = started
            && let Some(node) = Node::open(number)?
            && control.device(&name)? == Some(number)
        {
            return Ok(node);
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn device_name(pool: &str, number: impl Display) -> String {
    format!("{pool}-{number}")
}

fn mount(node: &Node, options: &[&str]) -> rustix::io::Result<OwnedFd> {
    let source = format!("source={}", node.path());
    detached::filesystem(KIND, &[&[source.as_str()], options].concat(), MountAttrFlags::empty())
}

/// Lets a mounted filesystem take more blocks of its device. It must not have been mounted with `noinit_itable`: the kernel
/// would write zeros to the new tables of inodes at once, and they are zeros.
fn grow(mount: &OwnedFd, blocks: u64) -> io::Result<()> {
    /// `EXT4_IOC_RESIZE_FS`.
    const RESIZE: u64 = 0x4008_6610;
    let root = rustix::fs::openat(mount, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: the request reads a number of 64 bits.
    match unsafe { libc::ioctl(root.as_raw_fd(), RESIZE as _, &raw const blocks) } {
        0 => Ok(rustix::fs::syncfs(&root)?),
        _ => Err(io::Error::last_os_error()),
    }
}

fn read(path: &Path) -> io::Result<Device> {
    let text = std::fs::read_to_string(path)?;
    let parsed = text
        .trim()
        .split_once(' ')
        .and_then(|(number, sectors)| Some(Device { number: number.parse().ok()?, sectors: sectors.parse().ok()? }));
    parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no thin device"))
}

/// What a pool's blocks lie on.
struct Backing {
    device: OwnedFd,
    sectors: u64,
}

impl Backing {
    fn open(path: &Path, bytes: u64) -> io::Result<Self> {
        let is_device = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device());
        let file = std::fs::OpenOptions::new().read(true).write(true).create(!is_device).truncate(false).open(path)?;
        if !is_device && file.metadata()?.len() == 0 {
            file.set_len(bytes)?;
            file.sync_all()?;
        }
        let bytes = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))?;
        let device = if is_device { OwnedFd::from(file) } else { loop_device::attach(file.as_fd())? };
        Ok(Self { device, sectors: bytes / SECTOR_BYTES })
    }

    fn numbers(&self) -> String {
        let number = rustix::fs::fstat(&self.device).map_or(0, |stat| stat.st_rdev);
        format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number))
    }
}

/// A block device's node that no directory of the machine has. The device is there as long as this is.
struct Node {
    memory: OwnedFd,
    _device: OwnedFd,
}

impl Node {
    /// None if there is no such device.
    fn open(number: u64) -> io::Result<Option<Self>> {
        let memory = detached::filesystem("tmpfs", &["mode=700"], MountAttrFlags::empty())?;
        rustix::fs::mknodat(&memory, DEVICE, FileType::BlockDevice, Mode::RUSR | Mode::WUSR, number)?;
        match rustix::fs::openat(&memory, DEVICE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(device) => Ok(Some(Self { memory, _device: device })),
            Err(Errno::NXIO | Errno::NODEV) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}/{DEVICE}", std::process::id(), self.memory.as_raw_fd())
    }
}

fn make_filesystem(node: String) -> io::Result<()> {
    let mut command = Command::new(format!("mkfs.{KIND}"));
    // What is zero already is not written.
    command.args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"]).arg(node);
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("mkfs.{KIND} failed: {said}")))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::AtFlags;

    use super::*;

    /// The name of a store's device.
    const AT: &str = "at";

    /// The pools of some stores, each with a device with one file, which has the store's number for a name. None where there are
    /// no thin devices.
    fn stores<const COUNT: usize>(dir: &Path) -> Option<[Pool; COUNT]> {
        if let Err(missing) = Pool::probe() {
            assert!(std::env::var_os("STRATA_TEST_DRIVER").is_none(), "{missing}");
            println!("skipped: {missing}");
            return None;
        }
        Some(std::array::from_fn(|store| {
            let pool = Pool::new(&dir.join(store.to_string()));
            let at = pool.dir.join(AT);
            pool.make(None, &at).unwrap();
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(pool.mount(&at, true).unwrap(), store.to_string(), flags, Mode::RUSR).unwrap();
            pool
        }))
    }

    fn assert_is_of(store: usize, mount: impl AsFd) {
        let seen = rustix::fs::statat(mount, store.to_string(), AtFlags::empty());
        assert!(seen.is_ok(), "store {store} sees another's files: {seen:?}");
    }

    fn stop(pool: &Pool) {
        let name = std::fs::read_to_string(pool.dir.join("name")).unwrap();
        Control::open().unwrap().remove(&name).unwrap();
    }

    /// Devices of all stores have their numbers from one range, and one is free as soon as its device is gone.
    #[test]
    fn a_device_that_may_go_is_there_until_it_is_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let Some([pool, other]) = stores(dir.path()) else { return };
        let control = Control::open().unwrap();
        let names = [&pool, &other].map(|pool| pool.activate(&control).unwrap());
        let device = read(&pool.dir.join(AT)).unwrap();
        let node = start(&control, &names[0], &device).unwrap();
        control.remove(&device_name(&names[0], device.number)).unwrap();
        let others = other.mount(&other.dir.join(AT), false).unwrap();
        assert_is_of(0, mount(&node, &["ro"]).unwrap());
        assert_is_of(1, others);
        drop(node);
        [pool, other].iter().for_each(stop);
    }

    #[test]
    fn who_mounts_what_others_just_unmount_gets_his_own() {
        const ROUNDS: usize = 50;
        let dir = tempfile::tempdir().unwrap();
        let Some(pools) = stores::<3>(dir.path()) else { return };
        std::thread::scope(|scope| {
            for (store, pool) in pools.iter().enumerate() {
                let look = move || {
                    (0..ROUNDS).for_each(|_| assert_is_of(store, pool.mount(&pool.dir.join(AT), false).unwrap()));
                };
                scope.spawn(look);
                scope.spawn(look);
            }
        });
        pools.iter().for_each(stop);
    }
}
