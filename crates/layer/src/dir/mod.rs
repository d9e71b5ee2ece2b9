//! Layers in plain directories: applied entry by entry, and walked back into entries.
//!
//! Everything happens below a descriptor of the root. No name from a tar reaches the kernel unless `openat2` resolves it
//! inside that root.

mod apply;
mod attributes;
mod aufs;
mod remove;
mod resolve;
#[cfg(test)]
mod tests;
mod walk;

pub use apply::{Applier, Options, Power, Whiteouts};
pub(crate) use resolve::open_beneath;
pub use walk::{entry_at, walk, walk_where};
