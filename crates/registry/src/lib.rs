//! The distribution protocol: a client with resumable, parallel transfers.
//!
//! ```text
//! client.rs      Client: what the engine asks for; its face is sync
//! settings.rs    what a client is made with; nothing here reads the environment
//! conf/          registries.conf, daemon.json: where a reference leads
//! web.rs         files from anywhere, by URL
//! auth/          config.json, credential helpers, challenges, tokens, login
//! ```
//!
//! The network is driven by a private runtime with one thread, started by the first request. Bytes cross to the caller
//! by a bounded channel that reads as [`std::io::Read`].

pub mod auth;
mod blob;
mod client;
pub mod conf;
mod dns;
mod error;
mod exchange;
mod http;
mod push;
mod ranges;
mod refusal;
mod settings;
mod tls;
mod upload;
mod web;

pub use blob::BlobReader;
pub use client::{Client, Document};
pub use dns::addresses;
pub use error::{Error, NetworkError, Refusal, Result};
pub use push::{BlobSource, Mounted};
pub use settings::{Patience, Proxies, Settings};
pub use web::{WebFile, WebHead};
