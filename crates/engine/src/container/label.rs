//! Labels of security modules: AppArmor profiles and SELinux contexts, where the host has them.

use std::path::Path;

use strata_runtime::spec::Label;

use crate::Result;
use crate::container::ContainerError;

/// Profiles that are made for containers, the best first: ours, Docker's, and those that begin as podman's do.
const PROFILES: [&str; 3] = ["strata-default", "docker-default", "containers-default-"];

/// What SELinux hosts call an ordinary container's processes.
const CONTEXT: [&str; 4] = ["system_u", "system_r", "container_t", "s0"];

/// What `--security-opt apparmor=` and `label=` say.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) apparmor: Option<String>,
    pub(super) selinux: Vec<String>,
}

impl Wish {
    /// The label, on a host whose kernel shows itself at `sys` (`/sys`).
    pub(super) fn label(&self, privileged: bool, sys: &Path) -> Result<Option<Label>> {
        let has_apparmor =
            std::fs::read(sys.join("module/apparmor/parameters/enabled")).is_ok_and(|text| text.starts_with(b"Y"));
        match self.apparmor.as_deref() {
            Some("unconfined") => return Ok(None),
            Some(profile) if has_apparmor => return Ok(Some(Label::AppArmor(profile.to_owned()))),
            Some(profile) => {
                let why = "this kernel has no AppArmor";
                return Err(ContainerError::invalid(format!("cannot use the AppArmor profile {profile}: {why}")));
            }
            None => {}
        }
        if let Some(context) = self.context()? {
            if !sys.join("fs/selinux/enforce").exists() {
                let why = "this kernel has no SELinux";
                return Err(ContainerError::invalid(format!("cannot use the SELinux context {context}: {why}")));
            }
            return Ok(Some(Label::SeLinux(context)));
        }
        if !has_apparmor || privileged {
            return Ok(None);
        }
        let loaded = std::fs::read_to_string(sys.join("kernel/security/apparmor/profiles")).unwrap_or_default();
        Ok(default_profile(&loaded).map(Label::AppArmor))
    }

    /// The context that `label=` asks for, if it asks for one.
    fn context(&self) -> Result<Option<String>> {
        let mut context = CONTEXT.map(str::to_owned);
        let mut said = false;
        for word in &self.selinux {
            let (field, value) = word.split_once([':', '=']).unwrap_or((word, ""));
            let at = match field {
                "disable" => return Ok(None),
                "user" => 0,
                "role" => 1,
                "type" => 2,
                "level" => 3,
                _ => return Err(ContainerError::invalid(format!("invalid --security-opt 2: \"label={word}\""))),
            };
            context[at] = value.to_owned();
            said = true;
        }
        Ok(said.then(|| context.join(":")))
    }
}

/// The best of the profiles that are loaded: lines of `NAME (MODE)`.
fn default_profile(loaded: &str) -> Option<String> {
    let names = || loaded.lines().filter_map(|line| Some(line.rsplit_once(" (")?.0));
    let fits = |name: &str, wanted: &str| name == wanted || (wanted.ends_with('-') && name.starts_with(wanted));
    PROFILES.iter().find_map(|wanted| names().find(|name| fits(name, wanted))).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(enabled: Option<&str>, profiles: &str) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = sys.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        if let Some(enabled) = enabled {
            write("module/apparmor/parameters/enabled", enabled);
            write("kernel/security/apparmor/profiles", profiles);
        }
        sys
    }

    fn check(wish: &Wish, privileged: bool, sys: &tempfile::TempDir, expected: Option<Label>) {
        assert_eq!(wish.label(privileged, sys.path()).unwrap(), expected, "{wish:?}");
    }

    #[test]
    fn the_best_loaded_profile_is_used_unless_said() {
        let loaded = "/usr/sbin/ntpd (enforce)\ndocker-default (enforce)\ncontainers-default-0.60 (enforce)\n";
        let sys = host(Some("Y\n"), loaded);
        let none = Wish::default();
        check(&none, false, &sys, Some(Label::AppArmor("docker-default".into())));
        check(&none, true, &sys, None);
        let asked = |profile: &str| Wish { apparmor: Some(profile.into()), selinux: vec![] };
        check(&asked("mine"), false, &sys, Some(Label::AppArmor("mine".into())));
        check(&asked("unconfined"), false, &sys, None);
        check(&none, false, &host(Some("N\n"), loaded), None);
        check(&none, false, &host(Some("Y\n"), "x (enforce)\n"), None);
        check(&none, false, &host(None, ""), None);
        let refused = asked("mine").label(false, host(None, "").path()).unwrap_err().to_string();
        assert_eq!(refused, "cannot use the AppArmor profile mine: this kernel has no AppArmor");
    }

    #[test]
    fn a_context_is_made_of_what_is_said() {
        let sys = host(None, "");
        std::fs::create_dir_all(sys.path().join("fs/selinux")).unwrap();
        std::fs::write(sys.path().join("fs/selinux/enforce"), "1").unwrap();
        let of = |words: &[&str]| Wish { apparmor: None, selinux: words.iter().map(|w| (*w).to_owned()).collect() };
        let context = "system_u:system_r:spc_t:s0:c1,c2";
        check(&of(&["type:spc_t", "level:s0:c1,c2"]), false, &sys, Some(Label::SeLinux(context.into())));
        check(&of(&["type:spc_t", "disable"]), false, &sys, None);
        assert!(of(&["nope:x"]).label(false, sys.path()).is_err());
        assert!(of(&["type:x"]).label(false, host(None, "").path()).unwrap_err().to_string().contains("no SELinux"));
    }
}
