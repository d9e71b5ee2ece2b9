//! What kind of trouble an error is, independent of where it arose, and how it is told. The edge turns classes into exit codes
//! and hints.

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// What was asked for does not parse or contradicts itself.
    InvalidInput,
    /// What was asked for is not there.
    NotFound,
    /// There is one already, or it is in use.
    Conflict,
    /// The other side wants other credentials.
    Denied,
    /// The network or the other side failed; trying again may help.
    Unavailable,
    /// Data is not what its digest says, or the store is damaged.
    Corrupt,
    /// No room on the disk, or a stated limit was passed.
    Exhausted,
    /// This host or build cannot do it.
    Unsupported,
    /// The person asked to stop.
    Cancelled,
    /// Everything else: input and output failed, or a defect.
    Internal,
}

/// What the kernel said, in its words, without the number: as programs in C and Go have it.
pub fn plain(error: &std::io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_ascii_lowercase()
}
