//! What an image says and what a person says, made one, as Docker does it.

use strata_types::config::{Healthcheck, RunConfig};

use crate::Result;
use crate::container::ContainerError;

/// Fills what `own` leaves open from the image's settings.
pub(crate) fn merge(own: &mut RunConfig, image: &RunConfig) -> Result<()> {
    if own.user.is_empty() {
        own.user.clone_from(&image.user);
    }
    own.exposed_ports.extend(image.exposed_ports.iter().cloned());
    own.volumes.extend(image.volumes.iter().cloned());
    for variable in &image.env {
        if !own.env.iter().any(|set| name_of(set) == name_of(variable)) {
            own.env.push(variable.clone());
        }
    }
    for (key, value) in &image.labels {
        own.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    // An entrypoint of one's own makes the image's command meaningless.
    if own.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if own.cmd.as_ref().is_none_or(Vec::is_empty) {
            own.cmd.clone_from(&image.cmd);
            own.args_escaped = image.args_escaped;
        }
        if own.entrypoint.is_none() {
            own.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // `--entrypoint ""` takes the image's away.
    if own.entrypoint.as_deref().is_some_and(|words| words == [String::new()]) {
        own.entrypoint = None;
    }
    own.healthcheck = health(own.healthcheck.take(), image.healthcheck.as_ref());
    if own.working_dir.is_empty() {
        own.working_dir.clone_from(&image.working_dir);
    }
    if own.stop_signal.is_empty() {
        own.stop_signal.clone_from(&image.stop_signal);
    }
    if own.stop_timeout.is_none() {
        own.stop_timeout = image.stop_timeout;
    }
    if own.shell.is_empty() {
        own.shell.clone_from(&image.shell);
    }
    let words = own.entrypoint.as_ref().map_or(0, Vec::len) + own.cmd.as_ref().map_or(0, Vec::len);
    if words == 0 {
        return Err(ContainerError::invalid("no command specified"));
    }
    Ok(())
}

fn health(own: Option<Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let Some(image) = image else { return own };
    let Some(mut own) = own else { return Some(image.clone()) };
    if own.test.is_empty() {
        own.test.clone_from(&image.test);
    }
    let or = |own: i64, image: i64| if own == 0 { image } else { own };
    own.interval = or(own.interval, image.interval);
    own.timeout = or(own.timeout, image.timeout);
    own.start_period = or(own.start_period, image.start_period);
    own.start_interval = or(own.start_interval, image.start_interval);
    own.retries = or(own.retries, image.retries);
    Some(own)
}

/// The environment a program starts with: what every container has, then the container's own, which wins.
pub(crate) fn environment(hostname: &str, tty: bool, own: &[String]) -> Vec<String> {
    let mut env = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={hostname}")];
    if tty {
        env.push(String::from("TERM=xterm"));
    }
    set(&mut env, own);
    env
}

/// Sets variables in place, or adds them; a name without `=` unsets it.
pub(crate) fn set(env: &mut Vec<String>, more: &[String]) {
    for variable in more {
        let position = env.iter().position(|present| name_of(present) == name_of(variable));
        match (variable.contains('='), position) {
            (true, Some(index)) => env[index].clone_from(variable),
            (true, None) => env.push(variable.clone()),
            (false, Some(index)) => _ = env.remove(index),
            (false, None) => {}
        }
    }
}

/// Where programs are looked for when neither image nor person says.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|word| (*word).to_owned()).collect())
    }

    fn check(own: [Option<&[&str]>; 2], expected: [Option<&[&str]>; 2]) {
        let image = RunConfig { entrypoint: words(&["/entry"]), cmd: words(&["cmd"]), ..RunConfig::default() };
        let [entrypoint, cmd] = own.map(|list| list.and_then(words));
        let mut merged = RunConfig { entrypoint, cmd, ..RunConfig::default() };
        merge(&mut merged, &image).unwrap();
        assert_eq!([merged.entrypoint, merged.cmd], expected.map(|list| list.and_then(words)), "{own:?}");
    }

    #[test]
    fn entrypoint_and_command_follow_docker() {
        check([None, None], [Some(&["/entry"]), Some(&["cmd"])]);
        check([None, Some(&["x"])], [Some(&["/entry"]), Some(&["x"])]);
        check([Some(&["/e"]), None], [Some(&["/e"]), None]);
        check([Some(&[""]), Some(&["x"])], [None, Some(&["x"])]);
    }

    #[test]
    fn a_container_without_a_program_is_refused() {
        let error = merge(&mut RunConfig::default(), &RunConfig::default()).unwrap_err();
        assert_eq!(error.to_string(), "no command specified");
    }

    #[test]
    fn ones_own_variables_stand_first_and_win() {
        let image =
            RunConfig { env: vec!["A=image".into(), "B=image".into()], cmd: words(&["x"]), ..RunConfig::default() };
        let mut own = RunConfig { env: vec!["A=own".into()], ..RunConfig::default() };
        merge(&mut own, &image).unwrap();
        assert_eq!(own.env, ["A=own", "B=image"]);
        let env = environment("host", true, &["TERM=vt100".into(), "A=own".into(), "PATH".into()]);
        assert_eq!(env, ["HOSTNAME=host", "TERM=vt100", "A=own"]);
    }
}
