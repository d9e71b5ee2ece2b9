//! What an instruction means, before its variables are replaced.

use strata_types::config::Healthcheck;

use crate::error::{Error, Problem};
use crate::flag::{Flags, Kind};
use crate::heredoc::Heredoc;
use crate::run_mount::RunMount;
use crate::statement::Statement;

/// All instructions, for those who mistype one.
pub(crate) const NAMES: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// An instruction other than FROM.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    /// `ADD`.
    Add(Copying),
    /// `ARG`.
    Arg(Vec<Argument>),
    /// `CMD`.
    Cmd(CommandLine),
    /// `COPY`.
    Copy(Copying),
    /// `ENTRYPOINT`.
    Entrypoint(CommandLine),
    /// `ENV`.
    Env(Vec<Pair>),
    /// `EXPOSE`.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`.
    Label(Vec<Pair>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: the text of the instruction.
    OnBuild(String),
    /// `RUN`.
    Run(Run),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether it stood in the old form, with a blank between them.
    pub legacy: bool,
}

/// One argument that ARG declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What it is when nobody gives it.
    pub default: Option<String>,
    /// What the comment above it says.
    pub description: String,
}

/// What RUN, CMD or ENTRYPOINT run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The words of a list, or the line for the shell.
    pub words: Vec<String>,
    /// Whether it is a list.
    pub exec: bool,
    /// Heredocs behind it.
    pub heredocs: Vec<Heredoc>,
}

/// `RUN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub command: CommandLine,
    /// `--mount`, still with variables.
    pub mounts: Vec<String>,
    /// `--network`: `default`, `none` or `host`.
    pub network: String,
    /// `--security=insecure`.
    pub insecure: bool,
    /// Those of `--device` that it cannot do without.
    pub required_devices: Vec<String>,
    /// The flags as written, which are part of what the step is.
    pub flags: Vec<String>,
}

/// `COPY` and `ADD`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copying {
    /// The paths.
    pub sources: Vec<String>,
    /// Files that stand in the Dockerfile.
    pub inline: Vec<Inline>,
    /// Where to.
    pub target: String,
    /// `--from`: a stage, an image or a named context.
    pub from: String,
    /// `--chown`.
    pub chown: String,
    /// `--chmod`.
    pub chmod: String,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// `--checksum` of ADD.
    pub checksum: String,
    /// `--keep-git-dir` of ADD.
    pub keep_git_dir: bool,
    /// `--unpack` of ADD: whether archives are unpacked, if it was said.
    pub unpack: Option<bool>,
}

/// A file that stands in the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inline {
    /// Its name.
    pub name: String,
    /// Its content.
    pub content: String,
    /// Whether variables are replaced in it.
    pub expand: bool,
}

/// Understands a statement other than FROM.
///
/// # Errors
/// When it is no instruction, or its arguments or flags are not its own.
pub fn parse_instruction(statement: &Statement) -> Result<Instruction, Error> {
    instruction(statement).map_err(|problem| statement.error(problem))
}

fn instruction(statement: &Statement) -> Result<Instruction, Problem> {
    let words = &statement.arguments;
    let no_flags = || Flags::parse(&statement.flags, &[]).map(drop);
    let one = |name| match &words[..] {
        [word] => no_flags().map(|()| word.clone()),
        _ => Err(Problem::ExactlyOne(name)),
    };
    let some = |name| if words.is_empty() { Err(Problem::AtLeastOne(name)) } else { no_flags() };
    Ok(match &*statement.keyword.to_ascii_uppercase() {
        "ADD" => Instruction::Add(add(statement)?),
        "COPY" => Instruction::Copy(copy(statement)?),
        "RUN" => Instruction::Run(run(statement)?),
        "ARG" => Instruction::Arg(arguments(statement)?),
        "CMD" => no_flags().map(|()| Instruction::Cmd(command(statement)))?,
        "ENTRYPOINT" => no_flags().map(|()| Instruction::Entrypoint(command(statement)))?,
        "ENV" => some("ENV").and_then(|()| pairs(words, "ENV")).map(Instruction::Env)?,
        "LABEL" => some("LABEL").and_then(|()| pairs(words, "LABEL")).map(Instruction::Label)?,
        "MAINTAINER" => Instruction::Maintainer(one("MAINTAINER")?),
        "WORKDIR" => Instruction::Workdir(one("WORKDIR")?),
        "USER" => Instruction::User(one("USER")?),
        "STOPSIGNAL" => Instruction::StopSignal(one("STOPSIGNAL")?),
        "EXPOSE" => {
            some("EXPOSE")?;
            let mut ports = words.clone();
            ports.sort();
            Instruction::Expose(ports)
        }
        "VOLUME" => {
            some("VOLUME")?;
            let volumes: Vec<String> = words.iter().map(|volume| volume.trim().to_owned()).collect();
            if volumes.iter().any(String::is_empty) {
                return Err(Problem::EmptyVolume);
            }
            Instruction::Volume(volumes)
        }
        "SHELL" if words.is_empty() => return Err(Problem::AtLeastOne("SHELL")),
        "SHELL" if !statement.json => return Err(Problem::ShellForm),
        "SHELL" => no_flags().map(|()| Instruction::Shell(words.clone()))?,
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(statement)?),
        "ONBUILD" => Instruction::OnBuild(on_build(statement)?),
        _ => return Err(Problem::UnknownInstruction(statement.keyword.clone())),
    })
}

fn pairs(words: &[String], instruction: &'static str) -> Result<Vec<Pair>, Problem> {
    words
        .chunks_exact(3)
        .map(|pair| match pair {
            [name, ..] if name.is_empty() => Err(Problem::BlankName(instruction)),
            [name, value, sign] => Ok(Pair { name: name.clone(), value: value.clone(), legacy: sign.is_empty() }),
            _ => Err(Problem::TwoArguments(instruction)),
        })
        .collect()
}

fn arguments(statement: &Statement) -> Result<Vec<Argument>, Problem> {
    if statement.arguments.is_empty() {
        return Err(Problem::AtLeastOne("ARG"));
    }
    let argument = |word: &String| {
        let (name, default) = match word.split_once('=') {
            Some(("", _)) => return Err(Problem::BlankName("ARG")),
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.clone(), None),
        };
        Ok(Argument { description: statement.description(&name), name, default })
    };
    statement.arguments.iter().map(argument).collect()
}

fn command(statement: &Statement) -> CommandLine {
    CommandLine { words: statement.arguments.clone(), exec: statement.json, heredocs: statement.heredocs.clone() }
}

fn run(statement: &Statement) -> Result<Run, Problem> {
    let known = [("mount", Kind::Texts), ("network", Kind::Text), ("security", Kind::Text), ("device", Kind::Texts)];
    let flags = Flags::parse(&statement.flags, &known)?;
    let mounts = flags.texts("mount");
    // Variables are replaced later; that the rest is right can be seen now.
    for mount in mounts.iter().filter(|mount| !mount.contains('$')) {
        RunMount::parse(mount)?;
    }
    let network = flags.text("network");
    if !matches!(&*network, "" | "default" | "none" | "host") {
        return Err(Problem::Network(network));
    }
    let security = flags.text("security");
    if !matches!(&*security, "" | "sandbox" | "insecure") {
        return Err(Problem::Security(security));
    }
    let network = if network.is_empty() { "default".to_owned() } else { network };
    let insecure = security == "insecure";
    let devices = flags.texts("device").iter().map(|text| required_device(text)).collect::<Result<Vec<_>, _>>()?;
    let required_devices = devices.into_iter().flatten().collect();
    Ok(Run { command: command(statement), mounts, network, insecure, required_devices, flags: statement.flags.clone() })
}

/// `NAME[,required]`: the device, if the step cannot do without it. A name of CDI has a `=` of its own.
fn required_device(text: &str) -> Result<Option<String>, Problem> {
    let (mut name, mut required) = (String::new(), false);
    for field in text.split(',') {
        match field.split_once('=').unwrap_or((field, "true")) {
            ("name", value) if name.is_empty() => value.clone_into(&mut name),
            ("required", "true" | "1") => required = true,
            ("required", "false" | "0") => required = false,
            _ if name.is_empty() => field.clone_into(&mut name),
            _ => return Err(Problem::Device { text: text.to_owned(), field: field.to_owned() }),
        }
    }
    Ok(Some(name).filter(|_| required))
}

fn copy(statement: &Statement) -> Result<Copying, Problem> {
    let known = [
        ("from", Kind::Text),
        ("chown", Kind::Text),
        ("chmod", Kind::Text),
        ("link", Kind::Boolean),
        ("parents", Kind::Boolean),
        ("exclude", Kind::Texts),
    ];
    copying(statement, "COPY", &known)
}

fn add(statement: &Statement) -> Result<Copying, Problem> {
    let known = [
        ("chown", Kind::Text),
        ("chmod", Kind::Text),
        ("link", Kind::Boolean),
        ("exclude", Kind::Texts),
        ("checksum", Kind::Text),
        ("keep-git-dir", Kind::Boolean),
        ("unpack", Kind::Boolean),
    ];
    copying(statement, "ADD", &known)
}

fn copying(statement: &Statement, name: &'static str, known: &[(&str, Kind)]) -> Result<Copying, Problem> {
    let words = &statement.arguments;
    let [sources @ .., target] = &words[..] else { return Err(Problem::NoDestination(name)) };
    if sources.is_empty() {
        return Err(Problem::NoDestination(name));
    }
    let flags = Flags::parse(&statement.flags, known)?;
    let is_heredoc = |word: &str| if statement.json { Ok(None) } else { Heredoc::parse(word) };
    if matches!(is_heredoc(target), Ok(Some(_))) {
        return Err(Problem::HeredocDestination(name));
    }
    let (mut paths, mut inline) = (Vec::new(), Vec::new());
    for source in sources {
        let opened = is_heredoc(source).ok().flatten();
        match opened.and_then(|opened| statement.heredocs.iter().find(|heredoc| heredoc.name == opened.name)) {
            Some(heredoc) => {
                inline.push(Inline { name: heredoc.name.clone(), content: heredoc.text(), expand: heredoc.expand })
            }
            None => paths.push(source.clone()),
        }
    }
    Ok(Copying {
        sources: paths,
        inline,
        target: target.clone(),
        from: flags.text("from"),
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.boolean("link").unwrap_or(false),
        parents: flags.boolean("parents").unwrap_or(false),
        exclude: flags.texts("exclude"),
        checksum: flags.text("checksum"),
        keep_git_dir: flags.boolean("keep-git-dir").unwrap_or(false),
        unpack: flags.boolean("unpack"),
    })
}

fn on_build(statement: &Statement) -> Result<String, Problem> {
    let Some(inner) = &statement.inner else { return Err(Problem::AtLeastOne("ONBUILD")) };
    Flags::parse(&statement.flags, &[])?;
    match &*inner.keyword.to_ascii_uppercase() {
        "ONBUILD" => return Err(Problem::OnBuildChain),
        trigger @ ("MAINTAINER" | "FROM") => return Err(Problem::Trigger(trigger.to_owned())),
        _ => {}
    }
    let rest = statement.original.trim_start();
    let mut text = rest[statement.keyword.len()..].trim_start().to_owned();
    for heredoc in &statement.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    Ok(text)
}

fn healthcheck(statement: &Statement) -> Result<Healthcheck, Problem> {
    let Some((kind, command)) = statement.arguments.split_first() else {
        return Err(Problem::AtLeastOne("HEALTHCHECK"));
    };
    let mut check = Healthcheck::default();
    match &*kind.to_ascii_uppercase() {
        "NONE" if command.is_empty() => {
            check.test = vec!["NONE".to_owned()];
            return Ok(check);
        }
        "NONE" => return Err(Problem::HealthNone),
        "CMD" if command.is_empty() => return Err(Problem::HealthCommand),
        "CMD" => {
            let how = if statement.json { "CMD" } else { "CMD-SHELL" };
            check.test = [how.to_owned()].into_iter().chain(command.iter().cloned()).collect();
        }
        other => return Err(Problem::HealthKind(other.to_owned())),
    }
    let known = ["interval", "timeout", "start-period", "start-interval", "retries"].map(|name| (name, Kind::Text));
    let flags = Flags::parse(&statement.flags, &known)?;
    check.interval = duration(&flags, "interval")?;
    check.timeout = duration(&flags, "timeout")?;
    check.start_period = duration(&flags, "start-period")?;
    check.start_interval = duration(&flags, "start-interval")?;
    let retries = flags.text("retries");
    if !retries.is_empty() {
        check.retries = retries.parse().map_err(|_| Problem::Retries(retries))?;
        if check.retries < 0 {
            return Err(Problem::NegativeRetries(check.retries));
        }
    }
    Ok(check)
}

/// A flag's duration as Go writes it, in nanoseconds: `1m30s`. At least a millisecond, or none.
fn duration(flags: &Flags<'_>, name: &'static str) -> Result<i64, Problem> {
    let text = &*flags.text(name);
    if text.is_empty() || text == "0" {
        return Ok(0);
    }
    let bad = || Problem::Duration(text.to_owned());
    let (mut rest, mut total) = (text, 0_f64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit = &rest[digits..];
        let length = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let scale = match &unit[..length] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            _ => return Err(bad()),
        };
        total += number * scale;
        rest = &unit[length..];
    }
    match total {
        total if total > 0.0 && total < 1e6 => Err(Problem::ShortDuration(name)),
        total if total < 9e18 => Ok(total as i64),
        _ => Err(bad()),
    }
}
