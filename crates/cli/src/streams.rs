//! Where archives come from and go to: files, pipes, and never a terminal.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::exit::{Exit, Failure, Result};
use crate::session::Session;

/// Opens a file, or the standard input if none is named.
pub fn input(path: Option<&str>) -> Result<File> {
    match path {
        Some(path) => File::open(path).map_err(|error| Failure::new(format!("open {path}: {error}"))),
        None => Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?)),
    }
}

/// Opens what a tar comes from: a file, or `-` for the standard input.
pub fn source(word: &str) -> Result<File> {
    input(Some(word).filter(|word| *word != "-"))
}

/// Where an archive is written. A named file appears only when it is complete.
#[derive(Debug)]
pub struct Output {
    file: File,
    named: Option<(PathBuf, PathBuf)>,
}

impl Output {
    /// Opens a file, or the standard output if none is named; refuses a terminal.
    pub fn open(session: &mut Session, path: Option<&str>) -> Result<Self> {
        let Some(path) = path.map(Path::new) else {
            if session.terminal().stdout {
                return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
            }
            session.out.flush()?;
            return Ok(Self { file: File::from(io::stdout().as_fd().try_clone_to_owned()?), named: None });
        };
        let wrong = |problem: String| Failure::new(format!("invalid output path: {problem}"));
        if path.is_dir() {
            return Err(wrong(format!("\"{}\" must be a file, not a directory", path.display())));
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !dir.is_dir() {
            return Err(wrong(format!("directory \"{}\" does not exist", dir.display())));
        }
        // A device or a pipe is written to as it is.
        if path.exists() && !path.is_file() {
            let file = File::options().write(true).open(path)?;
            return Ok(Self { file, named: None });
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let partial = dir.join(format!(".{name}.{}", std::process::id()));
        let file = File::create(&partial)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self { file, named: Some((partial, path.to_owned())) })
    }

    /// What is written to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the complete file its name.
    pub fn keep(self) -> Result<()> {
        if let Some((partial, path)) = &self.named {
            std::fs::rename(partial, path)?;
        }
        Ok(())
    }

    /// Removes what was written so far, because of a failure. A reader who went away is no failure to speak of.
    pub fn fail(self, failure: impl Into<Failure>) -> Failure {
        let mut events = [PollFd::new(&self.file, PollFlags::empty())];
        let asked = poll(&mut events, Some(&Timespec::default()));
        let is_closed = asked.is_ok() && events[0].revents().contains(PollFlags::ERR);
        self.discard();
        if is_closed { Failure::told(Exit::BROKEN_PIPE) } else { failure.into() }
    }

    fn discard(self) {
        if let Some((partial, _)) = &self.named
            && let Err(error) = std::fs::remove_file(partial)
        {
            tracing::warn!(%error, "cannot remove {}", partial.display());
        }
    }
}
