//! Who we are: credentials, challenges, tokens.

mod credential;

pub use credential::{Credential, CredentialError, CredentialStore, LoggedIn, Saved};
