//! Named counters.

use crate::kernel::*;
use tortie_netlink::{Attributes, Encoder};

/// A named counter and what it has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// At most 255 bytes.
    pub name: String,
    /// Packets so far.
    pub packets: u64,
    /// Bytes so far, IP headers included.
    pub bytes: u64,
}

impl Counter {
    /// Writes the counter with what it has counted, so that a restored table goes on from there.
    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.put_text(NFTA_OBJ_NAME, &self.name);
        encoder.put_be32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
        encoder.nested(NFTA_OBJ_DATA, |encoder| {
            encoder.put_be64(NFTA_COUNTER_BYTES, self.bytes);
            encoder.put_be64(NFTA_COUNTER_PACKETS, self.packets);
        });
    }

    /// Reads a listed object: its table and, if it is a counter, itself.
    pub(crate) fn read(attributes: Attributes<'_>) -> Option<(String, Counter)> {
        let table = attributes.find_kind(NFTA_OBJ_TABLE)?.text().ok()?.to_owned();
        let name = attributes.find_kind(NFTA_OBJ_NAME)?.text().ok()?.to_owned();
        if attributes.find_kind(NFTA_OBJ_TYPE)?.be32().ok()? != NFT_OBJECT_COUNTER {
            return None;
        }
        let data = attributes.find_kind(NFTA_OBJ_DATA)?.nested();
        let packets = data.find_kind(NFTA_COUNTER_PACKETS)?.be64().ok()?;
        let bytes = data.find_kind(NFTA_COUNTER_BYTES)?.be64().ok()?;
        Some((table, Counter { name, packets, bytes }))
    }
}
