//! The container's networks: connected when its first process exists, given back when that has ended.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use strata_net::{Connected, Leaving, Sandbox};
use strata_types::ContainerId;

use super::client::Client;
use super::launch::Places;
use super::{Shim, record};
use crate::Error;
use crate::spec::{MountSource, Network, Spec};
use crate::wire::Answer;

/// What a running container has got, beside its socket.
const NETWORK: &str = "network.json";

/// Connects the container whose first process is `pid`, if it is to be connected.
pub(super) fn connect(
    spec: &Spec,
    places: &Places,
    pid: i32,
    warnings: &mut Vec<String>,
) -> Result<Option<Sandbox>, Error> {
    let Network::Connected(plan) = &spec.namespaces.network else { return Ok(None) };
    let path = format!("/proc/{pid}/ns/net");
    let namespace = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::path("open network namespace", path))?;
    let sandbox = Sandbox::connect(&places.run_dir, plan, namespace)?;
    warnings.extend(sandbox.warning().map(str::to_owned));
    match tell(&sandbox, spec, places) {
        Ok(()) => Ok(Some(sandbox)),
        Err(error) => {
            finish(leave(sandbox));
            Err(error)
        }
    }
}

/// The container's names in its `hosts`: the whole one, and the first part of it. The person may have given the whole one as
/// host name, or in two.
fn names(host: &str, domain: Option<&str>) -> String {
    let whole = domain.map_or_else(|| host.to_owned(), |domain| format!("{host}.{domain}"));
    match whole.split_once('.') {
        Some((first, _)) => format!("{whole} {first}"),
        None => whole,
    }
}

/// Says what the container has got: to others in a file of the run directory, to itself in its `hosts`.
fn tell(sandbox: &Sandbox, spec: &Spec, places: &Places) -> Result<(), Error> {
    let connected = sandbox.connected();
    record::put(&path(&places.run_dir, &spec.id), &connected)?;
    let Network::Connected(plan) = &spec.namespaces.network else { return Ok(()) };
    let hosts = hosts_of(spec, places);
    let name = names(&plan.hostname, spec.domainname.as_deref());
    let addresses = connected.endpoints.iter().flat_map(strata_net::Endpoint::addresses);
    let lines: String = addresses.map(|address| format!("{}\t{name}\n", address.address)).collect();
    let written = File::options().read(true).write(true).open(&hosts).and_then(|mut file| {
        let mut before = String::new();
        file.read_to_string(&mut before)?;
        // What stands there from an earlier run of the container is not true any more.
        let kept: String = before
            .lines()
            .filter(|line| !line.ends_with(&format!("\t{name}")))
            .fold(String::new(), |all, line| all + line + "\n");
        // Written over: a file that was emptied first is written to the disk by ext4 when it is closed (`auto_da_alloc`).
        let after = kept + &lines;
        file.write_all_at(after.as_bytes(), 0)?;
        if after.len() < before.len() { file.set_len(after.len() as u64) } else { Ok(()) }
    });
    match written {
        // A container of somebody else's making has no such file.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::path("write", hosts.display().to_string())(error))
        }
        _ => Ok(()),
    }
}

/// Where the container's `hosts` is: what is mounted there, unless the person mounts something of theirs.
fn hosts_of(spec: &Spec, places: &Places) -> PathBuf {
    let ours = [places.dir.join("hosts"), super::socket_dir(&places.run_dir, &spec.id).join("hosts")];
    let is_mounted = |path: &PathBuf| {
        let is_it = |mount: &crate::spec::Mount| matches!(&mount.source, MountSource::Bind { path: source, .. } if source == path);
        spec.mounts.iter().any(is_it)
    };
    let [usual, _] = &ours;
    ours.iter().find(|path| is_mounted(path)).unwrap_or(usual).clone()
}

/// Gives back what a container that has ended had: its addresses and ports are free at once, the rest when that is
/// finished. What cannot be given back now is swept by another.
pub(super) fn leave(sandbox: Sandbox) -> Option<Leaving> {
    let left = sandbox.leave();
    left.inspect_err(|error| tracing::debug!(%error, "networks of a container that has ended stay")).ok().flatten()
}

/// Has the kernel forget what was there for such a container.
pub(super) fn finish(leaving: Option<Leaving>) {
    if let Some(Err(error)) = leaving.map(Leaving::finish) {
        tracing::debug!(%error, "something of the networks of a container that has ended stays");
    }
}

/// Forgets what a container had got.
pub(crate) fn forget(run_dir: &Path, id: &ContainerId) {
    match std::fs::remove_file(path(run_dir, id)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::debug!(%error, "what a container was connected to stays noted");
        }
        _ => {}
    }
}

/// What a running container has got; nothing if it does not run or has no networks.
pub(crate) fn connected(run_dir: &Path, id: &ContainerId) -> Result<Connected, Error> {
    Ok(record::read(&path(run_dir, id))?.unwrap_or_default())
}

fn path(run_dir: &Path, id: &ContainerId) -> PathBuf {
    super::socket_dir(run_dir, id).join(NETWORK)
}

impl Shim {
    /// Changes what the container is connected to, and says how it went. One that waits to be started again, or has no
    /// networks of its own, has nothing that could be changed now.
    pub(super) fn change_networks(
        &mut self,
        client: &mut Client,
        change: impl FnOnce(&mut Sandbox) -> Result<(), strata_net::Error>,
    ) {
        let changed = match &mut self.sandbox {
            None => Ok(()),
            Some(sandbox) => change(sandbox)
                .map_err(Error::from)
                .and_then(|()| record::put(&path(&self.places.run_dir, &self.id), &sandbox.connected())),
        };
        match changed {
            Ok(()) => client.say(&Answer::Done),
            Err(error) => client.say(&super::Failed::from(&error).answer()),
        }
        client.gone = true;
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_container_has_its_whole_name_and_the_first_part_of_it() {
        // As `docker run --hostname HOST --domainname DOMAIN` has them in /etc/hosts.
        for (host, domain, expected) in [
            ("a", None, "a"),
            ("a.b.c", None, "a.b.c a"),
            ("a", Some("x.y"), "a.x.y a"),
            ("a.b", Some("x.y"), "a.b.x.y a"),
        ] {
            assert_eq!(names(host, domain), expected);
        }
    }
}
