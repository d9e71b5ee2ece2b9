//! The networks of one host: bridges, addresses, published ports, names.
//!
//! ```text
//! plan.rs       what a container wants and what it got: plain data
//! sandbox.rs    connects a running container, and lets go of it again
//! registry.rs   who is connected now: files under the run directory
//! subnet.rs     addresses and which may be given away             port.rs   ports of the host, reserved
//! firewall.rs   our tables in nf_tables, and copies of the host's   host.rs   settings of the host
//! dns/          the names that containers ask for          pasta.rs  the way out of those who are not root
//! link.rs nft.rs netlink.rs                                        what is said to the kernel, and how
//! ```
//!
//! Everything is done by messages to the kernel; nothing is executed but pasta(1), for those whom the kernel does not listen to. There is no daemon: the shim of each container does
//! its part when the container starts and ends, under one lock, and what a killed one left behind is removed by whoever
//! comes next ([`sweep()`]).

mod dns;
mod error;
mod firewall;
mod host;
mod link;
mod netlink;
mod nft;
mod pasta;
mod plan;
mod port;
mod registry;
mod sandbox;
mod subnet;
mod sweep;

pub use error::{Error, Result};
pub use plan::{
    Address, Attachment, Bridge, Connected, Driver, Endpoint, Mac, MacvlanMode, Network, PASTA, Pasta, Plan, Protocol,
    Publish, Published, Resolver, ports_by_name,
};
pub use sandbox::{Leaving, Sandbox};
pub use subnet::{Pool, Subnet, SubnetError};
pub use sweep::{endpoints, host_routes, sweep};
