//! The JSON of a profile, and which of its rules hold (moby/profiles, seccomp/seccomp.go).

use serde::Deserialize;
use serde_json::{Value, json};
use strata_sys::caps::{CapSet, Capability};
use strata_sys::seccomp::{Action, Arch, Comparison, Condition, Filter, Rule};

use crate::Error;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    names: Vec<String>,
    /// One name, as profiles wrote it before there were groups.
    name: Option<String>,
    action: String,
    errno_ret: Option<u16>,
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: When,
    #[serde(default)]
    excludes: When,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct When {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// The rules of `profile` that hold for a container with these capabilities on this host.
pub(super) fn resolve(profile: &str, native: Arch, caps: CapSet, kernel: (u32, u32)) -> Result<Filter, Error> {
    let profile: Profile = serde_json::from_str(profile).map_err(|error| Error::SeccompProfile(error.to_string()))?;
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(Error::SeccompProfile("use either `architectures` or `archMap`".to_owned()));
    }
    let mut rules = Vec::new();
    for group in profile.syscalls {
        if group.holds(native, caps, kernel)? {
            rules.extend(group.rules(profile.default_errno_ret)?);
        }
    }
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    // A rule that says what would happen anyway says nothing.
    rules.retain(|rule| rule.action != default);
    Ok(Filter { default, arches: arches(native, &profile.arch_map, &profile.architectures), rules })
}

/// A filter as `linux.seccomp` of an OCI runtime configuration.
pub(super) fn document(filter: &Filter) -> Value {
    let (default, default_errno) = action_name(filter.default);
    let rule = |rule: &Rule| {
        let (action, errno) = action_name(rule.action);
        let args: Vec<Value> = rule.conditions.iter().map(argument).collect();
        let mut document = json!({"names": rule.names, "action": action, "args": args});
        if let Some(errno) = errno {
            document["errnoRet"] = errno.into();
        }
        document
    };
    let mut document = json!({
        "defaultAction": default,
        "architectures": filter.arches.iter().map(|arch| arch.libseccomp_name()).collect::<Vec<_>>(),
        "syscalls": filter.rules.iter().map(rule).collect::<Vec<_>>(),
    });
    if let Some(errno) = default_errno {
        document["defaultErrnoRet"] = errno.into();
    }
    document
}

fn argument(condition: &Condition) -> Value {
    let (op, value, two) = match condition.comparison {
        Comparison::NotEqual(value) => ("SCMP_CMP_NE", value, 0),
        Comparison::Less(value) => ("SCMP_CMP_LT", value, 0),
        Comparison::LessOrEqual(value) => ("SCMP_CMP_LE", value, 0),
        Comparison::Equal(value) => ("SCMP_CMP_EQ", value, 0),
        Comparison::GreaterOrEqual(value) => ("SCMP_CMP_GE", value, 0),
        Comparison::Greater(value) => ("SCMP_CMP_GT", value, 0),
        Comparison::MaskedEqual { mask, value } => ("SCMP_CMP_MASKED_EQ", mask, value),
    };
    json!({"index": condition.argument, "op": op, "value": value, "valueTwo": two})
}

fn action_name(action: Action) -> (&'static str, Option<u16>) {
    match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Errno(errno) => ("SCMP_ACT_ERRNO", Some(errno)),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::Trace(number) => ("SCMP_ACT_TRACE", Some(number)),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Notify => ("SCMP_ACT_NOTIFY", None),
    }
}

fn arches(native: Arch, map: &[ArchMap], list: &[String]) -> Vec<Arch> {
    let mapped = map.iter().filter(|entry| Arch::from_libseccomp(&entry.architecture) == Some(native));
    let below = mapped.flat_map(|entry| entry.sub_architectures.iter().flatten());
    let mut arches = vec![native];
    for arch in below.chain(list).filter_map(|name| Arch::from_libseccomp(name)) {
        if !arches.contains(&arch) {
            arches.push(arch);
        }
    }
    arches
}

impl Group {
    fn holds(&self, native: Arch, caps: CapSet, kernel: (u32, u32)) -> Result<bool, Error> {
        let has = |name: &String| name.parse::<Capability>().is_ok_and(|capability| caps.contains(capability));
        let here = |arches: &[String]| arches.iter().any(|arch| arch == native.go_name());
        if here(&self.excludes.arches) || self.excludes.caps.iter().any(has) {
            return Ok(false);
        }
        if !self.includes.arches.is_empty() && !here(&self.includes.arches) {
            return Ok(false);
        }
        let new_enough = |version: &Option<String>| version.as_deref().map(|v| at_least(kernel, v)).transpose();
        if new_enough(&self.excludes.min_kernel)? == Some(true) || new_enough(&self.includes.min_kernel)? == Some(false)
        {
            return Ok(false);
        }
        Ok(self.includes.caps.iter().all(has))
    }

    /// One rule; several if an argument is named more than once, for then one of its conditions is enough.
    fn rules(self, default_errno: Option<u16>) -> Result<Vec<Rule>, Error> {
        let names: Vec<String> = self.names.into_iter().chain(self.name).collect();
        let action = action(&self.action, self.errno_ret.or(default_errno))?;
        let conditions = self.args.unwrap_or_default().iter().map(condition).collect::<Result<Vec<_>, _>>()?;
        let mut indexes: Vec<u8> = conditions.iter().map(|condition| condition.argument).collect();
        indexes.sort_unstable();
        indexes.dedup();
        if indexes.len() == conditions.len() {
            return Ok(vec![Rule { names, action, conditions }]);
        }
        let alone = |condition| Rule { names: names.clone(), action, conditions: vec![condition] };
        Ok(conditions.into_iter().map(alone).collect())
    }
}

fn at_least((major, minor): (u32, u32), wanted: &str) -> Result<bool, Error> {
    let invalid = || Error::SeccompProfile(format!("invalid kernel version `{wanted}`"));
    let (a, b) = wanted.split_once('.').ok_or_else(invalid)?;
    let wanted = (a.parse().map_err(|_| invalid())?, b.parse().map_err(|_| invalid())?);
    Ok((major, minor) >= wanted)
}

fn condition(argument: &Argument) -> Result<Condition, Error> {
    let Argument { index, value, value_two, op } = argument;
    if *index > 5 {
        return Err(Error::SeccompProfile(format!("there is no argument {index}")));
    }
    let comparison = match op.as_str() {
        "SCMP_CMP_NE" => Comparison::NotEqual(*value),
        "SCMP_CMP_LT" => Comparison::Less(*value),
        "SCMP_CMP_LE" => Comparison::LessOrEqual(*value),
        "SCMP_CMP_EQ" => Comparison::Equal(*value),
        "SCMP_CMP_GE" => Comparison::GreaterOrEqual(*value),
        "SCMP_CMP_GT" => Comparison::Greater(*value),
        "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEqual { mask: *value, value: *value_two },
        other => return Err(Error::SeccompProfile(format!("unknown operator `{other}`"))),
    };
    Ok(Condition { argument: *index, comparison })
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, Error> {
    const EPERM: u16 = 1;
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.unwrap_or(EPERM)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_TRACE" => Action::Trace(errno.unwrap_or(EPERM)),
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_NOTIFY" => Action::Notify,
        other => return Err(Error::SeccompProfile(format!("unknown or unsupported action `{other}`"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default(caps: CapSet) -> Filter {
        resolve(super::super::DEFAULT, Arch::X86_64, caps, (6, 1)).unwrap()
    }

    fn rules<'a>(filter: &'a Filter, name: &str) -> Vec<&'a Rule> {
        filter.rules.iter().filter(|rule| rule.names.iter().any(|found| found == name)).collect()
    }

    #[test]
    fn the_default_profile_follows_the_capabilities() {
        let usual = default(CapSet::DOCKER);
        assert_eq!(usual.default, Action::Errno(1));
        assert_eq!(usual.arches, [Arch::X86_64, Arch::X86, Arch::X32]);
        for denied in ["mount", "unshare", "keyctl", "bpf", "reboot", "init_module", "kexec_load"] {
            assert_eq!(rules(&usual, denied), Vec::<&Rule>::new(), "{denied}");
        }
        assert_eq!(rules(&usual, "clone3")[0].action, Action::Errno(38));
        assert_eq!(rules(&usual, "clone")[0].conditions.len(), 1);
        let admin = default(CapSet::DOCKER.with(Capability::SYS_ADMIN));
        assert_eq!(rules(&admin, "mount")[0].action, Action::Allow);
        assert!(rules(&admin, "clone").iter().any(|rule| rule.conditions.is_empty()));
    }

    #[test]
    fn old_kernels_get_no_ptrace() {
        let old = resolve(super::super::DEFAULT, Arch::X86_64, CapSet::DOCKER, (4, 7)).unwrap();
        assert_eq!(rules(&old, "ptrace"), Vec::<&Rule>::new());
    }

    #[test]
    fn conditions_on_one_argument_are_alternatives() {
        let profile = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "socket", "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]}"#;
        let filter = resolve(profile, Arch::X86_64, CapSet::EMPTY, (6, 1)).unwrap();
        assert_eq!(filter.rules.iter().map(|rule| rule.conditions.len()).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_filter_as_a_document_means_the_same() {
        let filter = default(CapSet::DOCKER);
        let text = document(&filter).to_string();
        let again = resolve(&text, Arch::X86_64, CapSet::EMPTY, (6, 1)).unwrap();
        assert_eq!((again.default, again.rules.len()), (filter.default, filter.rules.len()));
        assert_eq!(rules(&again, "clone3"), rules(&filter, "clone3"));
        assert_eq!(rules(&again, "clone"), rules(&filter, "clone"));
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        let check = |profile: &str| resolve(profile, Arch::X86_64, CapSet::EMPTY, (6, 1)).unwrap_err().to_string();
        assert!(check("[]").starts_with("invalid seccomp profile: "));
        assert!(check(r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#).contains("`SCMP_ACT_MAYBE`"));
    }
}
