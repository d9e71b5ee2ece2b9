//! The functions a template may call: Go's built-in ones and Docker's.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::value::{Shape, Value};
use super::{Mode, printf};

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Error {
    /// It could not be made: a wrong number of arguments.
    Usage(String),
    /// The argument at this place has the wrong type.
    Argument(usize, Expected),
    /// The function itself failed.
    Called(String),
}

/// What an argument should have been.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    String,
    Integer,
    Strings,
}

impl Expected {
    /// Go's words: for a literal it shows what stands there, for anything else its type.
    pub(super) fn sentence(self, literal: Option<&str>, value: &Value) -> String {
        match (self, literal) {
            (Self::String, Some(found)) => format!("expected string; found {found}"),
            (Self::Integer, Some(found)) => format!("expected integer; found {found}"),
            (Self::Strings, Some(found)) => format!("can't handle {found} for arg of type []string"),
            (Self::String, None) => format!("wrong type for value; expected string; got {}", value.type_name()),
            (Self::Integer, None) => format!("wrong type for value; expected int; got {}", value.type_name()),
            (Self::Strings, None) => format!("wrong type for value; expected []string; got {}", value.type_name()),
        }
    }
}

type Result<T> = std::result::Result<T, Error>;

/// Names, the least and the most arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("and", 1, usize::MAX),
    ("or", 1, usize::MAX),
    ("not", 1, 1),
    ("eq", 1, usize::MAX),
    ("ne", 2, 2),
    ("lt", 2, 2),
    ("le", 2, 2),
    ("gt", 2, 2),
    ("ge", 2, 2),
    ("len", 1, 1),
    ("index", 1, usize::MAX),
    ("slice", 1, 4),
    ("print", 0, usize::MAX),
    ("printf", 1, usize::MAX),
    ("println", 0, usize::MAX),
    ("html", 0, usize::MAX),
    ("json", 1, 1),
    ("split", 2, 2),
    ("join", 2, 2),
    ("title", 1, 1),
    ("lower", 1, 1),
    ("upper", 1, 1),
    ("pad", 3, 3),
    ("truncate", 2, 2),
];

/// Whether a template may call this.
pub(super) fn exists(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, ..)| *known == name)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value], mode: Mode) -> Result<Value> {
    let (least, most) = FUNCTIONS.iter().find(|(known, ..)| *known == name).map_or((0, 0), |&(_, l, m)| (l, m));
    let given = arguments.len();
    if given < least || given > most {
        let want = if most == usize::MAX { format!("at least {least}") } else { most.to_string() };
        return Err(Error::Usage(format!("wrong number of args for {name}: want {want} got {given}")));
    }
    if mode == Mode::Header && matches!(name, "json" | "title" | "lower" | "upper" | "truncate" | "pad") {
        return Ok(arguments.first().cloned().unwrap_or(Value::None));
    }
    Ok(match (name, arguments) {
        ("and", _) => arguments.iter().find(|v| !v.is_true()).or(arguments.last()).cloned().unwrap_or(Value::None),
        ("or", _) => arguments.iter().find(|v| v.is_true()).or(arguments.last()).cloned().unwrap_or(Value::None),
        ("not", [value]) => (!value.is_true()).into(),
        ("eq", [first, rest @ ..]) => equals_any(first, rest)?.into(),
        ("ne", [a, b]) => (!equal(a, b)?).into(),
        ("lt", [a, b]) => (order(a, b)? == Ordering::Less).into(),
        ("le", [a, b]) => (order(a, b)? != Ordering::Greater).into(),
        ("gt", [a, b]) => (order(a, b)? == Ordering::Greater).into(),
        ("ge", [a, b]) => (order(a, b)? != Ordering::Less).into(),
        ("len", [value]) => length(value)?.into(),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key))?,
        ("slice", [value, bounds @ ..]) => slice(value, bounds)?,
        ("print", _) => printf::print(arguments).into(),
        ("println", _) => printf::println(arguments).into(),
        ("printf", [format, rest @ ..]) => printf::printf(string(format, 0)?, rest).into(),
        ("html", _) => html(&printf::print(arguments)).into(),
        ("json", [value]) => json(&value.to_json()).into(),
        ("split", [text, separator]) => split(string(text, 0)?, string(separator, 1)?),
        ("join", [items, separator]) => join(items, string(separator, 1)?)?.into(),
        ("title", [text]) => title(string(text, 0)?).into(),
        ("lower", [text]) => string(text, 0)?.to_lowercase().into(),
        ("upper", [text]) => string(text, 0)?.to_uppercase().into(),
        ("pad", [text, before, after]) => pad(string(text, 0)?, integer(before, 1)?, integer(after, 2)?).into(),
        ("truncate", [text, most]) => truncate(string(text, 0)?, integer(most, 1)?).into(),
        _ => Value::None,
    })
}

/// `.Label "key"`: the one method of Docker's list rows that takes an argument.
pub(super) fn label(row: &Value, arguments: &[Value], mode: Mode) -> Result<Value> {
    let [key] = arguments else {
        return Err(Error::Usage(format!("wrong number of args for Label: want 1 got {}", arguments.len())));
    };
    let key = string(key, 0)?;
    if mode == Mode::Header {
        let last = key.rsplit('.').next().unwrap_or(key);
        return Ok(last.replace(['-', '_'], " ").into());
    }
    let labels = match row.field("Labels") {
        Ok(Value::String(labels)) => labels,
        _ => return Err(Error::Usage(String::from("Label is not a method but has arguments"))),
    };
    let value = labels.split(',').find_map(|label| label.split_once('=').filter(|(name, _)| *name == key));
    Ok(value.map_or(String::new(), |(_, value)| value.to_owned()).into())
}

/// JSON as Docker prints it: compact, no escapes for HTML.
pub(super) fn json(value: &Json) -> String {
    value.to_string()
}

fn string(value: &Value, place: usize) -> Result<&str> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Error::Argument(place, Expected::String)),
    }
}

fn integer(value: &Value, place: usize) -> Result<i64> {
    match value {
        Value::Number(number) => number.as_i64().ok_or(Error::Argument(place, Expected::Integer)),
        _ => Err(Error::Argument(place, Expected::Integer)),
    }
}

fn equals_any(first: &Value, rest: &[Value]) -> Result<bool> {
    if rest.is_empty() {
        return Err(Error::Called(String::from("missing argument for comparison")));
    }
    for other in rest {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: &Value, b: &Value) -> Result<bool> {
    let is_nil = |value: &Value| matches!(value, Value::None | Value::Null(_) | Value::Omitted(_));
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::String(a), Value::String(b)) => Ok(a == b),
        (Value::Number(a), Value::Number(b)) if a.is_f64() == b.is_f64() => Ok(a == b),
        _ if is_nil(a) || is_nil(b) => Ok(is_nil(a) && is_nil(b)),
        _ => Err(Error::Called(String::from("incompatible types for comparison"))),
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => Ok(a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)),
        },
        (Value::Bool(_), Value::Bool(_)) => Err(Error::Called(String::from("invalid type for comparison"))),
        (
            Value::String(_) | Value::Number(_) | Value::Bool(_),
            Value::String(_) | Value::Number(_) | Value::Bool(_),
        ) => Err(Error::Called(String::from("incompatible types for comparison"))),
        _ => Err(Error::Called(String::from("invalid type for comparison"))),
    }
}

fn length(value: &Value) -> Result<usize> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::List(items) => Ok(items.len()),
        Value::Map(map) | Value::Struct(map) => Ok(map.len()),
        Value::Null(Shape::List | Shape::Map) => Ok(0),
        Value::None | Value::Null(_) | Value::Omitted(_) => Err(Error::Called(String::from("len of nil pointer"))),
        other => Err(Error::Called(format!("len of type {}", other.type_name().trim_start_matches('*')))),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value> {
    let called = |what: String| Err(Error::Called(what));
    match (value, key) {
        // The maps in Docker's types hold text, and what is not there is the empty text.
        (Value::Map(map), Value::String(key)) => {
            Ok(map.get(key).map_or_else(|| String::new().into(), |json| Value::new("", json)))
        }
        (Value::Struct(map), Value::String(key)) => Ok(map.get(key).map_or(Value::None, |json| Value::new(key, json))),
        (Value::Map(_) | Value::Struct(_), other) => {
            called(format!("value has type {}; should be string", other.type_name()))
        }
        (Value::List(items), Value::Number(number)) => {
            let found = number.as_u64().and_then(|at| usize::try_from(at).ok()).and_then(|at| items.get(at));
            match found {
                Some(json) => Ok(Value::new("", json)),
                None => called(format!("index out of range: {number}")),
            }
        }
        (Value::String(text), Value::Number(number)) => {
            let found = number.as_u64().and_then(|at| usize::try_from(at).ok()).and_then(|at| text.as_bytes().get(at));
            match found {
                Some(byte) => Ok(Value::Number((*byte).into())),
                None => called(format!("index out of range: {number}")),
            }
        }
        (Value::List(_) | Value::String(_), other) => {
            called(format!("cannot index slice/array with type {}", other.type_name()))
        }
        (Value::None, _) => called(String::from("index of untyped nil")),
        (Value::Null(Shape::Map), Value::String(_)) => Ok(String::new().into()),
        (Value::Null(Shape::List), Value::Number(number)) => called(format!("index out of range: {number}")),
        (Value::Null(_) | Value::Omitted(_), _) => called(String::from("index of nil pointer")),
        (other, _) => called(format!("can't index item of type {}", other.type_name().trim_start_matches('*'))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.len(),
        Value::None => return Err(Error::Called(String::from("slice of untyped nil"))),
        other => return Err(Error::Called(format!("can't slice item of type {}", other.type_name()))),
    };
    let mut numbers = [0, length];
    for (place, bound) in numbers.iter_mut().zip(bounds) {
        let wrong = |_| Error::Called(format!("cannot index slice/array with type {}", bound.type_name()));
        let number = integer(bound, 0).map_err(wrong)?;
        let within = usize::try_from(number).ok().filter(|number| *number <= length);
        *place = within.ok_or_else(|| Error::Called(format!("index out of range: {number}")))?;
    }
    let [from, to] = numbers;
    if from > to {
        return Err(Error::Called(format!("invalid slice index: {from} > {to}")));
    }
    Ok(match value {
        // A cut inside a character shows as Go's printing of invalid UTF-8 does.
        Value::String(text) => String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned().into(),
        Value::List(items) => Value::List(items[from..to].to_vec()),
        _ => Value::None,
    })
}

fn split(text: &str, separator: &str) -> Value {
    let part = |part: &str| Json::from(part);
    if separator.is_empty() {
        return Value::List(text.chars().map(|c| Json::from(c.to_string())).collect());
    }
    Value::List(text.split(separator).map(part).collect())
}

fn join(items: &Value, separator: &str) -> Result<String> {
    let wrong = || Error::Argument(0, Expected::Strings);
    let items = match items {
        Value::List(items) => items.as_slice(),
        Value::Null(Shape::List) => &[],
        _ => return Err(wrong()),
    };
    let texts: Option<Vec<&str>> = items.iter().map(Json::as_str).collect();
    Ok(texts.ok_or_else(wrong)?.join(separator))
}

/// Go's `strings.Title`: the first letter of every word.
fn title(text: &str) -> String {
    let mut before = ' ';
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        let starts = !(before.is_alphanumeric() || before == '_' || before == '\'');
        if starts {
            titled.extend(c.to_uppercase())
        } else {
            titled.push(c)
        }
        before = c;
    }
    titled
}

fn pad(text: &str, before: i64, after: i64) -> String {
    if text.is_empty() {
        return String::new();
    }
    let spaces = |count: i64| " ".repeat(usize::try_from(count.min(PAD_MAX)).unwrap_or(0));
    format!("{}{text}{}", spaces(before), spaces(after))
}

/// How many spaces `pad` adds at most: a terminal is not wider.
const PAD_MAX: i64 = 10_000;

fn truncate(text: &str, most: i64) -> String {
    match usize::try_from(most) {
        Ok(most) if most <= text.len() => String::from_utf8_lossy(&text.as_bytes()[..most]).into_owned(),
        _ => text.to_owned(),
    }
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\0' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
