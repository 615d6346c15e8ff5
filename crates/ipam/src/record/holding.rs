//! What the way to a block's addresses depends on: whose it is, and which of its addresses others have.
//!
//! A block changes with each pod, this only when a host claims it, gives it up or borrows from it. So whoever keeps all
//! blocks of a cluster keeps these: some tens of bytes each. Next hop: `calc::network`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Block;
use crate::Owner;
use crate::net;

/// The attribute that names the host of whoever has an address.
const NODE: &str = "node";

/// A block, as routing sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Its addresses.
    pub cidr: IpNet,
    /// The host that has claimed it, if one has.
    pub host: Option<Arc<str>>,
    /// Addresses that are in use on another host, with that host; in order, as a rule none.
    pub elsewhere: Vec<(IpAddr, Arc<str>)>,
}

impl Holding {
    /// What routing has to know of `block`. An address of which nobody says where it is in use is its owner's.
    pub fn of(block: &Block) -> Self {
        let host = match block.owner() {
            Some(Owner::Host(name)) => Some(name),
            Some(Owner::Virtual(_)) | None => None,
        };
        let elsewhere = (0..).zip(&block.allocations).filter(|(_, taken)| taken.is_some());
        let elsewhere = elsewhere.filter_map(|(ordinal, _)| {
            let node = block.holder(ordinal)?.owner.get(NODE)?;
            (host.as_ref() != Some(node)).then(|| (net::nth(&block.cidr, ordinal), node.as_str().into()))
        });
        Self { cidr: block.cidr, elsewhere: elsewhere.collect(), host: host.map(Into::into) }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde_json::json;

    #[test]
    fn a_block_is_its_claimers_but_for_what_others_borrow() {
        let block = |affinity: Option<&str>| {
            let mut json = json!({
                "cidr": "10.65.0.0/30", "allocations": [0, 1, null, 2], "unallocated": [2], "strictAffinity": false,
                "attributes": [
                    {"handle_id": "a", "secondary": {"node": "node1"}},
                    {"handle_id": "b", "secondary": {"node": "node2"}},
                    {"handle_id": "c", "secondary": {}},
                ],
            });
            if let Some(affinity) = affinity {
                json["affinity"] = affinity.into();
            }
            Holding::of(&Block::decode(json.to_string().as_bytes()).unwrap())
        };
        let at = |last: u8, node: &str| (IpAddr::from([10, 65, 0, last]), Arc::from(node));
        let claimed = block(Some("host:node1"));
        assert_eq!((claimed.host, claimed.elsewhere), (Some("node1".into()), vec![at(1, "node2")]));
        for nobodys in [None, Some("virtual:load-balancer")] {
            let nobodys = block(nobodys);
            assert_eq!((nobodys.host, nobodys.elsewhere), (None, vec![at(0, "node1"), at(1, "node2")]));
        }
    }

    #[test]
    fn an_address_that_cools_down_is_in_use_nowhere() {
        let json = json!({
            "cidr": "10.65.0.0/31", "allocations": [0, null], "unallocated": [1], "strictAffinity": false,
            "attributes": [{"secondary": {"node": "node2"}, "releasedAt": "2026-01-01T00:00:00Z"}],
            "affinity": "host:node1",
        });
        let holding = Holding::of(&Block::decode(json.to_string().as_bytes()).unwrap());
        assert_eq!(holding.elsewhere, []);
    }
}
