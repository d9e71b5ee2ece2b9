//! What two builds of the same differ in: the first layer that is another, and the first path in it, or a field of the config.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use strata_engine::Engine;
use strata_engine::workbench::Workbench;
use strata_layer::{Entry, Kind, LayerPath, LayerSink};
use strata_types::config::ImageConfig;
use strata_types::{DiffId, Digest, Hasher, Watch};

use crate::error::{BuildError, Problem};

/// How much of two files is compared byte by byte.
const CONTENT_BYTES_MAX: usize = 8 << 20;
/// How much of a line is shown.
const LINE_CHARS_MAX: usize = 120;

/// Whether two builds came to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// To the byte.
    Same,
    /// Not.
    Different(Box<Difference>),
}

/// The first difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A layer is another.
    Layer {
        /// Its place among the image's layers, from 1.
        place: usize,
        /// The step that made it, as the history has it.
        step: String,
        /// The first path that differs.
        path: String,
        /// In what.
        what: String,
    },
    /// The layers are the same; the config is not.
    Config {
        /// The field.
        field: String,
        /// Its first value.
        first: String,
        /// Its second.
        second: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer { place, step, path, what } => {
                writeln!(f, "layer {place}, made by: {step}")?;
                writeln!(f, "  path: {path}")?;
                write!(f, "  {what}")
            }
            Self::Config { field, first, second } => {
                write!(
                    f,
                    "the layers are the same, the config is not\n  field: {field}\n  first: {first}\n  second: {second}"
                )
            }
        }
    }
}

/// Compares what two builds came to. The layers of both are here.
///
/// # Errors
/// When a layer cannot be read.
pub fn compare(
    engine: &Engine,
    first: &ImageConfig,
    second: &ImageConfig,
    watch: &dyn Watch,
) -> Result<Compared, BuildError> {
    let compare = || -> Result<Compared, Problem> {
        if first == second {
            return Ok(Compared::Same);
        }
        let bench = engine.workbench()?;
        let difference = match layers(&bench, first, second, watch)? {
            Some(difference) => difference,
            None => config(first, second),
        };
        bench.leave()?;
        Ok(Compared::Different(Box::new(difference)))
    };
    compare().map_err(BuildError::outside)
}

fn layers(
    bench: &Workbench<'_>,
    first: &ImageConfig,
    second: &ImageConfig,
    watch: &dyn Watch,
) -> Result<Option<Difference>, Problem> {
    let (ones, others) = (first.diff_ids(), second.diff_ids());
    let Some(at) = (0..ones.len().max(others.len())).find(|at| ones.get(*at) != others.get(*at)) else {
        return Ok(None);
    };
    let steps: Vec<&str> =
        first.history.iter().filter(|step| !step.empty_layer).map(|step| step.created_by.as_str()).collect();
    let step = steps.get(at).copied().unwrap_or_default().trim_end_matches(" # buildkit").to_owned();
    let told = |path: String, what: String| Some(Difference::Layer { place: at + 1, step, path, what });
    let (Some(one), Some(other)) = (ones.get(..=at), others.get(..=at)) else {
        return Ok(told(
            "/".to_owned(),
            "only one of the builds has this layer: in the other one the step changed nothing".to_owned(),
        ));
    };
    let (first, second) = (listing(bench, one, watch)?, listing(bench, other, watch)?);
    for path in first.keys().chain(second.keys()).collect::<std::collections::BTreeSet<_>>() {
        let what = match (first.get(path), second.get(path)) {
            (Some(one), Some(other)) if one == other => continue,
            (Some(_), None) => "it is only in the first".to_owned(),
            (None, _) => "it is only in the second".to_owned(),
            (Some(before), Some(after)) => match metadata(&before.0, &after.0) {
                Some(what) => what,
                None => content(bench, (one, other), path, watch)?,
            },
        };
        return Ok(told(path.to_string(), what));
    }
    Ok(told("/".to_owned(), "the same entries in another order, or written in another way".to_owned()))
}

/// What differs but for the content.
fn metadata(first: &Entry, second: &Entry) -> Option<String> {
    let differ = |what: &str, one: String, other: String| Some(format!("{what}: first {one}, second {other}"));
    let (one, other) = (kind(&first.kind), kind(&second.kind));
    if std::mem::discriminant(&first.kind) != std::mem::discriminant(&second.kind) {
        return differ("kind", one, other);
    }
    if first.mode != second.mode {
        return differ("permissions", format!("{:o}", first.mode), format!("{:o}", second.mode));
    }
    if (first.uid, first.gid) != (second.uid, second.gid) {
        return differ("owner", format!("{}:{}", first.uid, first.gid), format!("{}:{}", second.uid, second.gid));
    }
    if first.xattrs != second.xattrs {
        let names =
            |entry: &Entry| entry.xattrs.iter().map(|xattr| xattr.name.escape_ascii().to_string()).collect::<Vec<_>>();
        return differ("extended attributes", names(first).join(" "), names(second).join(" "));
    }
    if first.mtime != second.mtime {
        let time = |entry: &Entry| {
            let time = jiff::Timestamp::from_second(entry.mtime.seconds).unwrap_or_default();
            format!("{time} and {} ns", entry.mtime.nanoseconds)
        };
        return differ("time", time(first), time(second));
    }
    (!first.is_file() && first.kind != second.kind).then(|| differ("kind", one, other)).flatten()
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::File { size_bytes, .. } => format!("file of {size_bytes} bytes"),
        Kind::Dir => "directory".to_owned(),
        Kind::Symlink { target } => format!("link to {}", target.escape_ascii()),
        Kind::Hardlink { target } => format!("another name of {target}"),
        other => format!("{other:?}"),
    }
}

/// Where the contents of a file part.
fn content(
    bench: &Workbench<'_>,
    (first, second): (&[DiffId], &[DiffId]),
    path: &LayerPath,
    watch: &dyn Watch,
) -> Result<String, Problem> {
    let read = |layers: &[DiffId]| -> Result<Vec<u8>, Problem> {
        let mut content = Content { path, is_open: false, bytes: Vec::new() };
        bench.read_layer(layers, &mut content, watch)?;
        Ok(content.bytes)
    };
    let (first, second) = (read(first)?, read(second)?);
    let shared = first.iter().zip(&second).take_while(|(one, other)| one == other).count();
    if shared == first.len().min(second.len()) && shared < CONTENT_BYTES_MAX {
        return Ok(format!(
            "content: first {} bytes, second {}, the shorter is how both begin",
            first.len(),
            second.len()
        ));
    }
    if shared >= CONTENT_BYTES_MAX {
        return Ok(format!("content: after the first {CONTENT_BYTES_MAX} bytes"));
    }
    let number = first[..shared].iter().filter(|byte| **byte == b'\n').count() + 1;
    Ok(match (line(&first, shared), line(&second, shared)) {
        (Some(one), Some(other)) => format!("content, line {number}:\n    first:  {one}\n    second: {other}"),
        _ => format!("content, from byte {} on", shared + 1),
    })
}

/// The line around a byte, if it is text.
fn line(bytes: &[u8], at: usize) -> Option<String> {
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length);
    let text = std::str::from_utf8(&bytes[start..end]).ok()?;
    let is_text = text.chars().all(|c| !c.is_control() || c == '\t');
    is_text.then(|| text.chars().take(LINE_CHARS_MAX).collect())
}

fn config(first: &ImageConfig, second: &ImageConfig) -> Difference {
    let (one, other) = (first.to_value(), second.to_value());
    let (field, first, second) = field(&one, &other, String::new());
    Difference::Config { field, first, second }
}

/// The first field that differs, and its values.
fn field(first: &Value, second: &Value, path: String) -> (String, String, String) {
    let missing = Value::Null;
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (first, second) {
        (Value::Object(one), Value::Object(other)) => {
            for name in one.keys().chain(other.keys()) {
                let (one, other) = (one.get(name).unwrap_or(&missing), other.get(name).unwrap_or(&missing));
                if one != other {
                    return field(one, other, below(name));
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            if let Some(at) = (0..one.len()).find(|at| one[*at] != other[*at]) {
                return field(&one[at], &other[at], below(&at.to_string()));
            }
        }
        _ => {}
    }
    (path, first.to_string(), second.to_string())
}

type Listing = BTreeMap<LayerPath, (Entry, Option<Digest>)>;

fn listing(bench: &Workbench<'_>, layers: &[DiffId], watch: &dyn Watch) -> Result<Listing, Problem> {
    let mut listed = Listed::default();
    bench.read_layer(layers, &mut listed, watch)?;
    Ok(listed.entries)
}

/// All entries, with the digests of their contents.
#[derive(Default)]
struct Listed {
    entries: Listing,
    /// The file that is being read, its digest so far, and where its next bytes belong unless there is a hole.
    open: Option<(LayerPath, Hasher, u64)>,
}

impl LayerSink for Listed {
    fn entry(&mut self, entry: &Entry, _data_offset: u64) -> strata_layer::Result<()> {
        self.open = entry.is_file().then(|| (entry.path.clone(), Hasher::sha256(), 0));
        self.entries.insert(entry.path.clone(), (entry.clone(), None));
        Ok(())
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> strata_layer::Result<()> {
        if let Some((_, hasher, next)) = &mut self.open {
            if offset != *next {
                hasher.update(&offset.to_le_bytes());
            }
            hasher.update(chunk);
            *next = offset + chunk.len() as u64;
        }
        Ok(())
    }

    fn end(&mut self) -> strata_layer::Result<()> {
        if let Some((path, hasher, _)) = self.open.take()
            && let Some(listed) = self.entries.get_mut(&path)
        {
            listed.1 = Some(hasher.finish());
        }
        Ok(())
    }
}

/// The beginning of one file's content.
struct Content<'p> {
    path: &'p LayerPath,
    is_open: bool,
    bytes: Vec<u8>,
}

impl LayerSink for Content<'_> {
    fn entry(&mut self, entry: &Entry, _data_offset: u64) -> strata_layer::Result<()> {
        self.is_open = entry.path == *self.path;
        Ok(())
    }

    fn data(&mut self, _offset: u64, chunk: &[u8]) -> strata_layer::Result<()> {
        if self.is_open && self.bytes.len() < CONTENT_BYTES_MAX {
            self.bytes.extend_from_slice(&chunk[..chunk.len().min(CONTENT_BYTES_MAX - self.bytes.len())]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_that_differs_is_told() {
        let check = |one: &str, other: &str, expected: (&str, &str, &str)| {
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let (path, first, second) = field(&parse(one), &parse(other), String::new());
            assert_eq!((path.as_str(), first.as_str(), second.as_str()), expected);
        };
        check(r#"{"a":1,"b":[{"c":"x"}]}"#, r#"{"a":1,"b":[{"c":"y"}]}"#, ("b.0.c", "\"x\"", "\"y\""));
        check(r#"{"a":1}"#, "{}", ("a", "1", "null"));
        check(r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, ("a", "[1]", "[1,2]"));
    }

    #[test]
    fn a_line_is_shown_if_it_is_text() {
        assert_eq!(line(b"one\ntwo three\nfour", 8).as_deref(), Some("two three"));
        assert_eq!(line(b"a\x00b", 1), None);
    }
}
