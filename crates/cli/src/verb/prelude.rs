//! What every verb file needs.

pub use std::io::Write;

pub use crate::exit::{Exit, Failure, Result};
pub use crate::session::Session;
pub use crate::verb::Verb;

/// The help of `--format` for lists.
pub const FORMAT_HELP: &str = "Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.";

/// The help of `--format` for single things.
pub const INSPECT_FORMAT_HELP: &str = "Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.";
