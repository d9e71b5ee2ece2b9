//! Life without a daemon: what the shim is told about starting again and about health.

use std::time::Duration;

use strata_runtime::spec::{HealthCheck, Restart};
use strata_types::config::Healthcheck;

use crate::Result;
use crate::container::{ContainerConfig, ContainerError, HostConfig, RestartPolicy};

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// What the shell form of a check is run by, if the image does not say.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Whether a policy makes sense; refusals in Docker's words.
pub(super) fn check_restart(host: &HostConfig) -> Result<()> {
    let RestartPolicy { name, maximum_retry_count: retries } = &host.restart_policy;
    let sentence = match name.as_str() {
        "" | "no" | "always" | "unless-stopped" if *retries < 0 => {
            "maximum retry count can only be used with 'on-failure' and cannot be negative".to_owned()
        }
        "" | "no" | "always" | "unless-stopped" if *retries > 0 => {
            "maximum retry count can only be used with 'on-failure'".to_owned()
        }
        "" | "no" | "always" | "unless-stopped" => String::new(),
        "on-failure" if *retries < 0 => "maximum retry count cannot be negative".to_owned(),
        "on-failure" => String::new(),
        other => {
            format!("unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'")
        }
    };
    if !sentence.is_empty() {
        return Err(ContainerError::invalid(format!("invalid restart policy: {sentence}")));
    }
    if host.auto_remove && restart(&host.restart_policy) != Restart::No {
        return Err(ContainerError::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(())
}

/// A policy as the shim knows it.
pub(super) fn restart(policy: &RestartPolicy) -> Restart {
    match policy.name.as_str() {
        "always" => Restart::Always,
        "unless-stopped" => Restart::UnlessStopped,
        "on-failure" => {
            Restart::OnFailure { restarts_max: u32::try_from(policy.maximum_retry_count).unwrap_or(u32::MAX) }
        }
        _ => Restart::No,
    }
}

/// Whether a check makes sense; refusals in Docker's words.
pub(super) fn check_health(check: &Healthcheck) -> Result<()> {
    let minimum = 1_000_000;
    for (name, time) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if time != 0 && time < minimum {
            return Err(ContainerError::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    if check.retries < 0 {
        return Err(ContainerError::invalid("Retries in Healthcheck cannot be negative"));
    }
    let known = ["", "NONE", "CMD", "CMD-SHELL"];
    match check.test.first() {
        Some(first) if !known.contains(&first.as_str()) => {
            Err(ContainerError::invalid(format!("Unknown healthcheck type '{first}' (expected 'CMD')")))
        }
        _ => Ok(()),
    }
}

/// A check as the shim knows it; none if the container has none.
pub(super) fn health(config: &ContainerConfig) -> Option<HealthCheck> {
    let check = config.run.healthcheck.as_ref()?;
    let (kind, words) = check.test.split_first()?;
    let args = match kind.as_str() {
        "CMD" => words.to_vec(),
        "CMD-SHELL" => {
            let own = config.run.shell.iter().cloned();
            let usual = SHELL.into_iter().map(str::to_owned).filter(|_| config.run.shell.is_empty());
            own.chain(usual).chain(words.iter().cloned()).collect()
        }
        _ => return None,
    };
    if args.is_empty() {
        return None;
    }
    let ms = |nanoseconds: i64, usual: Duration| {
        let said = u64::try_from(nanoseconds).ok().filter(|time| *time > 0).map(|time| time.div_ceil(1_000_000));
        said.unwrap_or_else(|| u64::try_from(usual.as_millis()).unwrap_or(u64::MAX))
    };
    Some(HealthCheck {
        args,
        interval_ms: ms(check.interval, INTERVAL),
        timeout_ms: ms(check.timeout, TIMEOUT),
        start_period_ms: ms(check.start_period, Duration::ZERO),
        start_interval_ms: ms(check.start_interval, START_INTERVAL),
        retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0).unwrap_or(RETRIES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, retries: i64) -> String {
        let restart_policy = RestartPolicy { name: name.to_owned(), maximum_retry_count: retries };
        let host = HostConfig { restart_policy, ..HostConfig::default() };
        check_restart(&host).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn policies_are_checked_in_dockers_words() {
        assert_eq!(refused("on-failure", 3) + &refused("always", 0) + &refused("", 0), "");
        let only = "invalid restart policy: maximum retry count can only be used with 'on-failure'";
        assert_eq!(refused("always", 3), only);
        assert_eq!(refused("on-failure", -1), "invalid restart policy: maximum retry count cannot be negative");
        assert!(refused("sometimes", 0).starts_with("invalid restart policy: unknown policy 'sometimes'; use one of"));
    }

    fn of(test: &[&str], shell: &[&str]) -> Option<Vec<String>> {
        let strings = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        let mut config = ContainerConfig::default();
        config.run.shell = strings(shell);
        config.run.healthcheck = Some(Healthcheck { test: strings(test), ..Healthcheck::default() });
        health(&config).map(|check| check.args)
    }

    #[test]
    fn a_check_is_a_program_or_a_line_for_the_shell() {
        assert_eq!(of(&["CMD", "a", "b"], &[]).unwrap(), ["a", "b"]);
        assert_eq!(of(&["CMD-SHELL", "a b"], &[]).unwrap(), ["/bin/sh", "-c", "a b"]);
        assert_eq!(of(&["CMD-SHELL", "a b"], &["/bin/ash", "-ec"]).unwrap(), ["/bin/ash", "-ec", "a b"]);
        assert_eq!(of(&["NONE"], &[]), None);
        assert_eq!(of(&[], &[]), None);
    }
}
