//! Filters that ask somebody (seccomp_unotify(2)).

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::io::{Errno, Result};

use super::{Flags, Program};

/// SECCOMP_FILTER_FLAG_NEW_LISTENER (linux/seccomp.h).
const NEW_LISTENER: libc::c_ulong = 8;
/// SECCOMP_FILTER_FLAG_TSYNC: for the other threads, too.
const ALL_THREADS: libc::c_ulong = 1;
/// How often to look whether the filter is in force.
const LOOK: Duration = Duration::from_micros(20);
/// The thread calls one function that sends and one that receives.
const STACK_BYTES: usize = 256 << 10;

/// Nothing has happened yet.
const NOTHING: i32 = -1;

/// What two threads know of each other.
#[derive(Debug)]
struct Shared {
    /// The listener's number; below [`NOTHING`] the filter was refused.
    listener: AtomicI32,
    /// 0 when it was handed over, otherwise an error number.
    handed_over: AtomicI32,
}

impl Program {
    /// Puts the filter in force for this thread and what it executes, and hands over the descriptor on which its questions
    /// are heard.
    ///
    /// From the moment it is in force, whatever this thread asks of the kernel may be a question that nobody hears yet. So a
    /// second thread, to which the filter does not apply, does `hand_over`, and this one only looks at memory until that is
    /// done. The other thread ends with the execution of the program, and the descriptor is closed by it.
    ///
    /// # Errors
    /// When the filter cannot be loaded, or with what `hand_over` fails with: then this process should end.
    pub fn load_and_hand_over(
        &self,
        flags: Flags,
        hand_over: impl FnOnce(BorrowedFd<'_>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        // Never freed: that might need the kernel.
        let shared: &Shared =
            Box::leak(Box::new(Shared { listener: AtomicI32::new(NOTHING), handed_over: AtomicI32::new(NOTHING) }));
        let other = move || {
            let listener = loop {
                match shared.listener.load(Ordering::Acquire) {
                    NOTHING => crate::clock::pause(LOOK),
                    made => break made,
                }
            };
            if listener < 0 {
                return;
            }
            // SAFETY: the loading thread has it open and does not close it.
            let done = hand_over(unsafe { BorrowedFd::borrow_raw(listener) });
            shared.handed_over.store(done.map_or_else(Errno::raw_os_error, |()| 0), Ordering::Release);
        };
        let spawned = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(other);
        let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
        std::mem::forget(spawned.map_err(failed)?);
        match self.set((flags.0 | NEW_LISTENER) & !ALL_THREADS) {
            Ok(listener) => shared.listener.store(listener as i32, Ordering::Release),
            Err(errno) => {
                shared.listener.store(NOTHING - 1, Ordering::Release);
                return Err(errno);
            }
        }
        loop {
            match shared.handed_over.load(Ordering::Acquire) {
                NOTHING => std::hint::spin_loop(),
                0 => return Ok(()),
                number => return Err(Errno::from_raw_os_error(number)),
            }
        }
    }
}
