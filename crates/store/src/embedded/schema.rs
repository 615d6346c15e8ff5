//! Opening the database file: its settings and its tables.
//!
//! ```text
//! history  every write: rev (grows, never reused), key, create_rev (0: this one), prev_rev (0: none), deleted, at, value,
//!          and the value's length if it is packed (0: it lies there as it is)
//! cur      the newest write of every key, deletions too until they are compacted
//! meta     compact_rev: what is older can't be read
//! ```
//! The layout is kine's idea: history is what watches and paged lists read. Next hop: `log`.
//!
//! Version 1 had `log` in place of `history`, whose values were never packed. It is made into version 2 when it is opened
//! to stay that. The name is another so that a program of version 1 that still runs finds nothing, instead of packed values.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::{Error, Result};

/// The version of the tables, in SQLite's `user_version`; 0 is an empty file.
const VERSION: i64 = 2;

/// `application_id`, so that `file` and we can tell the file from other people's ("tort").
const APPLICATION: i64 = 0x746f_7274;

const HISTORY: &str = "
CREATE TABLE history (
    rev INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    create_rev INTEGER NOT NULL,
    prev_rev INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    at INTEGER NOT NULL,
    length INTEGER NOT NULL,
    value BLOB NOT NULL
);
";

const OTHERS: &str = "
CREATE TABLE cur (
    key TEXT PRIMARY KEY,
    rev INTEGER NOT NULL,
    create_rev INTEGER NOT NULL,
    deleted INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('compact_rev', 0);
";

/// What version 1 gave out last is in `sqlite_sequence`; here it is the newest of `history` and `compact_rev`.
const FROM_1: &str = "
INSERT INTO history SELECT rev, key, create_rev, prev_rev, deleted, at, 0, value FROM log ORDER BY rev;
UPDATE meta SET value = max(value, s.seq) FROM sqlite_sequence s
    WHERE meta.name = 'compact_rev' AND s.name = 'log' AND s.seq > (SELECT ifnull(max(rev), 0) FROM history);
DROP TABLE log;
";

/// Open a connection with our settings. The file must exist; it may be empty.
pub fn connect(path: &Path, patience: Duration) -> Result<Connection> {
    let attempt = |error: rusqlite::Error| Error::unavailable(format!("open {}", path.display()), error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(attempt)?;
    connection.busy_timeout(patience).map_err(attempt)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Else SQLite plans a join anew for each value that is asked for, which takes longer than to answer.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(attempt)?;
    // NORMAL keeps the database whole, and the order of its writes; `persist` waits for the disk outside the transaction.
    // The write-ahead log is taken into the file at 16 MB, which waits for the disk twice, and cut back to that after a burst. No mmap: an I/O error must be an error, not a signal.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000;
             PRAGMA journal_size_limit = 16777216;
             PRAGMA cache_size = -1024; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF;",
        )
        .map_err(attempt)?;
    Ok(connection)
}

/// Make the tables in an empty file, or make ours of those of an older version. The caller has the writers' turn.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let attempt =
        |error: rusqlite::Error| Error::unavailable(format!("make the tables of {}", path.display()), error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(attempt)?;
    // Another may have come first.
    match version(&transaction).map_err(attempt)? {
        0 => {
            transaction.execute_batch(HISTORY).map_err(attempt)?;
            transaction.execute_batch(OTHERS).map_err(attempt)?;
            transaction.pragma_update(None, "application_id", APPLICATION).map_err(attempt)?;
        }
        1 => {
            transaction.execute_batch(HISTORY).map_err(attempt)?;
            transaction.execute_batch(FROM_1).map_err(attempt)?;
        }
        _ => return Ok(()),
    }
    transaction.pragma_update(None, "user_version", VERSION).map_err(attempt)?;
    transaction.commit().map_err(attempt)
}

/// Whether the tables are there, and of our version.
///
/// # Errors
/// [`Error::Schema`] if they are of a version that this program does not know.
pub fn ready(connection: &Connection, path: &Path) -> Result<bool> {
    let found = version(connection)
        .map_err(|error| Error::unavailable(format!("read the version of {}", path.display()), error))?;
    if found > VERSION {
        return Err(Error::Schema { path: path.display().to_string(), found, known: VERSION });
    }
    Ok(found == VERSION)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}
