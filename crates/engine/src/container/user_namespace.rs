//! `--userns`: who a container's users are outside.

use strata_sys::durable::FileError;
use strata_sys::lock::{Lock, Mode};
use strata_types::ids::{IdMaps, IdRange};

use crate::container::{ContainerError, HostConfig, Known};
use crate::{Engine, Result};

/// How many users and groups a container has unless it says: those that Debian gives out, `nobody` included.
const SIZE: u32 = 65_536;

/// Where ranges are taken from if nobody delegated any. The systemd project lists these as used by nobody
/// (systemd.io/UIDS-GIDS), and they are below 2^31, above which some programs fail.
const FIRST: u32 = 1_879_048_192;
const END: u32 = 2_147_352_576;

/// Whose lines in `/etc/subuid` and `/etc/subgid` are for containers; the second is podman's name.
const OWNERS: [&str; 2] = ["strata", "containers"];

/// What `--userns` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Users are the same inside and outside.
    Host,
    /// A range that no other container has.
    Auto {
        /// How large.
        size: u32,
    },
}

/// Reads `--userns`, and refuses what cannot be together with a namespace of users; the sentences are Docker's.
pub(crate) fn wish(host: &HostConfig) -> Result<Wish> {
    let mode = host.userns_mode.as_str();
    let invalid = || ContainerError::invalid(format!("invalid USER mode: {mode}"));
    let size = match mode.split_once(':') {
        None if matches!(mode, "" | "host") => return Ok(Wish::Host),
        None if mode == "auto" => SIZE,
        Some(("auto", options)) => {
            let size = options.strip_prefix("size=").and_then(|size| size.parse().ok());
            size.filter(|size| (1..=END - FIRST).contains(size)).ok_or_else(invalid)?
        }
        None if mode == "keep-id" => {
            let why = "root is the same inside and outside already; use `--userns auto` for another root";
            return Err(ContainerError::invalid(format!("--userns keep-id is for those who are not root: {why}")));
        }
        _ => return Err(invalid()),
    };
    if !strata_sys::user_namespace::is_initial() {
        let why = "only root on the machine may map the ids of files; you are in a user namespace of your own already";
        return Err(ContainerError::invalid(format!("--userns {mode} needs root on the machine: {why}")));
    }
    if host.privileged {
        return Err(ContainerError::invalid(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ));
    }
    for (mode, what) in
        [(&host.network_mode, "network"), (&host.pid_mode, "PID namespace"), (&host.ipc_mode, "IPC namespace")]
    {
        if mode.starts_with("container:") {
            let sentence = format!("cannot join another container's {what} when user namespaces are enabled");
            return Err(ContainerError::invalid(sentence));
        }
    }
    for (mode, what) in [
        (&host.network_mode, "host's network namespace"),
        (&host.pid_mode, "host PID namespace"),
        (&host.ipc_mode, "host IPC namespace"),
    ] {
        if mode == "host" {
            let sentence = format!("cannot share the {what} when user namespaces are enabled");
            return Err(ContainerError::invalid(sentence));
        }
    }
    Ok(Wish::Auto { size })
}

/// Ids for a container that is being made: nobody else takes them before it is recorded.
pub(super) struct Taken {
    pub(super) maps: Option<IdMaps>,
    _choosing: Option<Lock>,
}

impl Engine {
    /// Chooses ids that no other container has. They are free again when the container is removed.
    pub(super) fn take_ids(&self, wish: Wish) -> Result<Taken> {
        let (mut maps, choosing) = self.take_many_ids(wish, 1)?;
        Ok(Taken { maps: maps.pop(), _choosing: choosing })
    }

    /// [`take_ids`](Self::take_ids) for several containers: theirs, and what keeps others from taking them meanwhile.
    pub(crate) fn take_many_ids(&self, wish: Wish, count: usize) -> Result<(Vec<IdMaps>, Option<Lock>)> {
        let Wish::Auto { size } = wish else { return Ok((Vec::new(), None)) };
        let path = self.settings().root.join("leases/user-namespaces");
        let lock = Lock::wait(&path, Mode::Exclusive).map_err(FileError::at("lock", &path))?;
        let mut taken = Vec::new();
        for record in self.store().containers().list()? {
            if let Some(maps) = Known::read(record)?.document.user_namespace {
                taken.extend(maps.users.into_iter().chain(maps.groups));
            }
        }
        let delegated = |path: &str| std::fs::read_to_string(path).map_or(Vec::new(), |text| ranges(&text));
        let pools = common(&delegated("/etc/subuid"), &delegated("/etc/subgid"));
        let pools = if pools.is_empty() { vec![(FIRST, END)] } else { pools };
        let mut chosen = Vec::new();
        for _ in 0..count {
            let first = free(&pools, &taken, size).ok_or_else(|| {
                let why = "other containers have them all; remove some, or add a line for `strata` to /etc/subuid and /etc/subgid";
                ContainerError::invalid(format!("no {size} consecutive ids are left for a user namespace: {why}"))
            })?;
            let maps = IdMaps::from_first(first, size);
            taken.extend(maps.users.iter().chain(&maps.groups).cloned());
            chosen.push(maps);
        }
        Ok((chosen, Some(lock)))
    }
}

/// The ranges that a subuid(5) file gives to containers, each with its end.
fn ranges(text: &str) -> Vec<(u32, u32)> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let (owner, first, size) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let end = u32::checked_add(first, size)?;
        (OWNERS.contains(&owner) && size > 0).then_some((first, end))
    };
    text.lines().filter_map(line).collect()
}

/// What is in both lists.
fn common(users: &[(u32, u32)], groups: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let both = |one: &(u32, u32)| {
        let (first, end) = *one;
        groups.iter().map(move |other| (first.max(other.0), end.min(other.1))).filter(|(first, end)| first < end)
    };
    users.iter().flat_map(both).collect()
}

/// The lowest id from which `size` are free.
fn free(pools: &[(u32, u32)], taken: &[IdRange], size: u32) -> Option<u32> {
    let mut taken: Vec<(u32, u32)> = taken.iter().map(|t| (t.outside, t.outside.saturating_add(t.size))).collect();
    taken.sort_unstable();
    pools.iter().find_map(|(first, end)| {
        let mut candidate = *first;
        for (from, to) in &taken {
            if *to > candidate && *from < candidate.saturating_add(size) {
                candidate = *to;
            }
        }
        (candidate.checked_add(size)? <= *end).then_some(candidate)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mode: &str) -> Result<Wish, String> {
        wish(&HostConfig { userns_mode: mode.to_owned(), ..HostConfig::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn modes_are_read() {
        assert_eq!(of(""), Ok(Wish::Host));
        assert_eq!(of("host"), Ok(Wish::Host));
        assert_eq!(of("auto"), Ok(Wish::Auto { size: 65_536 }));
        assert_eq!(of("auto:size=1000"), Ok(Wish::Auto { size: 1000 }));
        for bad in ["auto:size=0", "auto:x", "nope", "auto:"] {
            assert_eq!(of(bad), Err(format!("invalid USER mode: {bad}")));
        }
        let mut host = HostConfig { userns_mode: "auto".into(), pid_mode: "host".into(), ..HostConfig::default() };
        let error = wish(&host).unwrap_err().to_string();
        assert_eq!(error, "cannot share the host PID namespace when user namespaces are enabled");
        host.pid_mode = "container:web".into();
        let error = wish(&host).unwrap_err().to_string();
        assert_eq!(error, "cannot join another container's PID namespace when user namespaces are enabled");
        host.privileged = true;
        assert!(wish(&host).unwrap_err().to_string().starts_with("privileged mode is incompatible"));
    }

    #[test]
    fn the_lowest_free_range_is_taken() {
        let taken = |outside, size| IdRange { inside: 0, outside, size };
        assert_eq!(free(&[(100, 1000)], &[], 50), Some(100));
        assert_eq!(free(&[(100, 1000)], &[taken(150, 50), taken(100, 20)], 30), Some(120));
        assert_eq!(free(&[(100, 1000)], &[taken(150, 50), taken(100, 20)], 31), Some(200));
        assert_eq!(free(&[(100, 150), (500, 600)], &[taken(120, 400)], 60), Some(520));
        assert_eq!(free(&[(100, 150)], &[], 51), None);
        assert_eq!(free(&[(u32::MAX - 10, u32::MAX)], &[], 11), None);
    }

    #[test]
    fn ranges_are_those_delegated_to_containers() {
        let users = ranges("me:100000:65536\ncontainers:200000:1000\nstrata:5:10\nstrata:x:1\nstrata:4294967295:9\n");
        assert_eq!(users, [(200_000, 201_000), (5, 15)]);
        assert_eq!(common(&users, &[(200_500, 300_000), (0, 7)]), [(200_500, 201_000), (5, 7)]);
    }
}
