//! What `--security-opt` and `--privileged` mean.

use std::path::Path;

use strata_runtime::spec::{Label, Seccomp};

use crate::Result;
use crate::container::{ContainerError, HostConfig, label};

/// What holds a container's programs back, besides capabilities.
pub(super) struct Security {
    /// Which system calls they may make.
    pub(super) seccomp: Seccomp,
    /// They cannot gain privileges by executing programs.
    pub(super) no_new_privileges: bool,
    /// What a security module calls them.
    pub(super) label: Option<Label>,
}

/// Reads the options. Programs gain no privileges unless that is asked for (docs/decisions/0022). A seccomp profile is in them whole: the command line has read the file.
pub(super) fn of(host: &HostConfig) -> Result<Security> {
    let seccomp = if host.privileged { Seccomp::Unconfined } else { Seccomp::Default };
    let mut security = Security { seccomp, no_new_privileges: !host.privileged, label: None };
    let mut wish = label::Wish::default();
    for option in host.security_opt.iter().flatten() {
        let invalid = || ContainerError::invalid(format!("invalid --security-opt 2: {option:?}"));
        let (name, value) = match option.split_once(['=', ':']) {
            Some((name, value)) => (name, value),
            None if option == "no-new-privileges" => (option.as_str(), "true"),
            None => return Err(invalid()),
        };
        match name {
            "no-new-privileges" => security.no_new_privileges = value.parse().map_err(|_| invalid())?,
            "seccomp" => {
                security.seccomp = match value {
                    "unconfined" => Seccomp::Unconfined,
                    "builtin" => Seccomp::Default,
                    profile => Seccomp::Profile(profile.to_owned()),
                }
            }
            "apparmor" => wish.apparmor = Some(value.to_owned()),
            "label" => wish.selinux.push(value.to_owned()),
            "systempaths" | "writable-cgroups" => {}
            _ => return Err(invalid()),
        }
    }
    security.label = wish.label(host.privileged, Path::new("/sys"))?;
    Ok(security)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_both_forms() {
        let of = |options: &[&str]| {
            let security_opt = Some(options.iter().map(|option| (*option).to_owned()).collect());
            of(&HostConfig { security_opt, ..HostConfig::default() })
        };
        let security = of(&["no-new-privileges", "seccomp=unconfined", "apparmor=unconfined"]).unwrap();
        assert!(security.no_new_privileges);
        assert_eq!(security.seccomp, Seccomp::Unconfined);
        assert!(of(&[]).unwrap().no_new_privileges, "unless asked");
        assert!(!of(&["no-new-privileges:false"]).unwrap().no_new_privileges);
        assert_eq!(of(&["nope=1"]).err().unwrap().to_string(), "invalid --security-opt 2: \"nope=1\"");
    }
}
