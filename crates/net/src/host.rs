//! Settings of the host's network that containers need.

use std::io::{self, Read as _};

use crate::Endpoint;
use crate::error::{Error, Result};
use crate::registry::Registry;

const FORWARD_IPV4: &str = "/proc/sys/net/ipv4/ip_forward";
const FORWARD_IPV6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Makes the host a router for containers if it is none, and notes that it was none; true if it was none.
pub(crate) fn route(registry: &Registry, endpoints: &[Endpoint]) -> Result<bool> {
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
    Ok(!switched.is_empty())
}

/// Undoes [`route`].
pub(crate) fn stop_routing(registry: &Registry) -> Result<()> {
    let switched = registry.router();
    for kind in &switched {
        let path = if kind == "ipv4" { FORWARD_IPV4 } else { FORWARD_IPV6 };
        set(path, "0").map_err(Error::step("let the host route no more"))?;
    }
    if switched.is_empty() { Ok(()) } else { registry.note_router(&[]) }
}

fn is_on(path: &str) -> bool {
    let mut digit = [0];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut digit)).is_ok_and(|()| digit != *b"0")
}

fn set(path: &str, value: &str) -> io::Result<()> {
    std::fs::write(path, value)
}
