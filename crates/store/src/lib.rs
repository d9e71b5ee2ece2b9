//! Blobs, records and leases under one root directory, safe beside other processes and after a crash.
//!
//! ```text
//! ROOT/
//!   strata.db                 SQLite, WAL; schema version in user_version (records/schema.rs)
//!   blobs/sha256/<hex>        whole, verified, synced; also blobs/sha512
//!   ingest/<algorithm>-<hex>  a part of a blob, flock'd by who writes it; survives kill -9 and is resumed
//!   leases/<random>           flock'd by its owner; what it protects is in the database
//!   leases/container-<id>     flock'd by who changes that container
//!   fleeting/                 records of `run --rm`, and what they have to know of the database (fleeting.rs)
//!   layers/<driver>/ containers/<id>/ volumes/<name>/   files of other crates, recorded here
//! ```
//!
//! Nothing is visible before it is durable: temp → verify → fsync → rename → fsync directory → record. A removal is
//! recorded first (`trash`), then done; it may find nothing. No lock is held while a container runs.

mod blobs;
mod check;
mod database;
mod error;
mod fleeting;
mod gc;
mod ingest;
mod key;
mod lease;
pub mod records;
mod repair;
mod store;

pub use blobs::Blobs;
pub use check::{Depth, LayerFiles, Problem};
pub use error::{BoxError, Error, Result};
pub use gc::{Collected, Scope};
pub use ingest::{Begin, Ingest};
pub use key::Key;
pub use lease::Lease;
pub use repair::Repaired;
pub use store::{Options, Store};
pub use strata_sys::durable::Durability;
