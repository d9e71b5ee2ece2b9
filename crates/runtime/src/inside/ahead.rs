//! A first process that is made before anything is known of its container but the id: in its namespaces and control groups,
//! with the filesystems that most containers have. Then it waits to hear the rest.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use strata_sys::cgroup::Entrance;
use strata_sys::{packet, process, seccomp, spare};

use super::standing::Ready;
use super::{Channel, Cover, ENTER, First, Streams, Trees, confine, first, message};
use crate::spec::Spec;
use crate::{Error, shim};

/// What the shim tells it, in packets: this with the root filesystem; the streams, if they are given; a filter, if there is
/// one; then each of the other trees.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Story {
    /// Where the container's specification is.
    spec: PathBuf,
    /// What its root filesystem may cover.
    dir: PathBuf,
    has_streams: bool,
    has_filter: bool,
    plans: usize,
}

impl Story {
    /// Tells it to the process at the other end of `channel`, as soon as that is ready.
    ///
    /// # Errors
    /// When that process is gone, as one that found its namespaces used.
    pub(crate) fn tell(
        (spec, dir): (PathBuf, PathBuf),
        trees: &Trees,
        streams: &Streams,
        filter: Option<&seccomp::Program>,
        channel: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        // A packet is taken by the socket of a process that ends without having read it.
        let said = packet::receive(channel).map_err(Error::step("hear from the new process"))?;
        if said.is_none_or(|packet| packet.bytes != [message::READY]) {
            return Err(Error::ShimGone);
        }
        let has_streams = matches!(streams, Streams::Given(_));
        let story = Self { spec, dir, has_streams, has_filter: filter.is_some(), plans: trees.plans.len() };
        let say = |bytes: &[u8], fds: &[BorrowedFd<'_>]| {
            packet::send(channel, bytes, fds, true).map_err(Error::step("speak to the new process"))
        };
        let bytes = serde_json::to_vec(&story).map_err(|_| Error::ShimGone)?;
        say(&bytes, &[trees.rootfs.as_fd()])?;
        if let Streams::Given([stdin, stdout, stderr]) = streams {
            say(b"s", &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        }
        if let Some(filter) = filter {
            say(&filter.to_bytes(), &[])?;
        }
        trees.plans.iter().try_for_each(|plan| say(b"m", &[plan.as_fd()]))
    }
}

/// Becomes a container's first process when it is told which one. Returns if nobody needs it, or if something fails.
///
/// Some of its namespaces may be `spare`: they were another container's, which is gone. With a `bare` one of mounts it is not in
/// one of its own yet.
pub(crate) fn ahead(
    cgroups: Vec<(&'static str, PathBuf)>,
    entrance: Entrance,
    (spare, bare): (&[(spare::Kind, OwnedFd)], Option<BorrowedFd<'_>>),
    channel: OwnedFd,
) -> u8 {
    let channel = Channel::new(channel);
    match prepare(&cgroups, entrance, spare) {
        Ok(made) => go_on(cgroups, made, bare, channel),
        // The shim does not hear that this one is ready, and makes another, which will say why.
        Err(_) => 1,
    }
}

fn prepare(
    cgroups: &[(&'static str, PathBuf)],
    entrance: Entrance,
    spare: &[(spare::Kind, OwnedFd)],
) -> Result<Ready, Error> {
    confine::die_with_parent()?;
    entrance.pass().map_err(Error::io(ENTER))?;
    for (kind, namespace) in spare {
        process::join(namespace.as_fd(), kind.namespace()).map_err(Error::step("join a namespace that is kept"))?;
        if !spare::is_unused(*kind).map_err(Error::io("look at a namespace that is kept"))? {
            return Err(Error::Setup("a namespace that is kept was used".to_owned()));
        }
    }
    Ready::make(cgroups)
}

fn go_on(cgroups: Vec<(&'static str, PathBuf)>, made: Ready, bare: Option<BorrowedFd<'_>>, channel: Channel) -> u8 {
    channel.say(message::READY, "", &[]);
    let Some(begin) = channel.next() else { return 0 };
    let heard = match Heard::listen(begin, &channel) {
        Ok(heard) => heard,
        Err(error) => {
            channel.fail(&error);
            return error.exit_code();
        }
    };
    let entry = First {
        spec: &heard.spec,
        trees: Some(heard.trees),
        cover: bare.map_or(Cover::Directory(&heard.dir), Cover::Bare),
        network: None,
        ipc: None,
        cgroups,
        entrance: Entrance::default(),
        streams: heard.streams,
        filter: heard.filter,
        ready: Some(made),
    };
    first(entry, channel)
}

/// A [`Story`] that was told to its end.
struct Heard {
    spec: Spec,
    dir: PathBuf,
    trees: Trees,
    streams: Streams,
    filter: Option<seccomp::Program>,
}

impl Heard {
    fn listen(begin: packet::Packet, channel: &Channel) -> Result<Self, Error> {
        let next = || channel.next().ok_or(Error::ShimGone);
        let story: Story = serde_json::from_slice(&begin.bytes).map_err(|_| Error::ShimGone)?;
        let rootfs = begin.fds.into_iter().next().ok_or(Error::ShimGone)?;
        let streams = match story.has_streams {
            true => Streams::Given(next()?.fds.try_into().map_err(|_| Error::ShimGone)?),
            false => Streams::Terminal,
        };
        let filter = match story.has_filter {
            true => Some(seccomp::Program::from_bytes(&next()?.bytes).ok_or(Error::ShimGone)?),
            false => None,
        };
        let plans = (0..story.plans).map(|_| channel.mount()).collect::<Result<Vec<_>, _>>()?;
        let spec = shim::record::spec(&story.spec)?;
        Ok(Self { spec, dir: story.dir, trees: Trees { rootfs, plans }, streams, filter })
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::Shutdown;

    use super::*;

    /// What telling it to a process comes to that says `first` and reads nothing.
    fn told(first: Option<&[u8]>) -> Result<(), Error> {
        let (ours, theirs) = packet::pair().unwrap();
        if let Some(first) = first {
            packet::send(theirs.as_fd(), first, &[], true).unwrap();
        }
        // Packets for it are taken all the same.
        rustix::net::shutdown(&theirs, Shutdown::Write).unwrap();
        let trees = Trees { rootfs: std::fs::File::open("/").unwrap().into(), plans: Vec::new() };
        Story::tell(<_>::default(), &trees, &Streams::Terminal, None, ours.as_fd())
    }

    #[test]
    fn only_who_is_ready_is_told() {
        assert!(told(Some(&[message::READY])).is_ok());
        assert!(told(None).is_err());
        assert!(told(Some(&[message::WARNING])).is_err());
    }
}
