//! pasta(1) in place of networks, for those who are not root.

use std::path::PathBuf;

use strata_net::{PASTA, Pasta};

use crate::container::{ContainerError, HostConfig, check};
use crate::network::EndpointWish;
use crate::{Result, rootless};

/// Said to those who are not root, have no pasta and did not choose.
const LOOPBACK_ONLY: &str = "only root makes networks, and pasta is not installed (package passt): the container has a loopback interface; --network host gives it the host's network";

/// The program, if it is installed.
fn program() -> Option<PathBuf> {
    check::program(PASTA)
}

/// Gives somebody who is not root what comes nearest to what they wish of networks: the default one is pasta.
pub(super) fn in_place_of_networks(
    host: &mut HostConfig,
    wishes: &mut Vec<EndpointWish>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if let Some(other) = wishes.iter().find(|wish| wish.network != "bridge") {
        let name = &other.network;
        let why = format!(
            "only root makes networks such as {name}: use `--network pasta`, `--network host`, `--network none` or `--network container:NAME`"
        );
        return Err(ContainerError::invalid(why));
    }
    if wishes.iter().any(|wish| EndpointWish { network: String::from("bridge"), ..EndpointWish::default() } != *wish) {
        let why = "only root makes networks in which containers have addresses and names: --ip, --ip6, --mac-address and --network-alias cannot be used";
        return Err(ContainerError::invalid(why));
    }
    wishes.clear();
    if program().is_some() {
        host.network_mode = String::from(PASTA);
        return Ok(());
    }
    if is_publishing(host) {
        let why = "only root publishes ports by itself: install pasta (package passt), or use `--network host`";
        return Err(ContainerError::invalid(why));
    }
    host.network_mode = String::from("none");
    warnings.push(String::from(LOOPBACK_ONLY));
    Ok(())
}

/// Checks that pasta can be had by somebody who asks for it.
pub(super) fn check() -> Result<()> {
    if !rootless::entered() {
        return Err(ContainerError::invalid("pasta networking is only supported for rootless mode"));
    }
    program().map(drop).ok_or_else(missing)
}

/// What the runtime is told.
pub(super) fn plan(host: &HostConfig, options: &str) -> Result<Pasta> {
    let options: Vec<String> = options.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let required = is_publishing(host) || !options.is_empty();
    Ok(Pasta { program: program().ok_or_else(missing)?, options, required })
}

fn missing() -> crate::Error {
    ContainerError::invalid("could not find pasta, the network of those who are not root: install the package passt")
}

fn is_publishing(host: &HostConfig) -> bool {
    !host.port_bindings.is_empty() || host.publish_all_ports
}
