//! The connection to the records: cheap to open, several processes at once.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use strata_sys::durable::{Durability, FileError};
use strata_sys::failpoint;
use strata_sys::lock::{Lock, Mode};
use strata_types::ErrorClass;

use crate::records::schema;
use crate::{Error, Result};

/// How long a writer waits for other processes' transactions, none of which lasts longer than some milliseconds.
const BUSY_WAIT: Duration = Duration::from_secs(30);

/// After how many pages a commit copies the log into the database and empties it. The first process to open the database
/// reads the whole log, so it stays small; a durable commit, which syncs anyway, copies earlier than one that must not wait.
const CHECKPOINT_PAGES_DURABLE: u64 = 32;
const CHECKPOINT_PAGES_EPHEMERAL: u64 = 64;
/// What stands before each page in the log (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
const LOG_HEADER_BYTES: u64 = 24;

/// The open database.
#[derive(Debug)]
pub(crate) struct Database {
    session: Mutex<Session>,
}

#[derive(Debug)]
struct Session {
    connection: Connection,
    /// What the connection is set to; none before the first write.
    durability: Option<Durability>,
    /// Where what was committed stands until it is copied into the database.
    log: PathBuf,
}

impl Database {
    /// Opens the database in `root`, making it when missing and migrating it when old.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let session = open_ready(root).map_err(|error| error.during("open the store's database"))?;
        Ok(Self { session: Mutex::new(session) })
    }

    /// Runs `body` on one consistent view of the records.
    pub(crate) fn read<T>(&self, act: &'static str, body: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let session = self.lock();
        let run = || {
            let view = session.connection.unchecked_transaction()?;
            body(&view)
        };
        run().map_err(|error| error.during(act))
    }

    /// Runs a `body` of a single statement, without the cost of a transaction around it.
    pub(crate) fn read_one<T>(&self, act: &'static str, body: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        body(&self.lock().connection).map_err(|error| error.during(act))
    }

    /// Runs `body` as one transaction; nothing of it stays if it fails. A durable one makes all earlier ones durable.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        act: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut session = self.lock();
        let run = || {
            session.set(durability)?;
            let transaction = session.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = body(&transaction)?;
            failpoint!("store.database.before-commit");
            transaction.commit()?;
            failpoint!("store.database.after-commit");
            session.shorten_log(durability);
            Ok(value)
        };
        run().map_err(|error: Error| error.during(act))
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        // A panic within a transaction rolled it back; the connection is as good as before.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn new(connection: Connection, path: &Path) -> Self {
        Self { connection, durability: None, log: path.with_extension("db-wal") }
    }

    fn set(&mut self, durability: Durability) -> Result<()> {
        if self.durability != Some(durability) {
            let synchronous = match durability {
                Durability::Durable => "FULL",
                Durability::Ephemeral => "NORMAL",
            };
            self.connection
                .execute_batch(&format!("PRAGMA synchronous={synchronous}; PRAGMA wal_autocheckpoint=0;"))?;
            self.durability = Some(durability);
        }
        Ok(())
    }

    /// Copies a long log into the database and empties it, unless others are at work. What SQLite does by itself copies it,
    /// but leaves it to the next commit of the same connection to begin it anew; there is none where each command is a
    /// connection of its own, and every further one would read and copy a longer log.
    fn shorten_log(&self, durability: Durability) {
        let pages = match durability {
            Durability::Durable => CHECKPOINT_PAGES_DURABLE,
            Durability::Ephemeral => CHECKPOINT_PAGES_EPHEMERAL,
        };
        let log_bytes = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        if log_bytes < pages * (LOG_HEADER_BYTES + u64::from(schema::PAGE_BYTES)) {
            return;
        }
        let run = || {
            self.connection.busy_timeout(Duration::ZERO)?;
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            self.connection.busy_timeout(BUSY_WAIT)
        };
        // What was committed stays so: the next commit tries again.
        if let Err(error) = run() {
            tracing::debug!(%error, "the log of the records stays long");
        }
    }
}

fn open_ready(root: &Path) -> Result<Session> {
    let path = root.join("strata.db");
    match connect(&path) {
        Ok(connection) if version(&connection)? == schema::VERSION => Ok(Session::new(connection, &path)),
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
    let mut connection = connect(path)?;
    let found = version(&connection)?;
    if found > schema::VERSION {
        return Err(Error::Newer { root: root.to_owned(), found, known: schema::VERSION });
    }
    if found == 0 {
        connection.execute_batch(&format!("PRAGMA page_size={};", schema::PAGE_BYTES))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    schema::migrate(&transaction, found)?;
    transaction.pragma_update(None, "user_version", schema::VERSION)?;
    transaction.commit()?;
    drop(lock);
    Ok(Session::new(connection, path))
}

/// Makes an empty file that only its owner reads, because containers' environments hold secrets; SQLite gives its log the
/// same mode. One that exists is not even opened: closing it would end the locks of this process's other connections.
fn create(path: &Path) -> io::Result<()> {
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    // Closing neither copies the log nor syncs it: a short-lived program would pay for that every time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

fn version(connection: &Connection) -> Result<i64> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}
