//! Looking at containers, keeping them still, and changing what they may use.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use strata_types::runtime_spec::Resources;

use super::record::{Place, StateDocument, Status};
use super::{Error, Runtime, resources};

/// A container in a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The version of the specification that its configuration follows.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// Its first process, 0 of a stopped one.
    pub pid: i32,
    /// What it does.
    pub status: Status,
    /// Where its bundle is.
    pub bundle: PathBuf,
    /// Where its root is.
    pub rootfs: PathBuf,
    /// When it was created.
    pub created: Timestamp,
    /// Who created it.
    pub owner: String,
}

impl Runtime {
    /// All containers, by id.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(crate::Error::path("list", self.root.display().to_string()))?,
        };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        let listed = names.iter().filter_map(|name| {
            // What is being made, or removed, is not there.
            let place = Place::of(&self.root, name).ok()?;
            let known = place.read().ok()?;
            let StateDocument { oci_version, id, status, pid, bundle, rootfs, created, owner, .. } =
                StateDocument::new(&known, place.status(&known));
            Some(Listed { oci_version, id, pid: pid.unwrap_or(0), status, bundle, rootfs, created, owner })
        });
        Ok(listed.collect())
    }

    /// Keeps all its processes still.
    pub fn pause(&self, id: &str) -> Result<(), Error> {
        let (place, known) = self.known(id)?;
        match place.status(&known) {
            Status::Created | Status::Running => {}
            _ => return Err(Error::NotRunning),
        }
        Ok(known.cgroup().freeze(true).map_err(crate::Error::io("keep the container's processes still"))?)
    }

    /// Lets them go on.
    pub fn resume(&self, id: &str) -> Result<(), Error> {
        let (place, known) = self.known(id)?;
        if place.status(&known) != Status::Paused {
            return Err(Error::NotPaused);
        }
        Ok(known.cgroup().freeze(false).map_err(crate::Error::io("let the container's processes go on"))?)
    }

    /// Its processes, in the numbering of this one.
    pub fn processes(&self, id: &str) -> Result<Vec<i32>, Error> {
        let (_, known) = self.known(id)?;
        Ok(known.cgroup().all_pids().map_err(crate::Error::io("list the container's processes"))?)
    }

    /// Changes what it may use at most. What is not said stays.
    pub fn update(&self, id: &str, wanted: &Resources) -> Result<(), Error> {
        let (place, known) = self.known(id)?;
        if place.status(&known) == Status::Stopped {
            return Err(Error::NotRunning);
        }
        let group = known.cgroup();
        if let Some(unit) = &known.unit {
            self.systemd.connect()?.set(unit.name(), &resources::version_2(wanted))?;
        }
        resources::set(&group, wanted)?;
        resources::set_devices(&group, wanted)
    }
}
