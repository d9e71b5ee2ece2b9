//! A mount namespace for one test.

/// Gives the calling thread a mount namespace of its own in which nothing propagates outside, and a fresh tmpfs on `/run`.
///
/// Threads the caller starts afterwards are in it too; it ends with the last of them.
pub fn mounts() {
    strata_sys::isolate::thread_mounts().unwrap();
}
