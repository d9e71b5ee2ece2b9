//! A container's output in Docker's json-file format: reading it.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use serde::Deserialize;

use crate::shim::log::{LOG, compressed, numbered};
use crate::shim::record;
use crate::{Error, State, Stream};

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
    /// What the log driver was asked to say besides: names and values.
    pub details: Vec<(String, String)>,
}

/// Files that were put aside, at most so many: `--log-opt max-file` takes any number, but nobody keeps more.
const FILES_MAX: u32 = 1000;

impl Logs {
    /// The logs in a container's directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Calls `each` for every entry that passes `filter`, oldest first, until there are no more or `each` says false.
    /// Following ends when the container has ended and all was read, or `stop` becomes readable.
    pub fn read(
        &self,
        filter: &Filter,
        stop: Option<BorrowedFd<'_>>,
        each: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<(), Error> {
        // Watching begins before reading, so that nothing falls in between.
        let watch = if filter.follow { Some(self.watch()?) } else { None };
        let mut current = self.open_current()?;
        if !self.history(filter, current.as_mut(), each)? {
            return Ok(());
        }
        let Some(watch) = watch else { return Ok(()) };
        loop {
            // Looked at before reading: what is written until the end is then certainly read.
            let alive = self.is_alive()?;
            if !self.news(&mut current, filter, each)? || !alive || !wait(&watch, stop)? {
                return Ok(());
            }
        }
    }

    /// Everything that is there: the files put aside, oldest first, then the current one.
    fn history(
        &self,
        filter: &Filter,
        current: Option<&mut Lines>,
        each: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<bool, Error> {
        let path = self.dir.join(LOG);
        let mut files = Vec::new();
        for path in (1..FILES_MAX).map(|number| numbered(&path, number)) {
            match Lines::open(&path)?
                .map_or_else(|| Lines::open_compressed(&compressed(&path)), |lines| Ok(Some(lines)))?
            {
                Some(lines) => files.push(lines),
                None => break,
            }
        }
        files.reverse();
        let mut tail = filter.tail.map(|count| Tail { count, entries: VecDeque::new(), open: [false; 2] });
        for lines in files.iter_mut().chain(current) {
            while let Some(entry) = lines.next()? {
                if filter.is_late(&entry) {
                    continue;
                }
                match &mut tail {
                    Some(tail) => tail.push(entry),
                    None if filter.takes(&entry) && !each(entry) => return Ok(false),
                    None => {}
                }
            }
        }
        let rest = tail.map(|tail| tail.entries).unwrap_or_default();
        Ok(rest.into_iter().filter(|(entry, _)| filter.takes(entry)).all(|(entry, _)| each(entry)))
    }

    /// What was written since: to the end of the file that is open, and to the one that took its place meanwhile.
    fn news(
        &self,
        current: &mut Option<Lines>,
        filter: &Filter,
        each: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<bool, Error> {
        loop {
            if let Some(lines) = current {
                while let Some(entry) = lines.next()? {
                    if filter.is_late(&entry) {
                        return Ok(false);
                    }
                    if filter.takes(&entry) && !each(entry) {
                        return Ok(false);
                    }
                }
            }
            let newest = self.open_current()?;
            let same = match (&*current, &newest) {
                (Some(a), Some(b)) => a.inode == b.inode,
                (None, None) => true,
                _ => false,
            };
            if same {
                return Ok(true);
            }
            *current = newest;
        }
    }

    fn open_current(&self) -> Result<Option<Lines>, Error> {
        Lines::open(&self.dir.join(LOG))
    }

    /// Whether more may come: the shim says so, and its process is there.
    fn is_alive(&self) -> Result<bool, Error> {
        let state = record::state(&self.dir)?;
        let lives = |state: &State| record::started_ticks(state.shim_pid) == Some(state.shim_started_ticks);
        Ok(state.is_some_and(|state| state.status.is_up() && lives(&state)))
    }

    /// Watches the log and the state: both are files of one directory.
    fn watch(&self) -> Result<OwnedFd, Error> {
        let failed = |errno: Errno| Error::path("watch", self.dir.display().to_string())(errno);
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(failed)?;
        let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE_SELF;
        inotify::add_watch(&watch, &self.dir, events).map_err(failed)?;
        Ok(watch)
    }
}

/// Waits until something changed; no if the caller wants to stop.
fn wait(watch: &OwnedFd, stop: Option<BorrowedFd<'_>>) -> Result<bool, Error> {
    /// A shim that is killed writes nothing more: it is looked for now and then.
    const LOOK: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
    let mut fds = vec![PollFd::new(watch, PollFlags::IN)];
    fds.extend(stop.map(|stop| PollFd::from_borrowed_fd(stop, PollFlags::IN)));
    match poll(&mut fds, Some(&LOOK)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(Error::step("wait for output")(errno)),
    }
    if fds.get(1).is_some_and(|stop| !stop.revents().is_empty()) {
        return Ok(false);
    }
    let mut events = [0_u8; 4096];
    while rustix::io::read(watch, &mut events).is_ok_and(|read| read > 0) {}
    Ok(true)
}

impl Filter {
    /// Whether an entry is new enough. Those after `until` are sorted out by [`Self::is_late`].
    fn takes(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.time >= since)
    }

    fn is_late(&self, entry: &Entry) -> bool {
        self.until.is_some_and(|until| entry.time > until)
    }
}

/// The last lines so far. A line that was written in parts counts once.
struct Tail {
    count: u64,
    /// Entries, and whether each begins a line.
    entries: VecDeque<(Entry, bool)>,
    /// Whether the last entry of each stream left its line open.
    open: [bool; 2],
}

impl Tail {
    fn push(&mut self, entry: Entry) {
        let stream = usize::from(entry.stream == Stream::Stderr);
        let begins = !self.open[stream];
        self.open[stream] = !entry.bytes.ends_with(b"\n");
        self.entries.push_back((entry, begins));
        while self.entries.iter().filter(|(_, begins)| *begins).count() as u64 > self.count {
            self.entries.pop_front();
            while self.entries.front().is_some_and(|(_, begins)| !begins) {
                self.entries.pop_front();
            }
        }
    }
}

/// The entries of one file.
struct Lines {
    path: String,
    inode: u64,
    reader: Box<dyn BufRead>,
    /// What was read of a line that is not written to its end.
    open: Vec<u8>,
}

/// An entry as it is in the file.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    time: Timestamp,
}

impl Lines {
    fn open(path: &Path) -> Result<Option<Self>, Error> {
        Self::open_with(path, |file| Box::new(BufReader::with_capacity(64 << 10, file)))
    }

    fn open_compressed(path: &Path) -> Result<Option<Self>, Error> {
        Self::open_with(path, |file| Box::new(BufReader::new(MultiGzDecoder::new(file))))
    }

    fn open_with(path: &Path, reader: impl FnOnce(File) -> Box<dyn BufRead>) -> Result<Option<Self>, Error> {
        let shown = path.display().to_string();
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::path("read", shown)(error)),
        };
        let inode = file.metadata().map_err(Error::path("look at", shown.clone()))?.ino();
        Ok(Some(Self { path: shown, inode, reader: reader(file), open: Vec::new() }))
    }

    /// The next entry; none at the end, for now. Lines that are not entries (a crash tore them) are passed over.
    fn next(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            let read = self.reader.read_until(b'\n', &mut self.open).map_err(Error::path("read", &self.path))?;
            if read == 0 || !self.open.ends_with(b"\n") {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.open);
            let Ok(Record { log, stream, attrs, time }) = serde_json::from_slice(&line) else { continue };
            let stream = if stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
            let details = attrs.into_iter().collect();
            return Ok(Some(Entry { stream, time, bytes: log.into_owned().into_bytes(), details }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &Path, filter: &Filter) -> String {
        let mut text = String::new();
        let mut each = |entry: Entry| {
            text.push_str(&String::from_utf8_lossy(&entry.bytes));
            true
        };
        Logs::in_dir(dir).read(filter, None, &mut each).unwrap();
        text
    }

    fn line(log: &str, second: u32) -> String {
        format!("{{\"log\":\"{log}\",\"stream\":\"stdout\",\"time\":\"2024-05-01T10:00:{second:02}.5Z\"}}\n")
    }

    #[test]
    fn entries_are_chosen_by_number_and_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log.json.1"), line("one\\n", 1) + &line("tw", 2)).unwrap();
        let torn = "{\"log\":\"to";
        std::fs::write(dir.path().join("log.json"), line("o\\n", 3) + "torn\n" + &line("three\\n", 4) + torn).unwrap();
        let at = |second: u32| Some(format!("2024-05-01T10:00:{second:02}Z").parse().unwrap());
        let check = |filter: Filter, expected: &str| assert_eq!(read(dir.path(), &filter), expected, "{filter:?}");
        check(Filter::default(), "one\ntwo\nthree\n");
        check(Filter { tail: Some(2), ..Filter::default() }, "two\nthree\n");
        check(Filter { tail: Some(0), ..Filter::default() }, "");
        check(Filter { since: at(3), ..Filter::default() }, "o\nthree\n");
        check(Filter { until: at(2), ..Filter::default() }, "one\n");
        check(Filter { follow: true, ..Filter::default() }, "one\ntwo\nthree\n");
    }

    #[test]
    fn a_container_that_never_wrote_has_no_output() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), &Filter { follow: true, ..Filter::default() }), "");
    }
}
