//! A system call that waits long, made beside this process instead of by it.

use std::ffi::{c_int, c_void};
use std::os::fd::OwnedFd;

use rustix::io::{Errno, Result};
use rustix::process::{Pid, WaitOptions};

use crate::signal::last_errno;

/// More than one system call needs.
const STACK_BYTES: usize = 16 << 10;
/// What the ABI wants of it.
const STACK_ALIGN: usize = 16;

/// A write that somebody else waits for: a process that shares our memory and descriptors, does nothing else and ends.
/// Dropping this waits for it.
///
/// It is no thread, so that this process stays one with a single thread, which may be cloned and enter namespaces.
#[derive(Debug)]
pub struct Write {
    pid: Pid,
    /// What the process uses. Whoever forgets to drop this never frees it.
    _stack: Box<[u8]>,
    _task: Box<Task>,
}

impl Write {
    /// Begins to write `bytes` to `file`. Nobody is told what comes of it.
    ///
    /// # Errors
    /// Those of clone(2).
    pub fn begin(file: OwnedFd, bytes: &'static [u8]) -> Result<Self> {
        let mut stack = vec![0; STACK_BYTES].into_boxed_slice();
        let task = Box::new(Task { file, bytes });
        // It is told apart from other children: its end sends no signal, and only who asks for such reaps it.
        let flags = libc::CLONE_VM | libc::CLONE_FILES;
        let end = stack.as_mut_ptr_range().end;
        let top = end.wrapping_sub(end.addr() % STACK_ALIGN).cast::<c_void>();
        // SAFETY: the stack is the new process's alone, large enough, grows down from an aligned end, and lives, as the
        // task does, until the process was waited for.
        let pid = unsafe { libc::clone(write, top, flags, (&raw const *task).cast_mut().cast()) };
        let pid = if pid > 0 { Pid::from_raw(pid) } else { None };
        Ok(Self { pid: pid.ok_or_else(last_errno)?, _stack: stack, _task: task })
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        // Children whose end sends no signal.
        let options = WaitOptions::from_bits_retain(libc::__WCLONE.cast_unsigned());
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(self.pid), options) {}
    }
}

#[derive(Debug)]
struct Task {
    file: OwnedFd,
    bytes: &'static [u8],
}

/// What the process does. It shares our thread-local storage, so nothing here may touch that: not even `errno`.
extern "C" fn write(task: *mut c_void) -> c_int {
    // SAFETY: `begin` gave a task that lives until this process was waited for.
    let task = unsafe { &*task.cast::<Task>() };
    c_int::from(rustix::io::write(&task.file, task.bytes).is_err())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_written_aside_arrives_and_nobody_stays() {
        let (read, file) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let write = Write::begin(file, b"0").unwrap();
        let pid = write.pid;
        let mut text = [0];
        let mut pipe = std::fs::File::from(read);
        pipe.read_exact(&mut text).unwrap();
        assert_eq!(text, *b"0");
        drop(write);
        assert_eq!(rustix::process::test_kill_process(pid), Err(Errno::SRCH));
        // The descriptor was shared, and is closed.
        assert_eq!(pipe.read(&mut text).unwrap(), 0);
    }
}
