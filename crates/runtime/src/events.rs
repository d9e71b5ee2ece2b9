//! What happened: one line of JSON for each event, in Docker's shape, in a file that everybody appends to.
//!
//! ```text
//! <run dir>/events.jsonl       the newest; each event is one write(2) with O_APPEND, so that writers need no lock
//! <run dir>/events.jsonl.1     those before, when the first file was full
//! ```
//!
//! It is about this boot, as the run directory is; nothing waits for the disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock, inotify};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The file in the run directory.
const EVENTS: &str = "events.jsonl";
/// Where the older ones are.
const OLDER: &str = "events.jsonl.1";
/// A file with so many bytes is put aside: some thousands of events.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
}

impl Kind {
    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To what kind of thing.
    pub kind: Kind,
    /// What: `start`, `die`, `exec_create: sh`, ….
    pub action: String,
    /// To which.
    pub id: String,
    /// More about it.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// An event as it is in the file, in Docker's names and order.
#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    status: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    from: String,
    #[serde(rename = "Type")]
    kind: Kind,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    scope: String,
    time: i64,
    #[serde(rename = "timeNano")]
    time_ns: i64,
}

#[derive(Serialize, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

impl Event {
    /// The event in Docker's JSON.
    pub fn json(&self) -> String {
        let old_style = matches!(self.kind, Kind::Container | Kind::Image);
        let text = |text: &str| if old_style { text.to_owned() } else { String::new() };
        let from = self.attributes.get("image").filter(|_| self.kind == Kind::Container);
        let record = Record {
            status: text(&self.action),
            id: text(&self.id),
            from: from.cloned().unwrap_or_default(),
            kind: self.kind,
            action: self.action.clone(),
            actor: Actor { id: self.id.clone(), attributes: self.attributes.clone() },
            scope: "local".to_owned(),
            time: self.time.as_second(),
            time_ns: i64::try_from(self.time.as_nanosecond()).unwrap_or(i64::MAX),
        };
        serde_json::to_string(&record).expect("texts and numbers always print")
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let record: Record = serde_json::from_slice(line).ok()?;
        let time = Timestamp::from_nanosecond(record.time_ns.into()).ok()?;
        let Actor { id, attributes } = record.actor;
        Some(Self { kind: record.kind, action: record.action, id, attributes, time })
    }
}

/// Notes an event. That it could not be noted stops nobody.
pub fn record(run_dir: &Path, event: &Event) {
    record_all(run_dir, std::slice::from_ref(event));
}

/// Notes events that happened together.
pub fn record_all(run_dir: &Path, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    let lines: String = events.iter().map(|event| event.json() + "\n").collect();
    if let Err(error) = append(run_dir, lines.as_bytes()) {
        tracing::debug!(%error, "events are not noted");
    }
}

fn append(run_dir: &Path, line: &[u8]) -> std::io::Result<()> {
    let path = run_dir.join(EVENTS);
    let open = || OpenOptions::new().append(true).create(true).open(&path);
    let mut file = match open() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(run_dir)?;
            open()?
        }
        other => other?,
    };
    file.write_all(line)?;
    if file.metadata()?.len() > FILE_BYTES_MAX {
        put_aside(&file, &path, &run_dir.join(OLDER))?;
    }
    Ok(())
}

/// Only one of several that found the file full puts it aside.
fn put_aside(file: &File, path: &Path, older: &Path) -> std::io::Result<()> {
    if flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    if std::fs::metadata(path)?.ino() == file.metadata()?.ino() {
        std::fs::rename(path, older)?;
    }
    Ok(())
}

/// Which events to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Not those before; only those to come, if there is none.
    pub since: Option<Timestamp>,
    /// Not those after; without it, wait for more.
    pub until: Option<Timestamp>,
}

/// Hands out events in their order until `each` says no, the span is over or `stop` becomes readable.
///
/// # Errors
/// When the file cannot be read or watched.
pub fn read(
    run_dir: &Path,
    span: Span,
    stop: Option<BorrowedFd<'_>>,
    each: &mut dyn FnMut(Event) -> bool,
) -> Result<(), Error> {
    let is_over = |now: Timestamp| span.until.is_some_and(|until| now >= until);
    // Watched before reading, so that nothing is missed between.
    let watch = watch(run_dir)?;
    let mut take = |event: Event| {
        let late = span.until.is_some_and(|until| event.time > until);
        let early = span.since.is_some_and(|since| event.time < since);
        !late && (early || each(event))
    };
    let mut reader = Reader { path: run_dir.join(EVENTS), open: None };
    if span.since.is_none() {
        reader.skip_to_end()?;
    } else if let Some(mut older) = Lines::open(&run_dir.join(OLDER))?
        && !older.each(&mut take)?
    {
        return Ok(());
    }
    loop {
        let now = Timestamp::now();
        if !reader.news(&mut take)? || is_over(now) {
            return Ok(());
        }
        let left = span.until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or_default());
        if !wait(&watch, left, stop)? {
            return Ok(());
        }
    }
}

/// Follows the file over its being put aside.
struct Reader {
    path: PathBuf,
    open: Option<Lines>,
}

impl Reader {
    fn skip_to_end(&mut self) -> Result<(), Error> {
        self.open = Lines::open(&self.path)?;
        if let Some(lines) = &mut self.open {
            lines.each(&mut |_| true)?;
        }
        Ok(())
    }

    fn news(&mut self, take: &mut dyn FnMut(Event) -> bool) -> Result<bool, Error> {
        loop {
            if let Some(lines) = &mut self.open
                && !lines.each(take)?
            {
                return Ok(false);
            }
            let newest = Lines::open(&self.path)?;
            let same = match (&self.open, &newest) {
                (Some(ours), Some(newest)) => ours.inode == newest.inode,
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if same {
                return Ok(true);
            }
            self.open = newest;
        }
    }
}

struct Lines {
    path: String,
    inode: u64,
    reader: BufReader<File>,
    open: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> Result<Option<Self>, Error> {
        let shown = path.display().to_string();
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::path("read", shown)(error)),
        };
        let inode = file.metadata().map_err(Error::path("look at", shown.clone()))?.ino();
        Ok(Some(Self { path: shown, inode, reader: BufReader::new(file), open: Vec::new() }))
    }

    /// Hands out what is there; false if nobody wants more. What is no event is passed over.
    fn each(&mut self, take: &mut dyn FnMut(Event) -> bool) -> Result<bool, Error> {
        loop {
            let read = self.reader.read_until(b'\n', &mut self.open).map_err(Error::path("read", &self.path))?;
            if read == 0 || !self.open.ends_with(b"\n") {
                return Ok(true);
            }
            let event = Event::parse(&std::mem::take(&mut self.open));
            if event.is_some_and(|event| !take(event)) {
                return Ok(false);
            }
        }
    }
}

fn watch(run_dir: &Path) -> Result<OwnedFd, Error> {
    std::fs::create_dir_all(run_dir).map_err(Error::path("make", run_dir.display().to_string()))?;
    let failed = |errno: Errno| Error::path("watch", run_dir.display().to_string())(errno);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(failed)?;
    let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
    inotify::add_watch(&watch, run_dir, events).map_err(failed)?;
    Ok(watch)
}

/// Waits until the file has changed or time is up; no if the caller wants to stop.
fn wait(watch: &OwnedFd, left: Option<Duration>, stop: Option<BorrowedFd<'_>>) -> Result<bool, Error> {
    let left = left.map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
    let mut fds = vec![PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
    fds.extend(stop.map(|stop| PollFd::from_borrowed_fd(stop, PollFlags::IN)));
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(Error::step("wait for events")(errno)),
    }
    if fds.get(1).is_some_and(|stop| !stop.revents().is_empty()) {
        return Ok(false);
    }
    let mut told = [0_u8; 4096];
    while rustix::io::read(watch, &mut told).is_ok_and(|read| read > 0) {}
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str, second: i64) -> Event {
        let attributes = [("image", "box"), ("name", "web")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        Event {
            kind: Kind::Container,
            action: action.to_owned(),
            id: "abc".to_owned(),
            attributes: attributes.into(),
            time: Timestamp::new(second, 5).unwrap(),
        }
    }

    fn actions(dir: &Path, since: i64, until: i64) -> Vec<String> {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let mut actions = Vec::new();
        read(dir, Span { since: at(since), until: at(until) }, None, &mut |event| {
            actions.push(event.action);
            true
        })
        .unwrap();
        actions
    }

    #[test]
    fn an_event_is_dockers_json() {
        let json = event("start", 1).json();
        let expected = "{\"status\":\"start\",\"id\":\"abc\",\"from\":\"box\",\"Type\":\"container\",\"Action\":\"start\",\
                        \"Actor\":{\"ID\":\"abc\",\"Attributes\":{\"image\":\"box\",\"name\":\"web\"}},\"scope\":\"local\",\
                        \"time\":1,\"timeNano\":1000000005}";
        assert_eq!(json, expected);
        assert_eq!(Event::parse(json.as_bytes()), Some(event("start", 1)));
    }

    #[test]
    fn events_are_chosen_by_time_and_survive_being_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        for second in 1..=4 {
            record(dir.path(), &event(&format!("act{second}"), second));
        }
        std::fs::rename(dir.path().join(EVENTS), dir.path().join(OLDER)).unwrap();
        std::fs::write(dir.path().join(EVENTS), "torn\n").unwrap();
        record(dir.path(), &event("act5", 5));
        assert_eq!(actions(dir.path(), 2, 6), ["act2", "act3", "act4", "act5"]);
        assert_eq!(actions(dir.path(), 0, 3), ["act1", "act2"]);
        assert_eq!(actions(&dir.path().join("nothing"), 0, 3), [""; 0]);
    }

    #[test]
    fn the_files_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut big = event("big", 1);
        big.attributes.insert("label".to_owned(), "x".repeat(1 << 20));
        for _ in 0..20 {
            record(dir.path(), &big);
        }
        let sizes: Vec<u64> =
            [EVENTS, OLDER].map(|name| std::fs::metadata(dir.path().join(name)).map_or(0, |found| found.len())).into();
        assert!(sizes.iter().all(|size| *size < FILE_BYTES_MAX + (2 << 20)), "{sizes:?}");
        assert!(sizes[1] > FILE_BYTES_MAX);
    }

    #[test]
    fn whoever_waits_hears_what_comes() {
        let dir = tempfile::tempdir().unwrap();
        record(dir.path(), &event("before", 1));
        let mut heard = Vec::new();
        std::thread::scope(|scope| {
            let (ready, start) = std::sync::mpsc::channel();
            let path = dir.path();
            scope.spawn(move || {
                start.recv().unwrap();
                // Until the reader has heard one, it may not be there yet.
                for number in 0..50_000 {
                    record(path, &event(&format!("after{number}"), 2));
                    if path.join("done").exists() {
                        return;
                    }
                }
            });
            ready.send(()).unwrap();
            read(dir.path(), Span::default(), None, &mut |event| {
                heard.push(event.action);
                false
            })
            .unwrap();
            std::fs::write(dir.path().join("done"), "").unwrap();
        });
        assert!(heard.len() == 1 && heard[0].starts_with("after"), "{heard:?}");
    }
}
