//! The store as its users see it: several at once, killed, out of room, and with damage to find.
#![allow(clippy::unwrap_used, reason = "tests")]

mod collecting;
mod damage;
mod faults;
mod fixture;
mod fleeting;
mod full_disk;
mod ingesting;
mod killed;
mod model;
mod recording;
mod schema;
