//! Operations on the whole root directory.

mod check;
mod df;
mod info;

pub use check::{Checked, Finding};
pub use df::{ContainerUse, DiskUse, ImageUse, SizedVolume, Totals};
pub use info::{DriverState, Info};
