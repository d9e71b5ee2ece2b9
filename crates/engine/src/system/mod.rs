//! Operations on the whole root directory.

mod check;
mod df;
mod info;
mod prune;

pub use check::{Checked, Finding};
pub use df::{ContainerUse, DiskUse, ImageUse, SizedVolume, Totals};
pub use info::{DriverState, Host, Info};
pub use prune::PrunedVolumes;
