//! Looking at all networks, and removing what killed shims left.

use std::path::Path;

use crate::error::{Error, Result};
use crate::firewall::{Firewall, Wanted};
use crate::link::Links;
use crate::registry::{Changing, Left, Registry};
use crate::{Endpoint, Subnet, host};

/// Removes what shims that were killed left behind: addresses, rules, bridges. Costs next to nothing where no container was
/// ever connected.
pub fn sweep(run_dir: &Path) -> Result<()> {
    let registry = Registry::in_run_dir(run_dir);
    if !registry.is_there() {
        return Ok(());
    }
    let changing = registry.change()?;
    bury_all(&registry, &changing)
}

/// Removes what is left of all whose owners are dead.
pub(crate) fn bury_all(registry: &Registry, changing: &Changing) -> Result<()> {
    let mut dead = Vec::new();
    for network in registry.networks()? {
        dead.extend(registry.bury(&network, changing)?);
    }
    remove_from_kernel(registry, None, &dead, changing)
}

/// Who is connected to a network now.
pub fn endpoints(run_dir: &Path, network: &str) -> Result<Vec<Endpoint>> {
    Registry::in_run_dir(run_dir).endpoints(network)
}

/// Where this host has routes to, the default routes left out.
pub fn host_routes() -> Result<Vec<Subnet>> {
    let routes = Links::open().and_then(|mut links| links.routes());
    routes.map_err(Error::step("list the host's routes"))
}

/// Removes from the kernel what was there for endpoints that have left, and what was there for the last of its kind.
/// `firewall` is the conversation with the packet filter, if there is one.
pub(crate) fn remove_from_kernel(
    registry: &Registry,
    firewall: Option<Firewall>,
    left: &[Left],
    changing: &Changing,
) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let mut firewall = match firewall {
        Some(firewall) => firewall,
        None => Firewall::open(registry.table()).map_err(Error::step("speak to the packet filter"))?,
    };
    let networks = registry.networks()?;
    if !registry.is_any_used(&networks)? {
        return remove_all_from_kernel(registry, &mut firewall, left, &networks, changing);
    }
    let mut complete = true;
    for Left { endpoint, .. } in left {
        let is_last = !registry.is_used(&endpoint.network)?;
        let removed = firewall.remove(endpoint, is_last);
        complete &= removed.map_err(Error::step("remove rules of the packet filter"))?;
        if is_last {
            remove_bridge(registry, endpoint)?;
            // Last: as long as it is noted, somebody else would do all this.
            registry.forget(&endpoint.network, changing)?;
        }
    }
    registry.close(left, changing)?;
    if complete {
        return Ok(());
    }
    // Somebody else's hand was in our tables.
    rebuild(registry, &mut firewall)
}

/// With the last of all go whole tables: each change of the packet filter waits for all processors.
fn remove_all_from_kernel(
    registry: &Registry,
    firewall: &mut Firewall,
    left: &[Left],
    networks: &[String],
    changing: &Changing,
) -> Result<()> {
    firewall.remove_all().map_err(Error::step("remove our tables from the packet filter"))?;
    left.iter().try_for_each(|left| remove_bridge(registry, &left.endpoint))?;
    networks.iter().try_for_each(|network| registry.forget(network, changing))?;
    registry.note_stamp(None)?;
    host::stop_routing(registry)
}

/// Makes our tables anew, for everybody who is connected.
pub(crate) fn rebuild(registry: &Registry, firewall: &mut Firewall) -> Result<()> {
    rebuild_for(registry, firewall, &registry.all_endpoints()?)
}

/// Makes our tables anew for these, who are all that are connected.
pub(crate) fn rebuild_for(registry: &Registry, firewall: &mut Firewall, endpoints: &[Endpoint]) -> Result<()> {
    let only_ours = host::route(registry, endpoints)?;
    let failed = || Error::step("set up the packet filter (nf_tables)");
    let host = firewall.host_input().map_err(failed())?;
    firewall.rebuild(&Wanted { endpoints, only_ours }, &host).map_err(failed())?;
    registry.note_stamp(Some(&host.stamp()))
}

/// Makes our tables anew if somebody removed them, or changed the host's own input chains.
pub(crate) fn mend(registry: &Registry) -> Result<()> {
    let _changing = registry.change()?;
    let failed = || Error::step("look at the packet filter (nf_tables)");
    let mut firewall = Firewall::open(registry.table()).map_err(failed())?;
    let endpoints = registry.all_endpoints()?;
    let is_there = firewall.is_there(&endpoints).map_err(failed())?;
    if is_there && firewall.host_input().map_err(failed())?.stamp() == registry.stamp() {
        return Ok(());
    }
    rebuild(registry, &mut firewall)
}

/// Removes a network's bridge if it is ours.
fn remove_bridge(registry: &Registry, last: &Endpoint) -> Result<()> {
    let Some(bridge) = last.bridge().filter(|_| registry.is_made(&last.network)) else { return Ok(()) };
    let removed = Links::open().and_then(|mut links| links.remove(&bridge.interface));
    removed.map_err(Error::step(format!("remove the bridge {}", bridge.interface)))
}
