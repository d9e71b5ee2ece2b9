//! What the process of a bundle must not have is taken away in two steps: nearly all of it while the container is created,
//! the rest when it is started, so that hooks of the start come before the filter.

use rustix::io::Errno;
use strata_sys::caps::{CapSet, Capability};
use strata_sys::{caps, process, signal};
use strata_types::plain;

use super::super::{Channel, confine, label};
use crate::spec::{Capabilities, Process};
use crate::{Error, oci};

/// How it is done.
pub(super) struct How {
    pub(super) descriptors: u32,
    pub(super) new_keyring: bool,
    pub(super) filter: Option<oci::Filter>,
}

/// What is left for the second step.
pub(super) struct Rest {
    sets: Capabilities,
    no_new_privileges: bool,
    filter: Option<oci::Filter>,
}

/// The first step.
pub(super) fn take_away(
    process: Option<&Process>,
    how: How,
    label: Option<label::Place>,
    channel: &Channel,
) -> Result<Rest, Error> {
    let none = Capabilities::docker(CapSet::EMPTY);
    let Some(process) = process else {
        return Ok(Rest { sets: none, no_new_privileges: false, filter: None });
    };
    if how.new_keyring
        && let Err(errno) = process::new_session_keyring()
    {
        channel.warn(&format!("the session keyring of the host stays joined: {}", plain(&errno)));
    }
    confine::hand_over_streams(process.user.uid)?;
    if let Some(label) = label {
        label.write()?;
    }
    signal::reset();
    process::close_on_exec_from(3 + how.descriptors).map_err(Error::step("close descriptors"))?;
    for limit in &process.rlimits {
        let (resource, wanted) = confine::rlimit(limit)?;
        rustix::process::setrlimit(resource, wanted).map_err(Error::path("set limit", &limit.name))?;
    }
    let ours = caps::effective().map_err(Error::step("read capabilities"))?;
    let within = |set: CapSet| set.intersection(ours);
    let sets = Capabilities {
        bounding: within(process.capabilities.bounding),
        effective: within(process.capabilities.effective),
        permitted: within(process.capabilities.permitted),
        inheritable: within(process.capabilities.inheritable),
        // The kernel keeps only those over an execution that are in both of these.
        ambient: within(process.capabilities.ambient)
            .intersection(process.capabilities.permitted)
            .intersection(process.capabilities.inheritable),
    };
    caps::bound(sets.bounding).map_err(Error::step("bound capabilities"))?;
    caps::keep_over_setuid().map_err(Error::step("keep capabilities"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(process.user.umask.unwrap_or(0o022)));
    process::set_user(process.user.uid, process.user.gid, &process.user.groups).map_err(|errno| match errno {
        Errno::INVAL => Error::Setup(format!(
            "the user {}:{} has no id outside the user namespace",
            process.user.uid, process.user.gid
        )),
        errno => Error::step("change the user")(errno),
    })?;
    // Loading a filter needs this one, unless privileges can no longer grow.
    let needed = how.filter.is_some() && !process.no_new_privileges;
    let with = |set: CapSet| if needed { within(set.with(Capability::SYS_ADMIN)) } else { set };
    caps::set(with(sets.effective), with(sets.permitted), sets.inheritable, CapSet::EMPTY)
        .map_err(Error::step("set capabilities"))?;
    confine::hide_from_container()?;
    Ok(Rest { sets, no_new_privileges: process.no_new_privileges, filter: how.filter })
}

impl Rest {
    /// The second step.
    pub(super) fn finish(self, channel: &Channel) -> Result<(), Error> {
        if !self.no_new_privileges {
            self.load(channel)?;
        }
        let Capabilities { effective, permitted, inheritable, ambient, .. } = self.sets;
        caps::set(effective, permitted, inheritable, ambient).map_err(Error::step("set capabilities"))?;
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).map_err(Error::step("forbid new privileges"))?;
            self.load(channel)?;
        }
        Ok(())
    }

    fn load(&self, channel: &Channel) -> Result<(), Error> {
        self.filter.as_ref().map_or(Ok(()), |filter| super::load(filter, channel))
    }
}
