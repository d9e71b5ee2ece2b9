//! Operations on the whole root directory.

mod check;
mod df;
mod gc;
mod info;
mod migrate;
mod prune;

pub use check::{Checked, Fetched, Finding};
pub use df::{ContainerUse, DiskUse, ImageUse, LayerUse, SizedVolume, Totals};
pub use gc::Budgeted;
pub use info::{DriverState, Host, Info};
pub use migrate::{MigrateError, Migrated};
pub use prune::PrunedVolumes;
pub use strata_store::{Depth, Problem};
