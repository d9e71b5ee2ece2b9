//! Connections: one beside others, or, where the disk has hardly any room, one after another.
//!
//! SQLite keeps an index of its log in a file that the first of several processes makes anew and all map. On a full disk that fails,
//! or, worse, it kills: for a page of the file there may be no block when it is written to (SIGBUS). Whoever has the database for
//! themselves has that index in their own memory (<https://sqlite.org/wal.html#noshm>).

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::version;
use crate::{Error, Result};

/// How long a writer waits for other processes' transactions, none of which lasts longer than some milliseconds.
pub(super) const BUSY_WAIT: Duration = Duration::from_secs(30);

/// How long it is until somebody who works alone is asked again whether they are done.
const TURN: Duration = Duration::from_millis(2);

/// How much has to be free for the index to be a file. It has 32 KiB; filesystems that write elsewhere need more than that, and
/// count in larger pieces.
const ROOM_BYTES: u64 = 32 << 20;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: Connection,
    /// Nobody else has one now.
    pub(super) is_alone: bool,
}

/// Opens a database that is there.
pub(super) fn connect(path: &Path) -> Result<Connected> {
    if !is_scarce(path) {
        return Ok(Connected { connection: open(path)?, is_alone: false });
    }
    let began = Instant::now();
    loop {
        // Whoever has it open since there was room has that file as well.
        for is_alone in [true, false] {
            let connection = open(path)?;
            connection.busy_timeout(Duration::ZERO)?;
            if is_alone {
                connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            }
            match version(&connection) {
                Ok(_) => {
                    connection.busy_timeout(BUSY_WAIT)?;
                    return Ok(Connected { connection, is_alone });
                }
                Err(error) if is_busy(&error) && began.elapsed() < BUSY_WAIT => {}
                Err(error) => return Err(error),
            }
        }
        strata_sys::clock::pause(TURN);
    }
}

fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    // Closing neither copies the log nor syncs it: a short-lived program would pay for that every time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// Whether the disk has hardly any room.
fn is_scarce(path: &Path) -> bool {
    let dir = path.parent().unwrap_or(path);
    rustix::fs::statvfs(dir).is_ok_and(|about| about.f_bavail.saturating_mul(about.f_frsize) < ROOM_BYTES)
}

fn is_busy(error: &Error) -> bool {
    matches!(error, Error::Database { source, .. } if source.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
}
