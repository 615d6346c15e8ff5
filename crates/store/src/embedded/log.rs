//! The statements: what reads and writes the tables of `schema`, inside a transaction that the caller holds.
//!
//! A [`Writer`] is one transaction that writes. Nothing here locks, commits, waits or tells a watcher. The versions of a key are a chain (`prev_rev`), so the state at
//! an old revision is found by walking back from the newest write; no second index pays for it at each write.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::pack::{pack, unpack};
use crate::{Change, KeyValue, List, Listing, Revision};

type Sql<T> = rusqlite::Result<T>;

/// The newest write of a key, which may be its deletion.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// The write.
    pub revision: i64,
    /// The write that created the key.
    pub create_revision: i64,
    /// Whether it is gone.
    pub deleted: bool,
}

impl Head {
    /// The newest write, as the API has it.
    pub fn revision(&self) -> Revision {
        from_sql(self.revision)
    }
}

/// What to write.
#[derive(Debug, Clone, Copy)]
pub enum Write<'a> {
    /// This value.
    Value(&'a [u8]),
    /// A deletion.
    Tombstone,
}

/// The datastore's revision. It does not go back when the newest entry is compacted: `compact_rev` is at least that.
pub fn revision(connection: &Connection) -> Sql<Revision> {
    let rev: i64 = connection
        .prepare_cached(
            "SELECT max(ifnull((SELECT max(rev) FROM history), 0),
                        (SELECT value FROM meta WHERE name = 'compact_rev'))",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(from_sql(rev))
}

/// The oldest revision that can be read.
pub fn compacted(connection: &Connection) -> Sql<Revision> {
    let rev: i64 = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'compact_rev'")?
        .query_row([], |row| row.get(0))?;
    Ok(from_sql(rev))
}

/// The newest write of `key`.
pub fn head(connection: &Connection, key: &str) -> Sql<Option<Head>> {
    connection
        .prepare_cached("SELECT rev, create_rev, deleted FROM cur WHERE key = ?1")?
        .query_row([key], |row| {
            Ok(Head { revision: row.get(0)?, create_revision: row.get(1)?, deleted: row.get(2)? })
        })
        .optional()
}

/// The current value of `key`.
pub fn get(connection: &Connection, key: &str) -> Sql<Option<KeyValue>> {
    connection
        .prepare_cached(
            "SELECT c.key, c.rev, c.create_rev, l.value, l.length FROM cur c JOIN history l ON l.rev = c.rev
             WHERE c.key = ?1 AND c.deleted = 0",
        )?
        .query_row([key], key_value)
        .optional()
}

/// What writes in a transaction, in its turn.
pub struct Writer<'a> {
    /// The transaction.
    pub connection: &'a Connection,
    /// When it began, in milliseconds since 1970.
    pub at: i64,
    revision: i64,
}

impl Writer<'_> {
    /// Writes on `connection`, whose transaction has begun; `at` is the time in milliseconds since 1970.
    pub fn new(connection: &Connection, at: i64) -> Sql<Writer<'_>> {
        Ok(Writer { connection, at, revision: to_sql(revision(connection)?) })
    }

    /// The datastore's revision, with what was written here.
    pub fn revision(&self) -> Revision {
        from_sql(self.revision)
    }

    /// Append a write behind `head` and return its revision.
    pub fn append(&mut self, key: &str, head: Option<Head>, write: Write<'_>) -> Sql<Revision> {
        let (value, deleted): (&[u8], bool) = match write {
            Write::Value(value) => (value, false),
            Write::Tombstone => (&[], true),
        };
        let (value, length) = pack(value);
        let create = head.filter(|head| !head.deleted).map_or(0, |head| head.create_revision);
        let prev = head.map_or(0, |head| head.revision);
        let rev = self.revision + 1;
        self.connection
            .prepare_cached("INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(params![rev, key, create, prev, deleted, self.at, length, value])?;
        self.connection
            .prepare_cached(
                "INSERT INTO cur (key, rev, create_rev, deleted) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (key) DO UPDATE SET rev = ?2, create_rev = ?3, deleted = ?4",
            )?
            .execute(params![key, rev, if create == 0 { rev } else { create }, deleted])?;
        self.revision = rev;
        Ok(from_sql(rev))
    }
}

/// A page of the state at revision `at`, which the caller has checked to be neither compacted nor in the future.
pub fn list(connection: &Connection, list: &List, at: Revision) -> Sql<Listing> {
    let List { prefix, at: _, after, limit } = list;
    let (low, high) = (prefix.as_str(), end_of(prefix));
    let limit = limit.unwrap_or(usize::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT c.key, c.rev, c.create_rev, l.value, l.length, c.deleted, l.prev_rev
         FROM cur c JOIN history l ON l.rev = c.rev
         WHERE c.key >= ?1 AND (?2 IS NULL OR c.key < ?2) AND (?3 IS NULL OR c.key > ?3) ORDER BY c.key",
    )?;
    let mut rows = statement.query(params![low, high, after])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let newest = from_sql(row.get(1)?);
        let item = if newest <= at {
            if row.get(5)? { None } else { Some(key_value(row)?) }
        } else {
            version(connection, row.get(6)?, at)?
        };
        if let Some(item) = item {
            if items.len() == limit {
                return Ok(Listing { revision: at, items, more: true });
            }
            items.push(item);
        }
    }
    Ok(Listing { revision: at, items, more: false })
}

/// Walk back from the write `rev` of a key to the one that stood at revision `at`.
fn version(connection: &Connection, mut rev: i64, at: Revision) -> Sql<Option<KeyValue>> {
    let mut statement = connection.prepare_cached(
        "SELECT key, rev, CASE create_rev WHEN 0 THEN rev ELSE create_rev END, value, length, deleted, prev_rev
         FROM history WHERE rev = ?1",
    )?;
    while rev != 0 {
        let mut rows = statement.query([rev])?;
        // Only a compacted deletion is missing from a chain.
        let Some(row) = rows.next()? else { return Ok(None) };
        if from_sql(rev) <= at {
            return if row.get(5)? { Ok(None) } else { key_value(row).map(Some) };
        }
        rev = row.get(6)?;
    }
    Ok(None)
}

/// The changes of keys with `prefix` in `(after, upto]`, at most `limit`.
pub fn changes(
    connection: &Connection,
    prefix: &str,
    after: Revision,
    upto: Revision,
    limit: usize,
) -> Sql<Vec<Change>> {
    connection
        .prepare_cached(
            "SELECT key, rev, CASE create_rev WHEN 0 THEN rev ELSE create_rev END, value, length, deleted FROM history
             WHERE rev > ?1 AND rev <= ?2 AND key >= ?3 AND (?4 IS NULL OR key < ?4) ORDER BY rev LIMIT ?5",
        )?
        .query_map(params![to_sql(after), to_sql(upto), prefix, end_of(prefix), to_limit(limit)], |row| {
            let kv = key_value(row)?;
            Ok(if row.get(5)? {
                Change::Delete { key: kv.key, revision: kv.revision }
            } else {
                Change::Put(kv)
            })
        })?
        .collect()
}

/// Drop what the next `limit` writes behind the last compaction, at most up to `upto`, made obsolete. Returns how many
/// versions went, and whether `upto` is reached.
pub fn compact(connection: &Connection, upto: Revision, limit: usize) -> Sql<(u64, bool)> {
    let from = compacted(connection)?;
    let batch: Vec<(i64, String, i64, bool)> = connection
        .prepare_cached(
            "SELECT rev, key, prev_rev, deleted FROM history WHERE rev > ?1 AND rev <= ?2 ORDER BY rev LIMIT ?3",
        )?
        .query_map(params![to_sql(from), to_sql(upto), to_limit(limit)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Sql<_>>()?;
    let done = batch.len() < limit;
    let reached = match batch.last() {
        Some((rev, ..)) if !done => from_sql(*rev),
        _ => upto.max(from),
    };
    let mut drop_version = connection.prepare_cached("DELETE FROM history WHERE rev = ?1")?;
    let mut dropped = 0;
    for (rev, key, prev, deleted) in batch {
        if prev != 0 {
            dropped += drop_version.execute([prev])?;
        }
        if deleted {
            dropped += drop_version.execute([rev])?;
            connection
                .prepare_cached("DELETE FROM cur WHERE key = ?1 AND rev = ?2")?
                .execute(params![key, rev])?;
        }
    }
    connection
        .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'compact_rev'")?
        .execute([to_sql(reached)])?;
    Ok((u64::try_from(dropped).unwrap_or(u64::MAX), done))
}

/// The newest revision not above `upto` that was written before `time` (milliseconds since 1970), seen from the last
/// compaction: how far a compaction may go.
pub fn older_than(connection: &Connection, time: i64, upto: Revision, limit: usize) -> Sql<Revision> {
    let from = compacted(connection)?;
    let rev: Option<i64> = connection
        .prepare_cached(
            "SELECT max(rev) FROM (SELECT rev, at FROM history WHERE rev > ?1 AND rev <= ?2 ORDER BY rev LIMIT ?3)
             WHERE at < ?4",
        )?
        .query_row(params![to_sql(from), to_sql(upto), to_limit(limit), time], |row| row.get(0))?;
    Ok(rev.map_or(from, from_sql))
}

/// Columns key, rev, create_rev, value, length.
fn key_value(row: &Row<'_>) -> Sql<KeyValue> {
    Ok(KeyValue {
        key: row.get(0)?,
        revision: from_sql(row.get(1)?),
        create_revision: from_sql(row.get(2)?),
        value: unpack(row.get_ref(3)?.as_blob()?, row.get(4)?, 3)?,
    })
}

/// The first string behind all that begin with `prefix`; `None` if there is none. SQLite compares text as UTF-8 bytes, so
/// the next character is the next code point.
fn end_of(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// A revision as SQLite's integer. Revisions come from there, so they fit.
fn to_sql(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

fn from_sql(rev: i64) -> Revision {
    Revision(u64::try_from(rev).unwrap_or(0))
}

fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
