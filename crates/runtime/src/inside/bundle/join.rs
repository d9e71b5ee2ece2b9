//! A further process of a bundle's container.

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use strata_sys::cgroup::Entrance;
use strata_sys::process;

use super::super::{Channel, ENTER, confine, label, program, report, standing};
use super::privileges;
use crate::spec::Process;
use crate::{Error, oci};

/// What a process that joins needs.
pub(crate) struct Joining<'a> {
    pub(crate) process: &'a Process,
    /// The namespaces of the container's first process.
    pub(crate) namespaces: &'a oci::Namespaces,
    /// The ways into its control groups, if it goes there by itself.
    pub(crate) entrances: Vec<Entrance>,
    pub(crate) filter: Option<oci::Filter>,
    pub(crate) schedule: &'a oci::Schedule,
    pub(crate) descriptors: u32,
    pub(crate) new_keyring: bool,
}

/// Becomes another process of the container. Returns only if that fails, with the exit code.
pub(crate) fn join(joining: Joining<'_>, channel: OwnedFd) -> u8 {
    let channel = Channel(RefCell::new(Some(channel)));
    report(try_join(joining, &channel), &channel)
}

fn try_join(joining: Joining<'_>, channel: &Channel) -> Result<u8, Error> {
    let Joining { process, namespaces, entrances, filter, schedule, descriptors, new_keyring } = joining;
    confine::die_with_parent()?;
    confine::hide_from_container()?;
    let label = label::open(process)?;
    process::lead_session().map_err(Error::step("start a session"))?;
    schedule.stay_on_cpus(false)?;
    // In its control groups from here on.
    entrances.into_iter().try_for_each(Entrance::pass).map_err(Error::io(ENTER))?;
    channel.wait()?;
    schedule.stay_on_cpus(true)?;
    schedule.set()?;
    namespaces.join_users()?;
    namespaces.join_inside()?;
    namespaces.become_somebody()?;
    // Entering a mount namespace makes its root ours.
    let terminal = if process.tty { Some(standing::terminal_of_joined(process, channel)?) } else { None };
    confine::working_directory(process, false)?;
    super::set_terminal(terminal)?;
    let home = program::home_of(process.user.uid)?;
    let how = privileges::How { descriptors, new_keyring, filter };
    let rest = privileges::take_away(Some(process), how, label, channel)?;
    let (name, path, environment) = program::find(process, Some(home))?;
    rustix::process::set_parent_process_death_signal(None).map_err(Error::step("outlive the runtime"))?;
    rest.finish(channel)?;
    Err(program::execute(&name, &path, process, &environment, None))
}
