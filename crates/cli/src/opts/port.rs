//! `-p [[IP:]HOST:]CONTAINER[/PROTOCOL]` and `-p target=CONTAINER,published=HOST,protocol=PROTOCOL`: published ports.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Invalid, Result};

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The host's address; all of them if none.
    pub address: Option<IpAddr>,
    /// The host's ports; any free one if none.
    pub host: Option<(u16, u16)>,
    /// The container's ports, first and last.
    pub container: (u16, u16),
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
}

/// Parses the value of `-p`.
pub fn parse(text: &str) -> Result<Port> {
    let text = &*short_form(text)?;
    let (address, host, container) = split(text)?;
    let (container, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    if container.is_empty() {
        return Err(Invalid(format!("No port specified: {text}<empty>")));
    }
    let Some(&protocol) = ["tcp", "udp", "sctp"].iter().find(|known| known.eq_ignore_ascii_case(protocol)) else {
        return Err(Invalid(format!("Invalid proto: {protocol}")));
    };
    let address = match address {
        "" => None,
        text => Some(text.parse().map_err(|_| Invalid(format!("Invalid ip address: {text}")))?),
    };
    let container_range = range(container).ok_or_else(|| Invalid(format!("Invalid containerPort: {container}")))?;
    let host_range = match host {
        "" => None,
        text => Some(range(text).ok_or_else(|| Invalid(format!("Invalid hostPort: {text}")))?),
    };
    let width = |(first, last): (u16, u16)| last - first;
    // One container port may be given any of several host ports.
    if host_range.is_some_and(|host| width(host) != width(container_range) && width(container_range) != 0) {
        let both = format!("{container} and {host}");
        return Err(Invalid(format!("Invalid ranges specified for container and host Ports: {both}")));
    }
    Ok(Port { address, host: host_range, container: container_range, protocol })
}

/// Fields in the form that has none. What else there is says how ports of swarms are published.
fn short_form(text: &str) -> Result<Cow<'_, str>> {
    if !text.contains('=') {
        return Ok(Cow::Borrowed(text));
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for field in text.split(',') {
        match field.split_once('=').filter(|(name, _)| !name.is_empty()) {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some(_) => {}
            None => {
                let form = "invalid publish opts format (should be name=value but got";
                return Err(Invalid(format!("{form} '{field}')")));
            }
        }
    }
    Ok(Cow::Owned(format!("{published}:{target}/{protocol}")))
}

/// Splits into the host's address, the host's ports and the rest.
fn split(text: &str) -> Result<(&str, &str, &str)> {
    let Some((front, container)) = text.rsplit_once(':') else { return Ok(("", "", text)) };
    let Some((address, host)) = front.rsplit_once(':') else { return Ok(("", front, container)) };
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    match bare {
        Some(address) => Ok((address, host, container)),
        None if address.contains(':') => {
            let why = if address.starts_with('[') { "missing ']' in address" } else { "too many colons in address" };
            Err(Invalid(format!("Invalid ip address {address}: address {address}:: {why}")))
        }
        None => Ok((address, host, container)),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// Why the ports of `--expose` are none, as Docker's parser of ranges says it.
pub fn why_no_range(text: &str) -> String {
    let ports = text.split('/').next().unwrap_or(text);
    if ports.is_empty() {
        return String::from("Empty string specified for ports.");
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    for number in [first, last] {
        if let Err(error) = number.parse::<u16>() {
            let overflow = *error.kind() == std::num::IntErrorKind::PosOverflow;
            let why = if overflow { "value out of range" } else { "invalid syntax" };
            return format!("strconv.ParseUint: parsing {number:?}: {why}");
        }
    }
    format!("Invalid range specified for the Port: {ports}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, sentence: &str) {
        assert_eq!(parse(text).expect_err(text).to_string(), sentence, "{text}");
    }

    #[test]
    fn ports_may_be_ranges_and_bound_to_an_address() {
        let port = |address: Option<&str>, host, container, protocol| Port {
            address: address.map(|text| text.parse().unwrap()),
            host,
            container,
            protocol,
        };
        assert_eq!(parse("80").unwrap(), port(None, None, (80, 80), "tcp"));
        assert_eq!(parse(":80").unwrap(), port(None, None, (80, 80), "tcp"));
        assert_eq!(parse("8080:80/udp").unwrap(), port(None, Some((8080, 8080)), (80, 80), "udp"));
        assert_eq!(parse("127.0.0.1:1-3:4-6").unwrap(), port(Some("127.0.0.1"), Some((1, 3)), (4, 6), "tcp"));
        assert_eq!(parse("target=80").unwrap(), port(None, None, (80, 80), "tcp"));
        let fields = "mode=host,protocol=udp,published=127.0.0.1:8080,target=80";
        assert_eq!(parse(fields).unwrap(), port(Some("127.0.0.1"), Some((8080, 8080)), (80, 80), "udp"));
        assert_eq!(parse("[::1]:1-9:4").unwrap(), port(Some("::1"), Some((1, 9)), (4, 4), "tcp"));
    }

    #[test]
    fn refusals_are_dockers_words() {
        refused("x", "Invalid containerPort: x");
        refused("1:2:3", "Invalid ip address: 1");
        refused("99999:1", "Invalid hostPort: 99999");
        refused("80/xtp", "Invalid proto: xtp");
        refused("target=80,x", "invalid publish opts format (should be name=value but got 'x')");
        refused("published=80", "No port specified: 80:/tcp<empty>");
        refused("1-3:1-2", "Invalid ranges specified for container and host Ports: 1-2 and 1-3");
        refused("a:b:c:d", "Invalid ip address a:b: address a:b:: too many colons in address");
    }
}
