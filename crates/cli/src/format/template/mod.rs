//! Go's `text/template`, as far as Docker's users write it in `--format`, over JSON.
//!
//! ```text
//! lex.rs        text, actions and the tokens in them        parse.rs      tokens → nodes
//! exec.rs       nodes + a value → text                      functions.rs  eq, index, join, json, …
//! printf.rs     Go's fmt verbs                              value.rs      values as Go sees and prints them
//! omitted.rs    fields that JSON leaves out                typed.rs      types whose names errors say
//! ```
//!
//! Left out: `define`, `template`, `block`, `call`, `js`, `urlquery`.

mod exec;
mod functions;
mod lex;
mod node;
mod omitted;
mod parse;
mod printf;
mod typed;
mod value;

pub(crate) use printf::{general_with, quoted};
pub use value::Value;

use node::Node;

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    name: &'static str,
    nodes: Vec<Node>,
    source: String,
}

/// Why a template cannot be used; the words are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It does not parse.
    #[error("template: {name}:{line}: {what}")]
    Parse {
        /// What the template is called.
        name: &'static str,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// It does not fit what it is applied to.
    #[error("template: {name}:{line}:{column}: executing {name:?} at <{node}>: {what}")]
    Execute {
        /// What the template is called.
        name: &'static str,
        /// The line, from 1.
        line: usize,
        /// The byte in the line, from 0.
        column: usize,
        /// The part that failed.
        node: String,
        /// What is wrong.
        what: String,
    },
}

/// For what a template is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For data.
    Data,
    /// For a table's header: functions leave their argument alone.
    Header,
}

impl Template {
    /// Parses a template without a name.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Self::named("", source)
    }

    /// Parses a template that errors call by a name.
    pub fn named(name: &'static str, source: &str) -> Result<Self, TemplateError> {
        let nodes = parse::parse(source).map_err(|error| error.of(name))?;
        Ok(Self { name, nodes, source: source.to_owned() })
    }

    /// Applies it to a value.
    pub fn render(&self, data: &Value) -> Result<String, TemplateError> {
        exec::run(&self.nodes, &self.source, data, Mode::Data).map_err(|error| error.of(self.name))
    }

    /// Applies it to a table's column names.
    pub fn render_header(&self, names: &Value) -> Result<String, TemplateError> {
        exec::run(&self.nodes, &self.source, names, Mode::Header).map_err(|error| error.of(self.name))
    }
}

impl TemplateError {
    /// The same, of a template with this name.
    fn of(mut self, template: &'static str) -> Self {
        match &mut self {
            Self::Parse { name, .. } | Self::Execute { name, .. } => *name = template,
        }
        self
    }
}

#[cfg(test)]
mod tests;
