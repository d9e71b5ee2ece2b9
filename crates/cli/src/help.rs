//! `--help`, in the shape that Docker's users know.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use crate::verb::{self, Entry, Group};

/// What strata is, in a line.
pub const TAGLINE: &str = "A container engine whose heart is the layered image";

/// The help of the whole program.
pub fn program(columns: usize) -> String {
    let mut text =
        String::from("\nUsage:  strata [OPTIONS] COMMAND\n\nA container engine whose heart is the layered image\n");
    let listed = |group: Group| verb::ENTRIES.iter().filter(move |entry| entry.group == group);
    for (title, group) in [("Common Commands", Group::Common), ("Management Commands", Group::Management)] {
        let entries: Vec<(&str, &str)> = match group {
            Group::Management => verb::MANAGEMENT.to_vec(),
            _ => listed(group).map(|entry| (entry.name, entry.about)).collect(),
        };
        commands(&mut text, title, &entries);
    }
    let mut rest: Vec<(&str, &str)> = listed(Group::Other).map(|entry| (entry.name, entry.about)).collect();
    rest.sort_unstable();
    commands(&mut text, "Commands", &rest);
    options(&mut text, "Global Options", &crate::globals::command(), columns);
    text.push_str("\nRun 'strata COMMAND --help' for more information on a command.\n");
    text
}

/// The help of a management command such as `image`.
pub fn management(name: &str, about: &str) -> String {
    let mut text = format!("\nUsage:  strata {name} COMMAND\n");
    if let Some(entry) = verb::fallback_in(name) {
        let _ = writeln!(text, "        strata {name} {}", entry.usage);
    }
    let _ = write!(text, "\n{about}\n");
    let mut entries: Vec<(&str, &str)> =
        verb::ENTRIES.iter().filter_map(|entry| Some((entry.name_in(name)?, entry.about))).collect();
    entries.sort_unstable();
    commands(&mut text, "Commands", &entries);
    if name == "runtime" {
        options(&mut text, "Options before the command", &verb::runtime::command(), 80);
    }
    let _ = write!(text, "\nRun 'strata {name} COMMAND --help' for more information on a command.\n");
    text
}

/// The help of one verb, called by the words `path`.
pub fn verb(entry: &Entry, command: &Command, path: &str, columns: usize) -> String {
    let mut text = format!("\nUsage:  {path} {}\n\n{}\n", entry.usage, entry.about);
    let names = entry.full_names();
    if names.len() > 1 {
        let _ = write!(text, "\nAliases:\n  {}\n", names.join(", "));
    }
    options(&mut text, "Options", command, columns);
    if !entry.examples.is_empty() {
        let _ = write!(text, "\nExamples:\n{}\n", entry.examples);
    }
    text
}

fn commands(text: &mut String, title: &str, entries: &[(&str, &str)]) {
    if entries.is_empty() {
        return;
    }
    let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(11);
    let _ = write!(text, "\n{title}:\n");
    for (name, about) in entries {
        let _ = writeln!(text, "  {name:width$} {about}");
    }
}

fn options(text: &mut String, title: &str, command: &Command, columns: usize) {
    let rows = option_rows(command);
    if rows.is_empty() {
        return;
    }
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let _ = write!(text, "\n{title}:\n");
    for (left, right) in &rows {
        for (index, line) in wrap(right, columns.saturating_sub(width + 3)).iter().enumerate() {
            let left = if index == 0 { left } else { "" };
            let _ = writeln!(text, "{}", format!("{left:width$}   {line}").trim_end());
        }
    }
}

/// The options of a command in the order of their names: `  -f, --filter filter` and what it does.
pub fn option_rows(command: &Command) -> Vec<(String, String)> {
    let mut listed: Vec<&Arg> = command.get_arguments().filter(|a| !a.is_positional() && !a.is_hide_set()).collect();
    listed.sort_by_key(|arg| arg.get_long().map(str::to_owned));
    listed.into_iter().map(|arg| (left_column(arg), right_column(arg))).collect()
}

/// `  -f, --filter filter`
fn left_column(arg: &Arg) -> String {
    let mut column = match arg.get_short() {
        Some(short) => format!("  -{short}, --{}", arg.get_long().unwrap_or_default()),
        None => format!("      --{}", arg.get_long().unwrap_or_default()),
    };
    if crate::argv::needs_value(arg) {
        let _ = write!(column, " {}", value_name(arg));
    }
    column
}

/// Docker's word for an option's type: the value name where one is set in lower case, else by the kind of option.
fn value_name(arg: &Arg) -> &str {
    let set = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
    match set.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())) {
        Some(name) => name,
        None if matches!(arg.get_action(), ArgAction::Append) => "list",
        None => "string",
    }
}

fn right_column(arg: &Arg) -> String {
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    if let Some(default) = default.filter(|default| !default.is_empty() && default != "false") {
        let bare = default == "true" || value_name(arg) != "string";
        let _ = if bare { write!(help, " (default {default})") } else { write!(help, " (default {default:?})") };
    }
    help
}

/// Wraps text at spaces, keeping its own line breaks, as pflag does.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(24);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut rest = paragraph;
        while rest.len() > width {
            let limit = (0..=width).rev().find(|&at| rest.is_char_boundary(at)).unwrap_or(0);
            let Some(space) = rest[..limit].rfind(' ').filter(|&space| space > 0) else { break };
            lines.push(rest[..space].to_owned());
            rest = rest[space..].trim_start();
        }
        lines.push(rest.to_owned());
    }
    lines
}
