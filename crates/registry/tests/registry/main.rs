//! The client against a registry that misbehaves on demand, and against a real one.
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made must fail the test")]

mod auth;
mod mirrors;
mod pull;
mod push;
mod real;
mod relay;
mod support;
mod tls;
