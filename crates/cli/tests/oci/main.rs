//! `strata runtime`: an OCI runtime's command line on bundles, with crun as oracle, and called by podman.
#![allow(clippy::unwrap_used, reason = "tests")]

mod alike;
mod bundle;
mod callers;
mod life;
mod notify;
mod rare;
mod refused;
mod systemd;
