//! Where references lead: `registries.conf` of the containers tools and Docker's `daemon.json`.
//!
//! ```text
//! registries.rs   Registries: a reference in, endpoints out
//! toml_file.rs    the tables of registries.conf
//! daemon.rs       the two lists of daemon.json
//! ```

mod daemon;
mod registries;
mod toml_file;

pub(crate) use registries::is_loopback;
pub use registries::{ConfError, ConfFiles, Endpoint, Registries};
