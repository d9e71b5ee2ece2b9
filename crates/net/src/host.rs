//! Settings of the host's network that containers need.

use std::io;

use crate::Endpoint;
use crate::error::{Error, Result};
use crate::registry::Registry;

const FORWARD_IPV4: &str = "/proc/sys/net/ipv4/ip_forward";
const FORWARD_IPV6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Makes the host a router for containers if it is none, and notes that it was none.
pub(crate) fn route(registry: &Registry, endpoints: &[Endpoint]) -> Result<()> {
    let mut switched = registry.router();
    for (kind, path, wanted) in [
        ("ipv4", FORWARD_IPV4, endpoints.iter().any(|endpoint| endpoint.ipv4.is_some())),
        ("ipv6", FORWARD_IPV6, endpoints.iter().any(|endpoint| endpoint.ipv6.is_some())),
    ] {
        if !wanted || is_on(path) || switched.iter().any(|known| known == kind) {
            continue;
        }
        switched.push(kind.to_owned());
        registry.note_router(&switched)?;
        set(path, "1").map_err(Error::step(format!("let the host route (`{path}`)")))?;
    }
    Ok(())
}

/// Undoes [`route`].
pub(crate) fn stop_routing(registry: &Registry) -> Result<()> {
    for kind in registry.router() {
        let path = if kind == "ipv4" { FORWARD_IPV4 } else { FORWARD_IPV6 };
        set(path, "0").map_err(Error::step("let the host route no more"))?;
    }
    registry.note_router(&[])
}

/// Lets packets between the host's 127.0.0.1 and containers pass a bridge; our guard chain stops all others.
pub(crate) fn take_loopback(bridge: &str) -> Result<()> {
    set(&format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"), "1")
        .map_err(Error::step(format!("let 127.0.0.1 be published by way of {bridge}")))
}

fn is_on(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}

fn set(path: &str, value: &str) -> io::Result<()> {
    std::fs::write(path, value)
}
