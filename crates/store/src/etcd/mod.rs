//! etcd v3 as datastore: Calico's keys and values on a cluster of servers.
//!
//! Revisions are etcd's own, compare-and-swap is a transaction, a list is read at one revision. Everything that is read is
//! agreed on by the cluster's majority. A revision here counts transactions: keys written together share one.
//!
//! ```text
//! Datastore -> Session (connection, retries, who answers) -> grpc -> wire (HTTP/2, TLS)
//!     watch -> task -> queue
//! ```

pub mod dns;
mod grpc;
mod messages;
mod options;
pub mod server;
mod session;
mod trouble;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;

pub use options::{Endpoint, Options, Pem, SETTINGS};

use crate::datastore::{Expect, MOST_READS, Read, Write};
use crate::{Datastore, Error, KeyValue, List, Listing, Result, Revision, Watch};
use messages::{
    CompactionRequest, CompactionResponse, Compare, CompareWith, DeleteRangeRequest, DeleteRangeResponse,
    EQUAL, Headed, NOT_EQUAL, PutRequest, RangeRequest, RangeResponse, Request, RequestOp, Response,
    ResponseOp, StoredKey, TARGET_CREATE, TARGET_MOD, TxnRequest, TxnResponse, range_end, range_start,
};
use session::{Repeat, Session};

const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";

/// A key that everybody may read who may use the datastore; whether it exists doesn't matter.
const ANY_KEY: &str = "/calico/";

/// An open etcd. Clones share its connection, as threads may.
#[derive(Clone)]
pub struct Etcd {
    session: Arc<Session>,
    /// The last revision that was compacted here.
    compacted: Arc<AtomicU64>,
}

impl Etcd {
    /// Make ready. Nothing is connected before the first call, which says what is wrong with the settings.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the system has no descriptors left.
    pub fn open(options: Options) -> Result<Etcd> {
        Ok(Etcd { session: Arc::new(Session::new(options)?), compacted: Arc::default() })
    }

    /// Ask; an answer that a revision is out of range is `None`.
    fn ask<Answer: Message + Default + Headed>(
        &self,
        attempt: &str,
        path: &str,
        request: &impl Message,
        repeat: Repeat,
    ) -> Result<Option<Answer>> {
        self.session.block_on(self.session.ask(attempt, path, request, repeat))
    }

    /// Ask what has nothing to do with old revisions.
    fn must<Answer: Message + Default + Headed>(
        &self,
        attempt: &str,
        path: &str,
        request: &impl Message,
        repeat: Repeat,
    ) -> Result<Answer> {
        self.ask(attempt, path, request, repeat)?.ok_or_else(|| Error::Refused {
            attempt: attempt.to_owned(),
            cause: "etcd speaks of a revision that nobody asked for".to_owned(),
        })
    }

    /// Why `asked` can't be read: it is compacted, or there is no such revision yet.
    fn out_of_range(&self, asked: Revision) -> Error {
        let reason = self.revision().and_then(|current| match asked > current {
            true => Ok(Error::Future { asked, current }),
            false => Ok(Error::Compacted { asked, oldest: self.oldest(current)? }),
        });
        reason.unwrap_or_else(|error| error)
    }

    /// The oldest revision that can be read. etcd doesn't tell, so it is found by halving.
    fn oldest(&self, current: Revision) -> Result<Revision> {
        let (mut from, mut to) = (1, current.0);
        while from < to {
            let middle = from + (to - from) / 2;
            let key = ANY_KEY.into();
            let probe = RangeRequest {
                key,
                revision: signed(Revision(middle)),
                count_only: true,
                ..Default::default()
            };
            match self.ask::<RangeResponse>("find the oldest revision", RANGE, &probe, Repeat::Harmless)? {
                Some(_) => to = middle,
                None => from = middle + 1,
            }
        }
        Ok(Revision(to))
    }

    /// Why a transaction of `writes` was not made, by what stands at their keys, in their order.
    fn unexpected(writes: &[Write], found: Vec<ResponseOp>) -> Error {
        let stands = found.into_iter().map(|op| match op.response {
            Some(Response::Range(range)) => range.kvs.first().map(|kv| unsigned(kv.mod_revision)),
            _ => None,
        });
        let fault = writes.iter().zip(stands).find_map(|(write, stands)| write.fault(stands));
        fault
            .unwrap_or_else(|| Error::unavailable("write to etcd", "the transaction failed without a reason"))
    }
}

impl Datastore for Etcd {
    fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        let request = RangeRequest { key: key.into(), ..RangeRequest::default() };
        let answer: RangeResponse = self.must(&format!("get {key}"), RANGE, &request, Repeat::Harmless)?;
        Ok(answer.kvs.into_iter().next().and_then(key_value))
    }

    fn get_all(&self, keys: &[String]) -> Result<Vec<Option<KeyValue>>> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MOST_READS) {
            let request = TxnRequest {
                success: keys.iter().map(|key| read(key, false)).collect(),
                ..Default::default()
            };
            let attempt = format!("get {} keys", keys.len());
            let answer: TxnResponse = self.must(&attempt, TXN, &request, Repeat::Harmless)?;
            found.extend(answer.responses.into_iter().map(|op| match op.response {
                Some(Response::Range(range)) => range.kvs.into_iter().next().and_then(key_value),
                _ => None,
            }));
        }
        Ok(found)
    }

    fn read_all(&self, reads: &[Read]) -> Result<Vec<Listing>> {
        let mut found = Vec::with_capacity(reads.len());
        for reads in reads.chunks(MOST_READS) {
            let ask = |what: &Read| match what {
                Read::Key(key) => read(key, false),
                Read::Prefix(prefix) => RequestOp {
                    request: Some(Request::Range(RangeRequest {
                        key: range_start(prefix, None),
                        range_end: range_end(prefix),
                        ..RangeRequest::default()
                    })),
                },
            };
            let request = TxnRequest { success: reads.iter().map(ask).collect(), ..Default::default() };
            let attempt = format!("read {} keys and lists", reads.len());
            let answer: TxnResponse = self.must(&attempt, TXN, &request, Repeat::Harmless)?;
            let revision = revision(&answer);
            found.extend(answer.responses.into_iter().map(|op| {
                let kvs = match op.response {
                    Some(Response::Range(range)) => range.kvs,
                    _ => Vec::new(),
                };
                Listing { revision, items: kvs.into_iter().filter_map(key_value).collect(), more: false }
            }));
        }
        Ok(found)
    }

    fn list(&self, list: &List) -> Result<Listing> {
        let List { prefix, at, after, limit } = list;
        let request = RangeRequest {
            key: range_start(prefix, after.as_deref()),
            range_end: range_end(prefix),
            limit: limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            // Zero would mean now; of what was before everything, and after the first revision, there is equally little.
            revision: at.map_or(0, |at| signed(at.max(Revision(1)))),
            ..RangeRequest::default()
        };
        let answer: Option<RangeResponse> =
            self.ask(&format!("list {prefix}"), RANGE, &request, Repeat::Harmless)?;
        match answer {
            Some(answer) => Ok(Listing {
                revision: at.unwrap_or_else(|| revision(&answer)),
                items: answer.kvs.into_iter().filter_map(key_value).collect(),
                more: answer.more,
            }),
            None => Err(self.out_of_range(at.unwrap_or_default())),
        }
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>> {
        let compacted = Arc::clone(&self.compacted);
        Ok(Box::new(watch::EtcdWatch::start(&self.session, prefix, after, compacted)?))
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.write_one(Write::create(key, value))
    }

    fn update(&self, key: &str, value: &[u8], expected: Revision) -> Result<Revision> {
        self.write_one(Write::update(key, value, expected))
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<Revision> {
        self.write_one(Write::put(key, value))
    }

    fn delete(&self, key: &str, expected: Option<Revision>) -> Result<KeyValue> {
        let write = Write::delete(key, expected);
        let request = transaction(std::slice::from_ref(&write));
        let mut answer: TxnResponse = self.must(&format!("delete {key}"), TXN, &request, Repeat::Never)?;
        if !answer.succeeded {
            return Err(Etcd::unexpected(&[write], answer.responses));
        }
        let deleted = match answer.responses.pop().and_then(|op| op.response) {
            Some(Response::DeleteRange(DeleteRangeResponse { prev_kvs, .. })) => prev_kvs.into_iter().next(),
            _ => None,
        };
        deleted.and_then(key_value).ok_or_else(|| Error::NotFound { key: key.to_owned() })
    }

    fn write_all(&self, writes: &[Write]) -> Result<Vec<Revision>> {
        let attempt = match writes {
            [] => return Ok(Vec::new()),
            [write] => format!("write {}", write.key),
            [first, ..] => format!("write {} and {} more", first.key, writes.len() - 1),
        };
        let answer: TxnResponse = self.must(&attempt, TXN, &transaction(writes), Repeat::Never)?;
        match answer.succeeded {
            true => Ok(vec![revision(&answer); writes.len()]),
            false => Err(Etcd::unexpected(writes, answer.responses)),
        }
    }

    fn revision(&self) -> Result<Revision> {
        let request = RangeRequest { key: ANY_KEY.into(), count_only: true, ..RangeRequest::default() };
        let answer: RangeResponse = self.must("read the revision", RANGE, &request, Repeat::Harmless)?;
        Ok(revision(&answer))
    }

    fn compact(&self, upto: Revision) -> Result<u64> {
        let current = self.revision()?;
        let oldest = self.oldest(current)?;
        let request = CompactionRequest { revision: signed(upto) };
        // To compact twice is to compact once.
        let done: Option<CompactionResponse> =
            self.ask("compact", "/etcdserverpb.KV/Compact", &request, Repeat::Harmless)?;
        match done {
            Some(_) => {
                self.compacted.fetch_max(upto.0, Ordering::Relaxed);
                Ok(upto.0.saturating_sub(oldest.0))
            }
            None if upto > current => Err(Error::Future { asked: upto, current }),
            None => Ok(0),
        }
    }

    fn trim(&self, since: Revision, upto: Revision) -> Result<bool> {
        let revision = signed(since);
        let probe =
            RangeRequest { key: ANY_KEY.into(), revision, count_only: true, ..RangeRequest::default() };
        let attempt = "look for old revisions";
        if self.ask::<RangeResponse>(attempt, RANGE, &probe, Repeat::Harmless)?.is_none() {
            return Ok(false);
        }
        let request = CompactionRequest { revision: signed(upto) };
        // Not noted as what was compacted here: whoever watches isn't behind by so much, or hears it from etcd.
        let done: Option<CompactionResponse> =
            self.ask("compact", "/etcdserverpb.KV/Compact", &request, Repeat::Harmless)?;
        Ok(done.is_some())
    }
}

/// All of `writes`, if all is as they expect; else what stands at their keys is read.
fn transaction(writes: &[Write]) -> TxnRequest {
    let mut request = TxnRequest::default();
    for write in writes {
        let key = write.key.as_bytes();
        let exists = |result| Compare {
            result,
            target: TARGET_CREATE,
            key: key.to_vec(),
            with: Some(CompareWith::CreateRevision(0)),
        };
        match write.expect {
            Expect::Anything if write.value.is_some() => {}
            Expect::Absent => request.compare.push(exists(EQUAL)),
            Expect::Present | Expect::Anything => request.compare.push(exists(NOT_EQUAL)),
            Expect::At(expected) => {
                // A key that isn't there has revision zero.
                if expected == Revision::ZERO {
                    request.compare.push(exists(NOT_EQUAL));
                }
                let with = Some(CompareWith::ModRevision(signed(expected)));
                request.compare.push(Compare { result: EQUAL, target: TARGET_MOD, key: key.to_vec(), with });
            }
        }
        let write_it = match &write.value {
            Some(value) => Request::Put(PutRequest { key: key.to_vec(), value: value.clone() }),
            None => Request::DeleteRange(DeleteRangeRequest { key: key.to_vec(), prev_kv: true }),
        };
        request.success.push(RequestOp { request: Some(write_it) });
        request.failure.push(read(&write.key, true));
    }
    request
}

fn read(key: &str, keys_only: bool) -> RequestOp {
    let range = RangeRequest { key: key.into(), keys_only, ..RangeRequest::default() };
    RequestOp { request: Some(Request::Range(range)) }
}

fn revision(answer: &impl Headed) -> Revision {
    answer.header().map_or(Revision::ZERO, |header| unsigned(header.revision))
}

fn unsigned(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or_default())
}

fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// A key as it is stored; `None` if it isn't UTF-8, and so none of ours.
fn key_value(stored: StoredKey) -> Option<KeyValue> {
    let StoredKey { key, create_revision, mod_revision, value } = stored;
    match String::from_utf8(key) {
        Ok(key) => Some(KeyValue {
            key,
            value,
            revision: unsigned(mod_revision),
            create_revision: unsigned(create_revision),
        }),
        Err(error) => {
            tracing::debug!(%error, "a key in etcd that isn't text");
            None
        }
    }
}
