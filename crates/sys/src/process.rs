//! Making processes: clone3 with namespaces, joining namespaces, executing programs.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::mount::OpenTreeFlags;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::detached;
use crate::signal::{self, last_errno};
use crate::user_namespace;

/// Namespaces, as bits of clone(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceSet(u64);

impl NamespaceSet {
    /// Mounts.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// Process ids.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// System V and POSIX interprocess communication.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Host name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// Network.
    pub const NET: Self = Self(libc::CLONE_NEWNET as u64);
    /// Users and groups.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// Control groups.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// Clocks.
    pub const TIME: Self = Self(0x80);

    /// Whether all of `other` are in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This process has come into them; without a name they may be any.
    fn note(self) {
        if self.is_empty() || self.has(Self::USER) {
            user_namespace::has_changed();
        }
    }
}

/// The child starts in the cgroup whose descriptor is given (linux/sched.h; libc's constant is too narrow).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// How often to look until a process certainly has several threads.
const LOOKS_MAX: u32 = 200;

/// A process made by [`clone`].
#[derive(Debug)]
pub struct Child {
    /// Its number here.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

impl Child {
    /// Ends it at once, if it is not to be, and waits for that.
    pub fn end(&self) {
        let ended =
            signal::send(self.pidfd.as_fd(), signal::Signal::KILL).and_then(|()| reap(self.pidfd.as_fd(), true));
        if let Err(errno) = ended {
            tracing::debug!(%errno, "a process that is not to be is gone already");
        }
    }
}

/// What clone3(2) takes, linux/sched.h, second version.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a copy of this process in new `namespaces`, in the v2 `cgroup` if one is given, which runs `inside` and then ends
/// with the number it returns.
///
/// Fails with `EDEADLK` in a process with several threads: a lock that another thread holds would stay locked in the copy.
pub fn clone(namespaces: NamespaceSet, cgroup: Option<BorrowedFd<'_>>, inside: impl FnOnce() -> u8) -> Result<Child> {
    clone_with(namespaces.0, libc::SIGCHLD, cgroup, inside)
}

/// Makes a copy of this process that is its parent's child, like this one.
pub fn clone_sibling(cgroup: Option<BorrowedFd<'_>>, inside: impl FnOnce() -> u8) -> Result<Child> {
    // Its parent hears of its end as it hears of this one's.
    clone_with(libc::CLONE_PARENT as u64, 0, cgroup, inside)
}

fn clone_with(
    flags: u64,
    exit_signal: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
    inside: impl FnOnce() -> u8,
) -> Result<Child> {
    let mut looks = 0;
    while !single_threaded()? {
        // A thread that was just joined is counted for a moment more.
        looks += 1;
        if looks > LOOKS_MAX {
            return Err(Errno::DEADLK);
        }
        crate::clock::pause(std::time::Duration::from_micros(50));
    }
    let mut pidfd: libc::c_int = -1;
    let into_cgroup = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let arguments = CloneArguments {
        flags: flags | libc::CLONE_PIDFD as u64 | into_cgroup,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: exit_signal as u64,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..CloneArguments::default()
    };
    // SAFETY: without CLONE_VM this is a fork: the copy has its own memory, and no other thread of this process could
    // have left locks behind. `pidfd` outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    match pid {
        -1 => Err(last_errno()),
        0 => {
            if NamespaceSet(flags).has(NamespaceSet::USER) {
                user_namespace::has_changed();
            }
            let code = inside();
            // SAFETY: ends this copy without running the original's exit handlers.
            unsafe { libc::_exit(i32::from(code)) }
        }
        // SAFETY: the kernel stored a descriptor that nobody else owns.
        _ => Ok(Child { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// Makes a plain copy of this process, which runs `inside` and then ends with the number it returns; its number here. For
/// processes whose system call filter knows no clone3. Fails like [`clone`] in a process with several threads.
pub fn fork(inside: impl FnOnce() -> u8) -> Result<i32> {
    if !single_threaded()? {
        return Err(Errno::DEADLK);
    }
    // SAFETY: no other thread of this process could have left locks behind.
    match unsafe { libc::fork() } {
        -1 => Err(last_errno()),
        0 => {
            let code = inside();
            // SAFETY: ends this copy without running the original's exit handlers.
            unsafe { libc::_exit(i32::from(code)) }
        }
        pid => Ok(pid),
    }
}

/// Makes a copy of this process, which may have several threads, that runs `inside` and then ends with the number it returns;
/// its number here. The copy has the calling thread only. What it does may allocate, but must not wait for anything that
/// another thread of ours may have held: no channel, no log, no standard stream.
pub(crate) fn fork_beside(inside: impl FnOnce() -> u8) -> Result<Pid> {
    // SAFETY: glibc leaves its own locks, the allocator's among them, open in the copy; the callers in this crate keep away
    // from ours.
    match unsafe { libc::fork() } {
        -1 => Err(last_errno()),
        0 => {
            let code = inside();
            // SAFETY: ends this copy without running the original's exit handlers.
            unsafe { libc::_exit(i32::from(code)) }
        }
        pid => Pid::from_raw(pid).ok_or(Errno::SRCH),
    }
}

/// Whether this process has one thread. Only then does the kernel take that it is to leave the others, which changes nothing
/// (unshare(2), CLONE_THREAD). Where a system call filter forbids to ask, the task directory tells: it has one entry besides
/// its own two links.
pub(crate) fn single_threaded() -> Result<bool> {
    // SAFETY: takes a number, and nothing is shared with anybody that could be left.
    match unsafe { libc::unshare(libc::CLONE_THREAD) } {
        0 => Ok(true),
        _ => match last_errno() {
            Errno::INVAL => Ok(false),
            _ => Ok(rustix::fs::stat("/proc/self/task")?.st_nlink <= 3),
        },
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It returned this code.
    Exited(u8),
    /// A signal with this number ended it.
    Killed(u8),
}

impl Ended {
    /// The code a shell gives for it: 128 and the signal's number for a signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => i32::from(code),
            Self::Killed(signal) => 128 + i32::from(signal),
        }
    }
}

/// How the child behind `pidfd` ended; none while it lives, unless `block`.
pub fn reap(pidfd: BorrowedFd<'_>, block: bool) -> Result<Option<Ended>> {
    let options = if block { WaitIdOptions::EXITED } else { WaitIdOptions::EXITED | WaitIdOptions::NOHANG };
    let status = loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), options) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    Ok(status.map(|status| match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code as u8),
        (None, signal) => Ended::Killed(signal.unwrap_or(0) as u8),
    }))
}

/// Reaps any child that has ended, whoever it is; none if there is none now.
pub fn reap_any() -> Result<Option<(i32, Ended)>> {
    use rustix::process::{WaitOptions, wait};
    Ok(wait(WaitOptions::NOHANG)?.map(|(pid, status)| (pid.as_raw_nonzero().get(), ended(status))))
}

/// Waits for any child to end. Fails with `ECHILD` when there are none.
pub fn wait_any() -> Result<Option<(i32, Ended)>> {
    use rustix::process::{WaitOptions, wait};
    Ok(wait(WaitOptions::empty())?.map(|(pid, status)| (pid.as_raw_nonzero().get(), ended(status))))
}

/// Waits for one child, by its number, and gives its exit code.
pub fn wait_for(pid: i32) -> Result<i32> {
    let pid = Pid::from_raw(pid).ok_or(Errno::CHILD)?;
    let waited =
        rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()))?;
    Ok(waited.map_or(255, |(_, status)| ended(status).code()))
}

fn ended(status: rustix::process::WaitStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code as u8),
        (None, signal) => Ended::Killed(signal.unwrap_or(0) as u8),
    }
}

/// Enters namespaces: those of the process behind a pidfd, or the one behind a namespace descriptor.
pub fn join(fd: BorrowedFd<'_>, namespaces: NamespaceSet) -> Result<()> {
    // SAFETY: setns takes two numbers; what it changes concerns the calling thread only.
    let done = unsafe { libc::setns(fd.as_raw_fd(), namespaces.0 as libc::c_int) };
    namespaces.note();
    match done {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Leaves the cgroup namespace for a new one, whose root is where this process is now.
pub fn unshare_cgroup() -> Result<()> {
    // SAFETY: CLONE_NEWCGROUP changes only how cgroup paths look to this process.
    match unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Leaves namespaces for new ones; of process ids and clocks only processes that are made later are in the new ones. Fails
/// with `EINVAL` for users and clocks in a process with several threads.
pub fn unshare(namespaces: NamespaceSet) -> Result<()> {
    // SAFETY: takes a number; what it changes is which namespaces this thread and its later children are in.
    let done = unsafe { libc::unshare(namespaces.0 as libc::c_int) };
    namespaces.note();
    match done {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Becomes another program; returns only if that fails.
pub fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let pointers = |list: &[CString]| {
        list.iter().map(|text| text.as_ptr()).chain(std::iter::once(std::ptr::null())).collect::<Vec<_>>()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays are null-terminated lists of strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    last_errno()
}

/// Becomes the program that is open, which may be closed on exec if it is no script; returns only if that fails.
pub fn execute_open(program: BorrowedFd<'_>, arguments: &[CString], environment: &[CString]) -> Errno {
    let pointers = |list: &[CString]| {
        list.iter().map(|text| text.as_ptr()).chain(std::iter::once(std::ptr::null())).collect::<Vec<_>>()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: the descriptor is open, and both arrays are null-terminated lists of strings that outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

/// Marks every descriptor from `first` on as closed on exec.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: sets a flag on descriptors; none is closed.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Closes every descriptor but the standard streams and `keep`: for a copy of a process that does nothing any more with
/// what the original had open.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut numbers: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers.into_iter().chain([u32::MAX]) {
        // SAFETY: the caller's promise is that nobody here uses the descriptors that are closed; those that are borrowed
        // stay open.
        if first < number && unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) } < 0 {
            return Err(last_errno());
        }
        first = number.saturating_add(1);
    }
    Ok(())
}

/// What a program does first that is not begun by Rust: nothing it opens may become a standard stream, and writing to somebody
/// who has gone is an error, not the end. Also, memory of a command, which lives shortly, comes in larger pieces and goes back
/// with its end.
pub fn begin() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array outlives the call; the others take numbers and a text that ends with a zero. If no stream can be
    // opened, ending is safer than going on.
    unsafe {
        let looked = libc::poll(streams.as_mut_ptr(), streams.len() as libc::nfds_t, 0);
        for stream in streams.iter().filter(|stream| looked > 0 && stream.revents & libc::POLLNVAL != 0) {
            if libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) != stream.fd {
                libc::abort();
            }
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::mallopt(libc::M_TOP_PAD, 256 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
    }
}

/// Keeps the memory of a process that mostly waits small: one arena, and free memory goes back soon.
pub fn allocate_sparingly() {
    // SAFETY: both set a number of the allocator, before any thread exists.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, 64 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
    }
}

/// Makes `fds` the standard streams 0, 1 and 2.
pub fn set_standard_streams(fds: [BorrowedFd<'_>; 3]) -> Result<()> {
    // Copies above 2 first: one of the three might be 0, 1 or 2 itself.
    let copies = fds.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3));
    for (copy, number) in copies.into_iter().zip(0..) {
        // SAFETY: 0, 1 and 2 are replaced in one step each; dup2 takes two numbers.
        if unsafe { libc::dup2(copy?.as_raw_fd(), number) } < 0 {
            return Err(last_errno());
        }
    }
    Ok(())
}

/// A child that has nothing to do with terminals any more and no parent that matters: a session of its own.
pub fn lead_session() -> Result<()> {
    rustix::process::setsid().map(drop)
}

/// Makes the terminal behind `fd` the controlling terminal of this session leader.
pub fn control_terminal(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::process::ioctl_tiocsctty(fd)
}

/// Forgets the session keyring that was inherited; a kernel without keys has none to forget.
pub fn new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: without a name there is nothing the call reads.
    match unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) } {
        -1 if last_errno() != Errno::NOSYS => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sets user, groups and group of this single-threaded process, in the order that works.
pub fn set_user(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    use rustix::fs::{Gid, Uid};
    let groups: Vec<_> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // In a namespace of one user nobody may: the groups stay those of the person who made it.
        Err(Errno::PERM) if groups_are_fixed() => {}
        other => other?,
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn groups_are_fixed() -> bool {
    std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
}

/// The number of the process behind a pidfd, in the numbering of this process.
pub fn number(pidfd: BorrowedFd<'_>) -> Result<i32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).map_err(|_| Errno::SRCH)?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|pid| pid.trim().parse().ok());
    pid.filter(|pid| *pid > 0).ok_or(Errno::SRCH)
}

/// Says which kind of Linux this process and those it starts are shown (personality(2)).
pub fn set_personality(persona: u32) -> Result<()> {
    // SAFETY: takes a number and changes only how system calls look to this process.
    match unsafe { libc::personality(libc::c_ulong::from(persona)) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// A pidfd of a process that is not necessarily a child.
pub fn open(pid: i32) -> Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
}

/// This program's own file as nobody can change it: on a read-only mount that no mount namespace has.
///
/// What is executed by it can be seen, but not opened for writing, as `/proc/<pid>/exe` by a container's root
/// (CVE-2019-5736).
pub fn own_program(path: &std::path::Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = match rustix::mount::open_tree(CWD, path, flags) {
        // It was started in another mount namespace: the same file by its name in this one.
        Err(Errno::INVAL) => {
            let name = rustix::fs::readlinkat(CWD, path, Vec::new())?;
            let tree = rustix::mount::open_tree(CWD, &name, flags)?;
            let (here, there) = (rustix::fs::fstat(&tree)?, rustix::fs::stat(path)?);
            if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino) {
                return Err(Errno::INVAL);
            }
            tree
        }
        opened => opened?,
    };
    detached::set_read_only(tree.as_fd(), false)?;
    Ok(tree)
}

/// Goes on as the same program, with the same words, on a mount on which nobody can write it ([`own_program`]); returns if
/// that is so already, or for somebody who may not mount. For programs that become a container's: before they start
/// threads, and before they have done anything that could not be done again.
pub fn seal_own_program() -> Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    const OWN: &str = "/proc/self/exe";
    if rustix::fs::statvfs(OWN)?.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let sealed = match own_program(std::path::Path::new(OWN)) {
        Err(Errno::PERM | Errno::NOSYS) => return Ok(()),
        sealed => sealed?,
    };
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::INVAL);
    let path = text(format!("/proc/self/fd/{}", sealed.as_raw_fd()).as_bytes())?;
    let arguments = std::env::args_os().map(|word| text(word.as_bytes())).collect::<Result<Vec<_>>>()?;
    let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        text(&[name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let environment = std::env::vars_os().map(variable).collect::<Result<Vec<_>>>()?;
    Err(execute(&path, &arguments, &environment))
}

/// Opens one of the calling thread's own namespaces by its name below `/proc/thread-self/ns`, to come back to it.
///
/// # Errors
/// Those of open(2).
pub fn own_namespace(name: &str) -> Result<OwnedFd> {
    rustix::fs::open(format!("/proc/thread-self/ns/{name}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a directory for use as a starting point only.
pub fn open_dir(path: &std::path::Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threaded_process_is_not_cloned() {
        // The test harness itself has several threads.
        let cloned = std::thread::scope(|scope| {
            scope.spawn(|| clone(NamespaceSet::default(), None, || 0).map(drop)).join().unwrap()
        });
        assert_eq!(cloned, Err(Errno::DEADLK));
    }
}
