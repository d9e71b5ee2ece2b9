//! What is seen of a build's steps: plain lines, as BuildKit prints them with `--progress plain`.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use strata_build::{Observer, Outcome};
use strata_types::{Digest, Watch};

use crate::progress::Progress;

/// How many of a step's last lines are kept to be shown when it fails.
const KEPT_LINES: usize = 20;

/// Shows a build's steps, and asks them to stop when the person does.
pub struct Steps<'p> {
    watch: &'p Progress,
    shown: Mutex<Shown>,
}

struct Shown {
    out: Option<Box<dyn Write + Send>>,
    steps: HashMap<usize, Step>,
    failed: Vec<String>,
}

struct Step {
    name: String,
    began: Instant,
    /// Lines that have not ended, of both streams.
    open: [Vec<u8>; 2],
    lines: Vec<String>,
}

impl<'p> Steps<'p> {
    /// Shows them in `out`, or nowhere.
    pub fn new(watch: &'p Progress, out: Option<Box<dyn Write + Send>>) -> Self {
        Self { watch, shown: Mutex::new(Shown { out, steps: HashMap::new(), failed: Vec::new() }) }
    }

    /// The last lines of the steps that failed, between rules.
    pub fn failed(&self) -> String {
        self.shown().failed.concat()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn line(&mut self, text: &str) {
        // Whoever watched went away; the build goes on.
        if self.out.as_mut().is_some_and(|out| writeln!(out, "{text}").is_err()) {
            self.out = None;
        }
    }

    /// A line that a step wrote.
    fn written(&mut self, number: usize, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        // What a bar has drawn over is not shown.
        let text = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
        let Some(step) = self.steps.get_mut(&number) else { return };
        let line = format!("{:.3} {text}", step.began.elapsed().as_secs_f64());
        if step.lines.len() == KEPT_LINES {
            step.lines.remove(0);
        }
        step.lines.push(line.clone());
        self.line(&format!("#{number} {line}"));
    }
}

impl Observer for Steps<'_> {
    fn begin(&self, number: usize, name: &str) {
        let mut shown = self.shown();
        let (began, open) = (Instant::now(), [Vec::new(), Vec::new()]);
        shown.steps.insert(number, Step { name: name.to_owned(), began, open, lines: Vec::new() });
        shown.line(&format!("#{number} {name}"));
    }

    fn output(&self, number: usize, is_stderr: bool, bytes: &[u8]) {
        let mut shown = self.shown();
        let Some(step) = shown.steps.get_mut(&number) else { return };
        let open = &mut step.open[usize::from(is_stderr)];
        open.extend_from_slice(bytes);
        let Some(end) = open.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = open.split_off(end + 1);
        let whole = std::mem::replace(open, rest);
        for line in whole[..end].split(|byte| *byte == b'\n') {
            shown.written(number, line);
        }
    }

    fn status(&self, number: usize, text: &str) {
        self.shown().line(&format!("#{number} {text}"));
    }

    fn end(&self, number: usize, outcome: Outcome, took: Duration) {
        let mut shown = self.shown();
        let open = shown.steps.get_mut(&number).map(|step| std::mem::take(&mut step.open)).unwrap_or_default();
        for line in open.iter().filter(|line| !line.is_empty()) {
            shown.written(number, line);
        }
        let step = shown.steps.remove(&number);
        let end = match outcome {
            Outcome::Done => format!("DONE {:.1}s", took.as_secs_f64()),
            Outcome::Cached => "CACHED".to_owned(),
            Outcome::Cancelled => "CANCELED".to_owned(),
            Outcome::Failed => "ERROR".to_owned(),
        };
        if let (Outcome::Failed, Some(step)) = (outcome, step) {
            let lines: String = step.lines.iter().map(|line| format!("{line}\n")).collect();
            shown.failed.push(format!("------\n > {}:\n{lines}------\n", step.name));
        }
        shown.line(&format!("#{number} {end}\n"));
    }
}

impl Watch for Steps<'_> {
    fn phase(&self, item: &Digest, phase: &str) {
        self.watch.phase(item, phase);
    }

    fn progress(&self, item: &Digest, done_bytes: u64, total_bytes: u64) {
        self.watch.progress(item, done_bytes, total_bytes);
    }

    fn say(&self, line: &str) {
        self.watch.say(line);
    }

    fn cancelled(&self) -> bool {
        self.watch.cancelled()
    }
}
