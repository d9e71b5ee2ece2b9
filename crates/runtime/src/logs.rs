//! A container's output in Docker's json-file format: reading it.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::{Error, Stream};

/// The log files of one container.
#[derive(Clone, Debug)]
pub struct Logs {
    dir: PathBuf,
}

/// Which part of the output.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only so many lines at the end.
    pub tail: Option<u64>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Not newer than this.
    pub until: Option<Timestamp>,
    /// Wait for more, until the container ends.
    pub follow: bool,
}

/// One piece of output: a line with its newline, or a part of a long or unfinished one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it was written to.
    pub stream: Stream,
    /// When.
    pub time: Timestamp,
    /// What, as written.
    pub bytes: Vec<u8>,
}

impl Logs {
    /// The logs in a container's directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Calls `each` for every entry that passes `filter`, oldest first, until there are no more or `each` says false.
    /// Following ends when the container has ended and all was read, or `stop` becomes readable.
    pub fn read(
        &self,
        _filter: &Filter,
        _stop: Option<BorrowedFd<'_>>,
        _each: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<(), Error> {
        Err(Error::NotRunning(self.dir.display().to_string()))
    }
}
