//! Who we are: credentials, challenges, tokens.
//!
//! ```text
//! credential.rs    Credential, CredentialStore: finding, keeping and forgetting
//! config_file.rs   config.json and auth.json
//! helper.rs        the programs docker-credential-*
//! challenge.rs     the header WWW-Authenticate
//! token.rs         bearer tokens
//! ```

pub(crate) mod challenge;
mod config_file;
mod credential;
mod credential_program;
pub(crate) mod token;

pub use credential::{Credential, CredentialError, CredentialStore, LoggedIn, Saved};
