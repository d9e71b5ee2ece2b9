//! `--progress tty`: the steps on a terminal, drawn anew in place, as BuildKit draws them.
//!
//! Nothing is drawn for the first 250 ms, then at most 30 times a second, by a thread of its own.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use strata_build::{Observer, Outcome};
use strata_types::{Digest, Watch};

use super::line;
use crate::progress::Progress;

/// Before this nothing is drawn.
const QUIET: Duration = Duration::from_millis(250);
/// Between two drawings.
const FRAME: Duration = Duration::from_millis(34);
/// How many lines of its output are shown of a step that runs, if nobody says how many.
pub const TAIL_LINES: usize = 6;
/// How many lines of its output are kept of a step, to be shown when it fails.
const KEPT_LINES: usize = 20;
/// What is drawn on where the terminal does not say how large it is, in columns and rows.
const USUAL_SIZE: (usize, usize) = (80, 24);
/// Less has no room for a name and a time.
const COLUMNS_MIN: usize = 12;

/// Draws them.
pub struct Tty<'p> {
    watch: &'p Progress,
    shared: Arc<Shared>,
    painter: Option<JoinHandle<()>>,
}

struct Shared {
    board: Mutex<Board>,
    over: Condvar,
}

/// What is drawn.
struct Board {
    out: Option<Box<dyn Write + Send>>,
    began: Instant,
    steps: Vec<Step>,
    /// How many lines of its output are shown of a step that runs.
    tail_lines: usize,
    /// How many lines of the last drawing the terminal shows.
    drawn: usize,
    is_over: bool,
}

struct Step {
    number: usize,
    name: String,
    began: Instant,
    ended: Option<(Outcome, Duration)>,
    /// Lines that have not ended, of both streams.
    open: [Vec<u8>; 2],
    lines: VecDeque<String>,
}

impl<'p> Tty<'p> {
    /// Draws on `out`, with so many lines of what a step writes.
    pub fn new(watch: &'p Progress, out: Box<dyn Write + Send>, tail_lines: usize) -> std::io::Result<Self> {
        let (began, steps) = (Instant::now(), Vec::new());
        let board = Board { out: Some(out), began, steps, tail_lines, drawn: 0, is_over: false };
        let shared = Arc::new(Shared { board: Mutex::new(board), over: Condvar::new() });
        let painter = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("steps".to_owned()).spawn(move || shared.paint_until_over())?
        };
        Ok(Self { watch, shared, painter: Some(painter) })
    }

    /// Ends: draws the last state; gives the last lines of the steps that failed, between rules.
    pub fn finish(mut self) -> String {
        self.stop();
        let board = self.shared.board();
        let failed = board.steps.iter().filter(|step| matches!(step.ended, Some((Outcome::Failed, _))));
        let told = failed.map(|step| {
            let lines: String = step.lines.iter().map(|line| format!("{line}\n")).collect();
            format!("------\n > {}:\n{lines}------\n", step.name)
        });
        told.collect()
    }

    fn stop(&mut self) {
        let Some(painter) = self.painter.take() else { return };
        self.shared.board().is_over = true;
        self.shared.over.notify_all();
        if painter.join().is_err() {
            tracing::debug!("the last state of the steps was not drawn");
        }
    }
}

impl Drop for Tty<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paint_until_over(&self) {
        let mut board = self.board();
        loop {
            if board.is_over || board.began.elapsed() >= QUIET {
                board.draw();
            }
            if board.is_over {
                return;
            }
            board = self.over.wait_timeout(board, FRAME).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Board {
    fn draw(&mut self) {
        let size = rustix::termios::tcgetwinsize(std::io::stderr());
        let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let (columns, rows) = size.ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(USUAL_SIZE);
        let rows = if self.is_over { usize::MAX } else { rows.max(4) - 1 };
        let text = self.paint(columns.max(COLUMNS_MIN), rows);
        // Whoever watched went away; the build goes on.
        if self.out.as_mut().is_some_and(|out| out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err()) {
            self.out = None;
        }
    }

    /// What to write so that a terminal of this size shows all; the oldest steps that have ended are left out where there is no
    /// room.
    fn paint(&mut self, columns: usize, rows: usize) -> String {
        let lines = self.lines(columns, rows);
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        for line in &lines {
            let _ = write!(text, "\x1b[2K\r{line}\n");
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        text
    }

    fn lines(&self, columns: usize, rows: usize) -> Vec<String> {
        let ended = self.steps.iter().filter(|step| step.ended.is_some()).count();
        let state = if self.is_over { " FINISHED" } else { "" };
        let seconds = self.began.elapsed().as_secs_f64();
        let head = format!("[+] Building {seconds:.1}s ({ended}/{}){state}", self.steps.len());
        let tail_lines = if self.is_over { 0 } else { self.tail_lines };
        let mut groups: Vec<(bool, Vec<String>)> =
            self.steps.iter().map(|step| (step.ended.is_some(), step.shown(columns, tail_lines))).collect();
        let mut count: usize = groups.iter().map(|(_, lines)| lines.len()).sum();
        while count + 1 > rows {
            let Some(oldest) = groups.iter().position(|(is_ended, _)| *is_ended) else { break };
            count -= groups.remove(oldest).1.len();
        }
        let lines = [line::fit(&head, columns)].into_iter().chain(groups.into_iter().flat_map(|(_, lines)| lines));
        lines.take(rows).collect()
    }

    fn step(&mut self, number: usize) -> Option<&mut Step> {
        self.steps.iter_mut().rev().find(|step| step.number == number)
    }
}

impl Step {
    fn shown(&self, columns: usize, tail_lines: usize) -> Vec<String> {
        let (prefix, took) = match self.ended {
            Some((Outcome::Cached, took)) => ("CACHED ", took),
            Some((Outcome::Failed, took)) => ("ERROR ", took),
            Some((Outcome::Cancelled, took)) => ("CANCELED ", took),
            Some((Outcome::Done, took)) => ("", took),
            None => ("", self.began.elapsed()),
        };
        let time = format!(" {:.1}s", took.as_secs_f64());
        let room = columns - time.len().min(columns);
        let name = line::fit(&format!(" => {prefix}{}", line::plain(self.name.as_bytes())), room);
        let gap = room.saturating_sub(line::columns(&name));
        let mut lines = vec![format!("{name}{}{time}", " ".repeat(gap))];
        if self.ended.is_none() {
            let tail = self.lines.iter().skip(self.lines.len().saturating_sub(tail_lines));
            lines.extend(tail.map(|line| line::fit(&format!(" => => # {line}"), columns)));
        }
        lines
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line::plain(bytes));
    }
}

impl Observer for Tty<'_> {
    fn begin(&self, number: usize, name: &str) {
        let (began, open) = (Instant::now(), [Vec::new(), Vec::new()]);
        let step = Step { number, name: name.to_owned(), began, ended: None, open, lines: VecDeque::new() };
        self.shared.board().steps.push(step);
    }

    fn output(&self, number: usize, is_stderr: bool, bytes: &[u8]) {
        let mut board = self.shared.board();
        let Some(step) = board.step(number) else { return };
        let open = &mut step.open[usize::from(is_stderr)];
        open.extend_from_slice(bytes);
        let Some(end) = open.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = open.split_off(end + 1);
        let whole = std::mem::replace(open, rest);
        whole[..end].split(|byte| *byte == b'\n').for_each(|line| step.take(line));
    }

    fn status(&self, number: usize, text: &str) {
        if let Some(step) = self.shared.board().step(number) {
            step.take(text.as_bytes());
        }
    }

    fn end(&self, number: usize, outcome: Outcome, took: Duration) {
        let mut board = self.shared.board();
        let Some(step) = board.step(number) else { return };
        let open = std::mem::take(&mut step.open);
        open.iter().filter(|line| !line.is_empty()).for_each(|line| step.take(line));
        step.ended = Some((outcome, took));
    }
}

impl Watch for Tty<'_> {
    fn phase(&self, _item: &Digest, _phase: &str) {}

    fn progress(&self, _item: &Digest, _done_bytes: u64, _total_bytes: u64) {}

    fn say(&self, _line: &str) {}

    fn cancelled(&self) -> bool {
        self.watch.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(number: usize, ended: Option<Outcome>, lines: &[&str]) -> Step {
        let mut step = Step {
            number,
            name: format!("[{number}/3] RUN step {number}"),
            began: Instant::now(),
            ended: ended.map(|outcome| (outcome, Duration::from_millis(1_250))),
            open: [Vec::new(), Vec::new()],
            lines: VecDeque::new(),
        };
        lines.iter().for_each(|line| step.take(line.as_bytes()));
        step
    }

    fn board(steps: Vec<Step>) -> Board {
        Board { out: None, began: Instant::now(), steps, tail_lines: TAIL_LINES, drawn: 0, is_over: false }
    }

    #[test]
    fn steps_that_run_show_what_they_write() {
        let steps = vec![step(1, Some(Outcome::Cached), &["x"]), step(2, None, &["a\rb\r", "\x1b[31mred"])];
        let mut board = board(steps);
        assert_eq!(
            board.lines(48, 24),
            [
                "[+] Building 0.0s (1/2)",
                " => CACHED [1/3] RUN step 1                 1.2s",
                " => [2/3] RUN step 2                        0.0s",
                " => => # b",
                " => => # red",
            ]
        );
        // However narrow it is, nothing is wider.
        for columns in COLUMNS_MIN..80 {
            assert!(board.lines(columns, 24).iter().all(|line| line::columns(line) <= columns), "{columns}");
        }
        board.tail_lines = 1;
        assert_eq!(board.lines(48, 24).last().unwrap(), " => => # red");
        assert_eq!(board.lines(48, 24).len(), 4);
        board.tail_lines = TAIL_LINES;
        assert!(board.paint(48, 24).starts_with("\x1b[2K\r[+] Building"));
        assert!(board.paint(48, 24).starts_with("\x1b[5A\x1b[2K\r[+] Building"), "the next one is drawn over it");
    }

    #[test]
    fn old_steps_make_room_for_those_that_run() {
        let done = Some(Outcome::Done);
        let mut board = board(vec![step(1, done, &[]), step(2, None, &["a"]), step(3, done, &[])]);
        let shown = |board: &Board, rows| board.lines(48, rows).join("\n");
        assert!(!shown(&board, 4).contains("step 1") && shown(&board, 4).contains("step 3"), "{}", shown(&board, 4));
        assert!(!shown(&board, 3).contains("step 3") && shown(&board, 3).contains("# a"), "{}", shown(&board, 3));
        board.is_over = true;
        assert!(shown(&board, usize::MAX).contains("(2/3) FINISHED"));
        assert!(!shown(&board, usize::MAX).contains("# a"));
    }
}
