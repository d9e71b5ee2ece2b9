//! Digests of files of a context, so that those that did not change need not be read again.
//!
//! ```text
//! ROOT/build/stamps/<device>-<inode of the context>
//!   "strata stamps 1\n"
//!   80 bytes each, little-endian: device 8, inode 8, size 8, changed 8 + 4, status changed 8 + 4, SHA-256 32
//!   SHA-256 of all before, 32
//! ```
//!
//! A file is taken for the same if its device, inode, size, time of change and time of status change are: nobody but a
//! changed clock can set the last one back. What was touched less than two seconds before it was read is not remembered: it may
//! be touched again within the same tick of the clock. A file that cannot be read is no stamps at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;
use strata_sys::durable::{self, Durability};
use strata_types::{Algorithm, Digest};

/// What the file begins with.
const MAGIC: &[u8] = b"strata stamps 1\n";
/// The length of one record.
const RECORD_BYTES: usize = 80;
/// The length of a digest.
const DIGEST_BYTES: usize = 32;
/// More files than this are not remembered: 80 MB.
const STAMPS_MAX: usize = 1_000_000;
/// How long nobody may have touched a file when it is read, in seconds.
const SETTLED_SECONDS: i64 = 2;

/// What tells that a file is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    place: (u64, u64),
    size_bytes: u64,
    changed: (i64, u32),
    status_changed: (i64, u32),
}

/// The digests that are known of a context.
#[derive(Debug)]
pub(crate) struct Stamps {
    path: PathBuf,
    state: Mutex<State>,
}

/// By device and inode.
type Known = HashMap<(u64, u64), (Stamp, [u8; DIGEST_BYTES])>;

#[derive(Debug, Default)]
struct State {
    known: Known,
    is_changed: bool,
}

impl Stamp {
    /// Of a file.
    pub(crate) fn of(stat: &Stat) -> Self {
        let nanoseconds = |part| u32::try_from(part).unwrap_or(0);
        Self {
            place: (stat.st_dev, stat.st_ino),
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            changed: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            status_changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
        }
    }
}

impl Stamps {
    /// Reads what is known of a context below a directory of the store.
    pub(crate) fn load(home: &Path, context: &Stat) -> Self {
        let path = home.join(format!("{}-{}", context.st_dev, context.st_ino));
        let known = match std::fs::read(&path) {
            Ok(bytes) => parse(&bytes).unwrap_or_else(|| {
                tracing::debug!(path = %path.display(), "what was known of the files of a context is no use");
                HashMap::new()
            }),
            Err(_) => HashMap::new(),
        };
        Self { path, state: Mutex::new(State { known, is_changed: false }) }
    }

    /// The digest of a file, if it is the same as it was.
    pub(crate) fn digest(&self, stamp: &Stamp) -> Option<Digest> {
        let state = self.state();
        let (known, digest) = state.known.get(&stamp.place)?;
        (known == stamp).then(|| digest_of(digest)).flatten()
    }

    /// Remembers the digest of a file that was looked at before it was read, at this time.
    pub(crate) fn remember(&self, stamp: Stamp, digest: &Digest, now_seconds: i64) {
        let Some(bytes) = bytes_of(digest) else { return };
        if stamp.status_changed.0.max(stamp.changed.0) + SETTLED_SECONDS > now_seconds {
            return;
        }
        let mut state = self.state();
        if state.known.len() < STAMPS_MAX || state.known.contains_key(&stamp.place) {
            state.known.insert(stamp.place, (stamp, bytes));
            state.is_changed = true;
        }
    }

    /// Writes down what is new. That it cannot be written costs time, nothing else.
    pub(crate) fn save(&self) {
        let mut state = self.state();
        if !std::mem::take(&mut state.is_changed) {
            return;
        }
        let mut bytes = Vec::with_capacity(MAGIC.len() + state.known.len() * RECORD_BYTES + DIGEST_BYTES);
        bytes.extend_from_slice(MAGIC);
        state.known.values().for_each(|(stamp, digest)| write(&mut bytes, stamp, digest));
        if let Some(digest) = bytes_of(&Digest::sha256(&bytes)) {
            bytes.extend_from_slice(&digest);
        }
        let home = self.path.parent().unwrap_or(Path::new("/"));
        let written = durable::create_dirs(home, 0o700)
            .and_then(|()| durable::write_file(&self.path, &bytes, 0o600, Durability::Ephemeral));
        if let Err(error) = written {
            tracing::info!(%error, "what is known of the files of a context is not kept");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(bytes: &mut Vec<u8>, stamp: &Stamp, digest: &[u8; DIGEST_BYTES]) {
    for number in [stamp.place.0, stamp.place.1, stamp.size_bytes] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for (seconds, nanoseconds) in [stamp.changed, stamp.status_changed] {
        bytes.extend_from_slice(&seconds.to_le_bytes());
        bytes.extend_from_slice(&nanoseconds.to_le_bytes());
    }
    bytes.extend_from_slice(digest);
}

fn parse(bytes: &[u8]) -> Option<Known> {
    let (body, sum) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    if bytes_of(&Digest::sha256(body)).as_ref() != Some(sum) {
        return None;
    }
    let (records, []) = body.strip_prefix(MAGIC)?.as_chunks::<RECORD_BYTES>() else { return None };
    records.iter().map(|record| read(record).map(|(stamp, digest)| (stamp.place, (stamp, digest)))).collect()
}

fn read(record: &[u8; RECORD_BYTES]) -> Option<(Stamp, [u8; DIGEST_BYTES])> {
    let number = |at: usize| Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let time = |at: usize| {
        let seconds = i64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?);
        Some((seconds, u32::from_le_bytes(record.get(at + 8..at + 12)?.try_into().ok()?)))
    };
    let stamp = Stamp {
        place: (number(0)?, number(8)?),
        size_bytes: number(16)?,
        changed: time(24)?,
        status_changed: time(36)?,
    };
    Some((stamp, record.get(48..)?.try_into().ok()?))
}

fn bytes_of(digest: &Digest) -> Option<[u8; DIGEST_BYTES]> {
    let hex = digest.hex();
    let mut bytes = [0; DIGEST_BYTES];
    if digest.algorithm() != Algorithm::Sha256 {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn digest_of(bytes: &[u8; DIGEST_BYTES]) -> Option<Digest> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 15)]);
    let mut text = String::from("sha256:");
    bytes.iter().for_each(|byte| text.extend([digit(byte >> 4), digit(*byte)]));
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(path: &Path) -> Stat {
        rustix::fs::stat(path).unwrap()
    }

    #[test]
    fn a_file_that_did_not_change_is_known_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (home, file) = (dir.path().join("stamps"), dir.path().join("f"));
        std::fs::write(&file, "one").unwrap();
        let (context, stamp, digest) = (stat(dir.path()), Stamp::of(&stat(&file)), Digest::sha256(b"one"));
        let stamps = Stamps::load(&home, &context);
        stamps.remember(stamp, &digest, stamp.status_changed.0 + 1);
        assert_eq!(stamps.digest(&stamp), None, "it was touched just now");
        stamps.remember(stamp, &digest, stamp.status_changed.0 + SETTLED_SECONDS);
        stamps.save();

        let again = Stamps::load(&home, &context);
        assert_eq!(again.digest(&stamp), Some(digest));
        // The same size and time of change, written anew: the time of its status tells.
        std::fs::write(&file, "two").unwrap();
        let times = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 },
            last_modification: rustix::fs::Timespec { tv_sec: stamp.changed.0, tv_nsec: stamp.changed.1.into() },
        };
        rustix::fs::utimensat(rustix::fs::CWD, &file, &times, rustix::fs::AtFlags::empty()).unwrap();
        let other = Stamp::of(&stat(&file));
        assert_eq!((other.changed, other.size_bytes), (stamp.changed, stamp.size_bytes));
        assert_eq!(again.digest(&other), None);
    }

    #[test]
    fn what_is_damaged_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let context = stat(dir.path());
        let stamp = Stamp::of(&context);
        let stamps = Stamps::load(dir.path(), &context);
        stamps.remember(stamp, &Digest::sha256(b""), i64::MAX);
        stamps.save();
        let whole = std::fs::read(&stamps.path).unwrap();
        assert_eq!(whole.len(), MAGIC.len() + RECORD_BYTES + DIGEST_BYTES);
        for damaged in [&whole[..whole.len() - 1], &[], &whole[1..], &[&whole[..40], &[0; 60], &whole[100..]].concat()]
        {
            std::fs::write(&stamps.path, damaged).unwrap();
            assert_eq!(Stamps::load(dir.path(), &context).digest(&stamp), None);
        }
    }
}
