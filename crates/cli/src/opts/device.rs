//! `--device HOST[:CONTAINER[:rwm]]`.

use super::{Invalid, Result};

/// A device of the host for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its path on the host.
    pub host: String,
    /// Its path in the container.
    pub container: String,
    /// What the container may do: letters of `rwm`.
    pub permissions: String,
}

/// Parses the value of `--device`.
pub fn parse(text: &str) -> Result<Device> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |mode: &str| {
        let distinct = mode.chars().enumerate().all(|(at, c)| "rwm".contains(c) && !mode[..at].contains(c));
        !mode.is_empty() && distinct
    };
    let bad = || Invalid(format!("bad format for path: {text}"));
    let (host, container, permissions) = match parts[..] {
        ["", ..] => return Err(bad()),
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, container] => (host, container, "rwm"),
        [host, container, mode] if is_mode(mode) => (host, container, mode),
        [_, _, mode] => return Err(Invalid(format!("bad mode specified: {mode}"))),
        _ => return Err(bad()),
    };
    let container = if container.is_empty() { host } else { container };
    if !host.starts_with('/') || !container.starts_with('/') {
        let path = if host.starts_with('/') { container } else { host };
        return Err(Invalid(format!("{path} is not an absolute path")));
    }
    Ok(Device { host: host.into(), container: container.into(), permissions: permissions.into() })
}

/// Parses the value of `--device-cgroup-rule`: `TYPE MAJOR:MINOR rwm`.
pub fn cgroup_rule(text: &str) -> Result<String> {
    let number = |text: &str| text == "*" || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_rule = match *text.split(' ').collect::<Vec<_>>() {
        ["a" | "b" | "c", numbers, modes] => {
            let known = modes.len() <= 3 && !modes.is_empty() && modes.bytes().all(|mode| b"rwm".contains(&mode));
            known && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
        }
        _ => false,
    };
    if is_rule { Ok(text.to_owned()) } else { Err(Invalid(format!("invalid device cgroup format '{text}'"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(host: &str, container: &str, permissions: &str) -> Device {
        Device { host: host.into(), container: container.into(), permissions: permissions.into() }
    }

    #[test]
    fn paths_and_permissions_are_optional() {
        assert_eq!(parse("/dev/fuse").unwrap(), device("/dev/fuse", "/dev/fuse", "rwm"));
        assert_eq!(parse("/dev/a:/dev/b").unwrap(), device("/dev/a", "/dev/b", "rwm"));
        assert_eq!(parse("/dev/a:r").unwrap(), device("/dev/a", "/dev/a", "r"));
        assert_eq!(parse("/dev/a:/dev/b:rw").unwrap(), device("/dev/a", "/dev/b", "rw"));
    }

    #[test]
    fn refusals_are_dockers_words() {
        assert_eq!(parse("/a:/b:z:w").unwrap_err().to_string(), "bad format for path: /a:/b:z:w");
        assert_eq!(parse("/a:/b:rr").unwrap_err().to_string(), "bad mode specified: rr");
        assert_eq!(parse("a").unwrap_err().to_string(), "a is not an absolute path");
    }
}
