//! What can go wrong with networks.

use std::io;
use std::net::SocketAddr;

use strata_types::ErrorClass;

/// Why a container could not be connected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step failed.
    #[error("cannot {act}")]
    Step {
        /// What we wanted to do.
        act: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A document of ours cannot be read.
    #[error("cannot read `{path}`")]
    Document {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A port of the host is somebody else's.
    #[error(
        "driver failed programming external connectivity on endpoint {container} ({endpoint}): Bind for {at} failed: port is already allocated"
    )]
    PortTaken {
        /// The container's name.
        container: String,
        /// The endpoint's id.
        endpoint: String,
        /// Which port.
        at: SocketAddr,
    },
    /// A port cannot be published.
    #[error(
        "driver failed programming external connectivity on endpoint {container} ({endpoint}): failed to bind port {at}"
    )]
    Port {
        /// The container's name.
        container: String,
        /// The endpoint's id.
        endpoint: String,
        /// Which port.
        at: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A port that only root may take.
    #[error(
        "cannot expose privileged port {port}, you can add 'net.ipv4.ip_unprivileged_port_start={port}' to /etc/sysctl.conf (currently {first}), or choose a larger port number (>= {first})"
    )]
    PortPrivileged {
        /// Which.
        port: u16,
        /// The first that everybody may take.
        first: u16,
    },
    /// pasta(1) gave up.
    #[error("pasta cannot give the container a network: {0}")]
    Pasta(String),
    /// The wished address is another's.
    #[error("Address already in use")]
    AddressTaken,
    /// The wished address is of no subnet of the network.
    #[error("Invalid address {0}: It does not belong to any of this network's subnets")]
    AddressOutside(std::net::IpAddr),
    /// All addresses are in use.
    #[error("no available IPv{version} addresses on this network's address pools: {name} ({id})")]
    AddressesExhausted {
        /// 4 or 6.
        version: u8,
        /// The network's name.
        name: String,
        /// Its id.
        id: String,
    },
    /// What was asked for contradicts itself or the network.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Step { .. } | Self::Port { .. } | Self::Pasta(_) => ErrorClass::Internal,
            Self::PortPrivileged { .. } => ErrorClass::Denied,
            Self::Document { .. } => ErrorClass::Corrupt,
            Self::PortTaken { .. } | Self::AddressTaken => ErrorClass::Conflict,
            Self::AddressOutside(_) | Self::Invalid(_) => ErrorClass::InvalidInput,
            Self::AddressesExhausted { .. } => ErrorClass::Exhausted,
        }
    }

    /// A step that failed.
    pub(crate) fn step<E: Into<io::Error>>(act: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::Step { act: act.into(), source: source.into() }
    }
}

/// What operations on networks give.
pub type Result<T> = std::result::Result<T, Error>;
