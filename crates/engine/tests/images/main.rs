//! Operations on images, against registries that behave and that do not.
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made must fail the test")]

mod archives;
mod attested;
mod pulls;
mod removals;
mod repairs;
mod support;
