//! The connection to the records: cheap to open, several processes at once.

mod connect;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use strata_sys::durable::{self, Durability, FileError};
use strata_sys::failpoint;
use strata_sys::lock::{Lock, Mode};
use strata_types::ErrorClass;

use crate::fleeting::Fleeting;
use crate::records::schema;
use crate::{Error, Result};
use connect::{BUSY_WAIT, Connected, connect};

/// After how many pages a commit first copies the log into the database, and begins it anew. The first process to open the
/// database reads the whole log, so it stays small; a durable commit, which syncs anyway, copies earlier than one that must
/// not wait.
const CHECKPOINT_PAGES_DURABLE: u64 = 32;
const CHECKPOINT_PAGES_EPHEMERAL: u64 = 48;
/// What a new connection is set to: SQLite is built so (`.cargo/config.toml`), because each PRAGMA is parsed anew.
const DURABILITY_OF_NEW: Durability = Durability::Ephemeral;
/// For how many pages a new log has room: more than it ever gets, unless others keep it from being copied. A commit that
/// writes where blocks are is one write and one flush; one that makes the file longer is a commit of the filesystem's journal
/// as well, and takes four times as long.
const LOG_PAGES: u64 = 96;
/// What stands at the beginning of the log, and before each page in it
/// (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
const LOG_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

/// The open database.
#[derive(Debug)]
pub(crate) struct Database {
    session: Mutex<Session>,
}

#[derive(Debug)]
struct Session {
    /// None between two acts of who works [alone](mod@connect), so that others have their turn.
    connected: Option<Connected>,
    path: PathBuf,
    /// What the connection is set to.
    durability: Durability,
    /// Where what was committed stands until it is copied into the database.
    log: PathBuf,
    /// It was looked whether this program understands the database.
    is_ready: bool,
    /// Containers that are not in it.
    fleeting: Fleeting,
}

impl Database {
    /// Opens the database in `root`, making it when missing and migrating it when old. If enough is known of it to do without,
    /// it is opened when something more has to be known.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let later = Session::new(None, root, false);
        let session = if later.fleeting.has_known() { later } else { open_now(root)? };
        Ok(Self { session: Mutex::new(session) })
    }

    /// Runs `body` on one consistent view of the records.
    pub(crate) fn read<T>(&self, act: &'static str, body: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.lock().act(act, |session| {
            let view = session.connection()?.unchecked_transaction()?;
            body(&view)
        })
    }

    /// Runs a `body` of a single statement, without the cost of a transaction around it.
    pub(crate) fn read_one<T>(&self, act: &'static str, body: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.lock().act(act, |session| body(session.connection()?))
    }

    /// [`Database::read`] while nobody writes, for who wants to keep what is found.
    pub(crate) fn read_still<T>(&self, act: &'static str, body: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.lock().act(act, |session| {
            // First this: who works alone has the whole database as long as its connection.
            let _still = session.fleeting.lock(Mode::Shared)?;
            let view = session.connection()?.unchecked_transaction()?;
            body(&view)
        })
    }

    /// Runs `body` as one transaction; nothing of it stays if it fails. A durable one makes all earlier ones durable.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        act: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.lock().act(act, |session| {
            let fleeting = session.fleeting.clone();
            let _alone = fleeting.lock(Mode::Exclusive)?;
            fleeting.forget_known()?;
            session.set(durability)?;
            session.shorten_log(durability);
            let transaction = session.connection()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let taken = fleeting.take_in(&transaction)?;
            let value = body(&transaction)?;
            failpoint!("store.database.before-commit");
            transaction.commit()?;
            failpoint!("store.database.after-commit");
            taken.finish();
            Ok(value)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        // A panic within a transaction rolled it back; the connection is as good as before.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn new(connected: Option<Connected>, root: &Path, is_ready: bool) -> Self {
        let (path, log) = (root.join("strata.db"), root.join("strata.db-wal"));
        let (durability, fleeting) = (DURABILITY_OF_NEW, Fleeting::of(root));
        let mut session = Self { connected, path, durability, log, is_ready, fleeting };
        session.let_others();
        session
    }

    /// Does something with the connection, and lets others have their turn.
    fn act<T>(&mut self, act: &'static str, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let done = body(self).map_err(|error| error.during(act));
        self.let_others();
        done
    }

    fn connection(&mut self) -> Result<&mut Connection> {
        if !self.is_ready {
            *self = open_now(self.path.parent().unwrap_or(&self.path))?;
        }
        let connected = match self.connected.take() {
            Some(connected) => connected,
            None => connect(&self.path)?,
        };
        Ok(&mut self.connected.insert(connected).connection)
    }

    fn let_others(&mut self) {
        if self.connected.as_ref().is_some_and(|connected| connected.is_alone) {
            (self.connected, self.durability) = (None, DURABILITY_OF_NEW);
        }
    }

    fn set(&mut self, durability: Durability) -> Result<()> {
        if self.durability != durability {
            let synchronous = match durability {
                Durability::Durable => "FULL",
                Durability::Ephemeral => "NORMAL",
            };
            self.connection()?.execute_batch(&format!("PRAGMA synchronous={synchronous};"))?;
            self.durability = durability;
        }
        Ok(())
    }

    /// Copies a long log into the database, so that the next commit begins it anew, unless others are at work. What SQLite
    /// does by itself copies it after a commit, which leaves beginning it anew to the next commit of the same connection:
    /// there is none where each command is a connection of its own, and every further one would read and copy a longer log.
    /// The file keeps its length.
    fn shorten_log(&mut self, durability: Durability) {
        let pages = match durability {
            Durability::Durable => CHECKPOINT_PAGES_DURABLE,
            Durability::Ephemeral => CHECKPOINT_PAGES_EPHEMERAL,
        };
        if !has_page(&self.log, pages).unwrap_or(false) {
            return;
        }
        let mut run = || -> Result<()> {
            let connection = self.connection()?;
            connection.busy_timeout(Duration::ZERO)?;
            connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
            Ok(connection.busy_timeout(BUSY_WAIT)?)
        };
        // The log is only longer than it should be: the next commit tries again.
        if let Err(error) = run() {
            tracing::debug!(%error, "the log of the records stays long");
        }
    }

    /// Gives an empty log its blocks: zeros, which SQLite takes for no log at all. Nobody else writes meanwhile.
    fn make_room(&mut self) -> Result<()> {
        let path = self.log.clone();
        let transaction = self.connection()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let log = File::options().write(true).open(&path).map_err(FileError::at("open", &path))?;
        let is_empty = log.metadata().map_err(FileError::at("look at", &path))?.len() == 0;
        if is_empty {
            // Where each write goes to another place, it would need room. The log has checksums of its own.
            let flags = rustix::fs::ioctl_getflags(&log).unwrap_or(rustix::fs::IFlags::empty());
            if let Err(error) = rustix::fs::ioctl_setflags(&log, flags | rustix::fs::IFlags::NOCOW) {
                tracing::trace!(%error, "the filesystem knows no other places");
            }
            let frame = FRAME_HEADER_BYTES + u64::from(schema::PAGE_BYTES);
            let bytes = usize::try_from(LOG_HEADER_BYTES + LOG_PAGES * frame).unwrap_or_default();
            let written = log.write_all_at(&vec![0; bytes], 0).and_then(|()| log.sync_all());
            written.map_err(FileError::at("write", &path))?;
        }
        Ok(transaction.commit()?)
    }
}

/// Whether a log has got as far as this page. SQLite has no locks on this file, so that closing it ends none.
fn has_page(log: &Path, page: u64) -> io::Result<bool> {
    let log = File::open(log)?;
    let frame_at = LOG_HEADER_BYTES + page * (FRAME_HEADER_BYTES + u64::from(schema::PAGE_BYTES));
    // What was begun anew has another salt than what is left of before.
    let (mut header, mut salt_of_frame) = ([0; 24], [0; 8]);
    log.read_exact_at(&mut header, 0)?;
    log.read_exact_at(&mut salt_of_frame, frame_at + 8)?;
    Ok(header[..4] != [0; 4] && header[16..] == salt_of_frame)
}

fn open_now(root: &Path) -> Result<Session> {
    open_ready(root).map_err(|error| error.during("open the store's database"))
}

fn open_ready(root: &Path) -> Result<Session> {
    let path = root.join("strata.db");
    match connect(&path) {
        Ok(connected) if version(&connected.connection)? == schema::VERSION => {
            Ok(Session::new(Some(connected), root, true))
        }
        Ok(_) => prepare(root, &path),
        // None there, most likely. Who looks whether it is asks too late: another process may just have made it.
        Err(error) if error.class() == ErrorClass::Denied => prepare(root, &path),
        Err(error) => Err(error),
    }
}

/// Makes or migrates the database, one process at a time.
fn prepare(root: &Path, path: &Path) -> Result<Session> {
    let lock_path = root.join("lock");
    let lock = Lock::wait(&lock_path, Mode::Exclusive).map_err(FileError::at("lock", &lock_path))?;
    create(path).map_err(FileError::at("create", path))?;
    let mut connected = connect(path)?;
    let connection = &mut connected.connection;
    let found = version(connection)?;
    if found > schema::VERSION {
        return Err(Error::Newer { root: root.to_owned(), found, known: schema::VERSION });
    }
    if found == 0 {
        refuse_if_lost(root)?;
        connection.execute_batch(&format!("PRAGMA page_size={};", schema::PAGE_BYTES))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    schema::migrate(&transaction, found)?;
    transaction.pragma_update(None, "user_version", schema::VERSION)?;
    transaction.commit()?;
    let mut session = Session::new(Some(connected), root, true);
    if found == 0 {
        session.connection()?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        session.make_room()?;
        session.let_others();
        durable::sync_dir(root)?;
    }
    drop(lock);
    Ok(session)
}

/// To a new database everything would be rubbish that is in the store.
fn refuse_if_lost(root: &Path) -> Result<()> {
    let has_files = |dir: &str| std::fs::read_dir(root.join(dir)).is_ok_and(|mut entries| entries.next().is_some());
    if ["containers", "blobs/sha256"].into_iter().any(has_files) {
        return Err(Error::RecordsLost { root: root.to_owned() });
    }
    Ok(())
}

/// Makes an empty file that only its owner reads, because containers' environments hold secrets; SQLite gives its log the
/// same mode. One that exists is not even opened: closing it would end the locks of this process's other connections.
fn create(path: &Path) -> io::Result<()> {
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn version(connection: &Connection) -> Result<i64> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(database: &Database) -> i64 {
        let query =
            |connection: &Connection| Ok(connection.query_row("SELECT count(*) FROM trash", [], |row| row.get(0))?);
        database.read_one("count", query).unwrap()
    }

    /// As each command does it: opened, one commit, closed.
    fn commit(root: &Path, durability: Durability, rows: i64) {
        let database = Database::open(root).unwrap();
        let before = count(&database);
        database
            .write(durability, "add", |transaction| {
                for at in before..before + rows {
                    transaction.execute("INSERT INTO trash VALUES ('blob', ?1, '')", [format!("{at:0500}")])?;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(count(&database), before + rows);
    }

    #[test]
    fn a_new_connection_is_set_as_we_think() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        let number = |name: &str| {
            let ask = |connection: &Connection| Ok(connection.pragma_query_value(None, name, |row| row.get(0))?);
            database.read_one::<i64>("ask", ask).unwrap()
        };
        // NORMAL, and nothing is copied by itself.
        assert_eq!((number("synchronous"), number("wal_autocheckpoint")), (1, 0));
    }

    #[test]
    fn the_log_is_begun_anew_and_keeps_its_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("strata.db-wal");
        drop(Database::open(dir.path()).unwrap());
        let length = std::fs::metadata(&log).unwrap().len();
        for at in 0..200 {
            let durability = if at % 3 == 0 { Durability::Durable } else { Durability::Ephemeral };
            commit(dir.path(), durability, 1 + at % 4);
            assert_eq!(std::fs::metadata(&log).unwrap().len(), length, "after commit {at}");
        }
        assert!(!has_page(&log, CHECKPOINT_PAGES_EPHEMERAL + 16).unwrap());
        assert_eq!(count(&Database::open(dir.path()).unwrap()), 500);
    }

    #[test]
    fn a_reader_only_delays_that() {
        let dir = tempfile::tempdir().unwrap();
        let reader = Database::open(dir.path()).unwrap();
        let seen = reader
            .read("look", |connection| {
                let seen: i64 = connection.query_row("SELECT count(*) FROM trash", [], |row| row.get(0))?;
                (0..100).for_each(|_| commit(dir.path(), Durability::Ephemeral, 1));
                let again: i64 = connection.query_row("SELECT count(*) FROM trash", [], |row| row.get(0))?;
                Ok((seen, again))
            })
            .unwrap();
        assert_eq!(seen, (0, 0));
        assert!(has_page(&dir.path().join("strata.db-wal"), LOG_PAGES).unwrap());
        commit(dir.path(), Durability::Durable, 1);
        assert!(!has_page(&dir.path().join("strata.db-wal"), 16).unwrap_or(false));
        assert_eq!(count(&reader), 101);
    }
}
