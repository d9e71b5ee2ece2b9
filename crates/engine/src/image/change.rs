//! Changes to an image's run configuration, as `commit --change` and `import --change` take them: a subset of
//! Dockerfile instructions with the meaning Docker's builder gives them.

mod words;

use strata_dockerfile::ExpandError;
use strata_sys::signal::Signal;
use strata_types::config::{Healthcheck, RunConfig};

use words::{Variables, exec_or_shell, json_words, pairs, raw_words};

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// `CMD`; without a list it is run by the shell.
    Cmd(Command),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `ENV`.
    Env(Vec<(String, String)>),
    /// `EXPOSE`: ports with their protocol.
    Expose(Vec<String>),
    /// `LABEL`.
    Label(Vec<(String, String)>),
    /// `ONBUILD`: the instruction, as it is.
    OnBuild(String),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`; relative to the one before.
    WorkingDir(String),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
}

/// What `CMD` or `ENTRYPOINT` run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Command {
    /// A list of words.
    Exec(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

/// Why a text is not a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is nothing.
    #[error("the change is empty")]
    Empty,
    /// The instruction is none that changes a configuration.
    #[error("{0} is not a valid change command")]
    Instruction(String),
    /// The instruction lacks its argument.
    #[error("{0} requires at least one argument")]
    Argument(&'static str),
    /// A name without a value.
    #[error("Syntax error - can't find = in \"{0}\". Must be of the form: name=value")]
    Pair(String),
    /// A name is empty.
    #[error("{0} names can not be blank")]
    Blank(&'static str),
    /// Quotes or braces do not close, or a variable that must be set is not.
    #[error("cannot replace the variables of `{text}`")]
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
    #[error("invalid port `{0}`")]
    Port(String),
    /// A flag or its value is not one of a health check.
    #[error("invalid health check: `{0}`")]
    Healthcheck(String),
    /// A trigger inside a trigger, or one that makes no sense.
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    Trigger(String),
}

impl Change {
    /// Reads one; `variables` are those of the configuration as the changes before it left it.
    fn parse(text: &str, variables: Variables<'_>) -> Result<Self, ChangeError> {
        let text = text.trim();
        let (instruction, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        if instruction.is_empty() {
            return Err(ChangeError::Empty);
        }
        let one = |instruction| match rest {
            "" => Err(ChangeError::Argument(instruction)),
            rest => variables.expand(rest),
        };
        match instruction.to_ascii_uppercase().as_str() {
            "CMD" => Ok(Self::Cmd(exec_or_shell(rest))),
            "ENTRYPOINT" => Ok(Self::Entrypoint(exec_or_shell(rest))),
            "ENV" => Ok(Self::Env(pairs("ENV", rest, variables)?)),
            "LABEL" => Ok(Self::Label(pairs("LABEL", rest, variables)?)),
            "EXPOSE" => {
                let words = some("EXPOSE", variables.all(&raw_words(rest))?)?;
                Ok(Self::Expose(words.iter().map(|word| ports(word)).collect::<Result<Vec<_>, _>>()?.concat()))
            }
            "ONBUILD" => on_build(rest),
            "STOPSIGNAL" => {
                let signal = one("STOPSIGNAL")?;
                signal.parse::<Signal>().map_err(|_| ChangeError::Signal(signal.clone()))?;
                Ok(Self::StopSignal(signal))
            }
            "USER" => Ok(Self::User(one("USER")?)),
            "WORKDIR" => Ok(Self::WorkingDir(one("WORKDIR")?)),
            "VOLUME" => {
                let words = json_words(rest).unwrap_or_else(|| raw_words(rest));
                Ok(Self::Volume(some("VOLUME", variables.all(&words)?)?))
            }
            "HEALTHCHECK" => Ok(Self::Healthcheck(healthcheck(rest)?)),
            other => Err(ChangeError::Instruction(other.to_owned())),
        }
    }
}

/// Applies changes in order. An entrypoint drops the command it finds, unless one of the changes set that command.
///
/// # Errors
/// When one of them is no instruction that changes a configuration.
pub(super) fn apply(changes: &[String], config: &mut RunConfig) -> Result<(), ChangeError> {
    let mut command_is_ours = false;
    for text in changes {
        match Change::parse(text, Variables(&config.env))? {
            Change::Cmd(command) => {
                config.cmd = Some(words_of(command, config));
                command_is_ours = true;
            }
            Change::Entrypoint(command) => {
                config.entrypoint = Some(words_of(command, config)).filter(|words| !words.is_empty());
                if !command_is_ours {
                    config.cmd = None;
                }
            }
            Change::Env(pairs) => pairs.iter().for_each(|(name, value)| config.set_variable(name, value)),
            Change::Expose(ports) => config.exposed_ports.extend(ports),
            Change::Label(pairs) => config.labels.extend(pairs),
            Change::OnBuild(instruction) => config.on_build.push(instruction),
            Change::StopSignal(signal) => config.stop_signal = signal,
            Change::User(user) => config.user = user,
            Change::Volume(paths) => config.volumes.extend(paths),
            Change::WorkingDir(path) => config.working_dir = config.at_working_dir(&path),
            Change::Healthcheck(check) => config.healthcheck = Some(check),
        }
    }
    Ok(())
}

fn words_of(command: Command, config: &RunConfig) -> Vec<String> {
    match command {
        Command::Exec(words) => words,
        Command::Shell(line) => config.line_shell().into_iter().chain([line]).collect(),
    }
}

fn some(instruction: &'static str, words: Vec<String>) -> Result<Vec<String>, ChangeError> {
    if words.is_empty() { Err(ChangeError::Argument(instruction)) } else { Ok(words) }
}

/// `80`, `80/udp` or `8000-8010/tcp`, each port with its protocol.
fn ports(word: &str) -> Result<Vec<String>, ChangeError> {
    let bad = || ChangeError::Port(word.to_owned());
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(&*protocol, "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first == 0 || last < first {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn on_build(rest: &str) -> Result<Change, ChangeError> {
    let trigger = rest.split_whitespace().next().ok_or(ChangeError::Argument("ONBUILD"))?.to_ascii_uppercase();
    match &*trigger {
        "ONBUILD" | "MAINTAINER" | "FROM" => Err(ChangeError::Trigger(trigger)),
        _ => Ok(Change::OnBuild(rest.to_owned())),
    }
}

fn healthcheck(rest: &str) -> Result<Healthcheck, ChangeError> {
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let bad = || ChangeError::Healthcheck(format!("--{flag}"));
        let (name, value) = flag.split_once('=').ok_or_else(bad)?;
        match name {
            "interval" => check.interval = words::nanoseconds(value).ok_or_else(bad)?,
            "timeout" => check.timeout = words::nanoseconds(value).ok_or_else(bad)?,
            "start-period" => check.start_period = words::nanoseconds(value).ok_or_else(bad)?,
            "start-interval" => check.start_interval = words::nanoseconds(value).ok_or_else(bad)?,
            "retries" => check.retries = value.parse().ok().filter(|retries| *retries >= 0).ok_or_else(bad)?,
            _ => return Err(bad()),
        }
        rest = after.trim_start();
    }
    let (kind, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (kind.to_ascii_uppercase().as_str(), exec_or_shell(line.trim())) {
        ("", _) => return Err(ChangeError::Argument("HEALTHCHECK")),
        ("NONE", _) => vec!["NONE".to_owned()],
        ("CMD", Command::Exec(words)) => ["CMD".to_owned()].into_iter().chain(words).collect(),
        ("CMD", Command::Shell(line)) if !line.is_empty() => vec!["CMD-SHELL".to_owned(), line],
        _ => return Err(ChangeError::Healthcheck(kind.to_owned())),
    };
    Ok(check)
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
    fn nonsense_is_refused_with_a_sentence() {
        let cases = [
            ("RUN x", "RUN is not a valid change command"),
            ("nope x", "NOPE is not a valid change command"),
            ("", "the change is empty"),
            ("STOPSIGNAL NOPE", "invalid signal: NOPE"),
            ("ENV A='b", "cannot replace the variables of `'b`"),
            ("EXPOSE x", "invalid port `x`"),
            ("ENV", "ENV requires at least one argument"),
            ("LABEL a=b c", "Syntax error - can't find = in \"c\". Must be of the form: name=value"),
            ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
            ("HEALTHCHECK --x=1 CMD y", "invalid health check: `--x=1`"),
        ];
        for (text, expected) in cases {
            let error = apply(&[text.to_owned()], &mut RunConfig::default()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
