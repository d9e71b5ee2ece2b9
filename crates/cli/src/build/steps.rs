//! What is seen of a build's steps: plain lines, as BuildKit prints them with `--progress plain`.
//!
//! Steps that run at once take turns: one is shown, and what the others write meanwhile is kept until it has ended or has
//! had its time.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use strata_build::{Observer, Outcome};
use strata_types::{Digest, Watch};

use crate::progress::Progress;

/// How many of a step's last lines are kept to be shown when it fails.
const KEPT_LINES: usize = 20;
/// How long a step is shown while others have something to say: long enough to read some lines of it.
const TURN: Duration = Duration::from_secs(3);

/// Shows a build's steps, and asks them to stop when the person does.
pub struct Steps<'p> {
    watch: &'p Progress,
    shared: Arc<Shared>,
}

struct Shared {
    shown: Mutex<Shown>,
    over: Condvar,
}

struct Shown {
    out: Option<Box<dyn Write + Send>>,
    steps: BTreeMap<usize, Step>,
    failed: Vec<String>,
    /// The step whose turn it is, and since when.
    turn: Option<(usize, Instant)>,
    /// Looks for steps that wait for their turn; there is none before the first one waits.
    clock: Option<JoinHandle<()>>,
    is_over: bool,
}

struct Step {
    name: String,
    began: Instant,
    /// Lines that have not ended, of both streams.
    open: [Vec<u8>; 2],
    lines: Vec<String>,
    /// What is to be shown when it is its turn.
    waiting: Vec<String>,
    /// Its name was shown.
    is_known: bool,
}

impl<'p> Steps<'p> {
    /// Shows them in `out`, or nowhere.
    pub fn new(watch: &'p Progress, out: Option<Box<dyn Write + Send>>) -> Self {
        let steps = BTreeMap::new();
        let shown = Shown { out, steps, failed: Vec::new(), turn: None, clock: None, is_over: false };
        Self { watch, shared: Arc::new(Shared { shown: Mutex::new(shown), over: Condvar::new() }) }
    }

    /// The last lines of the steps that failed, between rules.
    pub fn failed(&self) -> String {
        self.shared.shown().failed.concat()
    }

    /// A line of a step.
    fn say(&self, shown: &mut Shown, number: usize, text: String) {
        if shown.say(number, text) && shown.clock.is_none() {
            let shared = Arc::clone(&self.shared);
            // Without a clock they wait for the next line of any step.
            shown.clock = std::thread::Builder::new().name("turns".to_owned()).spawn(move || shared.keep_time()).ok();
        }
    }

    /// A line that a step wrote.
    fn written(&self, shown: &mut Shown, number: usize, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        // What a bar has drawn over is not shown.
        let text = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
        let Some(step) = shown.steps.get_mut(&number) else { return };
        let line = format!("{:.3} {text}", step.began.elapsed().as_secs_f64());
        if step.lines.len() == KEPT_LINES {
            step.lines.remove(0);
        }
        step.lines.push(line.clone());
        self.say(shown, number, line);
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        let clock = {
            let mut shown = self.shared.shown();
            shown.is_over = true;
            shown.clock.take()
        };
        self.shared.over.notify_all();
        if clock.is_some_and(|clock| clock.join().is_err()) {
            tracing::debug!("steps did not take turns to the end");
        }
    }
}

impl Shared {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_time(&self) {
        let mut shown = self.shown();
        while !shown.is_over {
            shown.next_turn();
            shown = self.over.wait_timeout(shown, TURN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shown {
    fn line(&mut self, text: &str) {
        // Whoever watched went away; the build goes on.
        if self.out.as_mut().is_some_and(|out| writeln!(out, "{text}").is_err()) {
            self.out = None;
        }
    }

    /// A line of a step; says whether it waits.
    fn say(&mut self, number: usize, text: String) -> bool {
        if self.turn.is_none() {
            self.turn_to(number);
        }
        if self.turn.is_some_and(|(shown, _)| shown == number) {
            self.line(&format!("#{number} {text}"));
            return false;
        }
        if let Some(step) = self.steps.get_mut(&number) {
            step.waiting.push(text);
        }
        self.next_turn();
        self.steps.get(&number).is_some_and(|step| !step.waiting.is_empty())
    }

    /// Whoever waits longest is shown, if nobody is or that one had its time.
    fn next_turn(&mut self) {
        if self.turn.is_some_and(|(_, since)| since.elapsed() < TURN) {
            return;
        }
        let waits = |step: &Step| !step.is_known || !step.waiting.is_empty();
        let next = self.steps.iter().find(|(_, step)| waits(step)).map(|(number, _)| *number);
        if let Some(next) = next {
            self.turn_to(next);
        }
    }

    /// Shows a step from here on. That another one goes on is said.
    fn turn_to(&mut self, number: usize) {
        match self.turn {
            Some((shown, _)) if shown == number => return,
            Some((shown, _)) => self.line(&format!("#{shown} ...\n")),
            None => {}
        }
        self.turn = Some((number, Instant::now()));
        let Some(step) = self.steps.get_mut(&number) else { return };
        step.is_known = true;
        let (name, waiting) = (step.name.clone(), std::mem::take(&mut step.waiting));
        self.line(&format!("#{number} {name}"));
        waiting.iter().for_each(|text| self.line(&format!("#{number} {text}")));
    }
}

impl Observer for Steps<'_> {
    fn begin(&self, number: usize, name: &str) {
        let mut shown = self.shared.shown();
        let (began, open) = (Instant::now(), [Vec::new(), Vec::new()]);
        let (lines, waiting) = (Vec::new(), Vec::new());
        shown.steps.insert(number, Step { name: name.to_owned(), began, open, lines, waiting, is_known: false });
        shown.next_turn();
    }

    fn output(&self, number: usize, is_stderr: bool, bytes: &[u8]) {
        let mut shown = self.shared.shown();
        let Some(step) = shown.steps.get_mut(&number) else { return };
        let open = &mut step.open[usize::from(is_stderr)];
        open.extend_from_slice(bytes);
        let Some(end) = open.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = open.split_off(end + 1);
        let whole = std::mem::replace(open, rest);
        for line in whole[..end].split(|byte| *byte == b'\n') {
            self.written(&mut shown, number, line);
        }
    }

    fn status(&self, number: usize, text: &str) {
        self.say(&mut self.shared.shown(), number, text.to_owned());
    }

    fn end(&self, number: usize, outcome: Outcome, took: Duration) {
        let mut shown = self.shared.shown();
        let open = shown.steps.get_mut(&number).map(|step| std::mem::take(&mut step.open)).unwrap_or_default();
        for line in open.iter().filter(|line| !line.is_empty()) {
            self.written(&mut shown, number, line);
        }
        // What has ended is shown at once, whosever turn it is.
        shown.turn_to(number);
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
        shown.turn = None;
        shown.next_turn();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What `Shown` writes.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(paper: &Paper) -> Shown {
        let step = |name: &str| Step {
            name: name.to_owned(),
            began: Instant::now(),
            open: Default::default(),
            lines: Vec::new(),
            waiting: Vec::new(),
            is_known: false,
        };
        let steps = [(1, step("one")), (2, step("two"))].into();
        let out: Box<dyn Write + Send> = Box::new(paper.clone());
        Shown { out: Some(out), steps, failed: Vec::new(), turn: None, clock: None, is_over: false }
    }

    #[test]
    fn steps_at_once_take_turns() {
        let paper = Paper::default();
        let mut shown = shown(&paper);
        shown.next_turn();
        assert!(!shown.say(1, "a".to_owned()));
        assert!(shown.say(2, "kept".to_owned()), "it is not its turn");
        assert!(!shown.say(1, "b".to_owned()));
        // When the first had its time, the second is shown.
        shown.turn = Some((1, Instant::now().checked_sub(TURN).unwrap()));
        assert!(!shown.say(2, "c".to_owned()));
        assert!(shown.say(1, "later".to_owned()));
        shown.turn_to(1);
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "#1 one\n#1 a\n#1 b\n#1 ...\n\n#2 two\n#2 kept\n#2 c\n#2 ...\n\n#1 one\n#1 later\n");
    }
}
