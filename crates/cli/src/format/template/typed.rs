//! Types of Docker's that a template's error names: rows of lists, and documents that are no mere JSON to it.

use serde_json::{Map, Value as Json};

use super::omitted;
use super::value::{Value, no_field};

/// Fields that are of such types themselves: of which type, which field, what it is.
const FIELDS: &[(&str, &str, &str)] = &[
    ("*events.Message", "Actor", "events.Actor"),
    ("system.dockerInfo", "Plugins", "system.PluginsInfo"),
    ("system.dockerInfo", "Swarm", "swarm.Info"),
    ("system.versionInfo", "Client", "system.clientVersion"),
    ("system.versionInfo", "Server", "*types.Version"),
];

/// The field of something of a type; why not if it has none of that name.
pub(super) fn field(of: &str, fields: &Map<String, Json>, name: &str) -> Result<Value, String> {
    // What Go does not export it does not show; JSON's names may begin otherwise.
    let is_exported = name.starts_with(|first: char| first.is_ascii_uppercase());
    let found = fields.iter().find(|(key, _)| is_exported && key.eq_ignore_ascii_case(name));
    match found {
        Some((key, json)) => Ok(match FIELDS.iter().find(|(parent, field, _)| (*parent, *field) == (of, key)) {
            Some((_, _, of)) => Value::typed(of, json),
            None => Value::new(key, json),
        }),
        None if name == "Label" && has_labels(of, fields) => {
            Err(String::from("wrong number of args for Label: want 1 got 0"))
        }
        None => omitted::field(fields, name).filter(|_| !is_row(of)).ok_or_else(|| no_field(name, of)),
    }
}

/// Whether there is a method `.Label`.
pub(super) fn has_labels(of: &str, fields: &Map<String, Json>) -> bool {
    is_row(of) && fields.contains_key("Labels")
}

/// What Go says when a field is given arguments that it does not take.
pub(super) fn takes_none(of: &str, name: &str, given: usize) -> String {
    match is_row(of) {
        // The cells of rows are methods.
        true => format!("wrong number of args for {name}: want 0 got {given}"),
        false => format!("{name} has arguments but cannot be invoked as function"),
    }
}

fn is_row(of: &str) -> bool {
    of.ends_with("Context")
}
