//! A watch: a task for each collection that reads the API's stream, and a queue from which the caller takes.
//!
//! ```text
//! the API -> stream -> task of a collection -> Pipe (queue, eventfd) -> Watch::next
//!                       ^ lost, or at its end: again, behind the last revision that was queued
//! ```
//! Changes of one collection come in order; those of different collections are told as they come. Bookmarks keep the
//! position of a quiet collection new, so that going on needs no list.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::forms::{self, Collection};
use super::http::Lines;
use super::session::{Live, Opened};
use super::{Api, head, held_or_raw, list, trouble};
use crate::wire::connect::Rest;
use crate::wire::pipe::Pipe;
use crate::{Change, Error, Result, Revision, Watch};

const ATTEMPT: &str = "watch the Kubernetes API";

/// How soon a kind is looked for again that the cluster doesn't know (yet); it doubles up to [`LONGEST`], since most such
/// kinds never come. Its definition is watched meanwhile, by whoever may.
const SOON: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// How long after a word about its definition a kind is looked for.
const SERVED: Duration = Duration::from_millis(200);

/// A watch on one prefix of keys.
pub struct KubernetesWatch {
    pipe: Arc<Pipe>,
    tasks: Vec<AbortHandle>,
}

impl KubernetesWatch {
    /// Watch `prefix` for what comes after `after`.
    pub fn start(api: &Arc<Api>, prefix: &str, after: Revision) -> Result<KubernetesWatch> {
        let current = api.session.block_on(api.revision())?;
        if after > current {
            return Err(Error::Future { asked: after, current });
        }
        let mut watch = KubernetesWatch { pipe: Pipe::new()?, tasks: Vec::new() };
        for collection in forms::under(api.collections, prefix) {
            let source = Source {
                api: Arc::clone(api),
                collection,
                prefix: prefix.to_owned(),
                path: list::path(collection, collection.namespace_of(prefix).as_deref()),
                // A watch from zero would begin with what is there.
                position: after.max(Revision(1)),
                pipe: Arc::clone(&watch.pipe),
            };
            watch.tasks.push(api.session.spawn(source.run())?);
        }
        Ok(watch)
    }
}

impl Watch for KubernetesWatch {
    fn next(&mut self, timeout: Duration) -> Result<Vec<Change>> {
        self.pipe.next(timeout, |changes, error| error.map_or(Ok(changes), Err))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.fd()
    }
}

impl Drop for KubernetesWatch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Why a stream has ended.
enum End {
    /// The server ends each after some minutes.
    Well,
    /// The connection; the next one goes on.
    Lost(String),
    /// There is no such kind.
    Unknown,
    /// For good.
    Over(Error),
}

/// Returns when there is news of a definition: `true`, or at the stream's end `false`. Without a stream never.
async fn told(definition: &mut Option<(Live, Lines)>) -> bool {
    let Some((_, lines)) = definition else { return std::future::pending().await };
    let is_told = matches!(lines.next().await, Ok(Some(_)));
    if !is_told {
        *definition = None;
    }
    is_told
}

/// The side of a task.
struct Source {
    api: Arc<Api>,
    collection: &'static Collection,
    prefix: String,
    path: String,
    /// All up to here is in the queue.
    position: Revision,
    pipe: Arc<Pipe>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    what: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Source {
    async fn run(mut self) {
        let mut rest = Rest::new();
        let mut is_lost = false;
        loop {
            let before = self.position;
            match self.follow(&mut is_lost).await {
                End::Well => {}
                End::Over(error) => return self.pipe.fail(error),
                // It has no objects as long as it isn't known; the first are listed.
                End::Unknown => match self.wait_for_kind().await {
                    Ok(()) => continue,
                    Err(error) => return self.pipe.fail(error),
                },
                End::Lost(cause) => {
                    // Once: until it is found again there is nothing new to say.
                    if !is_lost {
                        is_lost = true;
                        tracing::info!(path = self.path, position = %self.position, cause, "a watch lost the Kubernetes API");
                        self.pipe.fail(Error::unavailable(ATTEMPT, cause));
                    }
                }
            }
            if self.position > before {
                rest = Rest::new();
            }
            rest.wait().await;
        }
    }

    /// A stream of what becomes of the kind's definition; `None` where we may not ask for it, or it isn't one that is defined so.
    async fn definition(&self) -> Option<(Live, Lines)> {
        let (group, _) = self.collection.api.strip_prefix("/apis/")?.split_once('/')?;
        let name = format!("{}.{group}", self.collection.plural);
        let path = format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?watch=true&fieldSelector=metadata.name%3D{name}"
        );
        match self.api.session.open(ATTEMPT, &path).await {
            Ok(Opened::Lines(live, lines)) => Some((live, lines)),
            Ok(Opened::Refused(_)) | Err(_) => None,
        }
    }

    /// Waits until the cluster knows the kind, and tells what there is of it.
    async fn wait_for_kind(&mut self) -> Result<()> {
        let mut pause = SOON;
        let mut definition = None;
        loop {
            if definition.is_none() {
                definition = self.definition().await;
            }
            let is_told = tokio::select! {
                () = sleep(pause) => false,
                is_told = told(&mut definition) => is_told,
            };
            if is_told {
                // It is served a moment after it is there.
                sleep(SERVED).await;
                pause = SOON;
            } else {
                pause = (pause * 2).min(LONGEST);
            }
            let mut found = Vec::new();
            match self.api.all_of(self.collection, &self.prefix, &mut found).await {
                Ok(None) | Err(Error::Unavailable { .. }) => {}
                Ok(Some(at)) => {
                    self.pipe.push(found.into_iter().map(Change::Put));
                    self.position = self.position.max(at);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves what comes into the queue, until there is no stream any more.
    async fn follow(&mut self, is_lost: &mut bool) -> End {
        let path =
            format!("{}?watch=true&allowWatchBookmarks=true&resourceVersion={}", self.path, self.position);
        let (_live, mut lines) = match self.api.session.open(ATTEMPT, &path).await {
            Ok(Opened::Lines(live, lines)) => (live, lines),
            Ok(Opened::Refused(answer)) => {
                return match answer.status {
                    StatusCode::NOT_FOUND => End::Unknown,
                    StatusCode::GONE => End::Over(self.compacted()),
                    // A token that ended, or a server that can't at the moment.
                    StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => {
                        End::Lost(trouble::said(&answer.body).1)
                    }
                    status if status.is_server_error() => End::Lost(trouble::said(&answer.body).1),
                    _ => End::Over(trouble::explain(&format!("watch {}", self.path), &answer)),
                };
            }
            Err(error) => return End::Lost(error.to_string()),
        };
        if std::mem::take(is_lost) {
            tracing::info!(path = self.path, position = %self.position, "a watch has found the Kubernetes API again");
        }
        self.read(&mut lines).await
    }

    async fn read(&mut self, lines: &mut Lines) -> End {
        loop {
            self.pipe.room().await;
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return End::Well,
                Err(failure) => return End::Lost(failure.into_words()),
            };
            match self.take(&line) {
                Ok(change) => self.pipe.push(change),
                Err(end) => return end,
            }
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<Option<Change>, End> {
        let strange =
            |error: serde_json::Error| End::Lost(format!("an event that isn't Kubernetes': {error}"));
        let Event { what, object } = serde_json::from_slice(line).map_err(strange)?;
        let object = object.get().as_bytes();
        if what == "ERROR" {
            let (code, words) = trouble::of_event(object);
            return Err(match code {
                410 => End::Over(self.compacted()),
                _ => End::Lost(words),
            });
        }
        let at = head(ATTEMPT, object).map_err(|error| End::Lost(error.to_string()))?.revision();
        let change = match what {
            "BOOKMARK" => None,
            "DELETED" => self.gone(object, at),
            _ => match held_or_raw(self.collection, object) {
                Some(kv) => Some(Change::Put(kv)),
                // It may have held something before.
                None => self.gone(object, at),
            },
        };
        self.position = self.position.max(at);
        Ok(change.filter(|change| change.key().starts_with(&self.prefix)))
    }

    /// What an object held is no more.
    fn gone(&self, object: &[u8], revision: Revision) -> Option<Change> {
        let key = match self.collection.read(object) {
            Ok(read) => read?.key,
            Err(fault) => fault.key?,
        };
        Some(Change::Delete { key, revision })
    }

    fn compacted(&self) -> Error {
        // What can still be read isn't told; what is there now can.
        Error::Compacted { asked: self.position, oldest: Revision(self.position.0 + 1) }
    }
}
