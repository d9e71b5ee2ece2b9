//! Namespaces that a container has left as it got them, kept for the next one.
//!
//! A network of its own and a namespace of queues and shared memory cost a container a third of what the kernel does for it,
//! and most short programs touch neither.
//!
//! ```text
//! RUN/spare           which are kept and since when they are in use, flock'd while that is looked at
//!   inside the layers' namespace (layer_mounts):
//!   /n/net /n/ipc     the namespaces, pinned by bind mounts of their files
//!   /n/mqueue         the queues that are in /n/ipc
//!   /n/mnt            the bare namespace (bare), which serves all
//! ```
//!
//! One of each is kept. It is free between two containers only; one that nobody gives back is replaced. So a crash leaves
//! nothing that would have to be repaired, and whoever takes one looks first whether it is [unused](is_unused).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::time::{ClockId, clock_gettime};

use crate::bare;
use crate::layer_mounts::{LayerMounts, NSFS_MAGIC, on_some_processor};
use crate::process::{self, NamespaceSet};
use crate::signal::last_errno;
use crate::{detached, kernel_file};

/// A kind of namespace that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Interfaces, addresses, sockets.
    Network,
    /// Queues, semaphores, shared memory.
    Ipc,
}

impl Kind {
    /// What it is for clone(2).
    pub const fn namespace(self) -> NamespaceSet {
        match self {
            Self::Network => NamespaceSet::NET,
            Self::Ipc => NamespaceSet::IPC,
        }
    }

    /// What proc(5) calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Ipc => "ipc",
        }
    }

    fn pin(self) -> String {
        format!("{PINS}/{}", self.name())
    }
}

/// Where they are inside the layers' namespace.
const PINS: &str = "/n";
/// The queues of the one that is kept.
const QUEUES: &str = "/n/mqueue";
/// The bare namespace.
const BARE: &str = "/n/mnt";
/// How long one that is in use is waited for before another is kept in its place.
const WAIT_MS: u64 = 1000;

/// What there is for a new container.
#[derive(Debug, Default)]
pub struct Taken {
    /// Namespaces that others have left as they were.
    pub free: Vec<(Kind, OwnedFd)>,
    /// Kinds of which none is kept: whoever makes one may give it.
    pub missing: Vec<Kind>,
    /// The mount namespace of which containers' are copies ([`crate::bare`]).
    pub bare: Option<OwnedFd>,
}

/// What is written of one: the number of its file, and when it was taken. Nothing is kept where the number is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    inode: u64,
    /// Since the boot, in milliseconds; 0 while it is free.
    taken_ms: u64,
}

impl Record {
    const BYTES: usize = 16;

    fn read(file: &File, kind: Kind) -> Self {
        let mut numbers = [[0; 8]; 2];
        // A file that ends before it has none.
        if file.read_exact_at(numbers.as_flattened_mut(), Self::place(kind)).is_err() {
            return Self::default();
        }
        let [inode, taken_ms] = numbers.map(u64::from_le_bytes);
        Self { inode, taken_ms }
    }

    fn write(self, file: &File, kind: Kind) -> io::Result<()> {
        let numbers = [self.inode, self.taken_ms].map(u64::to_le_bytes);
        file.write_all_at(numbers.as_flattened(), Self::place(kind))
    }

    const fn place(kind: Kind) -> u64 {
        kind as u64 * Self::BYTES as u64
    }

    const fn is_free(self) -> bool {
        self.inode != 0 && self.taken_ms == 0
    }

    /// Whether whoever took it may still give it back.
    fn is_awaited(self, now_ms: u64) -> bool {
        self.inode != 0 && now_ms.checked_sub(self.taken_ms).is_some_and(|since_ms| since_ms < WAIT_MS)
    }
}

/// The spare namespaces of one store's containers.
#[derive(Clone, Debug)]
pub struct Spares {
    mounts: LayerMounts,
}

impl Spares {
    /// Those that are kept beside these layers.
    pub const fn new(mounts: LayerMounts) -> Self {
        Self { mounts }
    }

    /// Takes what is free. Nobody waits for that: what others look at now is neither free nor missing.
    ///
    /// # Errors
    /// When the file or the namespace of the layers cannot be read.
    pub fn take(&self, kinds: &[Kind]) -> io::Result<Taken> {
        let Some(file) = self.open(false)? else { return Ok(Taken { missing: kinds.to_vec(), ..Taken::default() }) };
        let records: Vec<_> = match lock(&file)? {
            true => kinds.iter().map(|kind| (*kind, Record::read(&file, *kind))).collect(),
            false => Vec::new(),
        };
        let now_ms = now_ms();
        let free = || records.iter().copied().filter(|(_, record)| record.is_free());
        // Before they are used.
        free().try_for_each(|(kind, record)| Record { taken_ms: now_ms, ..record }.write(&file, kind))?;
        let look = || Ok((free().filter_map(pinned).collect(), open(BARE).ok()));
        let (found, bare): (Vec<_>, _) = self.mounts.inside_existing(look)?.unwrap_or_default();
        let mut missing = Vec::new();
        for (kind, record) in &records {
            let is_found = found.iter().any(|(of, _)| of == kind);
            if record.is_free() && !is_found {
                // Not what is written down: the layers' namespace was made anew, or there are queues.
                Record::default().write(&file, *kind)?;
            }
            if !is_found && (record.is_free() || !record.is_awaited(now_ms)) {
                missing.push(*kind);
            }
        }
        Ok(Taken { free: found, missing, bare })
    }

    /// Gives back what was taken, or gives some to be kept: nobody is in them any more, and all that was in them has left them
    /// as they were. The process has a single thread.
    ///
    /// # Errors
    /// When one cannot be pinned. Then it is not kept.
    pub fn give(&self, namespaces: &[(Kind, OwnedFd)]) -> io::Result<()> {
        let Some(file) = self.open(true)? else { return Ok(()) };
        if !lock(&file)? {
            return Ok(());
        }
        namespaces.iter().try_for_each(|(kind, namespace)| self.keep(&file, *kind, namespace.as_fd()))
    }

    fn keep(&self, file: &File, kind: Kind, namespace: BorrowedFd<'_>) -> io::Result<()> {
        let inode = rustix::fs::fstat(namespace)?.st_ino;
        let kept = Record::read(file, kind);
        if kept.inode != inode {
            if kept.is_free() || kept.is_awaited(now_ms()) {
                return Ok(());
            }
            // Until it is pinned there is none.
            Record::default().write(file, kind)?;
            self.pin(kind, namespace)?;
        }
        Record { inode, taken_ms: 0 }.write(file, kind)
    }

    fn pin(&self, kind: Kind, namespace: BorrowedFd<'_>) -> io::Result<()> {
        let queues = if kind == Kind::Ipc { Some(queues_of(namespace)?) } else { None };
        let pinned = self.mounts.inside_existing(|| {
            put(&sight_of(namespace)?, &kind.pin(), false)?;
            queues.map_or(Ok(()), |queues| put(&queues, QUEUES, true))?;
            Ok(open(BARE).is_ok())
        })?;
        match pinned {
            Some(true) => Ok(()),
            Some(false) => self.pin_bare(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn pin_bare(&self) -> io::Result<()> {
        let bind = |namespace: &OwnedFd| {
            let put = || put(&sight_of(namespace.as_fd())?, BARE, false);
            self.mounts.inside_existing(put)?.ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        on_some_processor(|| bare::furnish(self.mounts.run_dir()), bind).map(drop)
    }

    fn open(&self, create: bool) -> io::Result<Option<File>> {
        open_record(&self.mounts.run_dir().join("spare"), create)
    }
}

/// Opens the file with what is written of something that is kept; none if it is not there and not made.
pub(crate) fn open_record(path: &Path, create: bool) -> io::Result<Option<File>> {
    match File::options().read(true).write(true).create(create).truncate(false).mode(0o600).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The namespace that is pinned, if it is the one that is written down and has no queues. Called inside the layers' namespace.
fn pinned((kind, record): (Kind, Record)) -> Option<(Kind, OwnedFd)> {
    let namespace = open(&kind.pin()).ok()?;
    let is_it = rustix::fs::fstat(&namespace).is_ok_and(|stat| stat.st_ino == record.inode);
    let is_empty = match kind {
        Kind::Network => true,
        // The size of this directory grows with each of them (ipc/mqueue.c).
        Kind::Ipc => rustix::fs::stat(QUEUES).is_ok_and(|stat| stat.st_size == QUEUES_SIZE_WITHOUT),
    };
    (is_it && is_empty).then_some((kind, namespace))
}

/// Opens the namespace that is pinned there; fails if none is.
fn open(pin: &str) -> io::Result<OwnedFd> {
    let namespace = rustix::fs::open(pin, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::fs::fstatfs(&namespace)?.f_type {
        NSFS_MAGIC => Ok(namespace),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// A detached mount of a namespace's file.
fn sight_of(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(namespace, "", flags)?)
}

/// Mounts something at a place inside the layers' namespace, instead of what is mounted there.
pub(crate) fn put(mount: impl AsFd, place: &str, is_dir: bool) -> io::Result<()> {
    ignore(rustix::fs::mkdir(PINS, Mode::RWXU), Errno::EXIST)?;
    if is_dir {
        ignore(rustix::fs::mkdir(place, Mode::RWXU), Errno::EXIST)?;
    } else {
        drop(rustix::fs::open(place, OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR)?);
    }
    ignore(rustix::mount::unmount(place, UnmountFlags::DETACH), Errno::INVAL)?;
    Ok(rustix::mount::move_mount(mount, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Size of the directory of queues without any: its two own entries (`2 * DIRENT_SIZE`).
const QUEUES_SIZE_WITHOUT: i64 = 40;

/// The filesystem that shows the queues in a namespace, as a detached mount.
fn queues_of(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let home = process::own_namespace("ipc")?;
    process::join(namespace, NamespaceSet::IPC)?;
    let made = detached::filesystem("mqueue", &[], MountAttrFlags::MOUNT_ATTR_RDONLY);
    process::join(home.as_fd(), NamespaceSet::IPC)?;
    Ok(made?)
}

/// Whether the namespace of this kind that this thread is in is as it was made: no traffic on its only interface and no
/// socket, or no shared memory, semaphores and queues of System V. Those of POSIX were looked at when it was taken.
///
/// # Errors
/// When the kernel does not say.
pub fn is_unused(kind: Kind) -> io::Result<bool> {
    match kind {
        Kind::Network => {
            let sockets = kernel_file::read("/proc/thread-self/net/sockstat")?;
            Ok(sockets.starts_with("sockets: used 0\n") && is_silent(&kernel_file::read("/proc/thread-self/net/dev")?))
        }
        Kind::Ipc => Ok(!has_objects()?),
    }
}

/// Whether these interfaces (`/proc/net/dev`) are the loopback one alone, and nothing ever passed it.
fn is_silent(interfaces: &str) -> bool {
    let mut lines = interfaces.lines().skip(2);
    let only = lines.next().and_then(|line| line.trim_start().strip_prefix("lo:"));
    only.is_some_and(|counters| counters.split_whitespace().all(|counter| counter == "0")) && lines.next().is_none()
}

/// Whether this thread's namespace has objects of System V (shmctl(2), semctl(2), msgctl(2)).
fn has_objects() -> io::Result<bool> {
    /// `SHM_INFO` of linux/shm.h.
    const SHM_INFO: libc::c_int = 14;
    /// Where `struct seminfo` has the number of sets, for `SEM_INFO`; the two others begin with theirs.
    const SEMUSZ: usize = 7;
    let mut info = [0_i32; 32];
    // SAFETY: it is larger than `struct shm_info`, which is filled in, and nothing else is changed.
    let shared = unsafe { libc::shmctl(0, SHM_INFO, info.as_mut_ptr().cast()) };
    let has_shared = info[0] != 0;
    // SAFETY: the same with `struct seminfo`.
    let sets = unsafe { libc::semctl(0, 0, libc::SEM_INFO, info.as_mut_ptr()) };
    let has_sets = info[SEMUSZ] != 0;
    // SAFETY: the same with `struct msginfo`.
    let queues = unsafe { libc::msgctl(0, libc::MSG_INFO, info.as_mut_ptr().cast()) };
    let has_queues = info[0] != 0;
    if [shared, sets, queues].contains(&-1) {
        return Err(last_errno().into());
    }
    Ok(has_shared || has_sets || has_queues)
}

/// Locks it, unless somebody has.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Since the boot.
fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    (now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000).max(1)
}

fn ignore(result: rustix::io::Result<()>, what: Errno) -> rustix::io::Result<()> {
    if result == Err(what) { Ok(()) } else { result }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a new namespace of this kind is unused after a thread has done something in it.
    fn is_unused_after(kind: Kind, act: impl FnOnce() + Send + 'static) -> bool {
        let inside = move || {
            process::unshare(kind.namespace()).unwrap();
            act();
            is_unused(kind).unwrap()
        };
        std::thread::spawn(inside).join().unwrap()
    }

    #[test]
    fn what_was_used_shows() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let (private, one) = (libc::IPC_PRIVATE, libc::IPC_CREAT | 0o600);
        for kind in [Kind::Network, Kind::Ipc] {
            assert!(is_unused_after(kind, || {}), "{kind:?}");
        }
        // SAFETY: they take numbers and make objects that go with their namespace.
        assert!(!is_unused_after(Kind::Ipc, move || assert_ne!(unsafe { libc::shmget(private, 4096, one) }, -1)));
        // SAFETY: as above.
        assert!(!is_unused_after(Kind::Ipc, move || assert_ne!(unsafe { libc::semget(private, 1, one) }, -1)));
        // SAFETY: as above.
        assert!(!is_unused_after(Kind::Ipc, move || assert_ne!(unsafe { libc::msgget(private, one) }, -1)));
        let with_traffic = || {
            crate::loopback::up().unwrap();
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        };
        assert!(!is_unused_after(Kind::Network, with_traffic));
        let with_socket = || std::mem::forget(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        assert!(!is_unused_after(Kind::Network, with_socket));
    }

    #[test]
    fn one_silent_interface_is_seen() {
        let head = "Inter-|   Receive | Transmit\n face |bytes packets|bytes packets\n";
        for (lines, silent) in [
            ("    lo:       0       0    0    0\n", true),
            ("    lo:      84       1    0    0\n", false),
            ("    lo:       0       0    0    0\n  eth0:       0       0\n", false),
            ("  eth0:       0       0\n", false),
            ("", false),
        ] {
            assert_eq!(is_silent(&format!("{head}{lines}")), silent, "{lines}");
        }
    }

    #[test]
    fn records_are_read_as_they_are_written() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Record::read(&file, Kind::Ipc), Record::default());
        let used = Record { inode: 0x1234_5678_9abc, taken_ms: 77 };
        used.write(&file, Kind::Ipc).unwrap();
        assert_eq!(Record::read(&file, Kind::Ipc), used);
        assert_eq!(Record::read(&file, Kind::Network), Record::default());
        assert!(!used.is_free() && used.is_awaited(1000) && !used.is_awaited(1077));
        // Nobody takes anything in the future.
        assert!(!used.is_awaited(76));
        let free = Record { taken_ms: 0, ..used };
        assert!(free.is_free() && !Record::default().is_free() && !Record::default().is_awaited(0));
    }
}
