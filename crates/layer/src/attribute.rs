//! Extended attributes that the kernel itself reads, and refuses to be given if they are malformed. An index hands them to
//! the kernel as they are, so they are looked at here.

use crate::Xattr;

/// What is wrong with an attribute that the kernel would not take, if it is such a one.
pub(crate) fn problem(xattr: &Xattr) -> Option<&'static str> {
    let (is_right, problem): (fn(&[u8]) -> bool, _) = match xattr.name.as_slice() {
        b"security.capability" => (is_capability, "its capabilities are malformed"),
        b"system.posix_acl_access" | b"system.posix_acl_default" => (is_acl, "its access control list is malformed"),
        _ => return None,
    };
    (!is_right(&xattr.value)).then_some(problem)
}

/// Whether it is a list of nobody, which the kernel takes for none.
pub(crate) fn is_nothing(xattr: &Xattr) -> bool {
    xattr.name.starts_with(b"system.posix_acl_") && xattr.value == ACL_VERSION
}

const ACL_VERSION: [u8; 4] = 2u32.to_le_bytes();

/// `struct vfs_ns_cap_data` of revision 2 or 3 (capabilities(7)); the first is no longer written by any kernel.
fn is_capability(value: &[u8]) -> bool {
    const REVISION_MASK: u32 = 0xff00_0000;
    const REVISIONS: [(u32, usize); 2] = [(0x0200_0000, 20), (0x0300_0000, 24)];
    let Some(magic) = value.first_chunk().map(|magic| u32::from_le_bytes(*magic)) else { return false };
    REVISIONS.iter().any(|&(revision, bytes)| magic & REVISION_MASK == revision && value.len() == bytes)
}

/// A version and entries (`posix_acl_xattr.h`), in the order in which the kernel wants them (`posix_acl_valid`).
fn is_acl(value: &[u8]) -> bool {
    const ENTRY_BYTES: usize = 8;
    const OWNER: u16 = 1;
    const USER: u16 = 2;
    const GROUP_OWNER: u16 = 4;
    const GROUP: u16 = 8;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;
    let Some(entries) = value.strip_prefix(&ACL_VERSION) else { return false };
    if !entries.len().is_multiple_of(ENTRY_BYTES) {
        return false;
    }
    let (mut seen, mut named) = (0u16, false);
    for entry in entries.chunks_exact(ENTRY_BYTES) {
        let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let (tag, permissions) = (half(0), half(2));
        let may_repeat = matches!(tag, USER | GROUP);
        let follows = tag > seen || may_repeat && tag == seen;
        if ![OWNER, USER, GROUP_OWNER, GROUP, MASK, OTHER].contains(&tag) || !follows || permissions > 7 {
            return false;
        }
        // Everybody has to come after the first, and the one in the middle may not be left out.
        let needed = match tag {
            OWNER => 0,
            USER | GROUP_OWNER => OWNER,
            _ => GROUP_OWNER,
        };
        if seen < needed || may_repeat && entry[4..] == [0xff; 4] {
            return false;
        }
        if tag == OTHER && named && seen != MASK {
            return false;
        }
        (seen, named) = (tag, named || may_repeat);
    }
    entries.is_empty() || seen == OTHER
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks the kernel whether it takes an attribute, and compares.
    fn check(name: &str, value: &[u8], expected: bool) {
        let xattr = Xattr { name: name.into(), value: value.to_vec() };
        assert_eq!(problem(&xattr).is_none(), expected, "{name} {value:?}");
        if strata_testkit::host::root().is_err() {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        match rustix::fs::setxattr(file.path(), name, value, flags) {
            Err(rustix::io::Errno::NOTSUP) => {}
            set => assert_eq!(set.is_ok(), expected, "the kernel says {set:?} to {name} {value:?}"),
        }
    }

    #[test]
    fn capabilities_are_those_that_the_kernel_takes() {
        let value = |magic: u32, bytes: usize| {
            let mut value = magic.to_le_bytes().to_vec();
            value.resize(bytes, 0);
            value
        };
        for (magic, bytes, expected) in [
            (0x0200_0001, 20, true),
            (0x0300_0000, 24, true),
            (0x0100_0000, 12, false),
            (0x0200_0000, 24, false),
            (0x0300_0000, 20, false),
            (0x0400_0000, 24, false),
            (0x0200_0000, 4, false),
        ] {
            check("security.capability", &value(magic, bytes), expected);
        }
        // The kernel takes it, but cannot read it again.
        assert!(problem(&Xattr { name: b"security.capability".to_vec(), value: Vec::new() }).is_some());
        check("user.anything", b"", true);
    }

    #[test]
    fn access_control_lists_are_those_that_the_kernel_takes() {
        let value = |entries: &[(u16, u16, u32)]| {
            let mut value = 2u32.to_le_bytes().to_vec();
            for (tag, permissions, id) in entries {
                value.extend(tag.to_le_bytes());
                value.extend(permissions.to_le_bytes());
                value.extend(id.to_le_bytes());
            }
            value
        };
        const NONE: u32 = u32::MAX;
        let [owner, group, mask, other] = [(1, 6, NONE), (4, 4, NONE), (0x10, 4, NONE), (0x20, 4, NONE)];
        let (user, users_group) = ((2, 6, 1000), (8, 6, 1000));
        for (entries, expected) in [
            (&[owner, group, other][..], true),
            (&[owner, user, user, group, users_group, mask, other], true),
            (&[owner, group, mask, other], true),
            (&[owner, user, group, other], false),
            (&[owner, other], false),
            (&[group, other], false),
            (&[owner, group], false),
            (&[group, owner, other], false),
            (&[owner, owner, group, other], false),
            (&[owner, (2, 6, NONE), group, mask, other], false),
            (&[owner, group, (0x20, 8, NONE)], false),
            (&[owner, group, other, (0x40, 4, NONE)], false),
            (&[owner, user, mask, other], false),
        ] {
            check("system.posix_acl_access", &value(entries), expected);
        }
        check("system.posix_acl_access", &value(&[])[..3], false);
        check("system.posix_acl_access", &[value(&[owner, group, other]).as_slice(), b"x"].concat(), false);
    }
}
