//! Which devices a container has: `--device`, `--device-cgroup-rule`, and all of the host's for privileged ones.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{major, minor};
use strata_runtime::spec::{DeviceNode, DeviceRule, DeviceRules};

use crate::Result;
use crate::container::{ContainerError, Device, HostConfig};

/// How deep below `/dev` devices are looked for.
const DEPTH_MAX: usize = 8;

/// What of the host's `/dev` a container has its own of.
const NOT_THE_HOSTS: &[&str] = &["pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".lxd-mounts", ".udev"];

/// The device nodes to make, and which may be opened.
pub(super) fn of(host: &HostConfig) -> Result<(Vec<DeviceNode>, DeviceRules)> {
    let mut nodes = Vec::new();
    if host.privileged {
        add_below(Path::new("/dev"), "/dev", DEPTH_MAX, &mut nodes)?;
    }
    let mut rules = Vec::new();
    for device in &host.resources.devices {
        let before = nodes.len();
        add(device, &mut nodes)?;
        rules.extend(nodes[before..].iter().map(|node| DeviceRule {
            block: node.block,
            major: Some(node.major),
            minor: Some(node.minor),
            access: device.cgroup_permissions.clone(),
        }));
    }
    for rule in host.resources.device_cgroup_rules.iter().flatten() {
        rules.push(parse_rule(rule)?);
    }
    let rules = if host.privileged { DeviceRules::Everything } else { DeviceRules::Allow(rules) };
    Ok((nodes, rules))
}

fn add(device: &Device, nodes: &mut Vec<DeviceNode>) -> Result<()> {
    let Device { path_on_host, path_in_container, .. } = device;
    let gather = |why: &str| {
        let what = "error gathering device information while adding custom device";
        ContainerError::invalid(format!("{what} \"{path_on_host}\": {why}"))
    };
    let metadata = std::fs::metadata(path_on_host).map_err(|error| gather(&strata_types::plain(&error)))?;
    if metadata.is_dir() {
        return add_below(Path::new(path_on_host), path_in_container, DEPTH_MAX, nodes);
    }
    let Some(node) = node(path_in_container, &metadata) else {
        return Err(gather("not a device node"));
    };
    nodes.push(node);
    Ok(())
}

fn add_below(dir: &Path, target: &str, depth: usize, nodes: &mut Vec<DeviceNode>) -> Result<()> {
    if depth == 0 {
        return Ok(());
    }
    let list = std::fs::read_dir(dir).map_err(ContainerError::step(format!("cannot list {}", dir.display())))?;
    for entry in list {
        let entry = entry.map_err(ContainerError::step(format!("cannot list {}", dir.display())))?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !NOT_THE_HOSTS.contains(name)) else { continue };
        let path_in_container = format!("{target}/{name}");
        // A device that vanishes meanwhile was unplugged.
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        if metadata.is_dir() {
            add_below(&entry.path(), &path_in_container, depth - 1, nodes)?;
        } else if let Some(node) = node(&path_in_container, &metadata) {
            nodes.push(node);
        }
    }
    Ok(())
}

fn node(path: &str, metadata: &Metadata) -> Option<DeviceNode> {
    let kind = metadata.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    Some(DeviceNode {
        path: path.to_owned(),
        block: kind.is_block_device(),
        major: major(metadata.rdev()),
        minor: minor(metadata.rdev()),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// `c 1:3 rwm`, `b 8:* r`, `a *:* rwm`.
fn parse_rule(text: &str) -> Result<DeviceRule> {
    let invalid = || ContainerError::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = words[..] else { return Err(invalid()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| if text == "*" { Ok(None) } else { text.parse().map(Some).map_err(|_| invalid()) };
    let known = |letters: &str, text: &str| !text.is_empty() && text.chars().all(|letter| letters.contains(letter));
    if !["a", "b", "c"].contains(&kind) || !known("rwm", access) {
        return Err(invalid());
    }
    Ok(DeviceRule { block: kind == "b", major: number(major)?, minor: number(minor)?, access: access.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_node_and_a_rule() {
        let mut host = HostConfig::default();
        let device = |path: &str| Device {
            path_on_host: path.into(),
            path_in_container: "/dev/nothing".into(),
            cgroup_permissions: "r".into(),
        };
        host.resources.devices = vec![device("/dev/null")];
        let (nodes, rules) = of(&host).unwrap();
        assert_eq!((nodes[0].path.as_str(), nodes[0].major, nodes[0].minor), ("/dev/nothing", 1, 3));
        let rule = DeviceRule { block: false, major: Some(1), minor: Some(3), access: "r".into() };
        assert_eq!(rules, DeviceRules::Allow(vec![rule]));
        host.resources.devices = vec![device("/etc/passwd")];
        assert!(of(&host).unwrap_err().to_string().ends_with("not a device node"));
    }

    #[test]
    fn rules_are_parsed() {
        let rule = parse_rule("b 8:* rw").unwrap();
        assert_eq!(rule, DeviceRule { block: true, major: Some(8), minor: None, access: "rw".into() });
        for bad in ["", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 z", "c 1:3 "] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }
}
