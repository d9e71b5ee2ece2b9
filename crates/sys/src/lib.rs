//! Linux, safely: the only `unsafe` of the project.
//!
//! Descriptors not paths, the new mount API, clone3, pidfds, cgroups, seccomp, durable writes, feature probes.
#![allow(unsafe_code, reason = "this crate is where it is allowed")]
#![warn(missing_docs, unreachable_pub, unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod aufs;
pub mod bare;
pub mod btrfs;
pub mod caps;
pub mod cgroup;
pub mod detached;
pub mod dm;
pub mod idle;
pub mod isolate;
pub mod kernel_file;
pub mod loop_device;
pub mod loopback;
pub mod packet;
pub mod process;
pub mod pty;
pub mod schedule;
pub mod sealed;
pub mod seccomp;
pub mod signal;
pub mod socket_filter;
pub mod user_namespace;

pub mod assemble;
pub mod clock;
pub mod direct;
pub mod durable;
pub mod excursion;
pub mod failpoint;
pub mod fuse;
pub mod gzip_member;
pub mod layer_mounts;
pub mod lock;
pub mod probe;
pub mod project;
pub mod random;
pub mod reflink;
mod remove_tree;
pub mod resolve;
pub mod root_dir;
pub mod spare;
pub mod spare_union;
#[cfg(own_start)]
mod start;
pub mod thin;
pub mod verity;
pub mod zfs;
