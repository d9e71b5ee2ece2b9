//! A process of a bundle as the native runtime has it.

use strata_sys::caps::CapSet;
use strata_types::runtime_spec::{self as document, CapabilityNames};

use super::Error;
use crate::spec::{Capabilities, Label, Process, Rlimit, Seccomp, Stdin, TerminalSize, User};

/// Reads what is said about a process. What cannot be is an error, as the specification asks.
pub(super) fn process(process: &document::Process) -> Result<Process, Error> {
    if !process.cwd.starts_with('/') {
        return Err(Error::Config("Cwd must be an absolute path".to_owned()));
    }
    if process.args.is_empty() {
        return Err(Error::Config("args must not be empty".to_owned()));
    }
    let rlimits = process.rlimits.iter().map(rlimit).collect::<Result<Vec<_>, _>>()?;
    for (index, limit) in rlimits.iter().enumerate() {
        if rlimits[..index].iter().any(|before| before.name == limit.name) {
            return Err(Error::Config(format!("duplicated rlimit: RLIMIT_{}", limit.name.to_uppercase())));
        }
    }
    let size = process.console_size.map(|size| TerminalSize { rows: size.height, columns: size.width });
    let document::User { uid, gid, umask, additional_gids } = process.user.clone();
    Ok(Process {
        args: process.args.clone(),
        env: process.env.clone(),
        cwd: process.cwd.clone(),
        user: User { uid, gid, groups: additional_gids, umask },
        named_user: None,
        tty: process.terminal,
        stdin: Stdin::Open,
        capabilities: process.capabilities.as_ref().map_or(Ok(Capabilities::docker(CapSet::EMPTY)), capabilities)?,
        seccomp: Seccomp::Unconfined,
        no_new_privileges: process.no_new_privileges,
        label: label(process),
        rlimits,
        oom_score_adj: process.oom_score_adj,
        terminal_size: size.filter(|size| size.rows > 0 && size.columns > 0),
    })
}

fn label(process: &document::Process) -> Option<Label> {
    match (process.apparmor_profile.as_str(), process.selinux_label.as_str()) {
        ("", "") => None,
        (profile, "") => Some(Label::AppArmor(profile.to_owned())),
        (_, context) => Some(Label::SeLinux(context.to_owned())),
    }
}

fn rlimit(limit: &document::Rlimit) -> Result<Rlimit, Error> {
    let unknown = || Error::Config(format!("wrong rlimit value: {}", limit.kind));
    let name = limit.kind.strip_prefix("RLIMIT_").ok_or_else(unknown)?.to_lowercase();
    let limit = Rlimit { name, soft: limit.soft, hard: limit.hard };
    crate::inside::rlimit(&limit).map_err(|_| unknown())?;
    Ok(limit)
}

pub(super) fn capabilities(names: &CapabilityNames) -> Result<Capabilities, Error> {
    let set = |names: &[String]| -> Result<CapSet, Error> {
        let one = |name: &String| name.parse().map_err(|_| Error::Config(format!("unknown capability `{name}`")));
        names.iter().map(one).collect()
    };
    Ok(Capabilities {
        bounding: set(&names.bounding)?,
        effective: set(&names.effective)?,
        permitted: set(&names.permitted)?,
        inheritable: set(&names.inheritable)?,
        ambient: set(&names.ambient)?,
    })
}
