//! Where references lead: `registries.conf` of the containers tools and Docker's `daemon.json`.

mod registries;

pub use registries::{ConfError, ConfFiles, Endpoint, Registries};
