//! What a person asks for, one operation per file. No terminal, no environment variables, no HTTP.
//!
//! Every operation is a method of [`Engine`], takes parsed types and a [`strata_types::Watch`] where it can last, returns
//! plain data and prints nothing.
//!
//! ```text
//! engine.rs      Engine and its Settings: opens the crates beneath, each when first needed
//! image/         pull push list inspect history tag remove commit import save load …
//! checkpoint/    snapshot rollback fork, and lists of them
//! container/     create start stop exec logs diff copy export …
//! manifest_list/ manifests put together for several platforms
//! rootless.rs    a user namespace for those who are not root
//! secret.rs      values that containers get as files in memory
//! network/       create list inspect remove connect …
//! workbench/     what builds are made with
//! system/        df prune info check
//! events.rs      what happened
//! ```

pub mod checkpoint;
pub mod container;
mod engine;
mod error;
pub mod events;
pub mod image;
mod layers;
mod login;
pub mod manifest_list;
pub mod network;
mod parallel;
mod registry;
pub mod rootless;
pub mod secret;
pub mod system;
pub mod workbench;

pub use engine::{Engine, Settings};
pub use error::{Error, Result};
pub use login::Login;
pub use strata_registry::Proxies;
