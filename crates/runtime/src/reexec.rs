//! The hidden ways in: this program executed anew as a container's shim, or a copy of it that becomes one.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use strata_sys::{packet, process, sealed};
use strata_types::ContainerId;

use crate::wire::{self, Request};
use crate::{Error, shim};

/// What the shim is called, and how this program knows that it is one.
const NAME: &str = "strata-shim";
/// The same for the kernel.
const TITLE: &CStr = c"strata-shim";

/// Runs the shim if this process was started as one, and says how it ended. Programs call it first thing, before they
/// start threads or read anything.
pub fn main() -> Option<u8> {
    if std::env::args_os().next()? != NAME {
        return None;
    }
    // There is nobody to tell of an error: the client sees that the conversation ended.
    Some(u8::from(serve().is_err()))
}

fn serve() -> Result<(), Error> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(Error::step("find the client"))?;
    // Closing the last descriptor of a mount waits for the kernel: at our end nobody waits with us.
    let program = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map_err(Error::step("find ourselves"))?;
    live(socket, program, None)
}

/// What the shim does, however it came to be. `program` is the mount that its program is on, `new` the container that is
/// going to be made, if that is known.
fn live(socket: OwnedFd, program: OwnedFd, new: Option<&New>) -> Result<(), Error> {
    process::allocate_sparingly();
    rustix::thread::set_name(TITLE).map_err(Error::step("take a name"))?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::path("open", "/dev/null"))?;
    process::set_standard_streams([null.as_fd(), null.as_fd(), null.as_fd()])
        .map_err(Error::step("let go of streams"))?;
    drop(null);
    process::lead_session().map_err(Error::step("start a session"))?;
    rustix::process::chdir("/").map_err(Error::path("change to directory", "/"))?;
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).map_err(Error::step("care for orphans"))?;
    shim::run(socket, new, |theirs| again(theirs.as_fd(), program.as_fd()))
}

/// Makes one more shim, a copy of this one that has nothing of its own yet. Whoever waits for it hears when it cannot be:
/// then the conversation ends before it began.
fn again(theirs: BorrowedFd<'_>, program: BorrowedFd<'_>) {
    let inside = || u8::from(only(theirs, program).and_then(|(socket, program)| live(socket, program, None)).is_err());
    if let Err(errno) = process::clone_sibling(None, inside) {
        tracing::debug!(%errno, "a shim cannot be copied");
    }
}

/// A container that is going to be made.
#[derive(Clone, Debug)]
pub struct New {
    /// Its id.
    pub id: ContainerId,
    /// The root directory of its store.
    pub root: PathBuf,
    /// The run directory of its store.
    pub run_dir: PathBuf,
    /// It will probably have a network of its own with nothing else in it.
    pub is_alone: bool,
}

/// A shim that runs and waits to be told which container is its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Ahead {
    /// The conversation with it.
    pub(crate) socket: OwnedFd,
    /// The mount that its program is on. Closing the last descriptor of a mount waits for the kernel: it is handed to the
    /// shim, at whose end nobody waits.
    pub(crate) program: OwnedFd,
    /// The container that it expects to be made: what most containers have is made while that is.
    pub(crate) new: Option<New>,
}

impl Ahead {
    /// Starts one, for who is going to start a container with [`crate::Container::start`] and has something to do before.
    ///
    /// # Errors
    /// When this program cannot be executed.
    pub fn spawn() -> Result<Self, Error> {
        spawn(Path::new(OWN_PROGRAM))
    }

    /// The same for a process that has just begun and has nothing open that a shim must not have: a copy of it becomes the
    /// shim, which costs a good millisecond less. If the container is going to be made first, it is `new`: see
    /// [`Ahead::take_id`].
    ///
    /// # Errors
    /// When this program cannot be executed.
    pub fn fork(new: Option<New>) -> Result<Self, Error> {
        copy(new).or_else(|error| {
            tracing::debug!(%error, "a copy cannot be the shim");
            Self::spawn()
        })
    }
}

impl Ahead {
    /// The id of the container that this one expects to be made, once.
    pub fn take_id(&mut self) -> Option<ContainerId> {
        self.new.take().map(|new| new.id)
    }

    /// Lets this one make another like it, for who starts several containers: that costs a fifth of executing it anew.
    ///
    /// # Errors
    /// When it is gone.
    pub fn another(&self) -> Result<Self, Error> {
        let (socket, theirs) = packet::pair().map_err(Error::step("make a pair of sockets"))?;
        wire::send(self.socket.as_fd(), &Request::Another, &[theirs.as_fd()], true).map_err(|_| Error::ShimGone)?;
        let program = self.program.try_clone().map_err(Error::io("copy a descriptor"))?;
        Ok(Self { socket, program, new: None })
    }
}

/// Makes a copy of this process that becomes a shim, on a mount on which nobody can write its program.
fn copy(new: Option<New>) -> Result<Ahead, Error> {
    let own = Path::new(OWN_PROGRAM);
    let program = process::own_program(own).map_err(Error::path("open", OWN_PROGRAM))?;
    let (socket, theirs) = packet::pair().map_err(Error::step("make a pair of sockets"))?;
    let become_shim = |sealed: rustix::io::Result<()>| {
        let made = match sealed {
            Ok(()) => {
                only(theirs.as_fd(), program.as_fd()).and_then(|(socket, program)| live(socket, program, new.as_ref()))
            }
            Err(_) => Err(execute(theirs.as_fd(), program.as_fd())),
        };
        u8::from(made.is_err())
    };
    sealed::fork(program.as_fd(), TITLE, become_shim).map_err(Error::step("make a copy of this process"))?;
    Ok(Ahead { socket, program, new })
}

/// Copies of both that are all this process has open, besides the standard streams.
fn only(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd), Error> {
    let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(Error::io("copy a descriptor"));
    let (socket, program) = (own(socket)?, own(program)?);
    process::close_all_but(&[socket.as_fd(), program.as_fd()]).map_err(Error::step("let go of descriptors"))?;
    Ok((socket, program))
}

/// Executes `program` as the shim at the other end of `socket`; returns only if that fails.
fn execute(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Error {
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    match process::set_standard_streams([socket, program, program]) {
        Ok(()) => {
            let path = std::ffi::CString::new(path.clone()).unwrap_or_default();
            Error::path("execute", OWN_PROGRAM)(process::execute(&path, &[TITLE.to_owned()], &[]))
        }
        Err(errno) => Error::path("execute", path)(errno),
    }
}

/// This program, whatever its file is called by now.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// Starts a shim, as a child that outlives this process.
///
/// It executes `program` by way of a mount on which nobody can write it.
pub(crate) fn spawn(program: &Path) -> Result<Ahead, Error> {
    let failed = || Error::path("execute", program.display().to_string());
    let sealed = process::own_program(program).map_err(|errno| failed()(std::io::Error::from(errno)))?;
    let (ours, theirs) = packet::pair().map_err(Error::step("make a pair of sockets"))?;
    let path = format!("/proc/self/fd/{}", sealed.as_raw_fd());
    let mut command = Command::new(path);
    command.arg0(NAME).env_clear().stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| failed()(error))?;
    drop(child);
    Ok(Ahead { socket: ours, program: sealed, new: None })
}
