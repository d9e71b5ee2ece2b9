//! What can go wrong with networks, in Docker's words where Docker has them.

use strata_types::ErrorClass;

/// Why an operation on networks failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is no such network here.
    #[error("network {0} not found")]
    NotFound(String),
    /// Networks are not made in this way here.
    #[error("plugin {0:?} not found")]
    NoPlugin(String),
    /// What was asked for contradicts itself or has an impossible value; the sentence is Docker's.
    #[error("{0}")]
    Invalid(String),
    /// What was asked for is not offered by this version.
    #[error("{0}")]
    Unsupported(String),
    /// The name is another network's.
    #[error("network with name {0} already exists")]
    NameTaken(String),
    /// Containers are connected, or the network is one of those that are always there.
    #[error("{0}")]
    InUse(String),
    /// A network's record is not what we wrote.
    #[error("cannot read the record of network {0}")]
    Record(String, #[source] serde_json::Error),
    /// The network itself.
    #[error(transparent)]
    Net(#[from] strata_net::Error),
}

impl NetworkError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) | Self::NoPlugin(_) => ErrorClass::NotFound,
            Self::Invalid(_) => ErrorClass::InvalidInput,
            Self::Unsupported(_) => ErrorClass::Unsupported,
            Self::NameTaken(_) | Self::InUse(_) => ErrorClass::Conflict,
            Self::Record(..) => ErrorClass::Corrupt,
            Self::Net(error) => error.class(),
        }
    }

    /// A request that makes no sense.
    pub(crate) fn invalid(sentence: impl Into<String>) -> crate::Error {
        Self::Invalid(sentence.into()).into()
    }
}
