//! The lines of progress on a terminal: which there are, and what to write so that they show.

use std::collections::HashMap;
use std::fmt::Write as _;

use strata_types::Digest;

use crate::format::{shorten, size};

/// Phases whose every step is a drawing of its own; in a pipe they say nothing.
const DRAWN_ONLY: &[&str] = &["Downloading", "Extracting", "Pushing", "Preparing"];

/// All lines so far.
#[derive(Default)]
pub(super) struct Screen {
    lines: Vec<Line>,
    items: HashMap<Digest, usize>,
    /// How many lines the terminal shows already.
    drawn: usize,
}

/// One line: a sentence, or an item with its phase.
struct Line {
    head: String,
    done_bytes: u64,
    total_bytes: u64,
    changed: bool,
}

impl Screen {
    /// An item enters a phase.
    pub(super) fn phase(&mut self, item: &Digest, phase: &str) {
        let head = format!("{}: {phase}", item.short());
        let line = self.line_of(item);
        if line.head != head {
            *line = Line { head, done_bytes: 0, total_bytes: 0, changed: true };
        }
    }

    /// An item is so far.
    pub(super) fn progress(&mut self, item: &Digest, done_bytes: u64, total_bytes: u64) {
        let line = self.line_of(item);
        line.changed |= line.done_bytes != done_bytes || line.total_bytes != total_bytes;
        (line.done_bytes, line.total_bytes) = (done_bytes, total_bytes);
    }

    /// A sentence of its own.
    pub(super) fn say(&mut self, sentence: &str) {
        self.lines.push(Line { head: sentence.to_owned(), done_bytes: 0, total_bytes: 0, changed: true });
    }

    /// In a pipe: whether a phase is worth a line, that is new for its item and no drawing.
    pub(super) fn is_news(&mut self, item: &Digest, phase: &str) -> bool {
        let line = self.line_of(item);
        if line.head == phase || DRAWN_ONLY.contains(&phase) {
            return false;
        }
        phase.clone_into(&mut line.head);
        true
    }

    /// What to write so that a terminal of this size shows all that changed.
    pub(super) fn paint(&mut self, columns: usize, rows: usize) -> String {
        let mut text = String::new();
        for index in 0..self.drawn {
            let up = self.drawn - index;
            let line = &mut self.lines[index];
            // What has scrolled away cannot be reached any more.
            if line.changed && up < rows {
                let _ = write!(text, "\x1b[{up}A\x1b[2K\r{}\r\x1b[{up}B", line.shown(columns));
                line.changed = false;
            }
        }
        for line in &mut self.lines[self.drawn..] {
            let _ = writeln!(text, "{}", line.shown(columns));
            line.changed = false;
        }
        self.drawn = self.lines.len();
        text
    }

    fn line_of(&mut self, item: &Digest) -> &mut Line {
        let next = self.lines.len();
        let index = *self.items.entry(item.clone()).or_insert(next);
        if index == next {
            self.lines.push(Line { head: String::new(), done_bytes: 0, total_bytes: 0, changed: true });
        }
        &mut self.lines[index]
    }
}

impl Line {
    /// The line as Docker draws it, cut where the terminal ends: the bar only where there is room for it.
    fn shown(&self, columns: usize) -> String {
        let mut text = self.head.clone();
        let (done, total) = (self.done_bytes, self.total_bytes);
        if total > 0 && columns > 110 {
            let filled = usize::try_from(u128::from(done) * 50 / u128::from(total)).unwrap_or(50).min(50);
            let _ = write!(text, " [{}>{}]", "=".repeat(filled), " ".repeat(50 - filled));
        }
        if total > 0 && done <= total {
            let _ = write!(text, " {:>8}/{}", size::human(done), size::human(total));
        } else if done > 0 {
            let _ = write!(text, " {:>8}", size::human(done));
        }
        shorten::text(&text, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str) -> Digest {
        Digest::sha256(name.as_bytes())
    }

    #[test]
    fn lines_are_redrawn_in_place() {
        let mut screen = Screen::default();
        let (a, b) = (item("a"), item("b"));
        screen.say("latest: Pulling from x");
        screen.phase(&a, "Downloading");
        screen.phase(&b, "Waiting");
        screen.progress(&a, 1_000_000, 4_000_000);
        let (a_id, b_id) = (a.short(), b.short());
        let bar = format!("[{}>{}]", "=".repeat(12), " ".repeat(38));
        let first = format!("latest: Pulling from x\n{a_id}: Downloading {bar}      1MB/4MB\n{b_id}: Waiting\n");
        assert_eq!(screen.paint(120, 24), first);
        assert_eq!(screen.paint(120, 24), "");
        screen.progress(&a, 2_000_000, 4_000_000);
        assert_eq!(screen.paint(80, 24), format!("\x1b[2A\x1b[2K\r{a_id}: Downloading      2MB/4MB\r\x1b[2B"));
        screen.phase(&a, "Pull complete");
        screen.say("done");
        let last = format!("\x1b[2A\x1b[2K\r{a_id}: Pull complete\r\x1b[2Bdone\n");
        assert_eq!(screen.paint(80, 24), last);
    }

    #[test]
    fn what_scrolled_away_is_left_alone_and_no_line_wraps() {
        let mut screen = Screen::default();
        let a = item("a");
        screen.phase(&a, "Downloading");
        for _ in 0..30 {
            screen.say("a sentence that is longer than the terminal");
        }
        assert!(screen.paint(20, 10).lines().all(|line| line.chars().count() <= 20));
        screen.phase(&a, "Pull complete");
        assert_eq!(screen.paint(20, 10), "");
    }

    #[test]
    fn a_pipe_gets_each_phase_once_and_no_drawings() {
        let mut screen = Screen::default();
        let a = item("a");
        assert!(screen.is_news(&a, "Pulling fs layer"));
        assert!(!screen.is_news(&a, "Pulling fs layer"));
        assert!(!screen.is_news(&a, "Downloading"));
        assert!(screen.is_news(&a, "Pull complete"));
    }
}
