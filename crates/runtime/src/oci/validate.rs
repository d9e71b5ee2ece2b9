//! What contradicts itself in a configuration, before anything is made.

use strata_sys::process::NamespaceSet;
use strata_types::runtime_spec::Config;

use super::{Error, Namespaces, resctrl};

/// Checks what nothing else would find out in time.
pub(super) fn check(config: &Config, namespaces: &Namespaces) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::Config(why.to_owned()));
    if !config.oci_version.starts_with("1.") {
        return Err(Error::Config(format!("unsupported ociVersion: {:?}", config.oci_version)));
    }
    if config.root.as_ref().is_none_or(|root| root.path.is_empty()) {
        return refuse("root must not be empty");
    }
    let all = namespaces.own_or_joined();
    let named = |name: &Option<String>| name.as_deref().is_some_and(|name| !name.is_empty());
    if (named(&config.hostname) || named(&config.domainname)) && !all.has(NamespaceSet::UTS) {
        return refuse("unable to set hostname without a private UTS namespace");
    }
    let linux = &config.linux;
    let maps = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if maps && !all.has(NamespaceSet::USER) {
        return refuse("user namespace mappings specified, but user namespace isn't enabled in the config");
    }
    let own_users = namespaces.own().has(NamespaceSet::USER);
    if own_users && (linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty()) {
        return refuse("user namespaces enabled, but no user or group mappings found");
    }
    if !linux.time_offsets.is_empty() && !namespaces.own().has(NamespaceSet::TIME) {
        return refuse("time namespace offsets specified, but time namespace isn't enabled in the config");
    }
    for clock in linux.time_offsets.keys() {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::Config(format!("unknown clock {clock:?}")));
        }
    }
    match linux.rootfs_propagation.trim_start_matches('r') {
        "" | "shared" | "slave" | "private" | "unbindable" => {}
        other => return Err(Error::Config(format!("rootfsPropagation={other} is not supported"))),
    }
    if let Some(one) = linux.personality.as_ref().filter(|one| !matches!(one.domain.as_str(), "LINUX" | "LINUX32")) {
        return Err(Error::Config(format!("invalid personality domain {:?}", one.domain)));
    }
    linux.intel_rdt.as_ref().map_or(Ok(()), resctrl::check)?;
    paths(config)?;
    linux.sysctl.keys().try_for_each(|name| sysctl(name, all))
}

fn paths(config: &Config) -> Result<(), Error> {
    let absolute = |path: &str| path.starts_with('/');
    let protected = config.linux.masked_paths.iter().chain(&config.linux.readonly_paths);
    if let Some(path) = protected.into_iter().find(|path| !absolute(path)) {
        return Err(Error::Config(format!("the path {path} to hide or protect is not absolute")));
    }
    match config.linux.devices.iter().find(|device| !absolute(&device.path)) {
        Some(device) => Err(Error::Config(format!("device path {} is not absolute", device.path))),
        None => Ok(()),
    }
}

/// A kernel setting that is not of one of the container's namespaces would be the machine's.
fn sysctl(name: &str, namespaces: NamespaceSet) -> Result<(), Error> {
    if name.replace('/', ".") == "kernel.hostname" {
        return Err(Error::Config(format!("sysctl {name:?} conflicts with the OCI \"hostname\" field")));
    }
    let Some(of) = crate::sysctl::namespace(name) else {
        return Err(Error::Config(format!("sysctl {name:?} is not in a separate kernel namespace")));
    };
    if namespaces.has(of) {
        return Ok(());
    }
    Err(Error::Config(format!("sysctl {name:?} is not allowed in the hosts namespace")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_config(more: &str, expected: Result<(), &str>) {
        let text = format!(r#"{{"ociVersion": "1.0.2", "root": {{"path": "rootfs"}}, {more}}}"#);
        let config: Config = serde_json::from_str(&text).unwrap();
        let checked = Namespaces::of(&config).and_then(|namespaces| check(&config, &namespaces));
        let told = checked.map_err(|error| error.to_string());
        let expected = expected.map_err(|text| format!("invalid configuration: {text}"));
        assert_eq!(told, expected, "{more}");
    }

    #[test]
    fn contradictions_are_told() {
        check_config(r#""linux": {"namespaces": [{"type": "uts"}]}, "hostname": "x""#, Ok(()));
        check_config(r#""hostname": "x""#, Err("unable to set hostname without a private UTS namespace"));
        check_config(
            r#""linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}"#,
            Err("malformed spec file: duplicated ns \"pid\""),
        );
        check_config(r#""linux": {"namespaces": [{"type": "x"}]}"#, Err("namespace \"x\" does not exist"));
        check_config(
            r#""linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}"#,
            Err("sysctl \"net.ipv4.ip_forward\" is not allowed in the hosts namespace"),
        );
        check_config(
            r#""linux": {"namespaces": [{"type": "network"}], "sysctl": {"vm.swappiness": "1"}}"#,
            Err("sysctl \"vm.swappiness\" is not in a separate kernel namespace"),
        );
        check_config(
            r#""linux": {"namespaces": [{"type": "network"}], "sysctl": {"net/../vm/swappiness": "1"}}"#,
            Err("sysctl \"net/../vm/swappiness\" is not in a separate kernel namespace"),
        );
        check_config(r#""linux": {"maskedPaths": ["x"]}"#, Err("the path x to hide or protect is not absolute"));
        check_config(r#""linux": {"intelRdt": {"closID": "a/b"}}"#, Err("invalid intelRdt.closID \"a/b\""));
        check_config(
            r#""linux": {"namespaces": [{"type": "user"}]}"#,
            Err("user namespaces enabled, but no user or group mappings found"),
        );
    }
}
