//! A watch: a task that reads etcd's stream, and a queue from which the caller takes.
//!
//! ```text
//! etcd -> stream -> task -> Pipe (queue, eventfd) -> Watch::next
//!          ^ lost: again, behind the last revision that was queued whole
//! ```
//! The task asks for a sign of life when the stream is silent, because a connection that was cut off says nothing.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};

use super::grpc::{Failure, Messages, Outgoing};
use super::messages::{
    DELETE, RangeRequest, RangeResponse, WatchAsk, WatchCreateRequest, WatchEvent, WatchProgressRequest,
    WatchRequest, WatchResponse, range_end, range_start,
};
use super::session::{Known, Live, Repeat, Session};
use super::{RANGE, key_value, signed, trouble};
use crate::wire::connect::Rest;
use crate::wire::pipe::Pipe;
use crate::{Change, Error, Result, Revision, Watch};

/// After so much silence a sign of life is asked for, which must come within [`SILENCE`].
const QUIET: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(3);

/// A watch on one prefix of etcd.
pub struct EtcdWatch {
    pipe: Arc<Pipe>,
    task: AbortHandle,
    /// All up to here has been reported.
    position: Revision,
    /// What this process has compacted; what was not taken before counts as missed.
    compacted: Arc<AtomicU64>,
}

impl EtcdWatch {
    /// Watch `prefix` for what comes after `after`. Returns when etcd keeps what comes for this watch.
    pub fn start(
        session: &Arc<Session>,
        prefix: &str,
        after: Revision,
        compacted: Arc<AtomicU64>,
    ) -> Result<EtcdWatch> {
        let pipe = Pipe::new()?;
        let source = Source {
            session: Arc::clone(session),
            prefix: prefix.to_owned(),
            position: after,
            pipe: Arc::clone(&pipe),
        };
        let stream = session.block_on(source.open())?;
        let task = session.spawn(source.run(stream))?;
        Ok(EtcdWatch { pipe, task, position: after, compacted })
    }
}

impl Watch for EtcdWatch {
    fn next(&mut self, timeout: Duration) -> Result<Vec<Change>> {
        let EtcdWatch { pipe, position, compacted, .. } = self;
        pipe.next(timeout, |changes, error| {
            let oldest = Revision(compacted.load(Ordering::Relaxed));
            match (changes.first(), error) {
                (Some(first), _) if first.revision() <= oldest => {
                    Err(Error::Compacted { asked: *position, oldest })
                }
                (_, Some(error)) => Err(error),
                (_, None) => {
                    *position = changes.last().map_or(*position, Change::revision);
                    Ok(changes)
                }
            }
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.fd()
    }
}

impl Drop for EtcdWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A stream that etcd has accepted.
struct Stream {
    live: Live,
    outgoing: Outgoing,
    messages: Messages,
    id: i64,
}

/// Why a stream has ended.
enum End {
    /// The connection; the next one goes on.
    Lost(String),
    /// For good.
    Over(Error),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> End {
        End::Lost(trouble::words(failure))
    }
}

/// The task's side.
struct Source {
    session: Arc<Session>,
    prefix: String,
    /// All up to here is in the queue.
    position: Revision,
    pipe: Arc<Pipe>,
}

impl Source {
    /// Begin to watch behind the position.
    async fn open(&self) -> Result<Stream> {
        const ATTEMPT: &str = "watch etcd";
        // A server may lag behind the others, and a watch says nothing of its own; a read does.
        let key = range_start(&self.prefix, None);
        let ask = RangeRequest { key, count_only: true, ..RangeRequest::default() };
        let answer: Option<RangeResponse> = self.session.ask(ATTEMPT, RANGE, &ask, Repeat::Harmless).await?;
        let current = answer.and_then(|answer| answer.header).map_or(0, |header| header.revision);
        let current = Revision(u64::try_from(current).unwrap_or_default());
        if self.position > current {
            return Err(Error::Future { asked: self.position, current });
        }
        let create = WatchCreateRequest {
            key: range_start(&self.prefix, None),
            range_end: range_end(&self.prefix),
            start_revision: signed(Revision(self.position.0 + 1)),
            progress_notify: true,
        };
        let live = self.session.live().await?;
        let opened = timeout(self.session.patience(), async {
            let request = WatchRequest { ask: Some(WatchAsk::Create(create)) };
            let opened = live.link.open("/etcdserverpb.Watch/Watch", &request, live.token.as_deref());
            let (outgoing, mut messages) = opened.await?;
            Ok((outgoing, messages.next::<WatchResponse>().await?, messages))
        });
        let failed = match opened.await {
            Ok(Ok((outgoing, Some(first), messages))) if first.created && !first.canceled => {
                self.session.note(first.header, Known::default())?;
                return Ok(Stream { live, outgoing, messages, id: first.watch_id });
            }
            Ok(Ok((_, Some(first), _))) if first.compact_revision > 0 => return Err(self.compacted(&first)),
            Ok(Ok((_, Some(first), _))) => Failure::Status { code: 7, message: first.cancel_reason },
            Ok(Ok((_, None, _))) => Failure::Lost("the stream ended at once".to_owned()),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Lost(trouble::silence(self.session.patience())),
        };
        self.session.forget(&live, true).await;
        Err(trouble::explain(ATTEMPT, failed))
    }

    fn compacted(&self, response: &WatchResponse) -> Error {
        let oldest = Revision(u64::try_from(response.compact_revision).unwrap_or_default());
        Error::Compacted { asked: self.position, oldest }
    }

    async fn run(mut self, mut stream: Stream) {
        loop {
            let cause = match self.follow(&mut stream).await {
                Ok(never) => match never {},
                Err(End::Over(error)) => return self.pipe.fail(error),
                Err(End::Lost(cause)) => cause,
            };
            self.session.forget(&stream.live, true).await;
            tracing::info!(prefix = self.prefix, position = %self.position, cause, "a watch lost etcd");
            self.pipe.fail(Error::unavailable("watch etcd", cause));
            let mut rest = Rest::new();
            stream = loop {
                match self.open().await {
                    Ok(stream) => break stream,
                    Err(Error::Unavailable { .. }) => rest.wait().await,
                    Err(error) => return self.pipe.fail(error),
                }
            };
            tracing::info!(prefix = self.prefix, position = %self.position, "a watch has found etcd again");
        }
    }

    /// Move what comes into the queue, until there is no stream any more.
    async fn follow(&mut self, stream: &mut Stream) -> Result<std::convert::Infallible, End> {
        let mut beat = interval(Duration::from_millis(500));
        let mut heard = Instant::now();
        let mut asked = None;
        loop {
            self.pipe.room().await;
            tokio::select! {
                biased;
                message = stream.messages.next::<WatchResponse>() => {
                    let response = message?.ok_or_else(|| End::Lost("etcd ended the stream".to_owned()))?;
                    (heard, asked) = (Instant::now(), None);
                    self.take(response, stream.id)?;
                }
                _ = beat.tick() => match asked {
                    None if heard.elapsed() >= QUIET => {
                        let ask = WatchAsk::Progress(WatchProgressRequest {});
                        stream.outgoing.send(&WatchRequest { ask: Some(ask) })?;
                        asked = Some(Instant::now());
                    }
                    Some(at) if at.elapsed() >= SILENCE => return Err(End::Lost("etcd is silent".to_owned())),
                    _ => {}
                }
            }
        }
    }

    fn take(&mut self, response: WatchResponse, id: i64) -> Result<(), End> {
        let current = self.session.note(response.header, Known::default()).map_err(End::Over)?;
        if response.canceled {
            let lost = response.compact_revision == 0;
            return Err(if lost {
                End::Lost(response.cancel_reason)
            } else {
                End::Over(self.compacted(&response))
            });
        }
        if response.events.is_empty() {
            // An answer to our asking has no watch's number, and on old servers may overtake events.
            if response.watch_id == id && !response.created {
                self.position = self.position.max(current);
            }
            return Ok(());
        }
        let changes: Vec<Change> = response.events.into_iter().filter_map(change).collect();
        // A response holds revisions whole.
        self.position = changes.last().map_or(self.position, Change::revision);
        self.pipe.push(changes);
        Ok(())
    }
}

fn change(event: WatchEvent) -> Option<Change> {
    let kv = key_value(event.kv?)?;
    Some(match event.kind {
        DELETE => Change::Delete { key: kv.key, revision: kv.revision },
        _ => Change::Put(kv),
    })
}
