//! Containers' files at moments: taking a snapshot, going back to one, and starting further containers from one.
//!
//! ```text
//! snapshot.rs   running or stopped container → sealed layer and record
//! rollback.rs   container → back on a snapshot's layers
//! fork.rs       snapshot → new containers
//! list.rs       from words to snapshots, and what there is
//! remove.rs     snapshots away; their layers follow when nobody needs them
//! ```

mod fork;
mod list;
mod remove;
mod rollback;
mod snapshot;

pub use fork::{ForkWish, Forked};
pub use list::Node;
pub use rollback::{Rollback, RolledBack};
pub use snapshot::{SnapshotWish, Snapshotted};
pub use strata_store::records::SnapshotRecord;
