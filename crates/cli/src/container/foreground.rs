//! A command in front of a container's process: its terminal, its signals, its exit code.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use strata_engine::Error as EngineError;
use strata_runtime::spec::TerminalSize;
use strata_runtime::{Attach, Foreground, Outcome, Session as Attached};
use strata_sys::pty::RawMode;

use crate::exit::{Exit, Failure, Result};
use crate::opts::detach_keys;
use crate::session::Session;

/// Which streams a command is connected by, and how it behaves.
#[derive(Clone, Debug)]
pub struct Front {
    /// Its input goes to the process.
    pub stdin: bool,
    /// The process's output comes here.
    pub stdout: bool,
    /// The process's errors come here.
    pub stderr: bool,
    /// The process has a terminal.
    pub tty: bool,
    /// Signals go to the process.
    pub proxy_signals: bool,
    /// What leaves it.
    pub detach_keys: Vec<u8>,
}

impl Front {
    /// Reads `--detach-keys`.
    pub fn keys(text: Option<&str>) -> Result<Vec<u8>> {
        let text = text.unwrap_or_default();
        detach_keys::parse(text).map_err(|invalid| {
            let hint = format!("{invalid}; keys are characters and `ctrl-a` and the like, with commas between them");
            Failure::new(format!("Invalid escape keys ({text}) provided")).hint(hint)
        })
    }

    /// Refuses a terminal for the process where the command's input is none.
    pub fn check(&self, session: &Session) -> Result<()> {
        if self.stdin && self.tty && !session.terminal().stdin {
            return Err(Failure::new("the input device is not a TTY").exit(Exit::FAILURE));
        }
        Ok(())
    }

    /// What to attach. Everything said so far is written first. From now on the person's terminal passes on every key, as
    /// long as they stay: a key typed while it did not would be shown twice, or end the input.
    pub fn attach<'fd>(&self, session: &mut Session, streams: &'fd Streams) -> Result<Attach<'fd>> {
        session.out.flush()?;
        session.err.flush()?;
        if self.takes_terminal(session) && streams.raw.borrow().is_none() {
            let raw = RawMode::set(streams.stdin.as_fd()).map_err(io::Error::from)?;
            streams.raw.replace(Some(raw));
        }
        Ok(Attach {
            stdin: self.stdin.then(|| streams.stdin.as_fd()),
            stdout: self.stdout.then(|| streams.stdout.as_fd()),
            stderr: (self.stderr && !self.tty).then(|| streams.stderr.as_fd()),
            detach_keys: if self.stdin && self.tty { self.detach_keys.clone() } else { Vec::new() },
            size: if self.tty { size(session) } else { None },
        })
    }

    /// Whether the person's terminal becomes the process's.
    fn takes_terminal(&self, session: &Session) -> bool {
        self.tty && self.stdin && session.terminal().stdin
    }

    /// Stays until the process ends or the person leaves; gives the exit code, or nothing if the person left.
    pub fn stay(&self, session: &mut Session, attached: Attached, streams: &Streams) -> Result<Option<Exit>> {
        let takes_terminal = self.takes_terminal(session);
        let terminal: Option<BorrowedFd<'_>> = takes_terminal.then(|| streams.stdin.as_fd());
        let how = Foreground { proxy_signals: self.proxy_signals && !takes_terminal, terminal };
        let outcome = attached.foreground(&how);
        streams.raw.replace(None);
        match outcome? {
            Outcome::Exited(code) => Ok(Some(Exit::with(u8::try_from(code & 0xff).unwrap_or(u8::MAX)))),
            Outcome::Detached => {
                writeln!(session.err, "read escape sequence")?;
                Ok(None)
            }
            Outcome::OutputClosed => Err(Failure::told(Exit::BROKEN_PIPE)),
            Outcome::Lost => Err(Failure::new("the container's shim is gone, nobody knows how its process ended")),
        }
    }
}

/// The streams of this process.
#[derive(Debug)]
pub struct Streams {
    /// While it is there, every key goes to the container.
    raw: RefCell<Option<RawMode>>,
    stdin: io::Stdin,
    stdout: io::Stdout,
    stderr: io::Stderr,
}

impl Streams {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self { raw: RefCell::default(), stdin: io::stdin(), stdout: io::stdout(), stderr: io::stderr() }
    }

    /// How a line ends that is written before the person has their terminal back.
    pub fn line_end(&self) -> &'static str {
        if self.raw.borrow().is_some() { "\r\n" } else { "\n" }
    }
}

/// The terminal's size, if there is one.
pub fn size(session: &Session) -> Option<TerminalSize> {
    session.terminal_size().map(|(columns, rows)| TerminalSize { rows, columns })
}

/// A failure to start something, with the exit code that tells why: 127 for no program, 126 for one that cannot be
/// executed.
pub fn start_failure(error: EngineError) -> Failure {
    let code = match &error {
        EngineError::Runtime(cause) => cause.exit_code(),
        _ => Exit::ENGINE.code(),
    };
    Failure::from(error).exit(Exit::with(code))
}
