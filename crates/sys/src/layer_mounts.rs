//! The store's own mount namespace, where each layer image is mounted once for all containers.
//!
//! ```text
//! RUN/layers.mnt      the namespace, pinned by a bind mount of its nsfs file
//! RUN/layers.lock     flock'd while something in it changes
//!   inside it:
//!   /l/<layer>        a layer's filesystem image
//!   /s                the store's root
//! ```
//!
//! Nothing else is mounted inside, so that it keeps no filesystem of the host busy but the store's own. Overlays are made
//! inside and handed out as detached mounts; what a container holds stays valid after a layer is forgotten here.
//! A crash leaves at most the pin, which the next command uses.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};
use rustix::thread::{CpuSet, UnshareFlags};

use crate::durable::FileError;
use crate::excursion::Excursion;
use crate::lock::{Lock, Mode as LockMode};
use crate::process::NamespaceSet;
use crate::{detached, process};

/// The mounts of one store's layers. Opening it mounts nothing.
#[derive(Clone, Debug)]
pub struct LayerMounts {
    store_root: PathBuf,
    run_dir: PathBuf,
}

/// Where the store's root is inside the namespace.
const STORE: &str = "/s";
/// Where layers are inside the namespace.
const LAYERS: &str = "/l";
/// The filesystem of namespaces' files.
pub(crate) const NSFS_MAGIC: i64 = 0x6e73_6673;
/// How often the namespace may turn out to be another store's: others may be letting go of it, too.
const TRIES_MAX: usize = 10;

impl LayerMounts {
    /// Names the store and its run directory, both absolute.
    pub fn new(store_root: &Path, run_dir: &Path) -> Self {
        Self { store_root: store_root.to_owned(), run_dir: run_dir.to_owned() }
    }

    /// The store's root directory.
    pub fn store_root(&self) -> &Path {
        &self.store_root
    }

    /// Does something inside the namespace: on a thread of its own if the process has several, which stay where they are.
    /// Makes the namespace when it is missing, which needs CAP_SYS_ADMIN, and anew if it has another store than the one that
    /// is there now. No layer is forgotten meanwhile.
    pub fn inside<T: Send>(&self, act: impl FnOnce(&Inside<'_>) -> io::Result<T> + Send) -> io::Result<T> {
        let (store, mut act) = (identity(&self.store_root)?, Some(act));
        for _ in 0..TRIES_MAX {
            let namespace = match self.pinned()? {
                Some(namespace) => namespace,
                None => self.create()?,
            };
            let done = self.enter(namespace, FlockOperation::LockShared, |inside| {
                let act = if identity(Path::new(STORE))? == store { act.take() } else { None };
                act.map(|act| act(inside)).transpose()
            });
            match done? {
                Some(done) => return Ok(done),
                // It was removed by hand and made again, or something was mounted over it.
                None => self.drop_all()?,
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Does something inside the namespace, if there is one; see [`LayerMounts::inside`].
    pub(crate) fn inside_existing<T: Send>(&self, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<Option<T>> {
        let Some(namespace) = self.pinned()? else { return Ok(None) };
        self.enter(namespace, FlockOperation::LockShared, |_| act()).map(Some)
    }

    /// The run directory.
    pub(crate) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Unmounts a layer here; containers that use it keep their own hold on it. It may not be mounted.
    pub fn forget(&self, layer: &str) -> io::Result<()> {
        let Some(namespace) = self.pinned()? else { return Ok(()) };
        let point = format!("{LAYERS}/{layer}");
        self.enter(namespace, FlockOperation::LockExclusive, |_| {
            match rustix::mount::unmount(point.as_str(), UnmountFlags::DETACH) {
                Ok(()) => ignore_missing(rustix::fs::rmdir(point.as_str())),
                Err(Errno::INVAL | Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Acts inside `namespace` while holding its layers: shared by who uses them, alone by who takes some away.
    fn enter<T: Send>(
        &self,
        namespace: OwnedFd,
        hold: FlockOperation,
        act: impl FnOnce(&Inside<'_>) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let held = || {
            let layers = open_dir(LAYERS)?;
            rustix::io::retry_on_intr(|| rustix::fs::flock(&layers, hold))?;
            act(&Inside { mounts: self })
        };
        if process::single_threaded()? {
            // A tenth of a thread's price.
            let _returns = Excursion::into(namespace.as_fd())?;
            held()
        } else {
            on_thread(|| {
                unshare(UnshareFlags::FS)?;
                process::join(namespace.as_fd(), NamespaceSet::MOUNT)?;
                held()
            })
        }
    }

    /// Lets go of the namespace and with it of all layers no container uses.
    pub fn drop_all(&self) -> io::Result<()> {
        let Some(_exists) = self.pinned()? else { return Ok(()) };
        let _lock = self.lock()?;
        let Some(_still_exists) = self.pinned()? else { return Ok(()) };
        rustix::mount::unmount(self.pin(), UnmountFlags::DETACH)?;
        match rustix::mount::unmount(&self.run_dir, UnmountFlags::DETACH) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn pin(&self) -> PathBuf {
        self.run_dir.join("layers.mnt")
    }

    fn lock(&self) -> io::Result<Lock> {
        Lock::wait(&self.run_dir.join("layers.lock"), LockMode::Exclusive)
    }

    /// The pinned namespace, unless there is none.
    fn pinned(&self) -> io::Result<Option<OwnedFd>> {
        let pin = match rustix::fs::open(self.pin(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(pin) => pin,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok((rustix::fs::fstatfs(&pin)?.f_type == NSFS_MAGIC).then_some(pin))
    }

    /// Makes and pins the namespace, unless another process did so meanwhile.
    fn create(&self) -> io::Result<OwnedFd> {
        crate::durable::create_dirs(&self.run_dir, 0o700).map_err(io_error)?;
        let _lock = self.lock()?;
        if let Some(namespace) = self.pinned()? {
            return Ok(namespace);
        }
        // A namespace's file can only be bound where mounts do not propagate into the namespace itself.
        if !is_mount_point(&self.run_dir)? {
            rustix::mount::mount_bind(&self.run_dir, &self.run_dir)?;
            rustix::mount::mount_change(&self.run_dir, MountPropagationFlags::PRIVATE)?;
        }
        File::options().create(true).append(true).open(self.pin())?;
        self.make_and_bind()
    }

    /// A namespace's file can be bound only in a namespace with a lower number, which keeps them from pinning each other.
    /// Numbers grow on each processor by itself (since Linux 6.18, `gen_cookie_next`), so a new namespace's may be lower than
    /// ours if we are in one that is not the machine's. On one of the processors it is higher.
    fn make_and_bind(&self) -> io::Result<OwnedFd> {
        on_some_processor(
            || self.furnish(),
            |namespace| {
                let source = format!("/proc/self/fd/{}", namespace.as_raw_fd());
                rustix::mount::mount(source.as_str(), self.pin(), "", MountFlags::BIND, None::<&std::ffi::CStr>)
                    .map_err(io::Error::from)
            },
        )
    }

    /// Moves this thread into a new namespace, leaves in it nothing but a small tmpfs and the store, and gives its file.
    fn furnish(&self) -> io::Result<OwnedFd> {
        unshare(UnshareFlags::FS | UnshareFlags::NEWNS)?;
        let namespace = process::own_namespace("mnt")?;
        detached::refuse_in_machine_namespace()?;
        rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        let store = open_tree(&self.store_root)?;
        let root = new_mount("tmpfs", &[("mode", Some("700"))], MountAttrFlags::empty())?;
        for dir in ["l", "s"] {
            rustix::fs::mkdirat(&root, dir, Mode::RWXU)?;
        }
        let into = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&root, "", CWD, &self.run_dir, into)?;
        rustix::mount::move_mount(&store, "", &root, "s", into)?;
        detached::pivot(root.as_fd())?;
        Ok(namespace)
    }
}

/// What can be done inside the namespace; exists only there.
#[derive(Debug)]
pub struct Inside<'a> {
    mounts: &'a LayerMounts,
}

impl Inside<'_> {
    /// Where a path below the store's root is in here.
    pub fn path(&self, outside: &Path) -> io::Result<PathBuf> {
        match outside.strip_prefix(&self.mounts.store_root) {
            Ok(below) => Ok(Path::new(STORE).join(below)),
            Err(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "a layer outside the store")),
        }
    }

    /// Mounts a layer's image unless it is mounted, and says where.
    pub fn layer(&self, fs: &str, image: &Path, devices: &[PathBuf]) -> io::Result<PathBuf> {
        let name = image.parent().and_then(Path::file_name).unwrap_or_default();
        let point = Path::new(LAYERS).join(name);
        if is_mount_point(&point)? {
            return Ok(point);
        }
        // The run directory is not visible in here; the namespace's own root serves as well.
        let root = open_dir("/")?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&root, FlockOperation::LockExclusive))?;
        if !is_mount_point(&point)? {
            ignore_existing(rustix::fs::mkdir(&point, Mode::RWXU))?;
            let layer = self.mount_image(fs, image, devices)?;
            rustix::mount::move_mount(&layer, "", CWD, &point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        Ok(point)
    }

    fn mount_image(&self, fs: &str, image: &Path, devices: &[PathBuf]) -> io::Result<OwnedFd> {
        let source = text(&self.path(image)?)?;
        let devices = devices.iter().map(|device| text(&self.path(device)?)).collect::<io::Result<Vec<_>>>()?;
        let mut options = vec![("source", Some(source.as_str())), ("ro", None)];
        options.extend(devices.iter().map(|device| ("device", Some(device.as_str()))));
        // Reads past the page cache of the tar, so that content is cached once; not every filesystem below can.
        let direct: Vec<_> = options.iter().copied().chain([("directio", None)]).collect();
        match new_mount(fs, &direct, MountAttrFlags::MOUNT_ATTR_RDONLY) {
            Err(_) => new_mount(fs, &options, MountAttrFlags::MOUNT_ATTR_RDONLY),
            mounted => mounted,
        }
    }
}

/// Makes a namespace on a thread, and binds its file; again on each processor as long as the kernel refuses to.
pub(crate) fn on_some_processor(
    make: impl Fn() -> io::Result<OwnedFd> + Sync,
    bind: impl Fn(&OwnedFd) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let processors = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).map(Some);
    for processor in std::iter::once(None).chain(processors) {
        let namespace = on_thread(|| {
            if let Some(processor) = processor {
                let mut only = CpuSet::new();
                only.set(processor);
                rustix::thread::sched_setaffinity(None, &only)?;
            }
            make()
        })?;
        match bind(&namespace) {
            Ok(()) => return Ok(namespace),
            // The second is what move_mount(2) says.
            Err(error) if [Errno::INVAL, Errno::LOOP].contains(&Errno::from_io_error(&error).unwrap_or(Errno::IO)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::INVAL.into())
}

/// Makes a new instance of a filesystem, detached.
pub(crate) fn new_mount(fs: &str, options: &[(&str, Option<&str>)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(fs, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, *key, *value)?,
            None => rustix::mount::fsconfig_set_flag(&context, *key)?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A second, detached sight of a directory.
pub(crate) fn open_tree(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

/// What tells a file from every other that is there.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::stat(path)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn open_dir(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

pub(crate) fn on_thread<T: Send>(act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES);
    std::thread::scope(|scope| match thread.spawn_scoped(scope, act)?.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Enough for a few system calls and their paths.
const THREAD_STACK_BYTES: usize = 256 << 10;

pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: neither FS nor NEWNS unshares the table of descriptors, so no thread's descriptor changes its meaning.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

fn is_mount_point(path: &Path) -> io::Result<bool> {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW | rustix::fs::AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, path, flags, rustix::fs::StatxFlags::TYPE) {
        Ok(stat) => Ok(stat.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn text(path: &Path) -> io::Result<String> {
    let text = path.to_str().filter(|text| CString::new(*text).is_ok());
    text.map(str::to_owned).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the store's path is not UTF-8"))
}

fn ignore_existing(result: rustix::io::Result<()>) -> io::Result<()> {
    if result == Err(Errno::EXIST) { Ok(()) } else { Ok(result?) }
}

fn ignore_missing(result: rustix::io::Result<()>) -> io::Result<()> {
    if matches!(result, Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY)) { Ok(()) } else { Ok(result?) }
}

fn io_error(error: FileError) -> io::Error {
    error.source
}
