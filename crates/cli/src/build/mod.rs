//! What `build` needs beside its options: the Dockerfile and its context, what is seen of the steps, where an error is.

pub mod annotation;
pub mod attest;
pub mod cache;
pub mod call;
pub mod contexts;
pub mod epoch;
pub mod excerpt;
pub mod input;
pub mod line;
pub mod output;
pub mod raw_json;
pub mod secret;
pub mod steps;
pub mod tty;
pub mod verify;
