//! Operations on the whole root directory.

mod check;

pub use check::{Checked, Finding};
