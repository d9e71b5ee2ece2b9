//! Applies nodes to a value.

use serde_json::Value as Json;

use super::node::{Command, Node, Operand, OperandKind, Pipe, Span};
use super::value::{Value, no_field};
use super::{Mode, TemplateError, functions, typed};

/// Applies a template's nodes to `data`.
pub(super) fn run(nodes: &[Node], source: &str, data: &Value, mode: Mode) -> Result<String> {
    let variables = vec![(String::from("$"), data.clone())];
    let mut execution = Execution { source, mode, variables, out: String::new() };
    execution.nodes(nodes, data)?;
    Ok(execution.out)
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Execution<'a> {
    source: &'a str,
    mode: Mode,
    variables: Vec<(String, Value)>,
    out: String,
}

type Result<T> = std::result::Result<T, TemplateError>;

impl Execution<'_> {
    fn fail<T>(&self, span: Span, what: String) -> Result<T> {
        let before = &self.source[..span.at];
        let line = 1 + before.matches('\n').count();
        let column = span.at - before.rfind('\n').map_or(0, |newline| newline + 1);
        let node = self.source[span.start..span.end].to_owned();
        Err(TemplateError::Execute { name: "", line, column, node, what })
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow> {
        for node in nodes {
            let known = self.variables.len();
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    continue;
                }
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.out.push_str(&value.printed());
                    }
                    // What an action declares lives on.
                    continue;
                }
                Node::If { pipe, then, otherwise } => {
                    let chosen = if self.pipe(pipe, dot)?.is_true() { then } else { otherwise };
                    self.nodes(chosen, dot)?
                }
                Node::With { pipe, then, otherwise } => {
                    let value = self.pipe(pipe, dot)?;
                    if value.is_true() { self.nodes(then, &value)? } else { self.nodes(otherwise, dot)? }
                }
                Node::Range { pipe, body, otherwise } => self.range(pipe, body, otherwise, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            self.variables.truncate(known);
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn range(&mut self, pipe: &Pipe, body: &[Node], otherwise: &[Node], dot: &Value) -> Result<Flow> {
        // The pipeline's variables are the elements, not its value.
        let value = self.commands(pipe, dot)?;
        let items: Vec<(Value, Value)> = match &value {
            Value::List(items) => items.iter().enumerate().map(|(i, json)| (i.into(), Value::new("", json))).collect(),
            Value::Map(map) | Value::Struct(map) => {
                let mut entries: Vec<(&String, &Json)> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                entries.into_iter().map(|(key, json)| (key.clone().into(), Value::new("", json))).collect()
            }
            Value::None | Value::Null(_) | Value::Omitted(_) => Vec::new(),
            Value::Number(number) if number.is_i64() => {
                (0..number.as_u64().unwrap_or(0).min(RANGE_MAX)).map(|i| (count(i), count(i))).collect()
            }
            other => return self.fail(pipe.operand_span(), format!("range can't iterate over {}", other.formatted())),
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let known = self.variables.len();
        for (key, item) in items {
            match pipe.variables.as_slice() {
                [] => {}
                [one] => self.bind(one, item.clone(), pipe.assigns),
                [first, second, ..] => {
                    self.bind(first, key, pipe.assigns);
                    self.bind(second, item.clone(), pipe.assigns);
                }
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn bind(&mut self, name: &str, value: Value, assigns: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| assigns && known == name) {
            Some((_, place)) => *place = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.bind(name, value.clone(), pipe.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value> {
        let mut result = None;
        for command in &pipe.commands {
            result = Some(self.command(command, dot, result)?);
        }
        Ok(result.unwrap_or(Value::None))
    }

    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Result<Value> {
        let Some((head, rest)) = command.operands.split_first() else { return Ok(Value::None) };
        if let OperandKind::Function(name) = &head.kind {
            return self.call(name, command, rest, dot, piped);
        }
        if rest.is_empty() && piped.is_none() {
            return match head.kind {
                OperandKind::Nil => self.fail(head.span, String::from("nil is not a command")),
                _ => self.operand(head, dot),
            };
        }
        let mut arguments = rest.iter().map(|operand| self.operand(operand, dot)).collect::<Result<Vec<_>>>()?;
        arguments.extend(piped);
        let OperandKind::Field(path) = &head.kind else {
            let shown = &self.source[head.span.start..head.span.end];
            return self.fail(head.span, format!("can't give argument to non-function {shown}"));
        };
        let name = path.last().map_or("", String::as_str);
        match dot {
            Value::Typed(of, fields) if name != "Label" || !typed::has_labels(of, fields) => {
                self.path(dot.clone(), path, head.span)?;
                self.fail(head.span, typed::takes_none(of, name, arguments.len()))
            }
            _ if path.len() == 1 && name == "Label" => {
                let label = functions::label(dot, &arguments, self.mode);
                label.or_else(|error| self.failed("Label", command, &arguments, error))
            }
            _ => self.fail(head.span, format!("{name} is not a method but has arguments")),
        }
    }

    fn call(
        &mut self,
        name: &str,
        command: &Command,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value> {
        let mut arguments = Vec::new();
        // `and` and `or` stop at the first argument that decides.
        let stops = |value: &Value| match name {
            "and" => !value.is_true(),
            "or" => value.is_true(),
            _ => false,
        };
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if stops(&value) {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(piped);
        functions::call(name, &arguments, self.mode).or_else(|error| self.failed(name, command, &arguments, error))
    }

    /// Says why a call failed.
    fn failed<T>(&self, name: &str, command: &Command, arguments: &[Value], error: functions::Error) -> Result<T> {
        let at = command.operands[0].span;
        match error {
            functions::Error::Usage(what) => self.fail(at, what),
            functions::Error::Called(what) => {
                let whole = Span { at: at.at, ..command.span };
                self.fail(whole, format!("error calling {name}: {what}"))
            }
            functions::Error::Argument(place, expected) => {
                let operand = command.operands.get(place + 1);
                let span = operand.map_or(at, |operand| operand.span);
                let is_literal = |kind: &OperandKind| {
                    matches!(kind, OperandKind::Number(_) | OperandKind::String(_) | OperandKind::Bool(_))
                };
                let literal = operand.filter(|operand| is_literal(&operand.kind));
                let literal = literal.map(|_| &self.source[span.start..span.end]);
                self.fail(span, expected.sentence(literal, &arguments[place]))
            }
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::None),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Number(number) => Ok(Value::Number(number.clone())),
            OperandKind::String(text) => Ok(Value::String(text.clone())),
            OperandKind::Field(path) => self.path(dot.clone(), path, operand.span),
            OperandKind::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = found.map_or(Value::None, |(_, value)| value.clone());
                self.path(value, path, operand.span)
            }
            OperandKind::Chain(pipe, path) => {
                let value = self.pipe(pipe, dot)?;
                self.path(value, path, operand.span)
            }
            OperandKind::Function(name) => functions::call(name, &[], self.mode).or_else(|error| match error {
                functions::Error::Usage(what) => self.fail(operand.span, what),
                functions::Error::Called(what) => self.fail(operand.span, format!("error calling {name}: {what}")),
                functions::Error::Argument(..) => self.fail(operand.span, String::from("wrong type for value")),
            }),
        }
    }

    fn path(&self, mut value: Value, path: &[String], span: Span) -> Result<Value> {
        let mut is_typed = false;
        for name in path {
            let child = value.field(name).or_else(|what| {
                let is_cell = is_typed && !matches!(value, Value::Typed(..));
                self.fail(span, if is_cell { no_field(name, value.type_name()) } else { what })
            })?;
            is_typed = matches!(value, Value::Typed(..));
            value = child;
        }
        Ok(value)
    }
}

/// How often `range` over a number runs at most: more is a slip of the finger.
const RANGE_MAX: u64 = 1_000_000;

fn count(value: u64) -> Value {
    Value::Number(value.into())
}
