//! From values to text: templates, tables, JSON, sizes and ages.

pub mod age;
pub mod count;
pub mod inspect;
pub mod list;
pub mod shorten;
pub mod size;
pub mod tabs;
pub mod template;
pub mod tree;

pub use inspect::{Inspection, document, inspect};
pub use list::List;
