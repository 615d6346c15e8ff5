//! State of address management as objects (the form in which Kubernetes stores it).
//!
//! The embedded store and etcd keep the same facts under keys of their own; see `ipam`.

use std::collections::BTreeMap;

use crate::go_struct;
use crate::meta::{Object, StringMap, specs};

/// A block of addresses.
pub type IpamBlock = Object<IpamBlockSpec>;
/// The addresses of one handle.
pub type IpamHandle = Object<IpamHandleSpec>;
/// A host's claim to a block.
pub type BlockAffinity = Object<BlockAffinitySpec>;

specs! {
    IpamBlockSpec => IPAMBlock;
    IpamHandleSpec => IPAMHandle;
    BlockAffinitySpec => BlockAffinity;
}

go_struct! {
    /// A block of addresses: at most 4096 of them.
    IpamBlockSpec as "IPAMBlockSpec" {
        /// Its addresses.
        cidr: String = "cidr" always,
        /// `host:NAME` or `virtual:NAME`.
        affinity: Option<String> = "affinity",
        /// When the affinity was claimed, RFC 3339.
        affinity_claim_time: Option<String> = "affinityClaimTime",
        /// For each address the index of its attributes, or none if it is free.
        allocations: Vec<Option<i64>> = "allocations" always,
        /// The free addresses, by ordinal, in the order in which they will be given.
        unallocated: Vec<i64> = "unallocated" always,
        /// Who holds addresses; several may share an entry.
        attributes: Vec<AllocationAttribute> = "attributes" always,
        /// Goes up with each change.
        sequence_number: u64 = "sequenceNumber",
        /// The sequence number at which each address, by ordinal, was given.
        sequence_number_for_allocation: BTreeMap<String, u64> = "sequenceNumberForAllocation",
        /// Set just before the block goes.
        deleted: bool = "deleted",
        /// Whether other hosts may not borrow from it.
        strict_affinity: bool = "strictAffinity" always,
    }

    /// Who holds an address.
    AllocationAttribute {
        /// By which it is released.
        handle_id: Option<String> = "handle_id",
        /// Namespace, pod, node and so on.
        secondary: StringMap = "secondary",
        /// The same of a second owner, while a virtual machine moves.
        alternate_owner_attrs: StringMap = "alternateOwnerAttrs",
        /// When it was released, RFC 3339, while it may not be given again.
        released_at: Option<String> = "releasedAt",
    }

    /// The addresses of one handle.
    IpamHandleSpec as "IPAMHandleSpec" {
        /// The handle.
        handle_id: String = "handleID" always,
        /// How many addresses it has in each block.
        block: BTreeMap<String, i64> = "block" always,
        /// Set just before the handle goes.
        deleted: bool = "deleted",
    }

    /// A host's claim to a block.
    BlockAffinitySpec {
        /// `confirmed`, `pending` or `pendingDeletion`.
        state: String = "state" always,
        /// The host.
        node: String = "node" always,
        /// `host` or `virtual`.
        affinity_type: String = "type",
        /// The block.
        cidr: String = "cidr" always,
        /// Set just before the claim goes; a text in one of the API's forms.
        deleted: Flag = "deleted" always,
    }
}

/// A bool that one of the API's forms writes as a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flag(pub bool);

impl serde::Serialize for Flag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Flag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <serde_json::Value as serde::Deserialize>::deserialize(deserializer)? {
            serde_json::Value::Bool(flag) => Ok(Self(flag)),
            serde_json::Value::String(text) if text == "true" => Ok(Self(true)),
            serde_json::Value::String(text) if text == "false" || text.is_empty() => Ok(Self(false)),
            other => Err(serde::de::Error::custom(format!("expected true or false, found {other}"))),
        }
    }
}

impl crate::schema::Shaped for Flag {
    const SHAPE: &'static crate::schema::Shape = &crate::schema::Shape::Bool;
}

impl crate::schema::Omit for Flag {
    fn omit(&self) -> bool {
        !self.0
    }
}
