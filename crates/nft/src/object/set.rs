//! Sets, maps, verdict maps and maps to counters.

use crate::kernel::*;
use crate::userdata::{self, ByteOrder};
use tortie_netlink::{Attributes, Encoder};

/// One field of a key, or a map's data: nft's type number, its length and its byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's type names")]
pub enum Field {
    Ipv4Address,
    Ipv6Address,
    Protocol,
    Port,
    Icmp4Type,
    Icmp4Code,
    Icmp6Type,
    Icmp6Code,
    Mark,
    InterfaceIndex,
    ClassId,
}

impl Field {
    /// nft's number of the type (`datatype.h`), length in bytes, byte order.
    const fn facts(self) -> (u32, u32, ByteOrder) {
        match self {
            Field::Ipv4Address => (7, 4, ByteOrder::Network),
            Field::Ipv6Address => (8, 16, ByteOrder::Network),
            Field::Protocol => (12, 1, ByteOrder::Network),
            Field::Port => (13, 2, ByteOrder::Network),
            Field::Icmp4Type => (14, 1, ByteOrder::Network),
            Field::Icmp4Code => (32, 1, ByteOrder::Network),
            Field::Icmp6Type => (29, 1, ByteOrder::Network),
            Field::Icmp6Code => (33, 1, ByteOrder::Network),
            Field::Mark => (19, 4, ByteOrder::Host),
            Field::InterfaceIndex => (20, 4, ByteOrder::Host),
            Field::ClassId => (23, 4, ByteOrder::Host),
        }
    }

    /// Bytes that the field takes in a key of several: whole registers of four.
    const fn padded(self) -> u32 {
        (self.facts().1 + 3) & !3
    }
}

/// What a key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Nothing: a set.
    None,
    /// A value.
    Value(Field),
    /// A verdict.
    Verdict,
    /// A named counter.
    Counter,
}

/// A named set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// At most 255 bytes.
    pub name: String,
    /// One to four fields.
    pub key: Vec<Field>,
    /// What a key leads to.
    pub data: Data,
    /// Keys are ranges (an rbtree for one field, pipapo for more) instead of exact (a hash).
    pub interval: bool,
    /// Most elements that it can ever hold; 0: no bound (and, for exact keys, the slower resizable hash).
    pub size: u32,
}

/// What a listing says about a set beside its definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSet {
    /// The set; `None` if it has types, flags or sizes that we never write.
    pub set: Option<Set>,
    /// Its name.
    pub name: String,
    /// Number of elements, from kernel 6.16 on.
    pub count: Option<u32>,
}

impl Set {
    /// Length of a key in bytes.
    #[must_use]
    pub fn key_length(&self) -> u32 {
        match self.key.as_slice() {
            [field] => field.facts().1,
            fields => fields.iter().map(|field| field.padded()).sum(),
        }
    }

    fn key_type(&self) -> u32 {
        self.key.iter().fold(0, |number, field| number << 6 | field.facts().0)
    }

    fn flags(&self) -> u32 {
        let mut flags = match self.data {
            Data::None => 0,
            Data::Value(_) | Data::Verdict => NFT_SET_MAP,
            Data::Counter => NFT_SET_OBJECT,
        };
        if self.interval {
            flags |= NFT_SET_INTERVAL;
            if self.key.len() > 1 {
                flags |= NFT_SET_CONCAT;
            }
        }
        flags
    }

    /// Writes the definition; `id` is unique in the transaction.
    pub(crate) fn write(&self, encoder: &mut Encoder, id: u32) {
        encoder.put_text(NFTA_SET_NAME, &self.name);
        encoder.put_be32(NFTA_SET_FLAGS, self.flags());
        encoder.put_be32(NFTA_SET_KEY_TYPE, self.key_type());
        encoder.put_be32(NFTA_SET_KEY_LEN, self.key_length());
        let mut data_order = None;
        match self.data {
            Data::None => {}
            Data::Value(field) => {
                let (number, length, order) = field.facts();
                encoder.put_be32(NFTA_SET_DATA_TYPE, number);
                encoder.put_be32(NFTA_SET_DATA_LEN, length);
                data_order = Some(order);
            }
            Data::Verdict => {
                encoder.put_be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
                encoder.put_be32(NFTA_SET_DATA_LEN, 0);
            }
            Data::Counter => encoder.put_be32(NFTA_SET_OBJ_TYPE, NFT_OBJECT_COUNTER),
        }
        let ranges_of_fields = self.interval && self.key.len() > 1;
        if self.size > 0 || ranges_of_fields {
            encoder.nested(NFTA_SET_DESC, |encoder| {
                if self.size > 0 {
                    encoder.put_be32(NFTA_SET_DESC_SIZE, self.size);
                }
                if ranges_of_fields {
                    self.write_fields(encoder);
                }
            });
        }
        encoder.put_be32(NFTA_SET_ID, id);
        let key_order = match self.key.as_slice() {
            [field] => Some(field.facts().2),
            _ => None,
        };
        encoder.put(NFTA_SET_USERDATA, &userdata::set(key_order, data_order));
    }

    fn write_fields(&self, encoder: &mut Encoder) {
        encoder.nested(NFTA_SET_DESC_CONCAT, |encoder| {
            for field in &self.key {
                encoder
                    .nested(NFTA_LIST_ELEM, |encoder| encoder.put_be32(NFTA_SET_FIELD_LEN, field.facts().1));
            }
        });
    }
}

impl ListedSet {
    /// Reads a listed set: its table and itself.
    pub(crate) fn read(attributes: Attributes<'_>) -> Option<(String, ListedSet)> {
        let text = |kind| Some(attributes.find_kind(kind)?.text().ok()?.to_owned());
        let number = |kind| attributes.find_kind(kind).and_then(|found| found.be32().ok());
        let (table, name) = (text(NFTA_SET_TABLE)?, text(NFTA_SET_NAME)?);
        let flags = number(NFTA_SET_FLAGS).unwrap_or(0);
        let size = attributes
            .find_kind(NFTA_SET_DESC)
            .and_then(|description| description.nested().find_kind(NFTA_SET_DESC_SIZE))
            .and_then(|size| size.be32().ok())
            .unwrap_or(0);
        let data = match (flags & (NFT_SET_MAP | NFT_SET_OBJECT), number(NFTA_SET_DATA_TYPE)) {
            (0, _) => Some(Data::None),
            (NFT_SET_OBJECT, _) => {
                (number(NFTA_SET_OBJ_TYPE) == Some(NFT_OBJECT_COUNTER)).then_some(Data::Counter)
            }
            (NFT_SET_MAP, Some(NFT_DATA_VERDICT)) => Some(Data::Verdict),
            (NFT_SET_MAP, Some(number)) => field_of(number).map(Data::Value),
            _ => None,
        };
        let key = number(NFTA_SET_KEY_TYPE).and_then(fields_of);
        let set = match (key, data) {
            (Some(key), Some(data)) => {
                let interval = flags & NFT_SET_INTERVAL != 0;
                let set = Set { name: name.clone(), key, data, interval, size };
                (set.flags() == flags && Some(set.key_length()) == number(NFTA_SET_KEY_LEN)).then_some(set)
            }
            _ => None,
        };
        Some((table, ListedSet { set, name, count: number(NFTA_SET_COUNT) }))
    }
}

fn field_of(number: u32) -> Option<Field> {
    use Field::*;
    [
        Ipv4Address,
        Ipv6Address,
        Protocol,
        Port,
        Icmp4Type,
        Icmp4Code,
        Icmp6Type,
        Icmp6Code,
        Mark,
        InterfaceIndex,
        ClassId,
    ]
    .into_iter()
    .find(|field| field.facts().0 == number)
}

/// The fields in a key's type number: six bits each, the last field lowest.
fn fields_of(mut number: u32) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while number != 0 {
        fields.push(field_of(number & 0x3f)?);
        number >>= 6;
    }
    fields.reverse();
    (!fields.is_empty()).then_some(fields)
}
