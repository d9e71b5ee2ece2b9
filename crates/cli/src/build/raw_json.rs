//! `--progress rawjson`: what happens to the steps, as BuildKit's `SolveStatus` documents, one a line.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use strata_build::{Observer, Outcome};
use strata_dockerfile::Warning;
use strata_types::{Digest, Watch};

use super::call::url;
use crate::progress::Progress;

/// Writes them down.
pub struct RawJson<'p> {
    watch: &'p Progress,
    written: Mutex<Written>,
}

struct Written {
    out: Option<Box<dyn Write + Send>>,
    /// The steps that have begun: the names that the documents give them, and what people call them.
    steps: HashMap<usize, (Digest, String, Timestamp)>,
}

/// What could be better, as a document; nothing if there is nothing.
pub fn warnings<'w>(warnings: impl IntoIterator<Item = &'w Warning>) -> String {
    let one = |warning: &Warning| {
        let short = format!("{}: {} (line {})", warning.rule, warning.message, warning.line);
        let detail = [STANDARD.encode(warning.reason)];
        json!({"level": 1, "short": STANDARD.encode(short), "detail": detail, "url": url(warning.rule)})
    };
    let all: Vec<Value> = warnings.into_iter().map(one).collect();
    if all.is_empty() { String::new() } else { format!("{}\n", json!({"warnings": all})) }
}

impl<'p> RawJson<'p> {
    /// Writes them to `out`.
    pub fn new(watch: &'p Progress, out: Box<dyn Write + Send>) -> Self {
        Self { watch, written: Mutex::new(Written { out: Some(out), steps: HashMap::new() }) }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    fn line(&mut self, document: &Value) {
        // Whoever read it went away; the build goes on.
        if self.out.as_mut().is_some_and(|out| writeln!(out, "{document}").and_then(|()| out.flush()).is_err()) {
            self.out = None;
        }
    }

    fn log(&mut self, number: usize, stream: u8, bytes: &[u8]) {
        let Some((vertex, ..)) = self.steps.get(&number) else { return };
        let log =
            json!({"vertex": vertex, "stream": stream, "data": STANDARD.encode(bytes), "timestamp": Timestamp::now()});
        self.line(&json!({"logs": [log]}));
    }
}

impl Observer for RawJson<'_> {
    fn begin(&self, number: usize, name: &str) {
        let mut written = self.written();
        let (vertex, started) = (Digest::sha256(format!("{number} {name}").as_bytes()), Timestamp::now());
        written.line(&json!({"vertexes": [{"digest": vertex, "name": name, "started": started}]}));
        written.steps.insert(number, (vertex, name.to_owned(), started));
    }

    fn output(&self, number: usize, is_stderr: bool, bytes: &[u8]) {
        self.written().log(number, if is_stderr { 2 } else { 1 }, bytes);
    }

    fn status(&self, number: usize, text: &str) {
        let mut written = self.written();
        let Some((vertex, ..)) = written.steps.get(&number) else { return };
        let now = Timestamp::now();
        let status =
            json!({"id": text, "vertex": vertex, "current": 0, "timestamp": now, "started": now, "completed": now});
        written.line(&json!({"statuses": [status]}));
    }

    fn end(&self, number: usize, outcome: Outcome, _took: Duration) {
        let mut written = self.written();
        let Some((vertex, name, started)) = written.steps.remove(&number) else { return };
        let mut step = json!({"digest": vertex, "name": name, "started": started, "completed": Timestamp::now()});
        match outcome {
            Outcome::Done => {}
            Outcome::Cached => step["cached"] = true.into(),
            Outcome::Cancelled => step["error"] = "context canceled".into(),
            Outcome::Failed => step["error"] = "failed".into(),
        }
        written.line(&json!({"vertexes": [step]}));
    }
}

impl Watch for RawJson<'_> {
    fn phase(&self, _item: &Digest, _phase: &str) {}

    fn progress(&self, _item: &Digest, _done_bytes: u64, _total_bytes: u64) {}

    fn say(&self, _line: &str) {}

    fn cancelled(&self) -> bool {
        self.watch.cancelled()
    }
}
