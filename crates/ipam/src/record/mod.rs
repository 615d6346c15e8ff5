//! The stored records and their JSON, field for field Calico's. Fields that aren't known are kept.

mod block;
mod holding;
mod sequence;

pub(crate) use block::WINDOWS_RESERVED;
pub use block::{Attribute, Attributes, Block, ReservedEnds, Taken};
pub use holding::Holding;
pub use sequence::Sequences;

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use tortie_api::schema::null_is_default;

use crate::key::Key;
use std::sync::Arc;

/// JSON fields that this version doesn't know.
pub type Extra = Map<String, serde_json::Value>;

/// How far a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClaimState {
    /// Wanted; the block may not exist or be another's.
    #[serde(rename = "pending")]
    Pending,
    /// The block is the owner's.
    #[serde(rename = "confirmed", alias = "")]
    Confirmed,
    /// Being given up.
    #[serde(rename = "pendingDeletion")]
    PendingDeletion,
}

/// An owner's claim to a block (Calico: block affinity). The key says whose and which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// How far it is.
    pub state: ClaimState,
    /// Used by stores that can't delete by revision.
    #[serde(default)]
    pub deleted: bool,
    /// Fields that aren't known.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Claim {
    /// A new claim.
    pub fn pending() -> Self {
        Claim { state: ClaimState::Pending, deleted: false, extra: Extra::new() }
    }
}

/// The blocks in which a handle has addresses. It may count too many, never too few: it is written before the block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Handle {
    /// Block to number of addresses; a pod has one or two.
    #[serde(deserialize_with = "null_is_default", default)]
    pub block: BTreeMap<String, i64>,
    /// Used by stores that can't delete by revision.
    #[serde(default)]
    pub deleted: bool,
    /// Fields that aren't known.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Handle {
    /// Counts `number` more addresses in `block`.
    pub fn add(&mut self, block: &IpNet, number: u32) {
        *self.block.entry(block.to_string()).or_insert(0) += i64::from(number);
    }

    /// Counts `number` addresses fewer in `block`; at none the block is left out.
    pub fn subtract(&mut self, block: &IpNet, number: u32) {
        let name = block.to_string();
        if let Some(count) = self.block.get_mut(&name) {
            *count -= i64::from(number);
            if *count <= 0 {
                self.block.remove(&name);
            }
        }
    }

    /// The blocks; names that aren't blocks are left out.
    pub fn blocks(&self) -> Vec<IpNet> {
        self.block.keys().filter_map(|name| name.parse().ok()).collect()
    }
}

/// The settings. What isn't stored is Calico's default: borrow, claim, 20 blocks, no cooldown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Whether addresses only come from the owner's own blocks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_affinity: bool,
    /// Whether hosts claim blocks by themselves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_allocate_blocks: bool,
    /// Blocks that one host may have; 0 for the default of 20.
    #[serde(rename = "maxBlocksPerHost", default, skip_serializing_if = "is_zero")]
    pub max_blocks_per_host: u32,
    /// `Enabled` or `Disabled`: whether a virtual machine keeps its addresses.
    #[serde(rename = "kubeVirtVMAddressPersistence", default, skip_serializing_if = "Option::is_none")]
    pub vm_address_persistence: Option<String>,
    /// Seconds for which a released address isn't given again; at most 1200.
    #[serde(rename = "ipCooldownSeconds", default, skip_serializing_if = "is_zero")]
    pub ip_cooldown_seconds: u32,
    /// Fields that aren't known.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            strict_affinity: false,
            auto_allocate_blocks: true,
            max_blocks_per_host: 0,
            vm_address_persistence: None,
            ip_cooldown_seconds: 0,
            extra: Extra::new(),
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A record of any kind. Which kind belongs to which key is fixed; see [`Record::decode`].
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The settings.
    Config(Config),
    /// A block; shared, since it is large and mostly read.
    Block(Arc<Block>),
    /// A claim.
    Claim(Claim),
    /// A handle.
    Handle(Handle),
}

impl Record {
    /// Reads the stored value of `key`.
    ///
    /// # Errors
    /// What the decoder says of a value that isn't such a record.
    pub fn decode(key: &Key, value: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match key {
            Key::Config => Record::Config(serde_json::from_slice(value)?),
            Key::Block(_) => Record::Block(Arc::new(Block::decode(value)?)),
            Key::Affinity(..) => Record::Claim(serde_json::from_slice(value)?),
            Key::Handle(_) => Record::Handle(serde_json::from_slice(value)?),
        })
    }

    /// About how long its value is, in bytes: a little too long rather than too short.
    pub(crate) fn usual_length(&self) -> usize {
        match self {
            Record::Block(block) => block.usual_length(),
            Record::Config(_) | Record::Claim(_) | Record::Handle(_) => 128,
        }
    }

    /// The value to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.usual_length());
        let encoded = match self {
            Record::Config(config) => serde_json::to_writer(&mut value, config),
            Record::Block(block) => serde_json::to_writer(&mut value, block.as_ref()),
            Record::Claim(claim) => serde_json::to_writer(&mut value, claim),
            Record::Handle(handle) => serde_json::to_writer(&mut value, handle),
        };
        encoded.expect("records are maps with text keys, which always have a JSON form");
        value
    }
}
