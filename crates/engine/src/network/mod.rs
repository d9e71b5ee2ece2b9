//! Networks: their definitions, and what containers wish of them.
//!
//! ```text
//! definition.rs  what a record says, and what the host has to make of it     builtin.rs  bridge, host and none
//! create.rs      a request → a record                                         pool.rs     subnets nobody uses
//! attach.rs      a container's wishes → what its shim connects
//! pasta.rs       what takes the place of networks for those who are not root
//! list.rs remove.rs connect.rs …                                              one operation each
//! ```
//!
//! A record is all there is of a network that no container runs in: its bridge comes with the first and goes with the last.

mod attach;
mod builtin;
mod connect;
mod create;
mod definition;
mod error;
mod inspect;
mod list;
mod pasta;
mod pool;
mod remove;

pub use attach::EndpointWish;
pub(crate) use attach::Mode;
pub use create::{NetworkRequest, PoolRequest};
pub use definition::{Definition, NetworkKnown};
pub use error::NetworkError;
