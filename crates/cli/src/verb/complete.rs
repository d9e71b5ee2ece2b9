//! `strata __complete WORD...`: what the last of the words could become; the scripts of `strata completion` ask this.

use std::collections::BTreeSet;

use clap::Command;
use strata_runtime::Status;
use strata_sys::signal::Signal;

use crate::verb::prelude::*;
use crate::verb::{self, Entry, Group};
use crate::{argv, globals};

/// What `strata __complete` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The words after `strata`, the last of them incomplete, perhaps empty
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    pub words: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Print what the last word could become";
    const USAGE: &str = "WORD...";

    fn run(self, session: &mut Session) -> Result<Exit> {
        for (word, about) in candidates(&self.words, session) {
            writeln!(session.out, "{word}\t{about}")?;
        }
        Ok(Exit::SUCCESS)
    }
}

/// A word and what it means.
type Candidate = (String, String);

/// What the last word could become; nothing where it is a file or anything at all.
fn candidates(words: &[String], session: &Session) -> Vec<Candidate> {
    let Some((partial, before)) = words.split_last() else { return Vec::new() };
    let os: Vec<_> = before.iter().map(std::ffi::OsString::from).collect();
    let globals = globals::command();
    let first = argv::first_operand(&globals, &os);
    let found = match &before[first..] {
        [] if awaiting(&globals, before).is_some() => values(awaiting(&globals, before), session),
        [] if partial.starts_with('-') => options(&globals),
        [] => top_level(),
        [help] if help == "help" => top_level(),
        [name, rest @ ..] => match (verb::MANAGEMENT.iter().any(|(known, _)| known == name), rest) {
            (true, []) => below(name),
            (true, [word, rest @ ..]) => {
                verb::find_in(name, word).map_or_else(Vec::new, |entry| of_verb(entry, rest, partial, session))
            }
            (false, rest) => verb::find(name).map_or_else(Vec::new, |entry| of_verb(entry, rest, partial, session)),
        },
    };
    found.into_iter().filter(|(word, _)| word.starts_with(partial.as_str())).collect()
}

fn top_level() -> Vec<Candidate> {
    let verbs = verb::ENTRIES.iter().filter(|entry| entry.group != Group::Unlisted);
    let verbs = verbs.map(|entry| (entry.name, entry.about));
    let mut found: Vec<Candidate> =
        verbs.chain(verb::MANAGEMENT.iter().copied()).map(|(name, about)| (name.into(), about.into())).collect();
    found.sort_unstable();
    found
}

fn below(management: &str) -> Vec<Candidate> {
    let named = |entry: &Entry| Some((entry.name_in(management)?.to_owned(), entry.about.to_owned()));
    verb::ENTRIES.iter().filter_map(named).collect()
}

fn of_verb(entry: &Entry, before: &[String], partial: &str, session: &Session) -> Vec<Candidate> {
    let command = (entry.command)();
    let os: Vec<_> = before.iter().map(std::ffi::OsString::from).collect();
    let operands = before.len() - argv::first_operand(&command, &os);
    let awaiting = awaiting(&command, before);
    if awaiting.is_some() {
        return values(awaiting, session);
    }
    if entry.options_end_at_name && operands > 0 {
        return Vec::new();
    }
    if partial.starts_with('-') {
        return options(&command);
    }
    let names = named(entry, operands, session);
    names.into_iter().filter(|name| !before.contains(name)).map(|name| (name, String::new())).collect()
}

/// What an operand may be, by the word that the usage has for it.
fn named(entry: &Entry, place: usize, session: &Session) -> BTreeSet<String> {
    let words: Vec<&str> = entry.usage.lines().next().unwrap_or_default().split_whitespace().collect();
    let words = words.strip_prefix(&["[OPTIONS]"]).unwrap_or(&words);
    let last = words.last().filter(|word| word.ends_with("...]"));
    let Some(word) = words.get(place).or(last).map(|word| word.trim_start_matches('[')) else { return BTreeSet::new() };
    let found = match word {
        // A new name is nobody's yet.
        _ if entry.name.ends_with(" create") => Vec::new(),
        word if word.starts_with("NAME|ID") => {
            [containers(session, None), images(session), networks(session), volumes(session), secrets(session)].concat()
        }
        word if word.starts_with("CONTAINER") => containers(session, Some(entry.name)),
        word if word.contains("IMAGE") || word.starts_with("REPOSITORY") || word.starts_with("NAME[:TAG") => {
            images(session)
        }
        word if word.starts_with("NETWORK") => networks(session),
        word if word.starts_with("VOLUME") => volumes(session),
        word if word.starts_with("SECRET") => secrets(session),
        "DRIVER" => words_of("storage-driver"),
        word if word.split('|').count() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'|') => {
            word.split('|').map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    found.into_iter().collect()
}

/// What options take that take one of a few words.
const VALUES: &[(&str, &[&str])] = &[
    ("cgroupns", &["host", "private"]),
    ("condition", &["next-exit", "not-running", "removed"]),
    ("format", &["json"]),
    ("ipc", &["host", "none", "private", "shareable"]),
    ("log-driver", &["journald", "json-file", "local", "none"]),
    ("log-level", &["debug", "error", "fatal", "info", "warn"]),
    ("pid", &["host"]),
    ("progress", &["auto", "plain", "quiet", "rawjson", "tty"]),
    ("pull", &["always", "missing", "never"]),
    ("restart", &["always", "no", "on-failure", "unless-stopped"]),
    ("security-opt", &["apparmor=", "label=", "no-new-privileges", "seccomp=", "systempaths=unconfined"]),
    ("storage-driver", &["aufs", "btrfs", "devicemapper", "erofs", "fuse", "overlay", "vfs", "zfs"]),
    ("type", &["container", "image", "network", "secret", "volume"]),
    ("userns", &["auto", "host"]),
    ("uts", &["host"]),
];

fn words_of(option: &str) -> Vec<String> {
    let found = VALUES.iter().find(|(known, _)| *known == option);
    found.map(|(_, words)| words.iter().map(|word| (*word).to_owned()).collect()).unwrap_or_default()
}

/// What the value of an option could be; nothing where it is a file or anything at all.
fn values(option: Option<String>, session: &Session) -> Vec<Candidate> {
    let option = option.unwrap_or_default();
    let found = match option.as_str() {
        "network" => networks(session),
        "secret" => secrets(session),
        "signal" | "stop-signal" => (1..32).filter_map(Signal::from_number).map(|signal| signal.to_string()).collect(),
        "volumes-from" => containers(session, None),
        option => words_of(option),
    };
    found.into_iter().map(|word| (word, String::new())).collect()
}

/// The option that takes the next word, if the last of the words before is one.
fn awaiting(command: &Command, before: &[String]) -> Option<String> {
    let last = before.last().filter(|last| last.starts_with('-'))?;
    let two = [last.into(), std::ffi::OsString::from("value")];
    if argv::first_operand(command, &two) != 2 {
        return None;
    }
    let is = |arg: &&clap::Arg| match last.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short() == last.chars().last(),
    };
    command.get_arguments().find(is).and_then(clap::Arg::get_long).map(str::to_owned)
}

fn options(command: &Command) -> Vec<Candidate> {
    let listed = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let about = |arg: &clap::Arg| arg.get_help().map(ToString::to_string).unwrap_or_default();
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    listed.filter_map(|arg| Some((format!("--{}", arg.get_long()?), first_line(about(arg))))).collect()
}

/// Names of containers: those that a verb could do something with. None when the store cannot be read, since completion has
/// nobody to tell.
fn containers(session: &Session, verb: Option<&str>) -> Vec<String> {
    let Ok(engine) = session.engine() else { return Vec::new() };
    let fits = |status: Status| match verb {
        Some("attach" | "exec" | "kill" | "port" | "stats" | "stop" | "top" | "wait") => status.is_up(),
        Some("pause") => status == Status::Running,
        Some("unpause") => status == Status::Paused,
        Some("start") => !status.is_up(),
        _ => true,
    };
    let listed = engine.containers().unwrap_or_default();
    listed.into_iter().filter(|listed| fits(listed.state.status)).map(|listed| listed.known.record.name).collect()
}

fn networks(session: &Session) -> Vec<String> {
    let networks = session.engine().ok().and_then(|engine| engine.networks().ok()).unwrap_or_default();
    networks.into_iter().map(|network| network.record.name).collect()
}

fn volumes(session: &Session) -> Vec<String> {
    let volumes = session.engine().ok().and_then(|engine| engine.volumes().ok()).unwrap_or_default();
    volumes.into_iter().map(|volume| volume.record.name).collect()
}

fn secrets(session: &Session) -> Vec<String> {
    let secrets = session.engine().ok().and_then(|engine| engine.secrets().ok()).unwrap_or_default();
    secrets.into_iter().map(|secret| secret.name).collect()
}

fn images(session: &Session) -> Vec<String> {
    let Ok(engine) = session.engine() else { return Vec::new() };
    let summaries = engine.images(&Default::default()).unwrap_or_default();
    summaries.iter().flat_map(|summary| &summary.references.tags).map(|tag| tag.familiar()).collect()
}
