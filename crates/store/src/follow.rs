//! What stands under one prefix of keys: first what is there, then what changes.
//!
//! ```text
//! list, page by page -> All -> watch -> Put, Gone ...
//!        ^                       |
//!        '-- the history is gone-'
//! ```
//! Remembers nothing but where it is: whoever hears keeps what is told, in the form in which it is needed, and no value
//! lives longer than it takes to read it. Used for blocks ([`crate::blocks`]) and by the controllers; objects of policy, of
//! which it matters what was told before, come by [`crate::sync`].

use std::sync::Arc;
use std::time::Duration;

use crate::{Change, Datastore, Error, KeyValue, List, Result, Revision, Watch};

/// How many values one call reads at most while listing.
const PAGE: usize = 500;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News<T> {
    /// These are there, and no others. Comes first, and again when changes were missed.
    All(Vec<T>),
    /// Something was made or written.
    Put(T),
    /// Nothing is at this key any more, or nothing that can be read.
    Gone(String),
}

/// The stream of [`News`].
pub struct Follow<T> {
    store: Arc<dyn Datastore>,
    prefix: String,
    read: fn(&KeyValue) -> Option<T>,
    state: State<T>,
}

enum State<T> {
    Listing { at: Option<Revision>, after: Option<String>, found: Vec<T> },
    Watching(Box<dyn Watch>),
}

impl<T> State<T> {
    fn start() -> Self {
        State::Listing { at: None, after: None, found: Vec::new() }
    }
}

impl<T> Follow<T> {
    /// What stands in `store` under `prefix`; `read` makes of a value what is told, or nothing.
    pub fn new(store: Arc<dyn Datastore>, prefix: String, read: fn(&KeyValue) -> Option<T>) -> Self {
        Self { store, prefix, read, state: State::start() }
    }

    /// Whether all that is there hasn't been told yet.
    pub fn is_listing(&self) -> bool {
        matches!(self.state, State::Listing { .. })
    }

    /// What is new, or nothing after `timeout` (while listing, after each page).
    ///
    /// # Errors
    /// Those of the datastore; nothing is lost, the call may be repeated.
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<News<T>>> {
        let read = self.read;
        let next = match &mut self.state {
            State::Listing { .. } => self.list(),
            State::Watching(watch) => watch
                .next(timeout)
                .map(|changes| changes.into_iter().map(|change| told(change, read)).collect()),
        };
        match next {
            Err(error @ (Error::Compacted { .. } | Error::Future { .. })) => {
                tracing::info!(prefix = self.prefix, %error, "listing again");
                self.state = State::start();
                Ok(Vec::new())
            }
            next => next,
        }
    }

    fn list(&mut self) -> Result<Vec<News<T>>> {
        let State::Listing { at, after, found } = &mut self.state else { return Ok(Vec::new()) };
        let request = List { prefix: self.prefix.clone(), at: *at, after: after.clone(), limit: Some(PAGE) };
        let page = self.store.list(&request)?;
        found.extend(page.items.iter().filter_map(self.read));
        if page.more {
            *at = Some(page.revision);
            *after = page.items.last().map(|kv| kv.key.clone());
            return Ok(Vec::new());
        }
        let watch = self.store.watch(&self.prefix, page.revision)?;
        let all = News::All(std::mem::take(found));
        self.state = State::Watching(watch);
        Ok(vec![all])
    }
}

fn told<T>(change: Change, read: fn(&KeyValue) -> Option<T>) -> News<T> {
    match change {
        Change::Put(kv) => match read(&kv) {
            Some(read) => News::Put(read),
            None => News::Gone(kv.key),
        },
        Change::Delete { key, .. } => News::Gone(key),
    }
}
