//! Capabilities by name, and giving them up (capabilities(7)).

use std::fmt;
use std::str::FromStr;

use rustix::io::Result;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names in the order of their numbers (linux/capability.h).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// One capability.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(u8);

/// Why a word is not a capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability `{0}`")]
pub struct UnknownCapability(String);

impl Capability {
    /// `CAP_SYS_ADMIN`: mounting and much else.
    pub const SYS_ADMIN: Self = Self(21);

    /// The name, such as `CAP_CHOWN`.
    pub const fn name(self) -> &'static str {
        NAMES[self.0 as usize]
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    /// Reads a name in either case, with or without `CAP_`.
    fn from_str(text: &str) -> std::result::Result<Self, UnknownCapability> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let found = NAMES.iter().position(|name| &name[4..] == bare);
        found.map(|number| Self(number as u8)).ok_or_else(|| UnknownCapability(text.to_owned()))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// What Docker gives a container that asks for nothing.
    pub const DOCKER: Self = Self(0xa80425fb);

    /// All that this program knows.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The set of these bits; bits without a name are dropped.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The bits, lowest capability first.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether `capability` is in it.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability.0)
    }

    /// With one less.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability.0))
    }

    /// Only those that are in `other` too.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// All members, lowest number first.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8).map(Capability).filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Written as its bits: sets go from one process of ours to another, many times for each container.
impl Serialize for CapSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for CapSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_bits)
    }
}

/// The capabilities this process may use now.
pub fn effective() -> Result<CapSet> {
    Ok(CapSet::from_bits(rustix::thread::capabilities(None)?.effective.bits()))
}

/// The three sets of this thread.
pub(crate) fn thread_sets() -> Result<rustix::thread::CapabilitySets> {
    rustix::thread::capabilities(None)
}

/// Sets the three sets of this thread.
pub(crate) fn set_thread_sets(sets: rustix::thread::CapabilitySets) -> Result<()> {
    rustix::thread::set_capabilities(None, sets)
}

/// Removes every capability outside `keep` from the bounding set of this thread, for good.
pub fn bound(keep: CapSet) -> Result<()> {
    for number in 0..64_u64 {
        if keep.bits() & (1 << number) != 0 {
            continue;
        }
        // SAFETY: PR_CAPBSET_DROP takes one number and changes nothing but the bounding set.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        if dropped < 0 {
            let error = rustix::io::Errno::from_io_error(&std::io::Error::last_os_error());
            // The first number the kernel does not know ends the list.
            if error == Some(rustix::io::Errno::INVAL) {
                return Ok(());
            }
            return Err(error.unwrap_or(rustix::io::Errno::PERM));
        }
    }
    Ok(())
}

/// Keeps the permitted set over the next change of user id, which clears it otherwise.
pub fn keep_over_setuid() -> Result<()> {
    rustix::thread::set_keep_capabilities(true)
}

/// Sets the effective, permitted, inheritable and ambient sets of this thread.
pub fn set(effective: CapSet, permitted: CapSet, inheritable: CapSet, ambient: CapSet) -> Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    let bits = |set: CapSet| CapabilitySet::from_bits_retain(set.bits());
    let sets =
        CapabilitySets { effective: bits(effective), permitted: bits(permitted), inheritable: bits(inheritable) };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::clear_ambient_capability_set()?;
    for capability in ambient.iter() {
        rustix::thread::configure_capability_in_ambient_set(bits(CapSet::EMPTY.with(capability)), true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_spelling() {
        for text in ["CAP_SYS_ADMIN", "sys_admin", "cap_sys_admin", "SYS_ADMIN"] {
            assert_eq!(text.parse(), Ok(Capability::SYS_ADMIN));
        }
        assert!("CAP_NONE".parse::<Capability>().is_err());
    }

    #[test]
    fn the_docker_set_is_the_documented_one() {
        let names: Vec<_> = CapSet::DOCKER.iter().map(|capability| &capability.name()[4..]).collect();
        let expected = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT \
                        MKNOD AUDIT_WRITE SETFCAP";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    }
}
