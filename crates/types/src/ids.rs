//! Which user and group ids of a host stand for those of a container (user_namespaces(7)).

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Consecutive ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first in the container.
    pub inside: u32,
    /// The one that stands for it outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// The ids of a container's users and groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// Users.
    pub users: Vec<IdRange>,
    /// Groups.
    pub groups: Vec<IdRange>,
}

impl IdMaps {
    /// The ids from 0 on stand for those from `first` on, for users and groups alike.
    pub fn from_first(first: u32, size: u32) -> Self {
        let range = vec![IdRange { inside: 0, outside: first, size }];
        Self { users: range.clone(), groups: range }
    }

    /// All ids stand for themselves: a namespace for what one must not have to oneself in the machine's own. One id less
    /// than there are, so that nobody takes it for the machine's own.
    pub fn identity() -> Self {
        Self::from_first(0, u32::MAX - 1)
    }

    /// Whether all ids stand for themselves.
    pub fn is_identity(&self) -> bool {
        *self == Self::identity()
    }

    /// User and group outside for those inside; none if one of them stands for nobody.
    pub fn outside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((outside(&self.users, uid)?, outside(&self.groups, gid)?))
    }

    /// User and group inside for those outside; none if one of them is nobody's.
    pub fn inside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((inside(&self.users, uid)?, inside(&self.groups, gid)?))
    }
}

/// The id outside that stands for `id`.
pub fn outside(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let at = id.checked_sub(range.inside).filter(|at| *at < range.size)?;
        range.outside.checked_add(at)
    })
}

/// The id inside that `id` stands for.
pub fn inside(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let at = id.checked_sub(range.outside).filter(|at| *at < range.size)?;
        range.inside.checked_add(at)
    })
}

/// The ranges as `/proc/<pid>/uid_map` takes them.
pub fn lines(ranges: &[IdRange]) -> String {
    ranges.iter().fold(String::new(), |mut text, IdRange { inside, outside, size }| {
        writeln!(text, "{inside} {outside} {size}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_both_ways() {
        let maps = IdMaps {
            users: vec![
                IdRange { inside: 0, outside: 1000, size: 1 },
                IdRange { inside: 1, outside: 100_000, size: 65_535 },
            ],
            groups: vec![IdRange { inside: 0, outside: u32::MAX - 1, size: 5 }],
        };
        assert_eq!(maps.outside(0, 0), Some((1000, u32::MAX - 1)));
        assert_eq!(maps.outside(65_535, 1), Some((165_534, u32::MAX)));
        assert_eq!(maps.outside(65_536, 0), None);
        assert_eq!(maps.outside(0, 4), None, "beyond all ids");
        assert_eq!(maps.inside(100_000, u32::MAX), Some((1, 1)));
        assert_eq!(maps.inside(0, u32::MAX), None);
        assert_eq!(lines(&maps.users), "0 1000 1\n1 100000 65535\n");
    }
}
