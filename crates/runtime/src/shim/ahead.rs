//! A container's first process, made while the client still looks for the image and writes the records.
//!
//! Namespaces, control groups and the kernel's own filesystems are the same for almost all containers. Making them takes a
//! millisecond in which the shim would wait for its client anyway.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use strata_sys::cgroup::{Cgroup, DeviceRule, Limits, Warnings};
use strata_sys::process::{self, Child};
use strata_sys::{packet, seccomp};
use strata_types::ContainerId;

use super::kept::{Kept, Root};
use super::launch::{self, Places};
use super::record;
use crate::Error;
use crate::inside::{self, Story, Streams, Trees};
use crate::reexec::New;
use crate::spec::{Namespaces, Network, SharedMemory, Spec};

/// How old its sight of the machine may be: what the person mounted since is missing in it. A client that has to pull the
/// image takes longer.
const AGE_MAX: Duration = Duration::from_secs(1);

/// The process, and the groups it is in. Both are removed when this is dropped.
pub(super) struct FirstAhead {
    child: Option<(Child, OwnedFd)>,
    /// Namespaces of it that may be kept, or were.
    kept: Option<Kept>,
    cgroup: Option<Cgroup>,
    group_name: String,
    /// It is in a network with nothing but itself, which may have been another container's.
    is_alone: bool,
    made: Instant,
    /// What the host's control groups cannot do, which is said once, when those above the group are made.
    pub(super) warnings: Vec<String>,
}

impl FirstAhead {
    /// Makes one for the container that is going to be made.
    pub(super) fn make(new: &New) -> Result<Self, Error> {
        let group_name = Cgroup::name(new.id.as_str(), &Limits::default());
        let (cgroup, warnings) = Cgroup::create(&group_name, &Limits::default(), None)
            .map_err(Error::io("make the container's control groups"))?;
        let cgroup = Some(cgroup);
        let is_alone = new.is_alone;
        let mut begun = Self { child: None, kept: None, is_alone, cgroup, group_name, made: Instant::now(), warnings };
        if let Some(cgroup) = &begun.cgroup {
            let mut kept = Kept::take(&new.root, &new.run_dir, is_alone);
            let child = begin(cgroup, &kept)?;
            kept.add_missing(child.0.pid);
            (begun.child, begun.kept) = (Some(child), Some(kept));
        }
        Ok(begun)
    }

    /// Whether it can be the first process of this container.
    pub(super) fn serves(&self, spec: &Spec) -> bool {
        self.fits(&spec.id, &spec.namespaces, &spec.limits) && self.sees_enough(spec)
    }

    /// Whether its namespaces and groups are those of the container `id`.
    fn fits(&self, id: &ContainerId, own: &Namespaces, limits: &Limits) -> bool {
        launch::namespaces(own) == launch::OWN_NAMESPACES
            && (!self.is_alone || own.network == Network::None)
            && own.ipc_of.is_none()
            && own.pid_of.is_none()
            && self.group_name == Cgroup::name(id.as_str(), limits)
            && self.cgroup.as_ref().is_some_and(|cgroup| cgroup.has_room_for(limits))
            && self.made.elapsed() < AGE_MAX
    }

    /// Whether it will have in sight what has to be when the container's mounts are attached: nothing of the host's is in a
    /// copy of the bare namespace.
    fn sees_enough(&self, spec: &Spec) -> bool {
        let is_bare = self.kept.as_ref().is_some_and(|kept| kept.bare().is_some());
        let needs_host =
            spec.shared_memory == SharedMemory::Host || spec.emulator.is_some() || inside::replaces(spec, "/dev");
        !is_bare || !needs_host
    }

    /// Sets limits for its groups, which are the caller's from now on; none if the host has none for us. If it fails, they
    /// go with this.
    pub(super) fn limit(
        &mut self,
        limits: &Limits,
        devices: Option<&[DeviceRule]>,
    ) -> io::Result<Option<(Cgroup, Warnings)>> {
        let Some(cgroup) = self.cgroup.as_ref().filter(|cgroup| cgroup.dirs().next().is_some()) else {
            return Ok(None);
        };
        let warnings = cgroup.limit(limits, devices)?;
        Ok(self.cgroup.take().map(|cgroup| (cgroup, warnings)))
    }

    /// Tells it what it is to be, once its groups are the caller's; with it comes what may be kept of it. None if it is gone.
    pub(super) fn become_first(
        mut self,
        spec: &Spec,
        places: &Places,
        (trees, root): (&Trees, Option<Root>),
        streams: &Streams,
        filter: Option<&seccomp::Program>,
    ) -> (Option<(Child, OwnedFd)>, Option<Kept>) {
        let Some((_, channel)) = &self.child else { return (None, None) };
        let path = record::spec_path(&places.run_dir, &spec.id);
        match Story::tell((path, places.dir.clone()), trees, streams, filter, channel.as_fd()) {
            Ok(()) => {
                let ours = [launch::store_root(&places.dir), &places.run_dir];
                let kept = self.kept.take().map(|kept| kept.restricted(spec, root, &ours));
                (self.child.take(), kept)
            }
            Err(error) => {
                tracing::debug!(%error, "a process that was made ahead is gone");
                (None, None)
            }
        }
    }
}

/// Makes the process; with the conversation with it.
fn begin(cgroup: &Cgroup, kept: &Kept) -> Result<(Child, OwnedFd), Error> {
    let (entrance, groups, start_in) = (launch::entrance(cgroup)?, launch::groups(cgroup), cgroup.start_in());
    let (ours, theirs) = packet::pair().map_err(Error::step("make a pair of sockets"))?;
    let inside = || inside::ahead(groups, entrance, (kept.namespaces(), kept.bare()), theirs);
    let child = process::clone(launch::OWN_NAMESPACES.without(kept.set()), start_in.as_ref().map(AsFd::as_fd), inside)
        .map_err(Error::step("make the container's process"))?;
    Ok((child, ours))
}

impl Drop for FirstAhead {
    fn drop(&mut self) {
        if let Some((child, _)) = &self.child {
            child.end();
        }
        if let Some(cgroup) = &self.cgroup
            && let Err(error) = cgroup.remove()
        {
            tracing::debug!(%error, "control groups that were made ahead stay");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_used_for_the_usual_container_and_while_it_is_young() {
        let id = ContainerId::from_random([7; 32]);
        let usual = Namespaces {
            network: Network::None,
            pid: true,
            pid_of: None,
            ipc: true,
            ipc_of: None,
            uts: true,
            user: None,
        };
        // One without a process, in groups that are not there.
        let begun = |made: Instant| {
            let group_name = id.to_string();
            let cgroup = Some(Cgroup::open(&group_name));
            FirstAhead { child: None, kept: None, is_alone: false, cgroup, group_name, made, warnings: Vec::new() }
        };
        let (now, free) = (Instant::now(), Limits::default());
        assert!(begun(now).fits(&id, &usual, &free));
        let mut others = begun(now);
        others.is_alone = true;
        assert!(others.fits(&id, &usual, &free));
        let connected = Network::Connected(Box::default());
        assert!(!others.fits(&id, &Namespaces { network: connected, ..usual.clone() }, &free));
        assert!(!begun(now.checked_sub(AGE_MAX).unwrap()).fits(&id, &usual, &free));
        assert!(!begun(now).fits(&ContainerId::from_random([8; 32]), &usual, &free));
        assert!(!begun(now).fits(&id, &usual, &Limits { parent: Some("elsewhere".to_owned()), ..free.clone() }));
        for other in [
            Namespaces { network: Network::Host, ..usual.clone() },
            Namespaces { network: Network::Container(id.clone()), ..usual.clone() },
            Namespaces { pid: false, ..usual.clone() },
            Namespaces { ipc: false, ipc_of: Some(id.clone()), ..usual.clone() },
            Namespaces { uts: false, ..usual.clone() },
        ] {
            assert!(!begun(now).fits(&id, &other, &free), "{other:?}");
        }
    }
}
