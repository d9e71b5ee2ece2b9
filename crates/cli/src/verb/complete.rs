//! `strata __complete WORD...`: what the last of the words could become; the scripts of `strata completion` ask this.

use std::collections::BTreeSet;

use clap::Command;

use crate::verb::prelude::*;
use crate::verb::{self, Entry, Group};
use crate::{argv, globals};

/// What `strata __complete` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The words after `strata`, the last of them incomplete, perhaps empty
    #[arg(allow_hyphen_values = true)]
    pub words: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Print what the last word could become";
    const USAGE: &str = "WORD...";
    const OPTIONS_END_AT_NAME: bool = true;

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
        [] if awaits_value(&globals, before) => Vec::new(),
        [] if partial.starts_with('-') => options(&globals),
        [] => top_level(),
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
    if awaits_value(&command, before) || (entry.options_end_at_name && operands > 0) {
        return Vec::new();
    }
    if partial.starts_with('-') {
        return options(&command);
    }
    let many = entry.usage.contains("...]");
    let names: BTreeSet<String> = match entry.usage {
        _ if operands > 0 && !many => BTreeSet::new(),
        usage if usage.contains("NAME|ID") => containers(session).into_iter().chain(images(session)).collect(),
        usage if usage.contains("CONTAINER") => containers(session).into_iter().collect(),
        usage if usage.contains("IMAGE") || usage.contains("NAME[:TAG") => images(session).into_iter().collect(),
        _ => BTreeSet::new(),
    };
    names.into_iter().filter(|name| !before.contains(name)).map(|name| (name, String::new())).collect()
}

/// Whether the last of the words before is an option that takes the next word.
fn awaits_value(command: &Command, before: &[String]) -> bool {
    let Some(last) = before.last().filter(|last| last.starts_with('-')) else { return false };
    let two = [last.into(), std::ffi::OsString::from("value")];
    argv::first_operand(command, &two) == 2
}

fn options(command: &Command) -> Vec<Candidate> {
    let listed = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let about = |arg: &clap::Arg| arg.get_help().map(ToString::to_string).unwrap_or_default();
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    listed.filter_map(|arg| Some((format!("--{}", arg.get_long()?), first_line(about(arg))))).collect()
}

/// Names of containers; none when the store cannot be read, since completion has nobody to tell.
fn containers(session: &Session) -> Vec<String> {
    let Ok(engine) = session.engine() else { return Vec::new() };
    let records = engine.store().containers().list().unwrap_or_default();
    records.into_iter().map(|record| record.name).collect()
}

fn images(session: &Session) -> Vec<String> {
    let Ok(engine) = session.engine() else { return Vec::new() };
    let summaries = engine.images(&Default::default()).unwrap_or_default();
    summaries.iter().flat_map(|summary| &summary.references.tags).map(|tag| tag.familiar()).collect()
}
