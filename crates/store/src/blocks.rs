//! All blocks of address management, as far as routing depends on them: first what is there, then what changes.
//!
//! ```text
//! list, page by page -> All -> watch -> Put, Gone ...
//!        ^                       |
//!        '-- the history is gone-'
//! ```
//! Remembers nothing but where it is: whoever hears keeps the blocks. Next hop: the agent's thread for the network, and
//! through it `calc::network`. Objects of policy come by [`crate::sync`].

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tortie_ipam::key::Key;
use tortie_ipam::record::{Block, Holding};

use crate::{Change, Datastore, Error, KeyValue, List, Result, Revision, Watch, keys};

/// How many blocks one call returns at most while listing.
const PAGE: usize = 500;

/// What happened to blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockEvent {
    /// These are there, and no others. Comes first, and again when changes were missed.
    All(Vec<Holding>),
    /// A block was made or written.
    Put(Holding),
    /// A block is gone.
    Gone(IpNet),
}

/// The stream of [`BlockEvent`]s.
pub struct Blocks {
    store: Arc<dyn Datastore>,
    state: State,
}

enum State {
    Listing { at: Option<Revision>, after: Option<String>, found: Vec<Holding> },
    Watching(Box<dyn Watch>),
}

impl State {
    fn start() -> Self {
        State::Listing { at: None, after: None, found: Vec::new() }
    }
}

impl Blocks {
    /// The blocks of `store`.
    pub fn new(store: Arc<dyn Datastore>) -> Self {
        Self { store, state: State::start() }
    }

    /// The next events, or none after `timeout` (while listing, after each page).
    ///
    /// # Errors
    /// Those of the datastore; nothing is lost, the call may be repeated.
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<BlockEvent>> {
        let next = match &mut self.state {
            State::Listing { .. } => self.list(),
            State::Watching(watch) => {
                watch.next(timeout).map(|changes| changes.into_iter().filter_map(changed).collect())
            }
        };
        match next {
            Err(error @ (Error::Compacted { .. } | Error::Future { .. })) => {
                tracing::info!(%error, "listing all blocks again");
                self.state = State::start();
                Ok(Vec::new())
            }
            next => next,
        }
    }

    fn list(&mut self) -> Result<Vec<BlockEvent>> {
        let State::Listing { at, after, found } = &mut self.state else { return Ok(Vec::new()) };
        let request =
            List { prefix: keys::IPAM_BLOCKS.to_owned(), at: *at, after: after.clone(), limit: Some(PAGE) };
        let page = self.store.list(&request)?;
        found.extend(page.items.iter().filter_map(holding));
        if page.more {
            *at = Some(page.revision);
            *after = page.items.last().map(|kv| kv.key.clone());
            return Ok(Vec::new());
        }
        let watch = self.store.watch(keys::IPAM_BLOCKS, page.revision)?;
        let all = BlockEvent::All(std::mem::take(found));
        self.state = State::Watching(watch);
        Ok(vec![all])
    }
}

/// A block at its key; `None` for one that is none, or about to go.
fn holding(kv: &KeyValue) -> Option<Holding> {
    let Key::Block(cidr) = Key::parse(&kv.key)? else { return None };
    match Block::decode(&kv.value) {
        Ok(block) if block.cidr != cidr => {
            tracing::warn!(key = kv.key, cidr = %block.cidr, "a stored block is not the one of its key");
            None
        }
        Ok(block) => (!block.deleted).then(|| Holding::of(&block)),
        Err(error) => {
            tracing::warn!(key = kv.key, %error, "a stored block cannot be read: no route is made for it");
            None
        }
    }
}

fn changed(change: Change) -> Option<BlockEvent> {
    let Key::Block(cidr) = Key::parse(change.key())? else { return None };
    Some(match change {
        Change::Put(kv) => holding(&kv).map_or(BlockEvent::Gone(cidr), BlockEvent::Put),
        Change::Delete { .. } => BlockEvent::Gone(cidr),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::embedded::{Durability, Embedded, Options};
    use serde_json::json;

    fn put(store: &dyn Datastore, cidr: &str, host: &str) {
        let cidr: IpNet = cidr.parse().unwrap();
        let block = json!({"cidr": cidr, "affinity": format!("host:{host}"), "allocations": [null, null],
            "unallocated": [0, 1], "attributes": [], "strictAffinity": false});
        store.put(&keys::ipam_block(cidr.addr(), cidr.prefix_len()), block.to_string().as_bytes()).unwrap();
    }

    fn told(blocks: &mut Blocks) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let listing = matches!(blocks.state, State::Listing { .. });
            let events = blocks.next(Duration::ZERO).unwrap();
            if events.is_empty() && !listing && matches!(blocks.state, State::Watching(_)) {
                return told;
            }
            let name = |holding: &Holding| format!("{} {}", holding.cidr, holding.host.as_deref().unwrap());
            told.extend(events.iter().map(|event| match event {
                BlockEvent::All(all) => format!("= {}", all.iter().map(name).collect::<Vec<_>>().join(", ")),
                BlockEvent::Put(holding) => format!("+ {}", name(holding)),
                BlockEvent::Gone(cidr) => format!("- {cidr}"),
            }));
        }
    }

    #[test]
    fn all_blocks_are_told_then_what_changes_and_all_again_when_the_history_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tortie.db");
        let options = Options { durability: Durability::Normal, ..Options::new(path) };
        let store: Arc<dyn Datastore> = Arc::new(Embedded::open(options).unwrap());
        put(&*store, "10.0.0.0/31", "a");
        store.put(keys::IPAM_CONFIG, b"{}").unwrap();
        store.put(&keys::ipam_block([10, 9, 9, 0].into(), 31), b"{").unwrap();
        let mut blocks = Blocks::new(Arc::clone(&store));
        assert_eq!(told(&mut blocks), ["= 10.0.0.0/31 a"]);
        put(&*store, "fd00::/127", "b");
        put(&*store, "10.0.0.0/31", "b");
        store.delete(&keys::ipam_block([10, 0, 0, 0].into(), 31), None).unwrap();
        assert_eq!(told(&mut blocks), ["+ fd00::/127 b", "+ 10.0.0.0/31 b", "- 10.0.0.0/31"]);
        put(&*store, "10.0.0.2/31", "c");
        store.compact(store.revision().unwrap()).unwrap();
        assert_eq!(told(&mut blocks), ["= 10.0.0.2/31 c, fd00::/127 b"]);
    }
}
