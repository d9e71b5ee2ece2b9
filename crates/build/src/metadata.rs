//! Instructions that change nothing but the config, and what the history says of them.

use strata_dockerfile::{CommandLine, Instruction, Pair, exposed_ports};
use strata_sys::signal::Signal;
use strata_types::config::RunConfig;

use crate::error::Problem;
use crate::history;

/// Replaces variables in a word.
pub(crate) type Expand<'a> = &'a dyn Fn(&str) -> Result<String, Problem>;

/// What applying an instruction needs to know and remembers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Commands {
    /// This stage has said CMD itself.
    pub(crate) cmd_is_ours: bool,
}

/// Applies an instruction; says what the history says of it, or nothing if it is none of these.
pub(crate) fn apply(
    instruction: &Instruction,
    config: &mut RunConfig,
    commands: &mut Commands,
    expand: Expand<'_>,
) -> Result<Option<String>, Problem> {
    Ok(Some(match instruction {
        Instruction::Cmd(command) => {
            let words = words(command, config);
            let text = format!("CMD {}", history::quoted(&words));
            config.cmd = Some(words);
            commands.cmd_is_ours = true;
            text
        }
        Instruction::Entrypoint(command) => {
            let words = words(command, config);
            let text = format!("ENTRYPOINT {}", history::quoted(&words));
            config.entrypoint = Some(words);
            if !commands.cmd_is_ours {
                config.cmd = None;
            }
            text
        }
        Instruction::Env(pairs) => {
            let pairs = expand_pairs(pairs, expand)?;
            pairs.iter().for_each(|(name, value)| config.set_variable(name, value));
            listed("ENV", &pairs)
        }
        Instruction::Label(pairs) => {
            let pairs = expand_pairs(pairs, expand)?;
            config.labels.extend(pairs.iter().cloned());
            listed("LABEL", &pairs)
        }
        Instruction::Expose(words) => expose(words, config, expand)?,
        Instruction::Volume(paths) => {
            let paths = paths.iter().map(|path| expand(path)).collect::<Result<Vec<_>, _>>()?;
            config.volumes.extend(paths.iter().cloned());
            format!("VOLUME [{}]", paths.join(" "))
        }
        Instruction::User(user) => {
            config.user = expand(user)?;
            format!("USER {}", config.user)
        }
        Instruction::StopSignal(signal) => {
            let signal = expand(signal)?;
            check_signal(&signal)?;
            config.stop_signal.clone_from(&signal);
            format!("STOPSIGNAL {signal}")
        }
        Instruction::Shell(shell) => {
            config.shell.clone_from(shell);
            format!("SHELL [{}]", shell.join(" "))
        }
        Instruction::Healthcheck(check) => {
            config.healthcheck = Some(check.clone());
            format!("HEALTHCHECK {}", history::health(check))
        }
        Instruction::OnBuild(text) => {
            // As with BuildKit no step of the history: it says what others do.
            config.on_build.push(text.clone());
            return Ok(None);
        }
        Instruction::Maintainer(name) => format!("MAINTAINER {name}"),
        Instruction::Run(_)
        | Instruction::Copy(_)
        | Instruction::Add(_)
        | Instruction::Arg(_)
        | Instruction::Workdir(_) => return Ok(None),
    }))
}

/// The program and its arguments; a line is run by the shell.
pub(crate) fn words(command: &CommandLine, config: &RunConfig) -> Vec<String> {
    if command.exec {
        return command.words.clone();
    }
    config.line_shell().into_iter().chain([command.words.join(" ")]).collect()
}

fn expand_pairs(pairs: &[Pair], expand: Expand<'_>) -> Result<Vec<(String, String)>, Problem> {
    pairs.iter().map(|pair| Ok((expand(&pair.name)?, expand(&pair.value)?))).collect()
}

fn listed(name: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(name.to_owned(), |text, (name, value)| format!("{text} {name}={value}"))
}

fn expose(words: &[String], config: &mut RunConfig, expand: Expand<'_>) -> Result<String, Problem> {
    let mut shown = Vec::new();
    for word in words {
        for word in expand(word)?.split_whitespace() {
            for port in exposed_ports(word)? {
                shown.push(port.clone());
                config.exposed_ports.insert(port);
            }
        }
    }
    shown.sort();
    Ok(format!("EXPOSE [{}]", shown.join(" ")))
}

fn check_signal(text: &str) -> Result<(), Problem> {
    let parsed = text.parse::<Signal>().map(drop);
    parsed.map_err(|_| Problem::Unsupported(format!("Invalid signal: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrypoint_drops_the_command_it_finds_but_not_ones_own() {
        let line = |words: &[&str]| CommandLine {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            exec: true,
            heredocs: Vec::new(),
        };
        let same = |text: &str| Ok(text.to_owned());
        let mut config = RunConfig { cmd: Some(vec!["base".to_owned()]), ..RunConfig::default() };
        let mut commands = Commands::default();
        let entry = Instruction::Entrypoint(line(&["/e"]));
        let text = apply(&entry, &mut config, &mut commands, &same).unwrap();
        assert_eq!((text.as_deref(), &config.cmd), (Some(r#"ENTRYPOINT ["/e"]"#), &None));
        apply(&Instruction::Cmd(line(&["own"])), &mut config, &mut commands, &same).unwrap();
        apply(&entry, &mut config, &mut commands, &same).unwrap();
        assert_eq!(config.cmd, Some(vec!["own".to_owned()]));
    }
}
