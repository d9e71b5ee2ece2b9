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
            let number = start(&control, &pool, &device)?;
            failpoint!("sys.thin.started");
            let mounted = mount(&Node::new(number)?, options);
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
        let made = start(control, pool, &device).and_then(|number| {
            let node = Node::new(number)?;
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
fn start(control: &Control, pool: &str, device: &Device) -> io::Result<u64> {
    let name = device_name(pool, device.number);
    let pool = control.device(pool)?.ok_or(io::ErrorKind::NotFound)?;
    let table = format!("{}:{} {}", rustix::fs::major(pool), rustix::fs::minor(pool), device.number);
    for _ in 0..TRIES_MAX {
        match control.create(&name, device.sectors, "thin", &table) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if let Some(number) = control.device(&name)? {
                    return Ok(number);
                }
            }
            created => return created,
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

/// A block device's node that no directory of the machine has.
struct Node {
    memory: OwnedFd,
}

impl Node {
    fn new(device: u64) -> io::Result<Self> {
        let memory = detached::filesystem("tmpfs", &["mode=700"], MountAttrFlags::empty())?;
        rustix::fs::mknodat(&memory, "device", FileType::BlockDevice, Mode::RUSR | Mode::WUSR, device)?;
        Ok(Self { memory })
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}/device", std::process::id(), self.memory.as_raw_fd())
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
