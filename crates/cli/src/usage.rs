//! Clap's errors in Docker's words.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use crate::exit::Exit;
use crate::format::count::counted;
use crate::globals;
use crate::opts::{Refusal, number};
use crate::verb::Entry;

/// Docker's options that are not here, and why not or what is.
const NOT_HERE: &[(&str, &str)] = &[
    ("disable-content-trust", "signed tags went out of use, and none are checked"),
    ("isolation", "it is for Windows"),
    ("gpus", "it needs a vendor's runtime: `--runtime` and `--device` may do"),
    ("link-local-ip", "it went out of use"),
    ("kernel-memory", "kernels have no such limit any more"),
    ("host", NO_DAEMON),
    ("context", NO_DAEMON),
    ("tls", NO_DAEMON),
    ("tlscacert", NO_DAEMON),
    ("tlscert", NO_DAEMON),
    ("tlskey", NO_DAEMON),
    ("tlsverify", NO_DAEMON),
    ("config-from", "there are no swarms"),
    ("config-only", "there are no swarms"),
    ("ingress", "there are no swarms"),
    ("scope", "there are no swarms, and all networks are local"),
];

/// Why nothing is connected to.
const NO_DAEMON: &str = "there is no daemon to connect to";

/// Docker's commands that are not here, and why not or what is.
const NO_COMMANDS: &[(&str, &str)] = &[
    ("compose", "it is a program of its own, which needs Docker's API"),
    ("config", "there are no swarms; `strata run --secret` and `-v` bring files into containers"),
    ("context", NO_DAEMON),
    ("checkpoint", "`strata snapshot` keeps a container's files, nothing keeps its memory"),
    ("node", "there are no swarms"),
    ("plugin", "there are no plugins"),
    ("search", "registries have no search; Docker Hub has a web page for it"),
    ("service", "there are no swarms"),
    ("stack", "there are no swarms"),
    ("swarm", "there are no swarms"),
    ("trust", "signed tags went out of use"),
];

/// What is said of a word that is no command.
pub fn no_command(name: &str) -> String {
    let why = NO_COMMANDS.iter().find(|(known, _)| *known == name).map(|(_, why)| format!(" ({why})"));
    format!("strata: '{name}' is not a strata command{}.\nSee 'strata --help'\n", why.unwrap_or_default())
}

/// A wrong call: what to print on stderr, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Misuse {
    /// All of the text, with its final newline.
    pub text: String,
    /// 125 for wrong options, 1 for a wrong number of words, as Docker does.
    pub exit: Exit,
}

/// Says what is wrong with a call of `entry`, by the words `path` (`strata image ls`) and those after it.
pub fn misuse(error: &clap::Error, command: &Command, path: &str, entry: &Entry, words: &[OsString]) -> Misuse {
    let (usage, about) = (entry.usage, entry.about);
    match option_error(error, command, words) {
        Some(sentence) => Misuse { text: format!("{sentence}\nSee '{path} --help'.\n"), exit: Exit::ENGINE },
        None => {
            let sentence = operand_error(command, path, usage);
            let text = format!("{sentence}\nSee '{path} --help'.\n\nUsage:  {path} {usage}\n\n{about}\n");
            Misuse { text, exit: Exit::FAILURE }
        }
    }
}

/// The sentence for a wrong option; none if it is the number of words that is wrong.
pub fn option_error(error: &clap::Error, command: &Command, words: &[OsString]) -> Option<String> {
    let word = context(error, ContextKind::InvalidArg);
    let option = word.as_deref().and_then(|word| option_named(command, word));
    let is_global = command.get_name() == globals::COMMAND;
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let word = word?;
            if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
                let name = long.split('=').next().unwrap_or(long);
                return Some(format!("unknown flag: --{name}{}", why_not(name)));
            }
            let short = word.strip_prefix('-').and_then(|rest| rest.chars().next())?;
            let long = match short {
                'H' if is_global => "host",
                'c' if is_global => "context",
                _ => "",
            };
            Some(format!("unknown shorthand flag: '{short}' in {word}{}", why_not(long)))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::TooFewValues | ErrorKind::NoEquals => {
            let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
            let option = option?;
            if value.is_empty() && error.source().is_none() {
                return Some(format!("flag needs an argument: {}", needing(option, words)));
            }
            let refusal = error.source().and_then(|cause| cause.downcast_ref());
            if let Some(Refusal::Alone(invalid)) = refusal {
                return Some(format!("strata: {invalid}"));
            }
            let cause = match error.source() {
                Some(cause) if cause.is::<std::num::ParseIntError>() => {
                    number::integer(&value).err().map(|e| e.to_string())
                }
                Some(cause) => Some(cause.to_string()),
                None => None,
            };
            let cause = cause.unwrap_or_else(|| String::from("invalid value"));
            Some(format!("invalid argument {value:?} for {:?} flag: {cause}", flag_name(option)))
        }
        ErrorKind::ArgumentConflict => Some(format!("conflicting options: {}", word?)),
        ErrorKind::InvalidUtf8 => Some(String::from("an argument is not valid UTF-8")),
        _ => None,
    }
}

/// Why an option of Docker's is not here, in brackets; nothing if it is none.
fn why_not(name: &str) -> String {
    NOT_HERE.iter().find(|(known, _)| *known == name).map_or_else(String::new, |(_, why)| format!(" ({why})"))
}

/// Docker's sentence about the number of words after the options.
fn operand_error(command: &Command, path: &str, usage: &str) -> String {
    let (mut least, mut most) = (0_usize, Some(0_usize));
    for operand in command.get_positionals() {
        let many = matches!(operand.get_action(), clap::ArgAction::Append);
        least += usize::from(operand.is_required_set());
        most = if many { None } else { most.map(|most| most + 1) };
    }
    // What an option of ours takes the place of is not required by its definition, but in Docker's words.
    least = least.max(usize::from(usage.split(' ').any(|word| word.starts_with(char::is_uppercase))));
    let arguments = |count| counted(count, "argument");
    match most {
        Some(0) => format!("{path:?} accepts no arguments."),
        Some(most) if most == least => format!("{path:?} requires exactly {}.", arguments(most)),
        Some(most) if least == 0 => format!("{path:?} requires at most {}.", arguments(most)),
        Some(most) => format!("{path:?} requires at least {least} and at most {}.", arguments(most)),
        None => format!("{path:?} requires at least {}.", arguments(least)),
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

/// Finds the option that clap names as `--cpus <decimal>`, `--cpus` or `-c`.
fn option_named<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split([' ', '=', '[']).next().unwrap_or(word);
    command.get_arguments().find(|arg| {
        arg.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long))
            || arg.get_short().is_some_and(|short| name.strip_prefix('-').is_some_and(|n| n.chars().eq([short])))
    })
}

/// An option as pflag names it: `-t, --tty` or `--tty`.
fn flag_name(option: &Arg) -> String {
    let long = option.get_long().unwrap_or_default();
    match option.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}

/// An option as pflag names it when its value is missing. It is the last word then, in whichever form and by whichever name.
fn needing(option: &Arg, words: &[OsString]) -> String {
    let last = words.last().and_then(|last| last.to_str()).unwrap_or("--");
    let long = last.strip_prefix("--");
    match option.get_short().filter(|_| long.is_none()) {
        Some(short) => format!("'{short}' in -{short}"),
        None => {
            let aliases = option.get_all_aliases().unwrap_or_default();
            let name = long.filter(|name| aliases.contains(name)).or(option.get_long());
            format!("--{}", name.unwrap_or_default())
        }
    }
}
