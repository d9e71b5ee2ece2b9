//! A union of directories that a process of ours shows to the kernel through `/dev/fuse` (fuse(4)), for hosts whose kernel
//! has none.
//!
//! ```text
//! program ── kernel ── /dev/fuse ── server ── layers, writable layer
//!               └───────────────────────────── files that the kernel took over (Linux 6.9)
//! ```
//!
//! The server is a copy of the process that mounts. It has nothing open but the kernel's end and the layers, belongs to no
//! terminal and hears no signal but KILL. It ends when the filesystem is mounted nowhere and nobody has a file of it open:
//! there is nothing to stop, and nothing is left. If it is killed, whoever uses the filesystem gets `ENOTCONN`.
//!
//! What is kept on the disk is what overlayfs would keep (`super::assemble` with another [`strata_types::mount::Union`]):
//! character devices 0:0 for what is gone, an attribute on directories that hide what is below them. As with overlayfs, a
//! file of a lower layer with several names becomes several when one of them is written, and a directory that a lower layer
//! has cannot be renamed (`EXDEV`).

mod attributes;
mod copy_up;
mod files;
mod listing;
mod names;
mod nodes;
mod serve;
mod union;
mod wire;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::process::{Pid, Resource, Rlimit, WaitOptions};
use strata_types::mount::{Access, Upper};

use crate::signal::{Signal, SignalFd};
use crate::{caps, process};
use serve::{DATA_BYTES_MAX, Server};
use union::{Union, Writing};

/// Where the kernel listens.
const DEVICE: &str = "/dev/fuse";
/// As many files as the kernel lets a process of root's have open: one for each that programs have, and some for each layer.
const OPEN_FILES: u64 = 1 << 20;
/// Servers that this process started; whoever starts the next one reaps those that have ended.
static SERVERS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// What the union is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    /// Read-only directories, the uppermost first.
    pub(crate) lower: &'a [PathBuf],
    /// Where changes go.
    pub(crate) upper: Option<&'a Upper>,
    pub(crate) access: Access,
    /// The marks are those that anyone may set.
    pub(crate) marks_of_users: bool,
}

/// Mounts a union, gives it as a detached mount and leaves a server to it. Needs CAP_SYS_ADMIN where this process lives, and
/// [`DEVICE`].
///
/// # Errors
/// Those of opening and mounting, and of opening the layers.
pub(crate) fn mount(parts: Parts<'_>) -> io::Result<OwnedFd> {
    start(parts).map(|(mount, _)| mount)
}

/// The same, with the server.
fn start(parts: Parts<'_>) -> io::Result<(OwnedFd, Pid)> {
    let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mount = attach(&device, parts.access)?;
    let (hear, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let pid = process::fork_beside(|| u8::from(live(&device, &tell, parts).is_err()))?;
    drop((device, tell));
    remember(pid);
    let mut answer = [0; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(&hear, &mut answer))? {
        4 if answer == [0; 4] => Ok((mount, pid)),
        4 => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(answer))),
        _ => Err(io::Error::other("the union's server ended before it began")),
    }
}

/// Waits until the server and the kernel have agreed on what both can do; some of it is a matter of the mount.
pub(crate) fn settle(mount: &OwnedFd) -> Result<()> {
    rustix::fs::fstat(mount).map(drop)
}

/// Makes the filesystem at whose other end a server reads from `device`.
fn attach(device: &OwnedFd, access: Access) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let device = device.as_raw_fd().to_string();
    let most = DATA_BYTES_MAX.to_string();
    let options = [("source", "strata"), ("subtype", "strata"), ("fd", &*device), ("rootmode", "40000")];
    // Who may do what is the kernel's to say, by modes and owners, and nobody is shut out.
    let more = [("user_id", "0"), ("group_id", "0"), ("max_read", &*most)];
    for (key, value) in options.into_iter().chain(more) {
        rustix::mount::fsconfig_set_string(&context, key, value)?;
    }
    for flag in ["default_permissions", "allow_other"] {
        rustix::mount::fsconfig_set_flag(&context, flag)?;
    }
    let attributes = match access {
        Access::ReadOnly => {
            rustix::mount::fsconfig_set_flag(&context, "ro")?;
            MountAttrFlags::MOUNT_ATTR_RDONLY
        }
        Access::ReadWrite => MountAttrFlags::empty(),
    };
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn remember(server: Pid) {
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    // Somebody else may have reaped it.
    servers.retain(|pid| matches!(rustix::process::waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
    servers.push(server);
}

/// The server's life: gets ready, says so or why not by `tell`, and serves. What the copied process had open it lets go of.
fn live(device: &OwnedFd, tell: &OwnedFd, parts: Parts<'_>) -> Result<()> {
    let ready = prepare(device, tell, parts);
    let told = ready.as_ref().err().map_or(0, |errno| errno.raw_os_error());
    rustix::io::write(tell, &told.to_ne_bytes())?;
    let (tell, mut server, _deaf) = ready?;
    drop(tell);
    server.run()
}

fn prepare(device: &OwnedFd, tell: &OwnedFd, parts: Parts<'_>) -> Result<(OwnedFd, Server, SignalFd)> {
    process::close_all_but(&[device.as_fd(), tell.as_fd()])?;
    let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let (device, tell) = (copy(device)?, copy(tell)?);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    process::set_standard_streams([null.as_fd(), null.as_fd(), null.as_fd()])?;
    drop(null);
    process::lead_session()?;
    let deaf = SignalFd::block(&[Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM])?;
    rustix::thread::set_name(c"strata-union")?;
    rustix::process::umask(Mode::empty());
    raise_limit();
    obey_quotas()?;
    let union = open(parts)?;
    rustix::process::chdir("/")?;
    Ok((tell, Server::new(device, union), deaf))
}

/// Lets this process have many files open; one that may not does with fewer.
fn raise_limit() {
    let now = rustix::process::getrlimit(Resource::Nofile);
    let most = |maximum| rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    if !most(Some(OPEN_FILES)) {
        most(now.maximum);
    }
}

/// Gives up what lets a process write beyond limits of the filesystem: who writes is the container. So does overlayfs.
fn obey_quotas() -> Result<()> {
    let mut sets = caps::thread_sets()?;
    for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
        set.remove(rustix::thread::CapabilitySet::SYS_RESOURCE);
    }
    caps::set_thread_sets(sets)
}

/// Opens the layers, and empties what an earlier server left in the work directory.
fn open(parts: Parts<'_>) -> Result<Union> {
    let dir = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty())
    };
    let mut layers = Vec::with_capacity(parts.lower.len() + 1);
    let mut writing = None;
    if let Some(upper) = parts.upper {
        layers.push(dir(&upper.dir)?);
        let work = dir(&upper.work)?;
        copy_up::clear(work.as_fd())?;
        writing = Some(Writing { work, volatile: upper.volatile, made: 0 });
    }
    for path in parts.lower {
        layers.push(dir(path)?);
    }
    let marks = if parts.marks_of_users { union::USER } else { union::TRUSTED };
    Union::new(layers, writing, marks)
}

/// What this machine lacks for it, in words.
pub fn probe() -> std::result::Result<(), String> {
    match rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(device) => attach(&device, Access::ReadOnly)
            .map(drop)
            .map_err(|error| format!("no filesystem of this process can be mounted: {}", io::Error::from(error))),
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Err(format!("the kernel has no FUSE: there is no {DEVICE}")),
        Err(error) => Err(format!("{DEVICE} cannot be opened: {}", io::Error::from(error))),
    }
}
