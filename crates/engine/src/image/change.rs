//! Changes to an image's run configuration, as `commit --change` and `import --change` take them: together they are a
//! Dockerfile of those instructions that change nothing but the configuration, with the meaning that builds give them.

use strata_dockerfile::{
    CommandLine, ExpandError, Expander, Instruction, Pair, PortError, Problem, exposed_ports, parse_instruction,
    parse_statements,
};
use strata_sys::signal::Signal;
use strata_types::config::RunConfig;

/// The instructions that change the configuration alone.
const KNOWN: &[&str] = &[
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Why a text is not a change; the words are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The instruction is none that changes a configuration.
    #[error("{0} is not a valid change command")]
    Instruction(String),
    /// It is no instruction, or its arguments are not its own.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// Quotes or braces do not close, or a variable that must be set is not.
    #[error("failed to process {text:?}")]
    Expand {
        /// What was to be read.
        text: String,
        /// What is wrong with it.
        source: ExpandError,
    },
    /// It is not a signal.
    #[error("invalid signal: {0}")]
    Signal(String),
    /// It is not a port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A volume without a place.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// A working directory without a name.
    #[error("cannot normalize nothing")]
    EmptyWorkingDir,
}

/// Applies changes in order. An entrypoint drops the command it finds, unless one of the changes set that command.
///
/// # Errors
/// When one of them is no instruction that changes a configuration.
pub(super) fn apply(changes: &[String], config: &mut RunConfig) -> Result<(), ChangeError> {
    if changes.is_empty() {
        return Ok(());
    }
    let parsed = parse_statements(&changes.join("\n")).map_err(|error| error.problem)?;
    let is_known = |keyword: &str| KNOWN.iter().any(|known| known.eq_ignore_ascii_case(keyword));
    if let Some(other) = parsed.statements.iter().find(|statement| !is_known(&statement.keyword)) {
        return Err(ChangeError::Instruction(other.keyword.clone()));
    }
    let mut command_is_ours = false;
    for statement in &parsed.statements {
        let instruction = parse_instruction(statement).map_err(|error| error.problem)?;
        let variables = Variables { escape: parsed.directives.escape, env: &config.env };
        match instruction {
            Instruction::Cmd(command) => {
                config.cmd = Some(words_of(command, config));
                command_is_ours = true;
            }
            Instruction::Entrypoint(command) => {
                config.entrypoint = Some(words_of(command, config)).filter(|words| !words.is_empty());
                if !command_is_ours {
                    config.cmd = None;
                }
            }
            Instruction::Env(pairs) => {
                let pairs = variables.pairs(&pairs)?;
                pairs.iter().for_each(|(name, value)| config.set_variable(name, value));
            }
            Instruction::Expose(words) => {
                let words = variables.words(&words)?;
                let ports = words.iter().map(|word| exposed_ports(word)).collect::<Result<Vec<_>, _>>()?;
                config.exposed_ports.extend(ports.concat());
            }
            Instruction::Label(pairs) => config.labels.extend(variables.pairs(&pairs)?),
            Instruction::OnBuild(instruction) => config.on_build.push(instruction),
            Instruction::StopSignal(signal) => config.stop_signal = valid_signal(variables.expand(&signal)?)?,
            Instruction::User(user) => config.user = variables.expand(&user)?,
            Instruction::Volume(paths) => {
                let paths = paths.iter().map(|path| variables.expand(path)).collect::<Result<Vec<_>, _>>()?;
                if paths.iter().any(String::is_empty) {
                    return Err(ChangeError::EmptyVolume);
                }
                config.volumes.extend(paths);
            }
            Instruction::Workdir(path) => match &*variables.expand(&path)? {
                "" => return Err(ChangeError::EmptyWorkingDir),
                path => config.working_dir = config.at_working_dir(path),
            },
            Instruction::Healthcheck(check) => config.healthcheck = Some(check),
            _ => return Err(ChangeError::Instruction(statement.keyword.clone())),
        }
    }
    Ok(())
}

fn words_of(command: CommandLine, config: &RunConfig) -> Vec<String> {
    if command.exec {
        return command.words;
    }
    config.line_shell().into_iter().chain(command.words).collect()
}

fn valid_signal(text: String) -> Result<String, ChangeError> {
    match text.parse::<Signal>() {
        Ok(_) => Ok(text),
        Err(_) => Err(ChangeError::Signal(text)),
    }
}

/// The variables that words may name.
struct Variables<'a> {
    escape: char,
    env: &'a [String],
}

impl Variables<'_> {
    fn lookup(&self, name: &str) -> Option<String> {
        let value = |entry: &String| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        self.env.iter().rev().find_map(value)
    }

    /// Replaces variables, and takes quotes and backslashes away.
    fn expand(&self, text: &str) -> Result<String, ChangeError> {
        let expanded = Expander::new(self.escape).expand(text, &|name| self.lookup(name));
        Ok(expanded.map_err(|source| ChangeError::Expand { text: text.to_owned(), source })?.text)
    }

    /// The same with each of some words, which may become several.
    fn words(&self, words: &[String]) -> Result<Vec<String>, ChangeError> {
        let expand = |text: &String| {
            let expanded = Expander::new(self.escape).words(text, &|name| self.lookup(name));
            expanded.map_err(|source| ChangeError::Expand { text: text.clone(), source })
        };
        Ok(words.iter().map(expand).collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn pairs(&self, pairs: &[Pair]) -> Result<Vec<(String, String)>, ChangeError> {
        pairs.iter().map(|pair| Ok((self.expand(&pair.name)?, self.expand(&pair.value)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(changes: &[&str], expected: &str) {
        let mut config = RunConfig {
            env: vec!["PATH=/bin".to_owned(), "A=1".to_owned()],
            cmd: Some(vec!["bash".to_owned()]),
            working_dir: "/srv".to_owned(),
            ..RunConfig::default()
        };
        apply(&changes.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), &mut config).unwrap();
        let base = r#""Env":["PATH=/bin","A=1"]"#;
        assert_eq!(serde_json::to_string(&config).unwrap().replace(base, "ENV"), expected);
    }

    #[test]
    fn commands_are_lists_or_lines_for_the_shell() {
        check(&[r#"CMD ["a", "b c"]"#], r#"{ENV,"Cmd":["a","b c"],"WorkingDir":"/srv"}"#);
        check(&["cmd a b"], r#"{ENV,"Cmd":["/bin/sh","-c","a b"],"WorkingDir":"/srv"}"#);
    }

    #[test]
    fn an_entrypoint_drops_the_inherited_command_only() {
        check(&[r#"ENTRYPOINT ["e"]"#], r#"{ENV,"Entrypoint":["e"],"WorkingDir":"/srv"}"#);
        check(&[r#"CMD ["c"]"#, r#"ENTRYPOINT ["e"]"#], r#"{ENV,"Entrypoint":["e"],"Cmd":["c"],"WorkingDir":"/srv"}"#);
    }

    #[test]
    fn variables_and_labels_take_both_forms_and_quotes() {
        check(
            &["ENV A=2 B='x y' C=\"q\"", "ENV D e f"],
            r#"{"Env":["PATH=/bin","A=2","B=x y","C=q","D=e f"],"Cmd":["bash"],"WorkingDir":"/srv"}"#,
        );
        check(&["LABEL a=b c=\"d e\""], r#"{ENV,"Cmd":["bash"],"WorkingDir":"/srv","Labels":{"a":"b","c":"d e"}}"#);
    }

    #[test]
    fn variables_are_those_set_before() {
        check(
            &[
                "ENV PATH=$PATH:/opt B='$A' C=${A}x",
                "ENV D \"$C y\"",
                "LABEL at=$D",
                "WORKDIR /$A",
                "VOLUME [\"/v$A\"]",
            ],
            concat!(
                r#"{"Env":["PATH=/bin:/opt","A=1","B=$A","C=1x","D=1x y"],"Cmd":["bash"],"Volumes":{"/v1":{}},"#,
                r#""WorkingDir":"/1","Labels":{"at":"1x y"}}"#
            ),
        );
        check(
            &["USER $NOBODY", "EXPOSE ${A}0 $A"],
            r#"{"ExposedPorts":{"1/tcp":{},"10/tcp":{}},ENV,"Cmd":["bash"],"WorkingDir":"/srv"}"#,
        );
    }

    #[test]
    fn the_other_instructions_change_their_field() {
        check(
            &[
                "EXPOSE 80 53/udp 1000-1001",
                "VOLUME /a /b",
                "USER u:g",
                "WORKDIR ../x",
                "STOPSIGNAL SIGQUIT",
                "ONBUILD RUN x",
            ],
            concat!(
                r#"{"User":"u:g","ExposedPorts":{"1000/tcp":{},"1001/tcp":{},"53/udp":{},"80/tcp":{}},ENV,"Cmd":["bash"],"#,
                r#""Volumes":{"/a":{},"/b":{}},"WorkingDir":"/x","OnBuild":["RUN x"],"StopSignal":"SIGQUIT"}"#
            ),
        );
        check(
            &["HEALTHCHECK --interval=5s --retries=3 CMD curl -f x"],
            concat!(
                r#"{ENV,"Cmd":["bash"],"Healthcheck":{"Test":["CMD-SHELL","curl -f x"],"Interval":5000000000,"Retries":3},"#,
                r#""WorkingDir":"/srv"}"#
            ),
        );
    }

    #[test]
    fn changes_are_the_lines_of_one_dockerfile() {
        check(
            &["CMD a\nUSER \\\n  u", "# nothing", ""],
            r#"{"User":"u",ENV,"Cmd":["/bin/sh","-c","a"],"WorkingDir":"/srv"}"#,
        );
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        let cases = [
            ("RUN x", "RUN is not a valid change command"),
            ("nope x", "nope is not a valid change command"),
            ("USER\nRUN x", "RUN is not a valid change command"),
            ("", "file with no instructions"),
            ("STOPSIGNAL $NOBODY", "invalid signal: "),
            ("VOLUME $NOBODY", "VOLUME specified can not be an empty string"),
            ("WORKDIR \"\"", "cannot normalize nothing"),
            ("ENV A='b", "failed to process \"'b\""),
            ("EXPOSE x", "Invalid containerPort: x"),
            ("ENV A", "ENV must have two arguments"),
        ];
        for (text, expected) in cases {
            let error = apply(&[text.to_owned()], &mut RunConfig::default()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
