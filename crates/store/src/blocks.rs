//! All blocks of address management, as far as routing depends on them: first what is there, then what changes.
//!
//! [`crate::follow`] with blocks for values. Next hop: the agent's thread for the network, and through it `calc::network`.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tortie_ipam::key::Key;
use tortie_ipam::record::{Block, Holding};

use crate::follow::{Follow, News};
use crate::{Datastore, KeyValue, Result, keys};

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
pub struct Blocks(Follow<Holding>);

impl Blocks {
    /// The blocks of `store`.
    pub fn new(store: Arc<dyn Datastore>) -> Self {
        Self(Follow::new(store, keys::IPAM_BLOCKS.to_owned(), holding))
    }

    /// The next events, or none after `timeout` (while listing, after each page).
    ///
    /// # Errors
    /// Those of the datastore; nothing is lost, the call may be repeated.
    pub fn next(&mut self, timeout: Duration) -> Result<Vec<BlockEvent>> {
        let event = |news| match news {
            News::All(all) => Some(BlockEvent::All(all)),
            News::Put(holding) => Some(BlockEvent::Put(holding)),
            News::Gone(key) => match Key::parse(&key)? {
                Key::Block(cidr) => Some(BlockEvent::Gone(cidr)),
                _ => None,
            },
        };
        Ok(self.0.next(timeout)?.into_iter().filter_map(event).collect())
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
            let listing = blocks.0.is_listing();
            let events = blocks.next(Duration::ZERO).unwrap();
            if events.is_empty() && !listing && !blocks.0.is_listing() {
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
