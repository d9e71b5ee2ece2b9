//! What is seen of an operation that lasts: a line for each layer on a terminal, plain lines in a pipe.
//!
//! On a terminal nothing is drawn for the first 250 ms, then at most 30 times a second, by a thread of its own. The same
//! thread waits for Ctrl-C: the first asks the operation to stop where it can; the second, or three seconds in which it
//! could not, end the program. That harms nothing: every operation can be killed at any moment.

mod screen;

use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use strata_sys::signal::{Signal, SignalFd};
use strata_types::{Digest, Watch};

use crate::exit::{Exit, Result};
use crate::session::Session;
use screen::Screen;

/// Before this nothing is drawn: what is quick needs no progress.
const QUIET: Duration = Duration::from_millis(250);
/// How long an operation that was asked to stop may take to do so: it may be waiting for a server that is silent.
const GRACE: Duration = Duration::from_secs(3);
/// Between two drawings.
const FRAME: Duration = Duration::from_millis(34);

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// On stdout: `pull`, `push`, `load`.
    Stdout,
    /// On stderr, where stdout is for something else: the pull of a `run`.
    Stderr,
    /// Nowhere; Ctrl-C still asks the operation to stop, and only a second one ends the program.
    Nowhere,
}

/// Progress in the making; hand it to an operation as its [`Watch`]. Dropping it draws the last state.
pub struct Progress {
    shared: Arc<Shared>,
    painter: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    cancelled: AtomicBool,
    /// Ctrl-C, hang-up and termination arrive here instead of ending the program.
    signals: SignalFd,
    /// Becomes readable when the painter should end.
    ended: OwnedFd,
    /// Whether lines are redrawn in place.
    bars: bool,
    /// Whether the program ends when the operation does not stop in time.
    ends: bool,
}

struct State {
    screen: Screen,
    out: Option<Box<dyn Write + Send>>,
    started: Instant,
}

impl Progress {
    /// Begins. Call it before any thread is started, so that all of them leave signals to it.
    pub fn start(session: &mut Session, show: Show) -> Result<Self> {
        session.out.flush()?;
        let (out, bars): (Option<Box<dyn Write + Send>>, bool) = match show {
            Show::Stdout => (Some(Box::new(std::io::stdout())), session.terminal().stdout),
            Show::Stderr => (Some(Box::new(std::io::stderr())), session.terminal().stderr),
            Show::Nowhere => (None, false),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State { screen: Screen::default(), out, started: Instant::now() }),
            cancelled: AtomicBool::new(false),
            signals: SignalFd::block(&[Signal::INT, Signal::TERM, Signal::HUP])?,
            ended: eventfd(0, EventfdFlags::CLOEXEC)?,
            bars,
            ends: show != Show::Nowhere,
        });
        let painter = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(String::from("progress")).spawn(move || shared.paint_until_ended())?
        };
        Ok(Self { shared, painter: Some(painter) })
    }

    /// Ends: draws the last state and lets signals act again.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(painter) = self.painter.take() else { return };
        // An eventfd that is ours takes a small number; a painter that panicked has nothing more to draw.
        let told = rustix::io::write(&self.shared.ended, &1_u64.to_ne_bytes());
        if told.is_ok() && painter.join().is_ok() && self.shared.bars {
            self.shared.state().draw();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

impl Watch for Progress {
    fn phase(&self, item: &Digest, phase: &str) {
        let mut state = self.shared.state();
        if self.shared.bars {
            state.screen.phase(item, phase);
        } else if state.screen.is_news(item, phase) {
            state.line(&format!("{}: {phase}", item.short()));
        }
    }

    fn progress(&self, item: &Digest, done_bytes: u64, total_bytes: u64) {
        if self.shared.bars {
            self.shared.state().screen.progress(item, done_bytes, total_bytes);
        }
    }

    fn say(&self, line: &str) {
        let mut state = self.shared.state();
        if self.shared.bars {
            state.screen.say(line);
        } else {
            state.line(line);
        }
    }

    fn cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn paint_until_ended(&self) {
        let frame = Timespec::try_from(FRAME).expect("a frame is short");
        let mut asked_to_stop: Option<Instant> = None;
        loop {
            let ticks = self.bars || asked_to_stop.is_some();
            let mut fds = [
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::new(&self.ended, PollFlags::IN),
            ];
            match poll(&mut fds, ticks.then_some(&frame)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            if fds[1].revents().contains(PollFlags::IN) {
                return;
            }
            while let Ok(Some(signal)) = self.signals.next() {
                if signal == Signal::HUP || asked_to_stop.is_some() {
                    self.end_program();
                }
                asked_to_stop = Some(Instant::now());
                self.cancelled.store(true, Ordering::Relaxed);
            }
            if self.ends && asked_to_stop.is_some_and(|asked| asked.elapsed() >= GRACE) {
                self.end_program();
            }
            let mut state = self.state();
            if self.bars && state.started.elapsed() >= QUIET {
                state.draw();
            }
        }
    }

    /// Ends the program at once, as a second Ctrl-C asks.
    fn end_program(&self) -> ! {
        std::process::exit(i32::from(Exit::INTERRUPTED.code()))
    }
}

impl State {
    /// Brings the terminal up to date.
    fn draw(&mut self) {
        let Some(out) = &mut self.out else { return };
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).or_else(|_| {
            // Drawing on stderr while stdout is a pipe.
            rustix::termios::tcgetwinsize(std::io::stderr())
        });
        let (columns, rows) = size.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let text = self.screen.paint(columns.max(20), rows.max(2));
        if !text.is_empty() && out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Whoever watched went away; the operation goes on.
            self.out = None;
        }
    }

    fn line(&mut self, line: &str) {
        let Some(out) = &mut self.out else { return };
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            self.out = None;
        }
    }
}
