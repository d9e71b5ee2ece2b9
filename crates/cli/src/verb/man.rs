//! `strata man DIR`: writes the manual pages, from the same definitions as `--help`.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::help;
use crate::verb::prelude::*;
use crate::verb::{self, Entry, Group};

/// What `strata man` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the pages go
    pub dir: PathBuf,
}

impl Verb for Args {
    const ABOUT: &str = "Write the manual pages into a directory";
    const USAGE: &str = "DIR";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        for (name, text) in pages() {
            let path = self.dir.join(&name);
            std::fs::write(&path, text)
                .map_err(|error| Failure::new(format!("cannot write `{}`: {error}", path.display())))?;
        }
        Ok(Exit::SUCCESS)
    }
}

/// All pages: file names and texts.
pub fn pages() -> Vec<(String, String)> {
    let mut pages = vec![(String::from("strata.1"), main_page())];
    for (management, about) in verb::MANAGEMENT {
        let below = verb::ENTRIES.iter().filter_map(|entry| Some((entry.name_in(management)?, entry)));
        let mut below: Vec<(&str, &Entry)> = below.collect();
        below.sort_unstable_by_key(|(name, _)| *name);
        let mut text = head(&format!("strata-{management}"), about, &format!("strata {management} COMMAND"));
        text.push_str(".SH COMMANDS\n");
        for (name, entry) in &below {
            entry_line(&mut text, &format!("strata-{management}-{name}"), entry.about);
            pages.push((format!("strata-{management}-{name}.1"), verb_page(entry, &format!("{management} {name}"))));
        }
        pages.push((format!("strata-{management}.1"), text));
    }
    for entry in verb::ENTRIES.iter().filter(|entry| entry.group != Group::Unlisted) {
        pages.push((format!("strata-{}.1", entry.name), verb_page(entry, entry.name)));
    }
    pages
}

fn main_page() -> String {
    let mut text = head("strata", help::TAGLINE, "strata [OPTIONS] COMMAND");
    text.push_str(".SH COMMANDS\n");
    let mut listed: Vec<(&str, &str)> = verb::MANAGEMENT.to_vec();
    listed.extend(verb::ENTRIES.iter().filter(|e| e.group != Group::Unlisted).map(|entry| (entry.name, entry.about)));
    listed.sort_unstable();
    for (name, about) in listed {
        entry_line(&mut text, &format!("strata-{name}"), about);
    }
    options(&mut text, &crate::globals::command());
    text
}

fn verb_page(entry: &Entry, words: &str) -> String {
    let name = format!("strata-{}", words.replace(' ', "-"));
    let mut text = head(&name, entry.about, &format!("strata {words} {}", entry.usage));
    let names = entry.full_names();
    if names.len() > 1 {
        let _ = write!(text, ".SH ALIASES\n{}\n", escape(&names.join(", ")));
    }
    options(&mut text, &(entry.command)());
    text.push_str(".SH SEE ALSO\n.BR strata (1)\n");
    text
}

fn head(name: &str, about: &str, usage: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let title = name.to_uppercase();
    let (name, about) = (escape(name), escape(about));
    let usage = usage.lines().map(|line| escape(line.trim())).collect::<Vec<_>>().join("\n.br\n");
    format!(
        ".TH \"{title}\" 1 \"\" \"strata {version}\" \"strata\"\n.SH NAME\n{name} \\- {about}\n.SH SYNOPSIS\n{usage}\n\
         .SH DESCRIPTION\n{about}.\n"
    )
}

fn options(text: &mut String, command: &clap::Command) {
    let rows = help::option_rows(command);
    if rows.is_empty() {
        return;
    }
    text.push_str(".SH OPTIONS\n");
    for (left, right) in rows {
        let right = right.lines().map(escape).collect::<Vec<_>>().join("\n.br\n");
        let _ = write!(text, ".TP\n.B {}\n{right}\n", escape(left.trim()));
    }
}

fn entry_line(text: &mut String, name: &str, about: &str) {
    let _ = write!(text, ".TP\n.BR {} (1)\n{}\n", escape(name), escape(about));
}

/// Text as roff takes it: hyphens that stay hyphens, no requests by accident.
fn escape(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}
